"""Diagnosis of what a push needs of an account: identity, region, bucket, permissions, role.

Every call is one that a push makes, or one that changes nothing that stays: the dry run of ImportImage, a multipart
upload that is begun and aborted, queries. What can't be asked without a change is left out.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from aliyun_import.account.staging_bucket import PREFIX, derived_bucket, refuse_unsuitable
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    BucketMissing,
    Exit,
    ImageImporting,
    NameTaken,
    ObjectMissing,
    PermissionDenied,
    RoleNotAuthorized,
    RoleNotVisible,
)
from aliyun_import.image.submit import dry_run_import, new_client_token
from aliyun_import.model.objects import BucketInfo
from aliyun_import.model.request import DiskFormat, DiskMapping, DiskRequest, ImportCall, ImportRequest
from aliyun_import.role.ensure import RoleState, inspect_role
from aliyun_import.role.spec import OSS_ROLE, statement_of
from aliyun_import.services.interface import PERMISSIONS, ImageService, ObjectStore, Permission, Services

# Without one of these a push fails, or can't resume; the others only take a convenience away.
_REQUIRED = "required"
# OSS and the RPC services refuse signatures whose time differs by more.
CLOCK_LIMIT_S = 900.0


class Health(StrEnum):
    """Result of one test. Only `fails` keeps a push from going through."""

    OK = "ok"
    FAILS = "fails"
    WARNS = "warns"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that was tested. `statement` is what to add to the user's policy, as JSON, "" if nothing is missing."""

    subject: str
    health: Health
    detail: str
    remedy: str = ""
    statement: str = ""
    exit_code: Exit = Exit.DONE


@dataclass(frozen=True, slots=True)
class _Probe:
    """A call that shows whether a permission is granted."""

    permission: str
    call: Callable[[], object]


def diagnose(services: Services, *, region: str, bucket: str | None) -> Iterator[Diagnosis]:
    """Yield the results, each as soon as it is known; `services` do not retry. No answer of a service is raised."""
    try:
        me = services.identity.whoami()
    except AliyunImportError as error:
        yield _failed("identity", error)
        return
    yield Diagnosis(subject="identity", health=Health.OK, detail=f"account {me.account_id}, {me.arn}")
    yield _region(services.images, region)
    name = bucket or derived_bucket(me.account_id, region)
    store = services.store(name)
    info, found = _bucket(store, region=region, account_id=me.account_id, is_derived=bucket is None)
    yield found
    # One after the other: what there is to test depends on what could be begun.
    for probe in chain(_image_probes(services, region, name), _store_probes(store, info) if info else ()):
        yield _tested(probe, bucket)
    yield from _role(services, name, bucket)


def would_go_through(results: list[Diagnosis]) -> Exit:
    """Return 0 if a push would go through, else the exit code with which it would fail first."""
    return next((one.exit_code for one in results if one.health is Health.FAILS), Exit.DONE)


def credentials_diagnosis(where: str, read: Callable[[], object], expires_s: Callable[[], float | None]) -> Diagnosis:
    """Return where the credentials come from, whether they can be read, and until when they are good if that is known.

    Whether a service accepts them is the diagnosis of the identity.
    """
    try:
        keys, end_s = read(), expires_s()
    except AliyunImportError as error:
        return _failed("credentials", error)
    kind = "temporary, with an unknown end" if getattr(keys, "token", None) else "a permanent access key"
    if end_s is not None:
        kind = f"temporary, valid until {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(end_s))}"
    return Diagnosis(subject="credentials", health=Health.OK, detail=f"from {where}, {kind}")


def endpoint_diagnosis(service: str, url: str, problem: str, *, is_used: bool) -> Diagnosis:
    """Return whether an endpoint can be reached; one that a push does not use is no reason to fail."""
    if not problem:
        detail = url if is_used else f"{url} can be reached, and is not used"
        return Diagnosis(subject=f"endpoint {service}", health=Health.OK, detail=detail)
    health = Health.FAILS if is_used else Health.UNKNOWN
    return Diagnosis(
        subject=f"endpoint {service}",
        health=health,
        detail=f"{url}: {problem}" if is_used else f"{url} can't be reached from here, and is not used",
        remedy="Check network and proxy, or choose another one with --oss-endpoint-type." if is_used else "",
        exit_code=Exit.TRANSIENT if is_used else Exit.DONE,
    )


def clock_diagnosis(ahead_s: Sequence[float]) -> Diagnosis:
    """Return whether this machine's clock agrees with the services' well enough for their signatures."""
    if not ahead_s:
        return Diagnosis(subject="clock", health=Health.UNKNOWN, detail="no endpoint named its time")
    most = max(ahead_s, key=abs)
    words = f"{abs(most):.0f} s {'ahead of' if most > 0 else 'behind'} the services"
    if abs(most) < CLOCK_LIMIT_S / 3:
        return Diagnosis(subject="clock", health=Health.OK, detail=words)
    is_wrong = abs(most) >= CLOCK_LIMIT_S
    return Diagnosis(
        subject="clock",
        health=Health.FAILS if is_wrong else Health.WARNS,
        detail=f"{words}; they refuse more than 15 minutes",
        remedy="Set the clock, e.g. with `timedatectl set-ntp true`.",
        exit_code=Exit.ACCESS if is_wrong else Exit.DONE,
    )


def _failed(subject: str, error: AliyunImportError, *, health: Health = Health.FAILS, statement: str = "") -> Diagnosis:
    detail = f"{error.summary} {error.cause or ''}".strip()
    return Diagnosis(
        subject=subject,
        health=health,
        detail=detail,
        remedy=error.remedy or "",
        statement=statement,
        exit_code=error.exit_code,
    )


def _region(images: ImageService, region: str) -> Diagnosis:
    try:
        regions = images.regions()
    except AliyunImportError as error:
        return _failed("region", error, health=Health.WARNS if isinstance(error, AccessError) else Health.FAILS)
    if region in regions:
        return Diagnosis(subject="region", health=Health.OK, detail=f"{region} is open to the account")
    return Diagnosis(
        subject="region",
        health=Health.FAILS,
        detail=f"{region} is not among the {len(regions)} regions of the account",
        remedy=f"Pass --region with one of: {', '.join(sorted(regions))}.",
        exit_code=Exit.REFUSED,
    )


def _bucket(
    store: ObjectStore, *, region: str, account_id: str, is_derived: bool
) -> tuple[BucketInfo | None, Diagnosis]:
    subject = f"bucket {store.bucket}"
    try:
        info = store.bucket_info()
        if info is not None:
            refuse_unsuitable(info, region=region, account_id=account_id)
    except AliyunImportError as error:
        return None, _failed(subject, error)
    if info is None:
        detail = "does not exist; a push creates it, private" if is_derived else "does not exist"
        health = Health.OK if is_derived else Health.FAILS
        remedy = "" if is_derived else f"Create it in {region}, or leave --bucket out."
        exit_code = Exit.DONE if is_derived else Exit.REFUSED
        return None, Diagnosis(subject=subject, health=health, detail=detail, remedy=remedy, exit_code=exit_code)
    facts = [info.region, info.storage_class, info.acl]
    facts += [f"versioning {info.versioning}"] if info.versioning else []
    facts += [f"encryption {info.encryption}"] if info.encryption else []
    return info, Diagnosis(subject=subject, health=Health.OK, detail=", ".join(facts))


def _image_probes(services: Services, region: str, bucket: str) -> Iterator[_Probe]:
    images = services.images
    nothing = f"doctor-{secrets.token_hex(4)}"
    yield _Probe("ecs:ImportImage", lambda: _dry_run(images, region=region, bucket=bucket, name=nothing))
    yield _Probe("ecs:DescribeImages", lambda: images.images(name=nothing))
    yield _Probe("ecs:DescribeTasks", images.tasks)
    yield _Probe("ecs:DescribeTaskAttribute", lambda: images.task(f"t-{nothing}"))


def _dry_run(images: ImageService, *, region: str, bucket: str, name: str) -> None:
    """Ask for an image of an object that does not exist; every refusal but that of the right is an answer."""
    key = f"{PREFIX}{name}.raw"
    request = ImportRequest(
        region=region,
        disks=(DiskRequest(bucket=bucket, key=key, format=DiskFormat.RAW, size_gib=20),),
        name=name,
        role_name=OSS_ROLE.default_name,
    )
    mapping = DiskMapping(bucket=bucket, key=key, format=DiskFormat.RAW, size_gib=20)
    call = ImportCall(request=request, mappings=(mapping,), client_token=new_client_token(), tags={})
    try:
        dry_run_import(images, call)
    except (ObjectMissing, BucketMissing, RoleNotVisible, RoleNotAuthorized, NameTaken, ImageImporting):
        return


def _store_probes(store: ObjectStore, info: BucketInfo) -> Iterator[_Probe]:
    key = f"{PREFIX}doctor-{secrets.token_hex(4)}"
    begun: list[str] = []

    def begin() -> None:
        begun.append(store.start_upload(key))

    yield _Probe("oss:PutObject", begin)
    if begun:
        yield _Probe("oss:ListParts", lambda: store.list_parts(key, begun[0]))
        yield _Probe("oss:AbortMultipartUpload", lambda: store.abort(key, begun[0]))
    yield _Probe("oss:GetObject", lambda: store.head(key))
    yield _Probe("oss:ListObjects", lambda: store.list_objects(key))
    yield _Probe("oss:ListMultipartUploads", lambda: store.list_uploads(key))
    if not info.versioning:  # in such a bucket the deletion of nothing leaves a marker
        yield _Probe("oss:DeleteObject", lambda: store.delete(key))


def _tested(probe: _Probe, bucket: str | None) -> Diagnosis:
    permission = next(one for one in PERMISSIONS if one.name == probe.permission)
    subject = f"permission {permission.name}"
    try:
        probe.call()
    except PermissionDenied as error:
        return _denied(subject, permission, error, bucket)
    except AliyunImportError as error:
        return _failed(subject, error)
    return Diagnosis(subject=subject, health=Health.OK, detail=permission.purpose)


def _denied(subject: str, permission: Permission, error: AliyunImportError, bucket: str | None) -> Diagnosis:
    health = Health.FAILS if permission.without == _REQUIRED else Health.WARNS
    found = _failed(subject, error, health=health, statement=statement_of(permission, bucket))
    without = "" if health is Health.FAILS else f"; without it: {permission.without}"
    return Diagnosis(
        subject=subject,
        health=health,
        detail=f"missing, to {permission.purpose}{without}",
        remedy=f"Ask an administrator to add the statement below for {permission.name}.",
        statement=found.statement,
        exit_code=found.exit_code,
    )


def _role(services: Services, name: str, bucket: str | None) -> Iterator[Diagnosis]:
    subject = f"role {OSS_ROLE.default_name}"
    try:
        state: RoleState = inspect_role(services.roles, OSS_ROLE.default_name, bucket=bucket or name)
    except AccessError as error:
        get_role = next(one for one in PERMISSIONS if one.name == "ram:GetRole")
        statement = statement_of(get_role, bucket)
        yield _failed(subject, error, health=Health.WARNS, statement=statement)
        return
    except AliyunImportError as error:
        yield _failed(subject, error)
        return
    if state.role is None:
        detail, health = "does not exist; a push creates it and attaches its policy", Health.WARNS
        remedy = "Run `aliyun-import role ensure` as an administrator, or grant ram:CreateRole for the first push."
    elif not state.ready:
        lacks = ", ".join(state.missing) or "its trust policy does not let ECS assume it"
        detail, health, remedy = f"lacks {lacks}", Health.WARNS, "Run `aliyun-import role ensure`."
    else:
        detail, health, remedy = "ECS may assume it, and it may read the bucket", Health.OK, ""
    yield Diagnosis(subject=subject, health=health, detail=detail, remedy=remedy)
