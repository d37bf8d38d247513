"""This file tests that the rights which are named, documented and printed are those that the adapters need."""

import json
import re
from pathlib import Path

import pytest

from aliyun_import.cloud.actions import action_of
from aliyun_import.role.spec import user_policy

ROOT = Path(__file__).resolve().parents[2]
CLOUD = ROOT / "aliyun_import" / "cloud"
PAGE = (ROOT / "docs" / "permissions.md").read_text()


def _operations() -> list[tuple[str, str]]:
    """Find every operation that the adapters ask for, in their source."""
    oss = re.findall(r'\.send\(\s*"(\w+)"', "".join((CLOUD / name).read_text() for name in ("oss/store.py",)))
    found = [("OSS", name) for name in oss]
    for service, name in (("ECS", "ecs.py"), ("RAM", "ram.py")):
        found += [
            (service, one) for one in re.findall(r"import (\w+)Request$", (CLOUD / name).read_text(), re.MULTILINE)
        ]
    return sorted({(service, one) for service, one in found if one != "GetCallerIdentity"})


def _granted() -> set[str]:
    statements = user_policy("BUCKET")["Statement"]
    listed = (one["Action"] for one in statements)
    return {action for one in listed for action in ([one] if isinstance(one, str) else one)}


def test_the_operations_are_found() -> None:
    """The search below finds what it is meant to find."""
    found = _operations()
    assert {("OSS", "UploadPart"), ("ECS", "ImportImage"), ("RAM", "GetRole")} <= set(found)
    assert len(found) > 25


@pytest.mark.parametrize(("service", "operation"), _operations())
def test_the_policy_grants_every_operation(service: str, operation: str) -> None:
    """The right that an error names for an operation is in the policy that is printed."""
    for action in action_of(service, operation).split(" and "):
        assert action in _granted()


def test_the_page_explains_every_right() -> None:
    """docs/permissions.md says of each right in the policy what it is for, and of no other."""
    table, _, policy = PAGE.partition("## The policy")
    assert set(re.findall(r"`((?:ecs|oss|ram):\w+)`", table)) == _granted()
    block = re.search(r"```json\n(.*?)```", policy, re.DOTALL)
    assert block is not None
    assert json.loads(block[1]) == user_policy("BUCKET")


def test_asking_who_we_are_needs_no_right() -> None:
    """GetCallerIdentity is open to all."""
    assert action_of("STS", "GetCallerIdentity") == ""
