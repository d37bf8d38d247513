"""Tests that a push succeeds or fails as the diagnosis of the account predicts."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.errors import AliyunImportError
from aliyun_import.push.account_diagnosis import diagnose
from aliyun_import.push.diagnosis import Diagnosis, Health, exit_code_of
from aliyun_import.role.spec import OSS_ROLE
from aliyun_import.sandbox.core.state import Clock, Settings
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.ram.state import Ram
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.services import PERMISSIONS
from tests.image.sandbox_services import SandboxServices
from tests.push.push_host import PushHost, write_small_disk

# Permissions that can't be tested without a change, and when a push needs them.
UNTESTED = {
    "ram:CreateRole": "the role does not exist",
    "ram:AttachPolicyToRole": "the role lacks its policy",
    "ram:UpdateRole": "the role does not trust ECS, and --fix is given",
    "oss:PutBucket": "the bucket does not exist",
    "oss:GetBucketLifecycle": "the bucket is the derived one; without it: a warning",
    "oss:PutBucketLifecycle": "the bucket is the derived one; without it: a warning",
}

REGION = "cn-hangzhou"
ROLE = OSS_ROLE.default_name
ACCOUNT = "1000000000000000"
BUCKET = f"aliyun-import-{ACCOUNT}-{REGION}"


class Account:
    """Account for a series of pushes, with access keys that lack permissions."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        self.sandbox = sandbox
        self.host = PushHost(sandbox, home, write_small_disk(home / "disk.raw"))
        self.results: dict[str, Diagnosis] = {}
        self._home, self._count = home, 0

    def change_bucket(self, **settings: str) -> None:
        """Change settings of the staging bucket."""
        self.sandbox.state.part(OssState).change(BUCKET, **settings)

    def lacking(self, *denied: str) -> SandboxServices:
        """Return the services with the access key of a user who lacks some permissions."""
        return SandboxServices(self.sandbox, denied=(*denied, "none:None"))

    def diagnosis(self, cloud: SandboxServices) -> dict[str, Diagnosis]:
        """Return the results by their subjects."""
        return {one.subject: one for one in diagnose(cloud.services, region=REGION, bucket=None)}

    def push(self, cloud: SandboxServices) -> None:
        """Push the disk as a new image, from a host without a journal."""
        self._count += 1
        host = self.host
        host.cloud, host.state_dir = cloud, self._home / f"state-{self._count}"
        host.request = replace(host.request, name=f"image-{self._count}")
        host.push()

    def compare(self, cloud: SandboxServices) -> bool | None:
        """Return the prediction, and assert that a push does as predicted. None: the diagnosis does not know."""
        prediction = self.predict(cloud)
        if prediction:
            self.push(cloud)
        return prediction

    def predict(self, cloud: SandboxServices) -> bool | None:
        """Return the prediction, and assert that a push fails if it is False. None: the diagnosis does not know."""
        self.results = results = self.diagnosis(cloud)
        if exit_code_of(list(results.values())) == 0:
            return True
        if not any(one.health is Health.FAILS for one in results.values()):
            return None
        with pytest.raises(AliyunImportError):
            self.push(cloud)
        return False


@pytest.fixture
def new_account(tmp_path: Path) -> Iterator[Account]:
    """Return an account without bucket and role."""
    with Sandbox.start(
        tmp_path / "sandbox", settings=Settings(import_s=0.4, image_ready_s=0.0), clock=Clock(running=False)
    ) as running:
        yield Account(running, tmp_path)


@pytest.fixture
def used_account(new_account: Account) -> Account:
    """Return an account with bucket and role, created by a push of the account itself."""
    new_account.push(SandboxServices(new_account.sandbox))
    return new_account


def test_each_permission_is_tested_or_listed_as_untested(used_account: Account) -> None:
    """The least-privilege policy and the diagnosis name the same permissions."""
    found = {one.subject.removeprefix("permission ") for one in used_account.diagnosis(used_account.lacking()).values()}
    used_account.change_bucket(versioning="Enabled")
    found |= {
        one.subject.removeprefix("permission ") for one in used_account.diagnosis(used_account.lacking()).values()
    }
    needed = {one.name for one in PERMISSIONS}
    assert needed - found == set(UNTESTED)
    assert not found & set(UNTESTED)


def test_a_push_without_a_permission_does_as_predicted(used_account: Account) -> None:
    """For each permission: its result has the policy statement, and is a failure only if a push fails."""
    # Only a bucket with versioning needs DeleteObjectVersion.
    optional = [*UNTESTED, "oss:DeleteObjectVersion"]
    assert used_account.predict(used_account.lacking(*optional)) is True
    assert not {f"permission {name}" for name in optional} & {*used_account.results}
    for permission in PERMISSIONS:
        if permission.name in optional:
            continue
        prediction = used_account.predict(used_account.lacking(permission.name))
        if prediction:
            optional.append(permission.name)
        one = used_account.results[f"permission {permission.name}"]
        assert (one.health is Health.FAILS) is (prediction is False), permission
        assert permission.name in json.loads(one.statement)["Action"]
    # A push that lacks all of them at once shows that it needs none of them.
    used_account.push(used_account.lacking(*optional))


def test_what_cannot_be_tested_in_a_new_account_is_unknown(new_account: Account) -> None:
    """The permissions of a user to create bucket and role are unknown; the account itself has them."""
    for permission in ("oss:PutBucket", "oss:PutObject", "ram:CreateRole", "ram:AttachPolicyToRole"):
        assert new_account.compare(new_account.lacking(permission)) is None
    assert new_account.compare(SandboxServices(new_account.sandbox)) is True


def _change_role(account: Account, **changes: Any) -> None:
    ram = account.sandbox.state.part(Ram)
    ram.save_role(ACCOUNT, replace(ram.role(ACCOUNT, ROLE), **changes))
    account.sandbox.clock.advance(3600.0)  # ECS sees the change after a delay


def _settings(**changes: object) -> Callable[[Account], object]:
    return lambda account: account.sandbox.state.configure(**changes)


EMPTY_TRUST = json.dumps({"Version": "1", "Statement": []})
ACCOUNT_CHANGES: dict[str, tuple[Callable[[Account], object], bool]] = {
    "no room for an image": (_settings(images_per_region=1), False),
    "no room for a snapshot": (_settings(snapshots_per_region=1), False),
    "no imports in the region": (_settings(regions_without_import=[REGION]), False),
    "bucket encrypted with a key": (lambda account: account.change_bucket(encryption="KMS"), False),
    "bucket encrypted by OSS": (lambda account: account.change_bucket(encryption="AES256"), True),
    "bucket of another account": (lambda account: account.change_bucket(owner_id="2000000000000000"), False),
    "bucket in another region": (lambda account: account.change_bucket(region="cn-beijing"), False),
    "bucket public": (lambda account: account.change_bucket(acl="public-read"), True),
    "bucket with versions": (lambda account: account.change_bucket(versioning="Enabled"), True),
    "role without policies": (lambda account: _change_role(account, attached={}), True),
    "role with an empty trust policy": (lambda account: _change_role(account, trust=EMPTY_TRUST), False),
    "nothing": (lambda _: None, True),
}


@contextmanager
def _restored(account: Account) -> Iterator[None]:
    """Restore settings, bucket and role on exit."""
    state = account.sandbox.state
    settings, bucket, role = state.settings, state.part(OssState).buckets[BUCKET], state.part(Ram).role(ACCOUNT, ROLE)
    yield
    state.configure(**vars(settings))
    state.part(OssState).buckets[BUCKET] = bucket
    _change_role(account, **vars(role))


def test_a_push_in_a_changed_account_does_as_predicted(used_account: Account) -> None:
    """For each change of settings, bucket or role, with all permissions."""
    for name, (change, succeeds) in ACCOUNT_CHANGES.items():
        with _restored(used_account):
            change(used_account)
            assert used_account.compare(SandboxServices(used_account.sandbox)) is succeeds, name


def test_a_disabled_access_key_is_predicted_to_fail(used_account: Account) -> None:
    """The diagnosis requests the identity first."""
    cloud = used_account.lacking()
    key = used_account.sandbox.state.key("LIMITED")
    assert key is not None
    used_account.sandbox.state.add_key(replace(key, enabled=False))
    assert used_account.compare(cloud) is False
