"""In-memory services have methods of their Protocols, as those are."""

import inspect

from aliyun_import.services import ImageService, ObjectStore, RoleService
from tests.image.scripted_services import ScriptedImages, ScriptedRoles
from tests.rows import each_row
from tests.upload.scripted_store import ScriptedStore


@each_row(
    ("double", "protocol"), [(ScriptedImages, ImageService), (ScriptedRoles, RoleService), (ScriptedStore, ObjectStore)]
)
def test_a_double_has_the_signatures_of_its_protocol(double: type, protocol: type) -> None:
    """What a caller may pass, and what it gets, is the same."""
    methods = dict(inspect.getmembers(protocol, inspect.isfunction))
    shared = [name for name in methods if hasattr(double, name) and not name.startswith("_")]
    assert len(shared) > 5
    for name in shared:
        assert inspect.signature(getattr(double, name)) == inspect.signature(methods[name]), name
