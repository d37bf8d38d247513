"""State of a push according to its journal.

    push-started     push_id, name, fingerprints          a push of these disks begins (again, when they changed)
    disks-seen       fingerprints                         the disks as they are now; their content is the same
    accepted         request                              ECS accepts this request (a digest), by a dry run
    boot-tested      machine, verdict                     the disk was started, and nothing blocks the push
    submitting       client_token, name, objects, checked  ImportImage is about to be called, under this name
    submitted        task_id, image_id, name              ImportImage answered, or its import was found, under this name
    image-judged     image_id, verdict                    an instance of the image was started
    import-failed    reason                               the import failed; the next one gets a new token
    object-removed   key                                  the staging object was deleted
    finished         image_id                             all done

The lines of the upload are between them; `upload/` reads those. Its last one, with the object, is read here, too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aliyun_import.journal import read_journals
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
    accepted: str = ""
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
        """Whether the import was begun, and has not failed since."""
        return bool(self.task_id or self.image_id)

    @property
    def may_be_importing(self) -> bool:
        """Whether an import may have been begun: its token is in the journal, or its image was found."""
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

    Something may be left at every one: an upload that was begun twice, because an answer was lost, outlives the object.
    `left` are those whose object was not removed.
    """

    used: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()


def keys_by_bucket(directory: Path, *, region: str, endpoint: str) -> Mapping[str, UsedKeys]:
    """Return where pushes from this machine may have left something: keys of a region, by bucket."""
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
    """Return the images that pushes from this machine began and did not finish, by the URLs of their objects."""
    found: dict[str, str] = {}
    for _, entries in read_journals(directory):
        state = fold(entries)
        if entries and entries[0]["identity"].get("endpoint") == endpoint and state.under_way and state.image_id:
            found |= {f"oss://{one.bucket}/{one.key}": state.image_id for one in state.objects}
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
            return replace(state, accepted=entry["request"])
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
