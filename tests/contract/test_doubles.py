"""Tests that the in-memory services have the signatures of their Protocols."""

import inspect

from aliyun_import.services import ImageService, ObjectStore, RoleService
from tests.image.scripted_services import ScriptedImages, ScriptedRoles
from tests.rows import each_row
from tests.upload.scripted_store import ScriptedStore


@each_row(
    ("service", "protocol"),
    [(ScriptedImages, ImageService), (ScriptedRoles, RoleService), (ScriptedStore, ObjectStore)],
)
def test_an_in_memory_service_has_the_signatures_of_its_protocol(service: type, protocol: type) -> None:
    """Parameters and return types are equal."""
    methods = dict(inspect.getmembers(protocol, inspect.isfunction))
    shared = [name for name in methods if hasattr(service, name) and not name.startswith("_")]
    assert len(shared) > 5
    for name in shared:
        assert inspect.signature(getattr(service, name)) == inspect.signature(methods[name]), name
