"""Tests that the operations of the adapters are declared, granted and documented."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from aliyun_import.errors import AliyunImportError
from aliyun_import.model.boot import InstanceCall
from aliyun_import.model.objects import RemotePart
from aliyun_import.model.request import BootMode, ImportCall
from aliyun_import.model.roles import Policy
from aliyun_import.role.spec import boot_test_policy, user_policy
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.services import (
    BOOT_TEST_PERMISSIONS,
    OPERATIONS,
    PERMISSIONS,
    Identity,
    ImageService,
    InstanceService,
    ObjectStore,
    PartBody,
    Resource,
    RoleService,
    permissions_of,
)
from tests.cloud import adapters

# A value for each type of parameter in the service interfaces.
ARGUMENTS: Mapping[Any, object] = {
    str: "x",
    int: 1,
    bool: False,
    bytes: b"x",
    str | None: None,
    int | None: None,
    float | None: None,
    Mapping[str, str] | None: None,
    tuple[str, ...]: (),
    tuple[RemotePart, ...]: (),
    Mapping[str, str]: {},
    InstanceCall: adapters.instance_call(),
    BootMode: BootMode.UEFI,
    ImportCall: adapters.import_call(),
    PartBody: adapters.Body([b"x"]),
    Policy: Policy(name="AliyunECSImageImportRolePolicy", type="System"),
}


def _call_every_method(service: object, protocol: type) -> None:
    """Call each method of an interface once; results and errors are ignored."""
    for name, method in getmembers(protocol, isfunction):
        if name.startswith("_"):
            continue
        hints = {parameter: hint for parameter, hint in get_type_hints(method).items() if parameter != "return"}
        with suppress(AliyunImportError):
            getattr(service, name)(**{parameter: ARGUMENTS[hint] for parameter, hint in hints.items()})


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox with a bucket."""
    with Sandbox.start(tmp_path) as running:
        adapters.create_store(running)
        yield running


def test_the_adapters_send_exactly_the_declared_operations(sandbox: Sandbox) -> None:
    """Every method of every interface is called once."""
    _call_every_method(adapters.store(sandbox), ObjectStore)
    _call_every_method(adapters.roles(sandbox), RoleService)
    _call_every_method(adapters.images(sandbox), ImageService)
    _call_every_method(adapters.instances(sandbox), InstanceService)
    _call_every_method(adapters.identity(sandbox), Identity)
    assert {entry.operation for entry in sandbox.requests.entries()} == OPERATIONS


def test_an_undeclared_operation_is_not_sent(sandbox: Sandbox) -> None:
    """A new operation must be declared with its permission before an adapter can use it."""
    client = next(one for one in vars(adapters.store(sandbox)).values() if hasattr(one, "send"))
    with pytest.raises(ValueError, match="GetBucketLocation"):
        client.send("GetBucketLocation", "GET")
    assert not sandbox.requests.entries("GetBucketLocation")


def test_every_operation_but_getcalleridentity_needs_a_permission() -> None:
    """The copy of a part needs two."""
    assert {one for one in OPERATIONS if not permissions_of(one)} == {"GetCallerIdentity"}
    assert permissions_of("UploadPartCopy") == ("oss:GetObject", "oss:PutObject")
    assert permissions_of("ImportImage") == ("ecs:ImportImage",)


def test_the_policy_grants_exactly_the_needed_permissions() -> None:
    """Each is granted once."""
    granted = [action for statement in user_policy("BUCKET")["Statement"] for action in statement["Action"]]
    assert sorted(granted) == sorted(permission.name for permission in PERMISSIONS)
    assert len(granted) == len(set(granted))


def test_the_policy_of_boot_tests_grants_exactly_their_permissions() -> None:
    """The policy for imports does not permit to start instances."""
    granted = [action for statement in boot_test_policy()["Statement"] for action in statement["Action"]]
    assert sorted(granted) == sorted({permission.name for permission in BOOT_TEST_PERMISSIONS})
    assert "ecs:RunInstances" in granted
    assert "ecs:RunInstances" not in json.dumps(user_policy())


def test_the_policy_has_one_statement_per_resource() -> None:
    """The permissions on one kind of resource are adjacent, so that one statement has them all."""
    kinds = [permission.resource for permission in PERMISSIONS]
    assert len(user_policy()["Statement"]) == len(set(kinds))
    tested = [permission.resource for permission in BOOT_TEST_PERMISSIONS]
    assert len(boot_test_policy()["Statement"]) == len(set(tested))
    assert {*kinds, *tested} == set(Resource)
