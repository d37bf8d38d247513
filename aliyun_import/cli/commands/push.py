"""Command `push`."""

import re
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.commands.image import PUSH_BOOT_TEST, YES, check_boot_test_options, confirmation
from aliyun_import.cli.params import (
    COMMON,
    RARE,
    Bytes,
    Callback,
    CloudOptions,
    Command,
    Gib,
    KeyValue,
    Number,
    OneOf,
    OutputOptions,
    Seconds,
    cloud_options,
    complete_from,
    option,
    options_as_dataclass,
    output_options,
    panel,
    parameter_options,
)
from aliyun_import.cli.settings import ignore_cloud_settings
from aliyun_import.errors import UsageError
from aliyun_import.model.request import DiskFormat, DiskRequest, ImportParameters, ImportRequest
from aliyun_import.model.roles import DEFAULT_ROLE_NAME

if TYPE_CHECKING:
    from aliyun_import.push.options import PushOptions
    from aliyun_import.upload.context import TransferOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """Values of the options that describe the image and its disks."""

    name: str | None = None
    data_disks: tuple[str, ...] = ()
    disk_format: DiskFormat | None = None
    disk_size: int | None = None
    role_name: str | None = None
    client_token: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


def image_options(function: Callback) -> Callback:
    """Add the options that describe the image and its disks, gathered into `image`."""
    options = panel(
        "Image",
        option("--name", help="Name of the image.", show_default="made from the file name", panel=COMMON),
        option(
            "--data-disk",
            "data_disks",
            multiple=True,
            metavar="DISK[,size=GiB][,format=F]",
            help="Data disk; repeatable, up to 16.",
            panel=COMMON,
        ),
        option("--tag", "tags", type=KeyValue(), multiple=True, help="Tag of the image; repeatable, up to 18."),
        option(
            "--format",
            "disk_format",
            type=OneOf(tuple(DiskFormat)),
            help="Format of the system disk.",
            show_default="detected from the content",
        ),
        option(
            "--disk-size",
            type=Gib(),
            help="Size of the system disk of the image in GiB.",
            show_default="virtual size, rounded up",
        ),
        option(
            "--role-name",
            help="RAM role by which ECS reads the bucket.",
            show_default=DEFAULT_ROLE_NAME,
            panel="Cloud",
        ),
        option(
            "--client-token",
            help="Token that makes ImportImage idempotent.",
            show_default="made by push and kept in the journal",
            panel=RARE,
        ),
    )
    return options_as_dataclass("image", f"{__name__}:ImageOptions", options)(function)


def transfer_options(function: Callback) -> Callback:
    """Add the options of the transfer, gathered into `transfer`."""
    options = panel(
        "Upload",
        option("--keep-object", is_flag=True, help="Keep the staging object, as the base of the next push."),
        option(
            "--send-zeros", is_flag=True, help="Send zeros that OSS refuses to create by copying, whatever their size."
        ),
        option("--jobs", type=Number(1, 64), help="Number of parts to upload in parallel.", show_default="adaptive"),
        option(
            "--limit-rate",
            "limit_rate_bytes_s",
            type=Bytes(),
            metavar="BYTES",
            help="Maximum total upload rate in bytes per second, e.g. 50M.",
            show_default="no limit",
        ),
    )
    return options_as_dataclass("transfer", "aliyun_import.upload.context:TransferOptions", options)(function)


def _negated(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    del ctx, param
    return not value


def _as_set(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> frozenset[str]:
    del ctx, param
    return frozenset(value)


_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_PUSH = (
    option(
        "--bucket",
        help="Bucket of the staging object.",
        show_default="aliyun-import-<account id>-<region>",
        panel=COMMON,
    ),
    option(
        "--key",
        help="Key of the staging object.",
        show_default="made from image name and disk content",
        panel="Upload",
    ),
    option(
        "--keep-last",
        type=Number(1),
        metavar="N",
        help="Keep the newest N kept objects, and N images renamed by --replace, of this name; remove older ones.",
        show_default="all stay",
        panel="Upload",
    ),
    option(
        "--base",
        "base_key",
        metavar="KEY",
        help="Object in the bucket whose unchanged ranges are copied.",
        show_default="the last one of this image name",
        panel="Upload",
    ),
    option(
        "--timeout",
        "timeout_s",
        type=Seconds(),
        help="Maximum time to wait for the import, e.g. 2h; the import continues.",
        show_default="no limit",
        panel="Waiting",
    ),
    option(
        "--no-wait",
        "wait",
        is_flag=True,
        callback=_negated,
        help="Exit when the import has started, and print its task id.",
        panel="Waiting",
    ),
    option("--dry-run", is_flag=True, help="Run every check and print the plan; change nothing.", panel=COMMON),
    option(
        "--replace",
        type=click.Choice(["rename", "delete"]),
        help="Take the name from the image that has it: rename or delete that image once the new one is usable.",
        panel=COMMON,
    ),
    option("--force-new", is_flag=True, help="Create another image even if this disk has been imported already."),
    option(
        "--fix",
        "fix_role",
        is_flag=True,
        help="Extend the trust policy of a role that does not let ECS assume it.",
        panel="Cloud",
    ),
    option(
        "--skip-check",
        "skip_checks",
        multiple=True,
        metavar="CHECK",
        callback=_as_set,
        help="Check whose findings are ignored; repeatable.",
        shell_complete=complete_from("checks"),
    ),
    option("--force", is_flag=True, help="Continue in spite of findings that block."),
    option(
        "--cancel-on-interrupt",
        is_flag=True,
        help="Cancel the import on Ctrl-C instead of detaching from it.",
        panel="Waiting",
    ),
    option(
        "--state-dir",
        type=_DIRECTORY,
        help="Directory of the journals.",
        show_default="the user's directory for program state",
    ),
    option(
        "--work-dir",
        type=_DIRECTORY,
        help="Directory for converted disks, temporary files of the size of a disk.",
        show_default="work in --state-dir",
    ),
)


def push_options(function: Callback) -> Callback:
    """Add the options of the run, gathered into `options`."""

    def options(function: Callback) -> Callback:
        return panel(RARE, *_PUSH)(panel("Boot test", *PUSH_BOOT_TEST)(function))

    return options_as_dataclass("options", "aliyun_import.push.options:PushOptions", options)(function)


@click.command(
    cls=Command,
    examples=(
        ("push disk.raw --region cn-hangzhou", "create an image from a disk"),
        ("push disk.raw --region cn-hangzhou --dry-run", "check everything and print the plan"),
        ("push disk.raw --sandbox", "try it without an account"),
    ),
)
@click.argument("disk", type=click.Path())
@image_options
@parameter_options
@transfer_options
@push_options
@panel("Boot test", YES)
@panel(
    COMMON,
    option(
        "--sandbox",
        is_flag=True,
        is_eager=True,
        callback=ignore_cloud_settings,
        help="Push to a local sandbox that is started for this command only.",
    ),
)
@cloud_options(oss=True)
@output_options
def push(
    disk: str,
    *,
    image: ImageOptions,
    parameters: ImportParameters,
    transfer: "TransferOptions",
    options: "PushOptions",
    yes: bool,
    sandbox: bool,
    cloud: CloudOptions,
    output: OutputOptions,
) -> None:
    """Upload DISK, import it as a custom image, and print the image id.

    DISK is a RAW, VHD or QCOW2 file (also compressed), a block device, or oss://BUCKET/KEY for an object that is in OSS
    already. Run again after an interruption, the same command resumes.
    """
    from aliyun_import.cli.commands.sandbox import temporary_sandbox
    from aliyun_import.cli.context import command_context, for_same_services
    from aliyun_import.cli.ineffective import refuse_cloud_options, refuse_ineffective

    options = check_boot_test_options(replace(options, transfer=transfer), yes=yes, is_free=sandbox)
    refuse_ineffective([disk, *image.data_disks])
    if sandbox:
        refuse_cloud_options()
    with temporary_sandbox(cloud.region) if sandbox else nullcontext((None, options.state_dir)) as (config, state_dir):
        options = replace(options, state_dir=state_dir)
        with command_context(cloud, output, config=config) as context:
            from aliyun_import import api
            from aliyun_import.cli.render.push import push_outcome

            request = request_of(disk, image, parameters, region=context.client.region)
            confirm = confirmation(yes=yes or sandbox, output=output, cancel=context.cancel)
            result = api.push(
                context.client, request, options=options, confirm=confirm, on_event=context.emit, cancel=context.cancel
            )
            config = context.client.config
            outcome = push_outcome(result, is_real_cloud=not config.endpoint_url)
            rows = [(label, for_same_services(text, config.command_options)) for label, text in outcome.summary]
            context.renderer.outcome(replace(outcome, summary=tuple(rows)))


def request_of(disk: str, image: ImageOptions, parameters: ImportParameters, *, region: str) -> ImportRequest:
    """Return the request that the options of `push` describe. Raises UsageError."""
    from aliyun_import.api import disk_of
    from aliyun_import.api import request_of as request_of_disk

    _refuse_other_sources(disk)
    request = request_of_disk(disk, region=region)
    given: dict[str, Any] = {one.name: getattr(parameters, one.name) for one in fields(ImportParameters)}
    if image.name:
        given["name"] = image.name
    if image.role_name:
        given["role_name"] = image.role_name
    system = disk_of(disk, disk_format=image.disk_format, size_gib=image.disk_size)
    return replace(
        request,
        disks=(system, *map(data_disk, image.data_disks)),
        tags=_tags(image.tags),
        client_token=image.client_token,
        **given,
    )


def _refuse_other_sources(disk: str) -> None:
    """Raise UsageError for standard input and URLs, which other tools read; as paths they would only be missing."""
    if disk == "-":
        raise click.UsageError(
            "A disk can't be read from standard input: parts of it are read more than once. Pass a file."
        )
    if re.match(r"(?!oss:)[A-Za-z][A-Za-z0-9+.-]*://", disk):
        raise click.UsageError(f"{disk} is not a disk on this machine. Download it first, or pass oss://BUCKET/KEY.")


def data_disk(text: str) -> DiskRequest:
    """Read one --data-disk: DISK[,size=GiB][,format=FORMAT]; a path may hold commas. Raises UsageError."""
    from aliyun_import.api import disk_of

    size_gib: int | None = None
    disk_format: DiskFormat | None = None
    while "," in text:
        head, _, last = text.rpartition(",")
        name, equals, value = last.partition("=")
        if not equals or name not in {"size", "format"}:
            if equals and not Path(text).exists():
                _refuse_mistyped(text, name)
            break
        try:
            if name == "size":
                size_gib = Gib().convert(value, None, None)
            else:
                disk_format = DiskFormat(value.upper())
        except (ValueError, click.BadParameter) as error:
            raise UsageError(
                f"--data-disk {text}: {name}={value} can't be read.",
                code="data-disk-malformed",
                remedy="Write it as DISK,size=40,format=VHD: whole GiB (40, 40G, 1T), and RAW, VHD, QCOW2 or VMDK.",
            ) from error
        text = head
    return disk_of(text, disk_format=disk_format, size_gib=size_gib)


def _refuse_mistyped(text: str, name: str) -> None:
    from difflib import get_close_matches

    near = get_close_matches(name, ("size", "format"), n=1)
    if near and "/" not in name:
        raise UsageError(
            f"--data-disk {text}: a data disk has no {name}.",
            code="data-disk-malformed",
            remedy=f"Write {near[0]} in place of {name}.",
        )


def _tags(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for key, value in pairs:
        if key in tags:
            raise UsageError(
                f"The tag {key} is given twice.",
                code="tag-twice",
                remedy=f"Pass --tag {key}=VALUE once: a tag has one value.",
            )
        tags[key] = value
    return tags
