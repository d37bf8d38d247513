"""Diagnosis of an account for a push: identity, region, bucket, permissions, role.

Every call has no lasting effect: queries, the dry run of ImportImage, a multipart upload that is started and aborted,
changes of an image and a task that do not exist. A permission that can't be tested without a change is
unknown if a push needs it, and then the exit code is not 0.
"""

import secrets
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from aliyun_import.account.staging_bucket import (
    check_encryption,
    derived_bucket,
    refuse_unsuitable,
    warn_of_risks,
)
from aliyun_import.context import system_context
from aliyun_import.errors import (
    AliyunImportError,
    BucketMissing,
    Exit,
    ImageImporting,
    NameTaken,
    ObjectMissing,
    PermissionDenied,
    RefusedError,
    RoleNotAuthorized,
    RoleNotVisible,
)
from aliyun_import.events import Event, FindingRaised, Warned
from aliyun_import.image.submit import dry_run_import, new_client_token
from aliyun_import.model.image import PUSH_ID_TAG
from aliyun_import.model.objects import KEY_PREFIX, BucketInfo
from aliyun_import.model.request import DiskFormat, DiskMapping, DiskRequest, ImportCall, ImportRequest
from aliyun_import.model.roles import Policy
from aliyun_import.push.diagnosis import Diagnosis, Health, failed
from aliyun_import.push.dry_run import PlannedRoles
from aliyun_import.role.ensure import RoleOutcome, ensure_role
from aliyun_import.role.spec import OSS_ROLE, statement_of
from aliyun_import.services import (
    PERMISSIONS,
    ImageService,
    ObjectStore,
    Permission,
    Resource,
    RoleService,
    Services,
)

# `Permission.without` of a permission without which a push fails or can't resume. The others are optional.
_REQUIRED = "required"
_PERMISSIONS = {one.name: one for one in PERMISSIONS}
# Has the form of a version id; no version has it.
_NO_VERSION = "CAEQ" + "A" * 60


@dataclass(frozen=True, slots=True)
class _Probe:
    """A call that shows whether a permission is granted."""

    permission: str
    call: Callable[[], object]


def diagnose(services: Services, *, region: str, bucket: str | None) -> Iterator[Diagnosis]:
    """Yield the results, each as soon as it is known; `services` do not retry. Errors of services become results."""
    try:
        me = services.identity.whoami()
    except AliyunImportError as error:
        yield failed("identity", error)
        return
    yield Diagnosis(subject="identity", health=Health.OK, detail=f"account {me.account_id}, {me.arn}")
    is_root = me.arn.endswith(":root")  # the account itself, which has every permission
    yield from _region(services.images, region, bucket)
    name = bucket or derived_bucket(me.account_id, region)
    store = services.store(name)
    info, found = _bucket(store, region=region, account_id=me.account_id, is_derived=bucket is None)
    yield from found
    if info is None and found[-1].health is Health.OK and not is_root:
        yield _untested_in_bucket(name, region)
    role_works = yield from _import(services.images, region, name, bucket)
    # Lazily: the second probe of an upload needs the result of the first.
    for probe in chain(_image_probes(services.images), _store_probes(store, info) if info else ()):
        yield _test(probe, bucket)
    yield from _role(services.roles, name, bucket, is_root=is_root, works=role_works)


def _region(images: ImageService, region: str, bucket: str | None) -> Iterator[Diagnosis]:
    regions: list[str] = []
    yield _test(_Probe("ecs:DescribeRegions", lambda: regions.extend(images.regions())), bucket)
    if not regions:
        return
    if region in regions:
        yield Diagnosis(subject="region", health=Health.OK, detail=f"{region} is open to the account")
        return
    yield Diagnosis(
        subject="region",
        health=Health.FAILS,
        detail=f"{region} is not among the {len(regions)} regions of the account",
        remedy=f"Pass --region with one of: {', '.join(sorted(regions))}.",
        exit_code=Exit.REFUSED,
    )


def _bucket(
    store: ObjectStore, *, region: str, account_id: str, is_derived: bool
) -> tuple[BucketInfo | None, list[Diagnosis]]:
    subject = f"bucket {store.bucket}"
    raised: list[Event] = []
    infos: list[BucketInfo | None] = []
    read = _test(_Probe("oss:GetBucketInfo", lambda: infos.append(store.bucket_info())), store.bucket)
    if not infos:
        return None, [read]
    info = infos[0]
    try:
        if info is not None:
            refuse_unsuitable(info, region=region, account_id=account_id)
            check_encryption(info, emit=raised.append)
            warn_of_risks(info, system_context(emit=raised.append))
    except AliyunImportError as error:
        return None, [read, failed(subject, error)]
    if info is None:
        detail = "does not exist; a push creates it, private" if is_derived else "does not exist"
        health = Health.OK if is_derived else Health.FAILS
        remedy = "" if is_derived else f"Create it in {region}, or leave --bucket out."
        exit_code = Exit.DONE if is_derived else Exit.REFUSED
        absent = Diagnosis(subject=subject, health=health, detail=detail, remedy=remedy, exit_code=exit_code)
        return None, [read, absent]
    facts = [info.region, info.storage_class, info.acl]
    facts += [f"versioning {info.versioning}"] if info.versioning else []
    facts += [f"encryption {info.encryption}"] if info.encryption else []
    found = [read, Diagnosis(subject=subject, health=Health.OK, detail=", ".join(facts))]
    for event in raised:
        if isinstance(event, FindingRaised):
            found.append(_warning(subject, event.finding.message, event.finding.remedy))
        elif isinstance(event, Warned):
            found.append(_warning(subject, event.message, event.remedy))
    return info, found


def _warning(subject: str, message: str, remedy: str | None) -> Diagnosis:
    return Diagnosis(subject=subject, health=Health.WARNS, detail=message, remedy=remedy or "")


def _untested_in_bucket(name: str, region: str) -> Diagnosis:
    needed = [one.name for one in PERMISSIONS if one.resource is Resource.OBJECT and one.without == _REQUIRED]
    return Diagnosis(
        subject="permissions in the bucket",
        health=Health.UNKNOWN,
        detail=f"oss:PutBucket, {', '.join(needed)} can't be tested before the bucket {name} exists",
        remedy=f"Create it with `ossutil mb oss://{name} --region {region} --acl private`, and run this again.",
        exit_code=Exit.ACCESS,
    )


def _import(images: ImageService, region: str, name: str, bucket: str | None) -> Generator[Diagnosis, None, bool]:
    """Test whether ECS would accept an import: permissions, and other refusals of a dry run, such as a quota.

    Returns whether ECS used the role: it can report a missing object only if it read the bucket. The quotas of images
    and snapshots can't be queried: DescribeAccountAttributes lacks them.
    """
    refusals: list[AliyunImportError] = []
    used_role: list[bool] = []

    def dry_run(tags: Mapping[str, str]) -> None:
        try:
            used_role.append(_dry_run(images, region=region, bucket=name, tags=tags))
        except PermissionDenied:
            raise
        except AliyunImportError as error:
            refusals.append(error)

    may_import = _test(_Probe("ecs:ImportImage", lambda: dry_run({})), bucket)
    yield may_import
    if may_import.health is not Health.OK:
        return False
    yield _test(_Probe("ecs:TagResources", lambda: dry_run({PUSH_ID_TAG: "doctor"})), bucket)
    if refusals:
        yield failed("import", refusals[0])
    else:
        detail = "the dry run of ImportImage is not refused, also not for the quota of images or snapshots"
        yield Diagnosis(subject="import", health=Health.OK, detail=detail)
    return any(used_role)


def _image_probes(images: ImageService) -> Iterator[_Probe]:
    nothing = f"doctor-{secrets.token_hex(4)}"
    yield _Probe("ecs:DescribeImages", lambda: images.images(name=nothing))
    yield _Probe("ecs:DescribeTasks", images.tasks)
    yield _Probe("ecs:DescribeTaskAttribute", lambda: images.task(f"t-{nothing}"))
    yield _Probe("ecs:ModifyImageAttribute", lambda: _absent(lambda: images.rename_image(f"m-{nothing}", name=nothing)))
    yield _Probe("ecs:DeleteImage", lambda: _absent(lambda: images.delete_image(f"m-{nothing}")))
    yield _Probe("ecs:CancelTask", lambda: _absent(lambda: images.cancel_task(f"t-{nothing}")))


def _absent(call: Callable[[], object]) -> None:
    """Call an operation on a missing resource; a refusal of another kind shows that the permission is granted."""
    with suppress(RefusedError):
        call()


def _dry_run(images: ImageService, *, region: str, bucket: str, tags: Mapping[str, str]) -> bool:
    """Dry-run the import of an object that does not exist, and return whether ECS reports it missing.

    A bucket, role or name that a push would provide may be missing, too. Raises every other refusal.
    """
    name = f"doctor-{secrets.token_hex(4)}"
    key = f"{KEY_PREFIX}{name}.raw"
    request = ImportRequest(
        region=region,
        disks=(DiskRequest(bucket=bucket, key=key, format=DiskFormat.RAW, size_gib=20),),
        name=name,
        role_name=OSS_ROLE.default_name,
    )
    mapping = DiskMapping(bucket=bucket, key=key, format=DiskFormat.RAW, size_gib=20)
    call = ImportCall(request=request, mappings=(mapping,), client_token=new_client_token(), tags=tags)
    try:
        dry_run_import(images, call)
    except ObjectMissing:
        return True
    except (BucketMissing, RoleNotVisible, RoleNotAuthorized, NameTaken, ImageImporting):
        return False
    return True


def _store_probes(store: ObjectStore, info: BucketInfo) -> Iterator[_Probe]:
    key = f"{KEY_PREFIX}doctor-{secrets.token_hex(4)}"
    upload_ids: list[str] = []

    def begin() -> None:
        upload_ids.append(store.start_upload(key))

    yield _Probe("oss:PutObject", begin)
    if upload_ids:
        yield _Probe("oss:ListParts", lambda: store.list_parts(key, upload_ids[0]))
        yield _Probe("oss:AbortMultipartUpload", lambda: store.abort(key, upload_ids[0]))
    yield _Probe("oss:GetObject", lambda: store.head(key))
    yield _Probe("oss:ListObjects", lambda: store.list_objects(key))
    yield _Probe("oss:ListMultipartUploads", lambda: store.list_uploads(key))
    if info.versioning:  # deleting a missing key would create a delete marker
        yield _Probe("oss:DeleteObjectVersion", lambda: _absent(lambda: store.delete(key, version_id=_NO_VERSION)))
    else:
        yield _Probe("oss:DeleteObject", lambda: store.delete(key))


def _test(probe: _Probe, bucket: str | None) -> Diagnosis:
    permission = _PERMISSIONS[probe.permission]
    subject = f"permission {permission.name}"
    try:
        probe.call()
    except PermissionDenied as error:
        return _denied(subject, permission, error, bucket)
    except AliyunImportError as error:
        return failed(subject, error, health=_health_without(permission))
    return Diagnosis(subject=subject, health=Health.OK, detail=permission.purpose)


def _health_without(permission: Permission) -> Health:
    return Health.FAILS if permission.without == _REQUIRED else Health.WARNS


def _denied(subject: str, permission: Permission, error: AliyunImportError, bucket: str | None) -> Diagnosis:
    health = _health_without(permission)
    without = "" if health is Health.FAILS else f"; without it: {permission.without}"
    return Diagnosis(
        subject=subject,
        health=health,
        detail=f"missing, to {permission.purpose}{without}",
        remedy=f"Ask an administrator to add the statement below for {permission.name}.",
        statement=statement_of(permission, bucket),
        exit_code=error.exit_code,
    )


def _role(roles: RoleService, name: str, bucket: str | None, *, is_root: bool, works: bool) -> Iterator[Diagnosis]:
    """Test the permissions to read the role, and whether a push would use it, change it, or fail.

    `works`: ECS used it in the dry run.
    """
    role_name, subject = OSS_ROLE.default_name, f"role {OSS_ROLE.default_name}"
    policy = Policy(name=OSS_ROLE.system_policy, type="System")
    yield _test(_Probe("ram:GetRole", lambda: roles.role(role_name)), bucket)
    listed = _Probe("ram:ListPoliciesForRole", lambda: _absent(lambda: roles.attached_policies(role_name)))
    yield _test(listed, bucket)
    yield _test(_Probe("ram:GetPolicy", lambda: _absent(lambda: roles.policy_document(policy))), bucket)
    planned = PlannedRoles(roles)
    try:
        change = ensure_role(planned, system_context(), role_name, bucket=name, fix=False)
    except AliyunImportError as error:
        yield failed(subject, error)
        return
    detail, health = "ECS may assume it, and it may read the bucket", Health.OK
    if change.state is RoleOutcome.UNSEEN and works:
        detail, health = "could not be read with these credentials; ECS used it in the dry run", Health.WARNS
    elif change.state is RoleOutcome.UNSEEN:
        detail, health = "could not be read, so that ImportImage decides", Health.UNKNOWN
    elif planned.steps and is_root:
        detail, health = f"a push would {' and '.join(planned.steps)}", Health.WARNS
    elif planned.steps:
        detail = f"a push has to {' and '.join(planned.steps)}; whether it may can't be tested without doing it"
        health = Health.UNKNOWN
    yield Diagnosis(
        subject=subject,
        health=health,
        detail=detail,
        remedy="Have `aliyun-import role ensure` run by an administrator." if health is Health.UNKNOWN else "",
        exit_code=Exit.ACCESS if health is Health.UNKNOWN else Exit.DONE,
    )
