"""State of a push according to its journal, and of all pushes of this machine according to theirs.

    push-started     push_id, name, fingerprints          a push of these disks begins (again, when they changed)
    disks-seen       fingerprints                         new fingerprints of the disks, whose content is the same
    accepted         request                              ECS accepts this request (a digest), by a dry run
    boot-tested      machine, verdict                     the disk was started, and nothing blocks the push
    submitting       client_token, name, objects, checked  ImportImage is about to be called, under this name
    submitted        task_id, image_id, name              ImportImage answered, or its import was found, under this name
    image-judged     image_id, verdict                    an instance of the image was started
    import-failed    reason                               the import failed; the next one gets a new token
    object-removed   key                                  the staging object was deleted
    finished         image_id                             the push is done

Entries of the upload are read by `upload/`; its last one, `object`, is read here, too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from aliyun_import.errors import LocalStateError
from aliyun_import.journal import open_journal, read_journals
from aliyun_import.model.boot import Verdict
from aliyun_import.model.objects import UploadedObject


@dataclass(frozen=True, slots=True, kw_only=True)
class PushState:
    """State of a push. A field is empty if its step was not reached.

    `name` is the name that the image is to have, `import_name` its name while it is imported (--replace, --boot-test
    cloud). `is_checked`: the service checks the image after the import. `verdict` is that of its boot test. `uploaded`
    has the object of each disk that was uploaded, by the disk's number.
    """

    push_id: str = ""
    name: str = ""
    fingerprints: tuple[str, ...] = ()
    accepted_digest: str = ""
    boot_tested: str = ""
    client_token: str = ""
    import_name: str = ""
    objects: tuple[UploadedObject, ...] = ()
    is_checked: bool = False
    task_id: str = ""
    image_id: str = ""
    verdict: str = ""
    finished: bool = False
    failed_tokens: frozenset[str] = frozenset()
    removed_keys: frozenset[str] = frozenset()
    uploaded: Mapping[int, UploadedObject] = field(default_factory=dict)

    @property
    def under_way(self) -> bool:
        """Whether an earlier run of this push left something to resume."""
        return bool(self.push_id) and not self.finished

    @property
    def submitted(self) -> bool:
        """Whether the import was started, and has not failed since."""
        return bool(self.task_id or self.image_id)

    @property
    def may_be_importing(self) -> bool:
        """Whether an import may have been started: its token is in the journal, or its image was found."""
        return bool(self.client_token) or self.submitted

    @property
    def staged(self) -> tuple[UploadedObject, ...]:
        """The objects that this push made and has not deleted."""
        return tuple(one for one in self.uploaded.values() if one.made_by_us and one.key not in self.removed_keys)


def fold(entries: Iterable[Mapping[str, Any]]) -> PushState:
    """Return the state after all lines, from the first to the last; lines of other modules are ignored."""
    state = PushState()
    for entry in entries:
        state = _after(state, entry)
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedKeys:
    """Keys that pushes from this machine used in a bucket.

    Each may have leftovers: an upload that was started twice, because an answer was lost, remains after the object is
    removed. `left` are the keys whose object was not removed.
    """

    used: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()


def keys_by_bucket(directory: Path, *, region: str, endpoint: str) -> Mapping[str, UsedKeys]:
    """Return the keys that pushes from this machine used in a region, by bucket."""
    found: dict[str, UsedKeys] = {}
    for _, entries in read_journals(directory):
        identity = entries[0]["identity"] if entries else {}
        if (identity.get("region"), identity.get("endpoint")) != (region, endpoint) or "bucket" not in identity:
            continue
        intended = {entry["key"] for entry in entries if entry["kind"] == "upload-intended"}
        keys = intended | {entry["object"]["key"] for entry in entries if entry["kind"] == "object"}
        before = found.get(identity["bucket"], UsedKeys())
        left = before.left | (keys - fold(entries).removed_keys)
        found[identity["bucket"]] = UsedKeys(used=before.used | keys, left=left)
    return found


def image_ids_by_url(directory: Path, *, endpoint: str) -> Mapping[str, str]:
    """Return the ids of the images of unfinished pushes from this machine, by the URLs of their objects."""
    found: dict[str, str] = {}
    for _, entries in read_journals(directory):
        state = fold(entries)
        if entries and entries[0]["identity"].get("endpoint") == endpoint and state.under_way and state.image_id:
            found |= {one.url: state.image_id for one in state.objects}
    return found


def object_fields(uploaded: UploadedObject) -> dict[str, Any]:
    """Return an object as the journal holds it."""
    return asdict(uploaded)


def _after(state: PushState, entry: Mapping[str, Any]) -> PushState:
    match entry["kind"]:
        case "push-started":
            return PushState(push_id=entry["push_id"], name=entry["name"], fingerprints=tuple(entry["fingerprints"]))
        case "disks-seen":
            return replace(state, fingerprints=tuple(entry["fingerprints"]))
        case "accepted":
            return replace(state, accepted_digest=entry["request"])
        case "boot-tested":
            return replace(state, boot_tested=entry["machine"])
        case "object":
            return replace(state, uploaded={**state.uploaded, entry["disk"]: UploadedObject(**entry["object"])})
        case "object-removed":
            return replace(state, removed_keys=state.removed_keys | {entry["key"]})
        case _:
            return _after_import(state, entry)


def _after_import(state: PushState, entry: Mapping[str, Any]) -> PushState:
    match entry["kind"]:
        case "submitting":
            objects = tuple(UploadedObject(**fields) for fields in entry["objects"])
            return replace(
                state,
                client_token=entry["client_token"],
                import_name=entry["name"],
                objects=objects,
                is_checked=entry.get("checked", False),
            )
        case "submitted":
            name = entry.get("name", state.import_name)
            return replace(state, task_id=entry["task_id"], image_id=entry["image_id"], import_name=name)
        case "import-failed":
            failed = state.failed_tokens | {state.client_token}
            return replace(state, client_token="", task_id="", image_id="", verdict="", failed_tokens=failed)
        case "image-judged":
            return replace(state, verdict=entry["verdict"])
        case "finished":
            return replace(state, image_id=entry["image_id"], finished=True)
        case _:
            return state


class PushStage(StrEnum):
    """Progress of a push."""

    BEGUN = "begun"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    IMPORTING = "importing"
    FAILED = "failed"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPush:
    """A push according to its journal.

    `uploaded_bytes` are in OSS and proven; `updated_s` is the time of the last entry. `identity` has name, region,
    account, bucket, disks and endpoint.
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
    """Remove the journals of finished pushes, and return those pushes; a journal that is in use stays.

    If such a push is run again, it finds its image by the tags, and creates no second one.
    """
    removed = []
    for push in pushes:
        if push.stage is not PushStage.FINISHED:
            continue
        with suppress(LocalStateError):
            journal = open_journal(directory, push.identity)
            if fold(journal.entries).finished:
                journal.path.with_suffix(".pid").unlink(missing_ok=True)
                journal.path.unlink()
                removed.append(push)
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
