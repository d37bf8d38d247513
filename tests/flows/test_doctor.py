"""Tests of `doctor`: its results, and that it changes nothing."""

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
from tests.flows.test_push import BUCKET, object_keys

CHANGING = ("PutBucket", "CreateRole", "AttachPolicyToRole", "CompleteMultipartUpload", "PutObject", "UploadPart")


def results(document: dict[str, object]) -> dict[str, dict[str, object]]:
    """Return the results by their subjects."""
    found = document["results"]
    assert isinstance(found, list)
    return {one["subject"]: one for one in found}


def test_a_new_account_passes(commands: Commands, sandbox: Sandbox) -> None:
    """A push creates a missing bucket and role, so they are no failure. Nothing is changed."""
    ran = commands.run("doctor", "--output", "json")
    assert (ran.code, ran.json["would_go_through"]) == (0, True), ran.out
    found = results(ran.json)
    assert found["permission ecs:ImportImage"]["health"] == "ok"
    assert found["role AliyunECSImageImportDefaultRole"]["health"] == "warns"
    assert found["credentials"]["detail"].startswith("from the environment")  # type: ignore[attr-defined]
    assert sandbox.requests.entries(*CHANGING) == ()


def test_an_existing_bucket_is_tested_and_nothing_is_left(commands: Commands, sandbox: Sandbox, disk: object) -> None:
    """The test starts an upload and aborts it."""
    assert commands.run("push", str(disk)).code == 0
    sandbox.requests.clear()
    ran = commands.run("doctor", "--output", "json")
    found = results(ran.json)
    assert {one["health"] for one in found.values()} == {"ok"}, found
    assert {"permission oss:PutObject", "permission oss:ListParts", "permission oss:DeleteObject"} <= found.keys()
    bucket = sandbox.state.part(OssState).buckets[BUCKET]
    assert (object_keys(sandbox), list(bucket.uploads)) == ([], [])
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
    """Exit code 4; the output has the policy statement to add."""
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


def test_a_missing_optional_permission_is_a_warning(commands: Commands, sandbox: Sandbox) -> None:
    """A push succeeds without it."""
    sandbox.faults.add(Fault(operation="DescribeTasks", count=None, status=403, code="Forbidden.RAM", message="No."))
    ran = commands.run("doctor", "--output", "json")
    assert (ran.code, results(ran.json)["permission ecs:DescribeTasks"]["health"]) == (0, "warns")


def test_wrong_credentials_and_an_unreachable_endpoint_end_it_early(commands: Commands) -> None:
    """Exit codes 4 and 6, with the results so far."""
    wrong = commands.run("doctor", "--output", "json", environment={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"})
    assert (wrong.code, results(wrong.json)["identity"]["health"]) == (4, "fails")
    unreachable = commands.run("doctor", "--output", "json", "--endpoint-url", "http://127.0.0.1:9")
    assert (unreachable.code, results(unreachable.json)["endpoint OSS"]["health"]) == (6, "fails")


@pytest.mark.parametrize(
    ("ahead_s", "health"),
    [([0.4, -1.0], "ok"), ([-400.0], "warns"), ([1200.0, 1.0], "fails"), ([-1200.0], "fails"), ([], "unknown")],
)
def test_the_clock_may_differ_as_much_as_the_services_accept(ahead_s: list[float], health: str) -> None:
    """The services refuse signatures that are more than 15 minutes old or ahead."""
    assert clock_diagnosis(ahead_s).health == health


@pytest.mark.parametrize(
    ("token", "expires_s", "detail"),
    [
        (None, None, "a permanent access key"),
        ("token", None, "temporary, with an unknown end"),
        ("token", 1_800_000_000.0, "temporary, valid until 2027-01-15T08:00:00Z"),
    ],
)
def test_the_expiration_of_credentials_is_shown_if_known(
    token: str | None, expires_s: float | None, detail: str
) -> None:
    """Credentials of a role have one. For a token in the environment it is unknown."""
    source = CredentialsSource(lambda: FoundKeys("a test", lambda: Keys("LTAIfake", "secret-fake", token, expires_s)))
    assert credentials_diagnosis(source.describe(), source.get, source.expires_s).detail == f"from a test, {detail}"


def test_a_bucket_that_does_not_exist_fails(commands: Commands) -> None:
    """A bucket given by --bucket is never created."""
    ran = commands.run("doctor", "--bucket", "absent-bucket", "--output", "json")
    assert (ran.code, results(ran.json)["bucket absent-bucket"]["health"]) == (5, "fails")


def test_role_show_exits_with_4_until_the_role_is_ready(commands: Commands) -> None:
    """A pipeline can use the exit code as a gate."""
    assert commands.run("role", "show").code == 4
    assert commands.run("role", "ensure").code == 0
    assert commands.run("role", "show").code == 0
