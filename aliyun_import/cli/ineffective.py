"""Refusal of options of `push` that contradict the others of the command line, or have no effect beside them."""

from collections.abc import Iterator, Mapping, Sequence

import click

from aliyun_import.api import OSS_URL
from aliyun_import.cli.context import given_options
from aliyun_import.cli.settings import TARGET_OPTIONS
from aliyun_import.errors import UsageError

# Parameters of the upload of any disk, and of that of the system disk.
_UPLOAD = ("bucket", "jobs", "limit_rate_bytes_s", "send_zeros", "keep_object", "work_dir")
_SYSTEM_UPLOAD = ("key", "base_key")
# Parameters of what happens after the start of the import. The stages that use them are not run with --no-wait.
_AFTER_START = ("timeout_s", "cancel_on_interrupt", "keep_last")


def refuse_ineffective(disks: Sequence[str]) -> None:
    """Raise click.UsageError for an option on the command line that would have no effect.

    `disks` are the system disk and the data disks, as given. A variable or a configuration file may set options for
    other pushes, so that their values are ignored where they have no effect.
    """
    given = {str(one.name): one.opts[0] for one in given_options()}
    for option, reason in (*_of_disks(disks, given), *_of_waiting(given)):
        raise click.UsageError(f"{option} has no effect {reason}")


def refuse_cloud_options() -> None:
    """Raise UsageError "sandbox-options" for an option on the command line that selects another cloud."""
    for one in given_options():
        if one.name in TARGET_OPTIONS:
            raise UsageError(
                f"--sandbox and {one.opts[0]} don't go together: a sandbox has its own endpoint, key and journals.",
                code="sandbox-options",
                remedy=f"Leave out --sandbox or {one.opts[0]}.",
            )


def _of_disks(disks: Sequence[str], given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    in_oss = [one.startswith(OSS_URL) for one in disks]
    if all(in_oss):
        for name in (*_UPLOAD, *_SYSTEM_UPLOAD):
            if name in given:
                yield given[name], f"with {disks[0]}: nothing is uploaded. Leave out {given[name]}."
    elif in_oss[0]:
        for name in _SYSTEM_UPLOAD:
            if name in given:
                reason = f"with {disks[0]}: it is for the upload of the system disk. Leave out {given[name]}."
                yield given[name], reason


def _of_waiting(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if "wait" in given:
        reason = "with --no-wait: the command exits when the import has started. Leave one of them out."
        yield from ((given[name], reason) for name in _AFTER_START if name in given)
