"""Tests of `doctor`: what it finds, and that it leaves nothing behind."""

import json

import pytest

from aliyun_import.cloud.credentials.keys import Keys
from aliyun_import.cloud.credentials.providers import FoundKeys
from aliyun_import.cloud.credentials.source import CredentialsSource
from aliyun_import.push.diagnosis import clock_diagnosis, credentials_diagnosis
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands
from tests.flows.test_push import BUCKET, keys

CHANGING = ("PutBucket", "CreateRole", "AttachPolicyToRole", "CompleteMultipartUpload", "PutObject", "UploadPart")


def results(document: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return the results by their subjects."""
    found = document["results"]
    assert isinstance(found, list)
    return {one["subject"]: one for one in found}


def test_a_new_account_is_fit_for_a_push(commands: Commands, sandbox: Sandbox) -> None:
    """No bucket and no role are no failure, since a push creates them; exit 0, and nothing was changed."""
    ran = commands.run("doctor", "--output", "json")
    assert (ran.code, ran.json["would_go_through"]) == (0, True), ran.out
    found = results(ran.json)
    assert found["permission ecs:ImportImage"]["health"] == "ok"
    assert found["role AliyunECSImageImportDefaultRole"]["health"] == "warns"
    assert found["credentials"]["detail"].startswith("from the environment")  # type: ignore[attr-defined]
    assert sandbox.requests.entries(*CHANGING) == ()


def test_what_is_there_is_tested_and_nothing_is_left(commands: Commands, sandbox: Sandbox, disk: object) -> None:
    """With a bucket, an upload is begun and aborted."""
    assert commands.run("push", str(disk)).code == 0
    sandbox.requests.clear()
    ran = commands.run("doctor", "--output", "json")
    found = results(ran.json)
    assert {one["health"] for one in found.values()} == {"ok"}, found
    assert {"permission oss:PutObject", "permission oss:ListParts", "permission oss:DeleteObject"} <= found.keys()
    bucket = sandbox.state.part(OssState).buckets[BUCKET]
    assert (keys(sandbox), list(bucket.uploads)) == ([], [])
    assert sandbox.requests.entries(*CHANGING) == ()


@pytest.mark.parametrize(
    ("operation", "code", "permission"),
    [
        ("ImportImage", "Forbidden.RAM", "ecs:ImportImage"),
        ("InitiateMultipartUpload", "AccessDenied", "oss:PutObject"),
        ("ListParts", "AccessDenied", "oss:ListParts"),
    ],
)
def test_a_missing_permission_is_named_with_its_statement(
    commands: Commands, sandbox: Sandbox, disk: object, operation: str, code: str, permission: str
) -> None:
    """Exit 4, and the statement to add is in the output, ready for a policy."""
    assert commands.run("push", str(disk)).code == 0
    sandbox.faults.add(Fault(operation=operation, count=None, status=403, code=code, message="No."))
    ran = commands.run("doctor", "--output", "json")
    assert (ran.code, ran.json["would_go_through"]) == (4, False)
    one = results(ran.json)[f"permission {permission}"]
    assert one["health"] == "fails"
    statement = json.loads(str(one["statement"]))
    assert (statement["Effect"], statement["Action"]) == ("Allow", [permission])
    text = commands.run("doctor").out
    assert f"✗ a push would fail: permission {permission}" in text
    assert str(one["statement"]) in text


def test_a_permission_that_is_only_useful_is_a_warning(commands: Commands, sandbox: Sandbox) -> None:
    """A push goes through without it."""
    sandbox.faults.add(Fault(operation="DescribeTasks", count=None, status=403, code="Forbidden.RAM", message="No."))
    ran = commands.run("doctor", "--output", "json")
    assert (ran.code, results(ran.json)["permission ecs:DescribeTasks"]["health"]) == (0, "warns")


def test_wrong_credentials_and_a_dead_endpoint_end_it_early(commands: Commands) -> None:
    """Exit 4 and exit 6, with what was found until then."""
    wrong = commands.run("doctor", "--output", "json", environment={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"})
    assert (wrong.code, results(wrong.json)["identity"]["health"]) == (4, "fails")
    dead = commands.run("doctor", "--output", "json", "--endpoint-url", "http://127.0.0.1:9")
    assert (dead.code, results(dead.json)["endpoint OSS"]["health"]) == (6, "fails")


@pytest.mark.parametrize(
    ("ahead_s", "health"),
    [([0.4, -1.0], "ok"), ([-400.0], "warns"), ([1200.0, 1.0], "fails"), ([-1200.0], "fails"), ([], "unknown")],
)
def test_a_clock_is_judged_by_what_the_services_accept(ahead_s: list[float], health: str) -> None:
    """They refuse signatures that are more than 15 minutes off."""
    assert clock_diagnosis(ahead_s).health == health


@pytest.mark.parametrize(
    ("token", "expires_s", "detail"),
    [
        (None, None, "a permanent access key"),
        ("token", None, "temporary, with an unknown end"),
        ("token", 1_800_000_000.0, "temporary, valid until 2027-01-15T08:00:00Z"),
    ],
)
def test_the_end_of_keys_is_said_where_it_is_known(token: str | None, expires_s: float | None, detail: str) -> None:
    """A role's keys have one, those in the environment may have one that nobody knows."""
    source = CredentialsSource(lambda: FoundKeys("a test", lambda: Keys("LTAIfake", "secret-fake", token, expires_s)))
    assert credentials_diagnosis(source.describe(), source.get, source.expires_s).detail == f"from a test, {detail}"


def test_a_bucket_that_does_not_exist_fails(commands: Commands) -> None:
    """A named bucket is never created."""
    ran = commands.run("doctor", "--bucket", "nobodys-bucket", "--output", "json")
    assert (ran.code, results(ran.json)["bucket nobodys-bucket"]["health"]) == (5, "fails")


def test_a_role_that_is_not_ready_can_gate_a_pipeline(commands: Commands) -> None:
    """`role show` exits with 4 until an import can use the role."""
    assert commands.run("role", "show").code == 4
    assert commands.run("role", "ensure").code == 0
    assert commands.run("role", "show").code == 0
