"""Preparation of a sandbox for imports: the role with its policy, a bucket, objects."""

import json
from typing import Any

from aliyun_import.sandbox.core.blob_store import Content, Segment
from aliyun_import.sandbox.oss.state import NULL_VERSION, Bucket, OssState, StoredObject
from aliyun_import.sandbox.ram.state import Ram, Role
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.vendor_sdk import call

ROLE = "AliyunECSImageImportDefaultRole"
POLICY = "AliyunECSImageImportRolePolicy"
TRUST = json.dumps(
    {
        "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["ecs.aliyuncs.com"]}}],
        "Version": "1",
    }
)
BUCKET = "bkt"
GIB = 1 << 30


def make_role(sandbox: Sandbox, *, name: str = ROLE, trust: str = TRUST, policy: str = POLICY) -> None:
    """Create the role for ImportImage through RAM."""
    call(sandbox, "CreateRole", RoleName=name, AssumeRolePolicyDocument=trust)
    call(sandbox, "AttachPolicyToRole", RoleName=name, PolicyName=policy, PolicyType="System")


def make_bucket(sandbox: Sandbox, name: str = BUCKET, *, region: str = "cn-hangzhou", owner_id: str = "") -> Bucket:
    """Create a bucket directly in the state."""
    oss = sandbox.state.part(OssState)
    return oss.add_bucket(name, region=region, owner_id=owner_id or sandbox.account_id)


def put(sandbox: Sandbox, key: str, data: bytes = b"disk", **fields: Any) -> None:
    """Store an object directly in the state."""
    oss = sandbox.state.part(OssState)
    content = oss.blobs.receive([data]).content
    oss.put(oss.buckets[BUCKET], StoredObject(key=key, content=content, **fields))


def remove(sandbox: Sandbox, key: str) -> None:
    """Remove an object directly from the state."""
    oss = sandbox.state.part(OssState)
    oss.remove(oss.buckets[BUCKET], key, NULL_VERSION)


def put_zeros(sandbox: Sandbox, key: str, size: int) -> None:
    """Store a disk of zeros, of any size, which uses no space."""
    oss = sandbox.state.part(OssState)
    oss.put(oss.buckets[BUCKET], StoredObject(key=key, content=Content([Segment(None, 0, size)])))


def put_role(sandbox: Sandbox) -> None:
    """Create the role of `make_role` directly in the state, which takes a tenth of the time."""
    at_s = sandbox.clock.now_s()
    role = Role(
        id="300000000000000001",
        name=ROLE,
        arn=f"acs:ram::{sandbox.account_id}:role/{ROLE}",
        trust=TRUST,
        description="",
        created_s=at_s,
        updated_s=at_s,
        attached={("System", POLICY): at_s},
    )
    with sandbox.state.lock:
        sandbox.state.part(Ram).save_role(sandbox.account_id, role)


def prepare(sandbox: Sandbox) -> Sandbox:
    """Create the role, a bucket and a small disk, disk.raw, in it. Instances have no guests."""
    sandbox.state.configure(instance_console="boots")
    put_role(sandbox)
    make_bucket(sandbox)
    put(sandbox, "disk.raw")
    return sandbox


def mapping(key: str = "disk.raw", **fields: object) -> dict[str, object]:
    """Return a DiskDeviceMapping for the SDK's setter."""
    return {"OSSBucket": BUCKET, "OSSObject": key, **fields}
