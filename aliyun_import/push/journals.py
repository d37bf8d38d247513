"""The pushes of this machine, by their journals."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from aliyun_import.errors import LocalStateError
from aliyun_import.journal import open_journal, read_journals
from aliyun_import.model.boot import Verdict
from aliyun_import.push.state import fold


class PushStage(StrEnum):
    """How far a push came."""

    BEGUN = "begun"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    IMPORTING = "importing"
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPush:
    """A push by its journal. `uploaded_bytes` are in OSS and proven; `updated_s` is the time of the last line.

    `identity` has what makes it this push: name, region, account, bucket, disks and endpoint.
    """

    journal: Path
    identity: Mapping[str, str]
    stage: PushStage
    image_id: str
    task_id: str
    uploaded_bytes: int
    updated_s: float

    @property
    def disks(self) -> tuple[str, ...]:
        """The disks, as paths or oss:// URLs."""
        return tuple(self.identity.get("disks", "").split("\n"))


def known_pushes(directory: Path) -> tuple[KnownPush, ...]:
    """Return the pushes that have a journal in a directory, the latest first; nothing is locked or changed."""
    return tuple(sorted(_pushes(directory), key=lambda one: one.updated_s, reverse=True))


def forget_finished(directory: Path, pushes: Sequence[KnownPush]) -> tuple[KnownPush, ...]:
    """Remove the journals of those pushes that are finished, and return them; one that is in use stays.

    Run again, such a push finds its image by the tags, and makes no second one.
    """
    removed = []
    for one in pushes:
        if one.stage is not PushStage.FINISHED:
            continue
        with suppress(LocalStateError):
            journal = open_journal(directory, one.identity)
            if fold(journal.entries).finished:
                journal.path.with_suffix(".pid").unlink(missing_ok=True)
                journal.path.unlink()
                removed.append(one)
            journal.close()
    return tuple(removed)


def _pushes(directory: Path) -> Iterator[KnownPush]:
    for path, entries in read_journals(directory):
        if not entries:
            continue
        state = fold(entries)
        with suppress(OSError):
            yield KnownPush(
                journal=path,
                identity=entries[0]["identity"],
                stage=_stage(entries),
                image_id=state.image_id,
                task_id=state.task_id,
                uploaded_bytes=_uploaded_bytes(entries),
                updated_s=path.stat(follow_symlinks=False).st_mtime,
            )


def _stage(entries: Sequence[Mapping[str, Any]]) -> PushStage:
    state = fold(entries)
    kinds = [entry["kind"] for entry in entries]
    if state.finished:
        return PushStage.FINISHED
    if (state.submitted or state.client_token) and state.verdict != Verdict.FAILS:
        return PushStage.IMPORTING
    if state.failed_tokens or state.verdict:
        return PushStage.FAILED
    if "upload-intended" not in kinds:
        return PushStage.BEGUN
    disks = {entry["disk"] for entry in entries if entry["kind"] == "upload-intended"}
    return PushStage.UPLOADED if disks <= state.uploaded.keys() else PushStage.UPLOADING


def _uploaded_bytes(entries: Sequence[Mapping[str, Any]]) -> int:
    """Return the bytes that are in OSS: of finished objects, and of the parts of unfinished ones."""
    by_disk: dict[int, dict[int, int]] = {}
    for entry in entries:
        match entry["kind"]:
            case "push-started":
                by_disk = {}
            case "upload-intended" | "upload-dropped":
                by_disk[entry["disk"]] = {}
            case "parts":
                parts = by_disk.setdefault(entry["disk"], {})
                parts.update((number, length) for number, _, length, *_ in entry["parts"])
            case "object":
                by_disk[entry["disk"]] = {0: entry["object"]["size_bytes"]}
            case _:
                pass
    return sum(sum(parts.values()) for parts in by_disk.values())
