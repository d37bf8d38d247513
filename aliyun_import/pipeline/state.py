"""This file reads a push's journal: how far it came, and what it had in mind.

    push-started     push_id, name, fingerprints          a push of these disks begins (again, when they changed)
    submitting       client_token, name, objects          ImportImage is about to be called, under this name
    submitted        task_id, image_id                    ImportImage answered, or its traces were found
    import-failed    reason                               the import ended badly; the next one gets a new token
    object-removed   key                                  the staging object is gone
    finished         image_id                             all done

The upload's own lines stand between them; `upload/` reads those.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from aliyun_import.model import UploadedObject


@dataclass(frozen=True, slots=True, kw_only=True)
class PushState:
    """Where the journal says that the push stands. Empty where a step was not reached.

    `name` is what the image shall be called, `import_name` what it is called while it is imported (--replace).
    """

    push_id: str = ""
    name: str = ""
    fingerprints: tuple[str, ...] = ()
    client_token: str = ""
    import_name: str = ""
    objects: tuple[UploadedObject, ...] = ()
    task_id: str = ""
    image_id: str = ""
    finished: bool = False
    failed_tokens: frozenset[str] = frozenset()
    removed_keys: frozenset[str] = frozenset()

    @property
    def under_way(self) -> bool:
        """An earlier run of this push left something to go on from."""
        return bool(self.push_id) and not self.finished

    @property
    def submitted(self) -> bool:
        """The import was begun, and has not failed since."""
        return bool(self.task_id or self.image_id)


def fold(entries: Iterable[Mapping[str, Any]]) -> PushState:
    """Read the lines from the first to the last; lines of other rooms are passed over."""
    state = PushState()
    for entry in entries:
        state = _after(state, entry)
    return state


def object_fields(uploaded: UploadedObject) -> dict[str, Any]:
    """Give an object as the journal keeps it."""
    return asdict(uploaded)


def _after(state: PushState, entry: Mapping[str, Any]) -> PushState:
    match entry["kind"]:
        case "push-started":
            return PushState(push_id=entry["push_id"], name=entry["name"], fingerprints=tuple(entry["fingerprints"]))
        case "submitting":
            objects = tuple(UploadedObject(**fields) for fields in entry["objects"])
            return replace(state, client_token=entry["client_token"], import_name=entry["name"], objects=objects)
        case "submitted":
            return replace(state, task_id=entry["task_id"], image_id=entry["image_id"])
        case "import-failed":
            failed = state.failed_tokens | {state.client_token}
            return replace(state, client_token="", task_id="", image_id="", failed_tokens=failed)
        case "object-removed":
            return replace(state, removed_keys=state.removed_keys | {entry["key"]})
        case "finished":
            return replace(state, image_id=entry["image_id"], finished=True)
        case _:
            return state
