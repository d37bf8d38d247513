"""This file puts the tool together: settings become adapters, options become the engine's requests."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aliyun_import.checks.names import default_name
from aliyun_import.cli.settings import CloudSettings, command_line, settle, state_directory
from aliyun_import.cloud.credentials.source import CredentialsSource, load_credentials, region_of_profile
from aliyun_import.cloud.ecs import EcsImages
from aliyun_import.cloud.endpoints import Endpoints, internal_oss_url, resolve_endpoints
from aliyun_import.cloud.instance_metadata import internal_endpoint_answers
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.ram import RamRoles, StsIdentity
from aliyun_import.errors import UsageError
from aliyun_import.events import Emit, Noted
from aliyun_import.model.request import Architecture, BootMode, DiskFormat, DiskRequest, ImportRequest, OsType
from aliyun_import.push.context import Cloud, PushOptions
from aliyun_import.upload.context import TransferOptions

OSS_URL = "oss://"
# Connections that are kept open to OSS: one for each worker.
MOST_JOBS = 64


def open_cloud(given: Mapping[str, Any], *, emit: Emit) -> tuple[Cloud, str]:
    """Make the adapters that the options ask for, and give the region with them.

    Nothing is asked of the network, but where --oss-endpoint-type is auto and this may be a machine of the region.
    """
    settings = settle(
        region=given["region"],
        profile=given["profile"],
        endpoint_url=given["endpoint_url"],
        oss_endpoint=given["oss_endpoint"],
        oss_cname=given["oss_cname"],
        oss_endpoint_type=given["oss_endpoint_type"],
        region_of_profile=region_of_profile,
        environment={} if given.get("static_key") else os.environ,
    )
    credentials = _credentials(settings, given.get("static_key"))
    endpoints = _endpoints(settings)
    emit(Noted(message=f"credentials from {'the sandbox' if given.get('static_key') else credentials.describe()}"))
    emit(
        Noted(message=f"OSS at {endpoints.oss}, ECS at {endpoints.ecs}, RAM at {endpoints.ram}, STS at {endpoints.sts}")
    )
    cloud = Cloud(
        identity=StsIdentity(endpoints=endpoints, credentials=credentials),
        store=lambda bucket: OssStore(bucket, endpoints=endpoints, credentials=credentials, workers=MOST_JOBS),
        roles=RamRoles(endpoints=endpoints, credentials=credentials),
        images=EcsImages(endpoints=endpoints, credentials=credentials),
        endpoint=settings.endpoint_url or "",
        # A borrowed sandbox is at another place each time.
        oss_endpoint="" if given.get("static_key") else endpoints.oss,
    )
    return cloud, settings.region


def _credentials(settings: CloudSettings, static_key: tuple[str, str] | None) -> CredentialsSource:
    if static_key is None:
        return load_credentials(profile=settings.profile)
    key_id, secret = static_key
    environment = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key_id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
    return load_credentials(environment=environment)


def _endpoints(settings: CloudSettings) -> Endpoints:
    kind = settings.oss_endpoint_type
    if kind == "auto":
        elsewhere = settings.endpoint_url or settings.oss_endpoint or settings.overrides.get("OSS")
        near = not elsewhere and internal_endpoint_answers(settings.region, internal_oss_url(settings.region))
        kind = "internal" if near else "public"
    return resolve_endpoints(
        settings.region,
        endpoint_url=settings.endpoint_url,
        overrides=settings.overrides,
        oss_endpoint=settings.oss_endpoint,
        oss_cname=settings.oss_cname,
        oss_endpoint_type=kind,
    )


def push_request(disk: str, given: Mapping[str, Any], *, region: str) -> tuple[ImportRequest, PushOptions]:
    """Say what the image shall be, and how to go about it, from the options of `push`."""
    system = system_disk(disk, disk_format=given["disk_format"], size_gib=given["disk_size"])
    request = ImportRequest(
        region=region,
        disks=(system, *(data_disk(text) for text in given["data_disks"])),
        name=given["name"] or default_name(disk.removeprefix(OSS_URL)),
        description=given["description"],
        architecture=Architecture(given["architecture"]) if given["architecture"] else None,
        os_type=OsType(given["os_type"]) if given["os_type"] else None,
        platform=given["platform"],
        boot_mode=BootMode(given["boot_mode"]) if given["boot_mode"] else None,
        license_type=given["license_type"],
        role_name=given["role_name"],
        resource_group=given["resource_group"],
        tags=_tags(given["tags"]),
        nvme_support=given["nvme_support"],
        imds_support=given["imds_support"],
        detection_strategy=given["detection_strategy"],
        storage_location_arn=given["storage_location_arn"],
        client_token=given["client_token"],
    )
    return request, _push_options(given)


def _push_options(given: Mapping[str, Any]) -> PushOptions:
    state_dir = state_directory(given["state_dir"])
    return PushOptions(
        transfer=TransferOptions(
            jobs=given["jobs"],
            limit_rate_bytes_s=given["limit_rate"],
            keep_object=given["keep_object"],
        ),
        state_dir=state_dir,
        work_dir=given["work_dir"] or state_dir / "work",
        bucket=given["bucket"],
        key=given["key"],
        base_key=given["base_key"],
        timeout_s=given["timeout"],
        wait=not given["no_wait"],
        dry_run=given["dry_run"],
        force=given["force"],
        force_new=given["force_new"],
        fix_role=given["fix_role"],
        cancel_on_interrupt=given["cancel_on_interrupt"],
        replace=given["replace"],
        name_given=bool(given["name"]),
        skip_checks=frozenset(given["skip_checks"]),
        command=command_line(),
    )


def system_disk(text: str, *, disk_format: str | None, size_gib: int | None) -> DiskRequest:
    """Read the DISK argument: a path, or oss://BUCKET/KEY."""
    return _disk(text, DiskFormat(disk_format) if disk_format else None, size_gib)


def data_disk(text: str) -> DiskRequest:
    """Read one --data-disk: DISK[,size=GiB][,format=FORMAT]; a path may hold commas. Raises UsageError."""
    size_gib: int | None = None
    disk_format: DiskFormat | None = None
    while "," in text:
        head, _, last = text.rpartition(",")
        name, equals, value = last.partition("=")
        if not equals or name not in {"size", "format"}:
            break
        try:
            if name == "size":
                size_gib = int(value.removesuffix("GiB").removesuffix("G"))
            else:
                disk_format = DiskFormat(value.upper())
        except ValueError as error:
            raise UsageError(
                f"--data-disk {text}: {name}={value} can't be read.",
                code="data-disk-malformed",
                remedy="Write it as DISK,size=40,format=VHD: whole GiB, and RAW, VHD, QCOW2 or VMDK.",
            ) from error
        text = head
    return _disk(text, disk_format, size_gib)


def _disk(text: str, disk_format: DiskFormat | None, size_gib: int | None) -> DiskRequest:
    if not text.startswith(OSS_URL):
        return DiskRequest(path=Path(text), format=disk_format, size_gib=size_gib)
    bucket, _, key = text.removeprefix(OSS_URL).partition("/")
    if not bucket or not key:
        raise UsageError(
            f"{text} does not name an object.",
            code="oss-url-malformed",
            remedy="Write it as oss://BUCKET/KEY.",
        )
    return DiskRequest(bucket=bucket, key=key, format=disk_format, size_gib=size_gib)


def _tags(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for key, value in pairs:
        if key in tags:
            raise UsageError(
                f"The tag {key} was given twice.",
                code="tag-twice",
                remedy=f"Pass --tag {key}=VALUE once: a tag has one value.",
            )
        tags[key] = value
    return tags
