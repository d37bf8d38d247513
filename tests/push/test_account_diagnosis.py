"""Comparison of the diagnosis with what a push then does, in accounts that lack something."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.errors import AliyunImportError
from aliyun_import.push.account_diagnosis import diagnose
from aliyun_import.push.diagnosis import Diagnosis, Health, would_go_through
from aliyun_import.role.spec import OSS_ROLE
from aliyun_import.sandbox.core.state import Clock, Settings
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.ram.state import Ram
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.services import PERMISSIONS
from tests.image.sandbox_services import SandboxServices
from tests.push.machine import Machine, write_small_disk

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
    """An account in which pushes are tried, one after the other, with keys that lack permissions."""

    def __init__(self, sandbox: Sandbox, home: Path) -> None:
        self.sandbox = sandbox
        self.machine = Machine(sandbox, home, write_small_disk(home / "disk.raw"))
        self.results: dict[str, Diagnosis] = {}
        self._home, self._count = home, 0

    def change_bucket(self, **settings: str) -> None:
        """Change settings of the staging bucket."""
        self.sandbox.state.part(OssState).change(BUCKET, **settings)

    def lacking(self, *denied: str) -> SandboxServices:
        """Return the services with a user's key that lacks permissions; all others are granted."""
        return SandboxServices(self.sandbox, denied=(*denied, "none:None"))

    def diagnosis(self, cloud: SandboxServices) -> dict[str, Diagnosis]:
        """Return the results by their subjects."""
        return {one.subject: one for one in diagnose(cloud.services, region=REGION, bucket=None)}

    def push(self, cloud: SandboxServices) -> None:
        """Push the disk as a new image, from a machine without a journal."""
        self._count += 1
        machine = self.machine
        machine.cloud, machine.state_dir = cloud, self._home / f"state-{self._count}"
        machine.request = replace(machine.request, name=f"image-{self._count}")
        machine.push()

    def compare(self, cloud: SandboxServices) -> bool | None:
        """Return what the diagnosis says of a push, None if it can't; a push then has to do as it says."""
        says = self.say(cloud)
        if says:
            self.push(cloud)
        return says

    def say(self, cloud: SandboxServices) -> bool | None:
        """Return what the diagnosis says of a push, None if it can't; one that fails by it has to fail."""
        self.results = results = self.diagnosis(cloud)
        if would_go_through(list(results.values())) == 0:
            return True
        if not any(one.health is Health.FAILS for one in results.values()):
            return None
        with pytest.raises(AliyunImportError):
            self.push(cloud)
        return False


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Account]:
    """Return an account without a bucket and a role."""
    with Sandbox.start(
        tmp_path / "sandbox", settings=Settings(import_s=0.4, image_ready_s=0.0), clock=Clock(running=False)
    ) as running:
        yield Account(running, tmp_path)


@pytest.fixture
def used(new: Account) -> Account:
    """Return an account in which the account itself pushed before."""
    new.push(SandboxServices(new.sandbox))
    return new


def test_each_permission_is_tested_or_listed_as_untested(used: Account) -> None:
    """The least-privilege policy and the diagnosis name the same permissions."""
    found = {one.subject.removeprefix("permission ") for one in used.diagnosis(used.lacking()).values()}
    used.change_bucket(versioning="Enabled")
    found |= {one.subject.removeprefix("permission ") for one in used.diagnosis(used.lacking()).values()}
    needed = {one.name for one in PERMISSIONS}
    assert needed - found == set(UNTESTED)
    assert not found & set(UNTESTED)


def test_a_push_does_as_the_diagnosis_says_without_each_permission(used: Account) -> None:
    """In an account with bucket and role; what is missing has its statement, and is a failure only if a push fails."""
    # Deleting a version is for buckets with versioning.
    needless = [*UNTESTED, "oss:DeleteObjectVersion"]
    assert used.say(used.lacking(*needless)) is True
    assert not {f"permission {name}" for name in needless} & {*used.results}
    for permission in PERMISSIONS:
        if permission.name in needless:
            continue
        says = used.say(used.lacking(permission.name))
        if says:
            needless.append(permission.name)
        one = used.results[f"permission {permission.name}"]
        assert (one.health is Health.FAILS) is (says is False), permission
        assert permission.name in json.loads(one.statement)["Action"]
    # A push that goes through without all of them needs none of them.
    used.push(used.lacking(*needless))


def test_what_can_not_be_tested_in_a_new_account_is_no_yes(new: Account) -> None:
    """A user's permissions to create bucket and role are unknown, those of the account itself are not."""
    for permission in ("oss:PutBucket", "oss:PutObject", "ram:CreateRole", "ram:AttachPolicyToRole"):
        assert new.compare(new.lacking(permission)) is None
    assert new.compare(SandboxServices(new.sandbox)) is True


def _change_role(account: Account, **changes: Any) -> None:
    ram = account.sandbox.state.part(Ram)
    ram.save_role(ACCOUNT, replace(ram.role(ACCOUNT, ROLE), **changes))
    account.sandbox.clock.advance(3600.0)  # ECS notices it later


def _settings(**changes: object) -> Callable[[Account], object]:
    return lambda account: account.sandbox.state.configure(**changes)


TRUSTS_NOBODY = json.dumps({"Version": "1", "Statement": []})
BREAKS: dict[str, tuple[Callable[[Account], object], bool]] = {
    "no room for an image": (_settings(images_per_region=1), False),
    "no room for a snapshot": (_settings(snapshots_per_region=1), False),
    "no imports in the region": (_settings(regions_without_import=[REGION]), False),
    "bucket encrypted with a key": (lambda account: account.change_bucket(encryption="KMS"), False),
    "bucket encrypted by OSS": (lambda account: account.change_bucket(encryption="AES256"), True),
    "bucket of somebody else": (lambda account: account.change_bucket(owner_id="2000000000000000"), False),
    "bucket in another region": (lambda account: account.change_bucket(region="cn-beijing"), False),
    "bucket public": (lambda account: account.change_bucket(acl="public-read"), True),
    "bucket with versions": (lambda account: account.change_bucket(versioning="Enabled"), True),
    "role without policies": (lambda account: _change_role(account, attached={}), True),
    "role that trusts nobody": (lambda account: _change_role(account, trust=TRUSTS_NOBODY), False),
    "nothing": (lambda _: None, True),
}


@contextmanager
def _mended(account: Account) -> Iterator[None]:
    """Restore settings, bucket and role at the end."""
    state = account.sandbox.state
    settings, bucket, role = state.settings, state.part(OssState).buckets[BUCKET], state.part(Ram).role(ACCOUNT, ROLE)
    yield
    state.configure(**vars(settings))
    state.part(OssState).buckets[BUCKET] = bucket
    _change_role(account, **vars(role))


def test_a_push_does_as_the_diagnosis_says_in_a_broken_account(used: Account) -> None:
    """What is wrong in the account itself, with all permissions; each is mended before the next."""
    for name, (break_it, goes_through) in BREAKS.items():
        with _mended(used):
            break_it(used)
            assert used.compare(SandboxServices(used.sandbox)) is goes_through, name


def test_keys_that_are_switched_off_are_found(used: Account) -> None:
    """The identity is the first thing that is asked."""
    cloud = used.lacking()
    key = used.sandbox.state.key("LIMITED")
    assert key is not None
    used.sandbox.state.add_key(replace(key, enabled=False))
    assert used.compare(cloud) is False
