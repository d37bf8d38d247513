"""This file is the command `push`: from a disk to a usable image."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from aliyun_import.cli.params import Bytes, Gib, KeyValue, Seconds, cloud_options, groups, option, output_options

image_options = groups(
    option("--name", help="Name of the image. Else made from the file's name."),
    option("--description", help="Description of the image."),
    option(
        "--data-disk",
        "data_disks",
        multiple=True,
        metavar="DISK[,size=GiB][,format=F]",
        help="A data disk; repeatable, up to 16.",
    ),
    option(
        "--format",
        "disk_format",
        type=click.Choice(["RAW", "VHD", "QCOW2", "VMDK"], case_sensitive=False),
        help="Format of the system disk. Else told by its content.",
    ),
    option("--disk-size", type=Gib(), help="Size of the system disk of the image. Else its virtual size, rounded up."),
    option("--architecture", type=click.Choice(["i386", "x86_64", "arm64"]), help="Else read from the disk."),
    option("--os-type", type=click.Choice(["linux", "windows"], case_sensitive=False), help="Else read from the disk."),
    option("--platform", help='Distribution, such as Debian or "Rocky Linux". Else read from the disk.'),
    option("--boot-mode", type=click.Choice(["BIOS", "UEFI"], case_sensitive=False), help="Else read from the disk."),
    option(
        "--license-type",
        type=click.Choice(["Auto", "Aliyun", "BYOL"], case_sensitive=False),
        help="How Windows is licensed.",
    ),
    option("--nvme-support", type=click.Choice(["supported", "unsupported"]), help="Else read from the disk."),
    option("--imds-support", type=click.Choice(["v1", "v2"]), help="Version of the metadata service."),
    option(
        "--detection-strategy", type=click.Choice(["Standard"]), help="Have the service check the image afterwards."
    ),
    option("--role-name", help="Role by which ECS reads the bucket.  [default: the documented role]"),
    option("--resource-group", help="Resource group of the image, rg-...."),
    option("--storage-location-arn", help="Location of a CloudBox, arn:acs:cloudbox:...."),
    option("--client-token", help="Token that makes ImportImage idempotent. Else made and kept in the journal."),
    option("--tag", "tags", type=KeyValue(), multiple=True, help="Tag of the image; repeatable, up to 18."),
)
transfer_options = groups(
    option("--bucket", help="Bucket to stage the disk in. Else aliyun-import-<account id>-<region>."),
    option("--key", help="Key of the staging object. Else made from the image's name and the disk."),
    option("--base", "base_key", metavar="KEY", help="Earlier object in the bucket whose unchanged ranges are reused."),
    option("--keep-object", is_flag=True, help="Keep the staging object, as the base of the next push."),
    option("--jobs", type=click.IntRange(1, 64), help="Parts that travel at a time. Else as many as the line takes."),
    option("--limit-rate", type=Bytes(), metavar="BYTES", help="Most bytes a second, such as 50M, for all together."),
    option("--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the journals are kept."),
    option(
        "--work-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where a disk is converted that can't be imported as it is. Else beside the journals.",
    ),
)
run_options = groups(
    option("--timeout", type=Seconds(), help="Longest wait for the import, such as 2h. Else none."),
    option("--no-wait", is_flag=True, help="Leave when the import has begun, and print its task."),
    option("--dry-run", is_flag=True, help="Check everything, ask the service, print the plan; change nothing."),
    option(
        "--replace",
        type=click.Choice(["rename", "delete"]),
        help="Take the name from the image that has it: once the new one is usable, the old is renamed or deleted.",
    ),
    option("--force-new", is_flag=True, help="Make another image even if this disk has become one already."),
    option(
        "--fix", "fix_role", is_flag=True, help="Extend the trust policy of a role that does not let ECS assume it."
    ),
    option("--skip-check", "skip_checks", multiple=True, metavar="RULE", help="Pass over a finding; repeatable."),
    option("--force", is_flag=True, help="Go on in spite of findings that block."),
    option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels the import instead of leaving it to run."),
    option("--sandbox", is_flag=True, help="Push into a local Alibaba Cloud that lives as long as the command."),
)


@click.command()
@click.argument("disk")
@image_options
@transfer_options
@run_options
@cloud_options
@output_options
def push(disk: str, *, sandbox: bool, **given: Any) -> None:  # noqa: ANN401 -- click's options
    """Take DISK to a finished custom image, and print its image id.

    DISK is a RAW, VHD or QCOW2 file or a block device, or oss://BUCKET/KEY for one that is in OSS already. Run again
    after any interruption, the same command goes on where it stopped.
    """
    from aliyun_import.cli.context import command_context

    with _cloud_of(sandbox, given), command_context(given) as at:
        from aliyun_import.cli.render.push import push_outcome
        from aliyun_import.cli.wiring import push_request
        from aliyun_import.push.push import push as run_push

        request, options = push_request(disk, given, region=at.region)
        result = run_push(request, options, at.cloud, clock=at.clock, emit=at.voice.emit, stop=at.stop)
        at.voice.outcome(push_outcome(result))


@contextmanager
def _cloud_of(sandbox: bool, given: dict[str, Any]) -> Iterator[None]:
    """With --sandbox, have one for the length of the command and point every setting at it."""
    if not sandbox:
        yield
        return
    from aliyun_import.cli.commands.sandbox import borrowed_sandbox

    with borrowed_sandbox(given):
        yield
