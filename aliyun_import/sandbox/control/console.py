"""Console: a page with the state of a sandbox and with forms for faults and time. It uses no JavaScript."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from aliyun_import.sandbox.control import account
from aliyun_import.sandbox.control.html import (
    Cell,
    Markup,
    button,
    document,
    element,
    field,
    join,
    select,
    table,
)
from aliyun_import.sandbox.core.faults import EFFECTS, Fault
from aliyun_import.sandbox.core.http_types import Answer, Request
from aliyun_import.sandbox.core.request_log import LoggedRequest
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ecs import instances
from aliyun_import.sandbox.ecs.state import Ecs, Image, Task
from aliyun_import.sandbox.importer import engine
from aliyun_import.sandbox.oss.state import Bucket, OssState

PATH = "/_sandbox/"
MAX_ROWS = 200  # of each table, so that the page stays small
REFRESH_S = 5
_STEPS = {"1 minute": 60, "10 minutes": 600, "1 hour": 3600, "1 day": 86_400}
# No scripts, no frames, and forms only to the sandbox, because the page contains text from clients.
_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
                                "frame-ancestors 'none'; base-uri 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)  # fmt: skip


def page(state: State, request: Request, operations: Mapping[str, str]) -> Answer:
    """Return the page. With ?refused=1 it lists only refused requests, with ?refresh=1 it reloads periodically."""
    refused_only, refresh = request.has("refused"), request.has("refresh")
    with state.lock:
        engine.refresh(state)
        parts = (
            _head(state, refused_only=refused_only, refresh=refresh),
            _buckets(state),
            _images(state),
            _tasks(state),
            _instances(state),
            _faults(state, operations),
            _requests(state, refused_only=refused_only),
        )
    return Answer(200, _HEADERS, document("Sandbox", *parts, refresh_s=REFRESH_S if refresh else 0))


def carry_out(state: State, request: Request, operations: Mapping[str, str]) -> Answer:
    """Carry out a form of the page, and redirect to the page. Raises ValueError for an invalid form."""
    form = {name: value for name, value in request.form if value != ""}
    action = form.pop("action", "")
    if action == "fault":
        fault = state.codec.decode(Fault, {name: _typed(name, value) for name, value in form.items()}, "fault")
        account.check_fault(fault, operations)
        state.faults.add(fault)
    elif action == "remove-fault":
        state.faults.remove(int(form.get("number", "")))
    elif action == "remove-faults":
        state.faults.clear()
    elif action == "clear-log":
        state.requests.clear()
    elif action == "advance":
        account.move_clock(state, account.ClockChange(advance_s=float(form.get("seconds", ""))))
    else:
        raise ValueError(f"the console has no action {action!r}")
    return Answer(303, (("Location", PATH),))


def _typed(name: str, value: str) -> object:
    """Return the value of a field of a fault; None for a count of `all`. Raises ValueError."""
    if name == "count" and value == "all":
        return None
    try:
        return int(value) if name in ("status", "count", "part", "nth", "after_bytes") else value
    except ValueError:
        raise ValueError(f"{name} takes a whole number, not {value!r}") from None


def _head(state: State, *, refused_only: bool, refresh: bool) -> Markup:
    def link(label: str, *, refused: bool, again: bool) -> Markup:
        chosen = [name for name, on in (("refused=1", refused), ("refresh=1", again)) if on]
        return element("a", label, href=f"{PATH}?{'&'.join(chosen)}" if chosen else PATH)

    names = ("Buckets", "Images", "Tasks", "Instances", "Faults", "Requests")
    steps = (button("advance", f"+ {label}", seconds=seconds) for label, seconds in _STEPS.items())
    return element(
        "header",
        element("h1", "Sandbox, not Alibaba Cloud"),
        element("div", f"Time {_moment(state.clock.now_s())} UTC · region {state.settings.region} · ", *steps),
        element(
            "nav",
            *(element("a", name, href=f"#{name.lower()}") for name in names),
            link("stop reloading", refused=refused_only, again=False)
            if refresh
            else link(f"reload every {REFRESH_S} s", refused=refused_only, again=True),
        ),
    )


def _section(name: str, *content: object) -> Markup:
    return element("section", element("h2", name), *content, id=name.lower())


def _buckets(state: State) -> Markup:
    buckets = state.part(OssState).buckets.values()
    return _section("Buckets", *(map(_bucket, buckets)), *([] if buckets else [_none("There are no buckets.")]))


def _bucket(bucket: Bucket) -> Markup:
    facts = (bucket.region, bucket.storage_class, bucket.encryption, bucket.versioning and "with versions", bucket.acl)
    objects = [versions[-1] for _, versions in sorted(bucket.versions.items())]
    uploads = list(bucket.uploads.values())
    return join(
        element("h3", bucket.name, element("span", " · ", " · ".join(filter(None, facts)), kind="note")),
        table(
            ("Object", "Bytes", "Type", "Class", "Modified", "CRC-64"),
            (
                (each.key, each.size, "delete marker" if each.delete_marker else each.kind, each.storage_class,
                 _moment(each.modified_s), "none" if each.crc64 is None else str(each.crc64))
                for each in objects[:MAX_ROWS]
            ),
            none="No objects.",
        ),
        _more(len(objects)),
        table(
            ("Unfinished upload of", "Parts", "Bytes", "Initiated", "Upload id"),
            (
                (each.key, len(each.parts), sum(part.content.size for part in each.parts.values()),
                 _moment(each.initiated_s), each.id)
                for each in uploads[:MAX_ROWS]
            ),
            none="No unfinished uploads.",
        ),
        _more(len(uploads)),
    )  # fmt: skip


def _images(state: State) -> Markup:
    images = list(state.part(Ecs).images.values())[::-1]
    head = ("Image", "Name", "Region", "Status", "Progress", "GiB", "Source", "Shared with", "Tags", "Created")
    return _section(
        "Images", table(head, map(_image, images[:MAX_ROWS]), none="There are no images."), _more(len(images))
    )


def _image(image: Image) -> tuple[Cell, ...]:
    sources = [f"oss://{disk.bucket}/{disk.key}" for disk in image.disks if disk.bucket]
    if image.copy is not None:
        sources = [f"copy of {image.copy.source_id} in {image.copy.source_region}"]
    tags = ", ".join(f"{key}={value}" for key, value in image.tags.items())
    size_gib = sum(disk.size_gib for disk in image.disks)
    return (image.id, image.name, image.region, image.status, _progress(image.percent), size_gib, ", ".join(sources),
            ", ".join(image.shared_with), tags, _moment(image.created_s))  # fmt: skip


def _instances(state: State) -> Markup:
    found = list(state.part(Ecs).instances.values())[::-1]
    rows = (
        (each.id, each.name, each.region, instances.status_of(state, each), each.image_id, each.instance_type,
         _moment(each.created_s), "" if each.auto_release_s is None else _moment(each.auto_release_s))
        for each in found[:MAX_ROWS]
    )  # fmt: skip
    head = ("Instance", "Name", "Region", "Status", "Image", "Type", "Created", "Release time")
    return _section("Instances", table(head, rows, none="There are no instances."), _more(len(found)))


def _tasks(state: State) -> Markup:
    tasks = list(state.part(Ecs).tasks.values())[::-1]
    return _section(
        "Tasks",
        table(
            ("Task", "Status", "Progress", "Reason", "Image", "Region", "Created", "Finished"),
            map(_task, tasks[:MAX_ROWS]),
            none="There are no tasks.",
        ),
        _more(len(tasks)),
    )


def _task(task: Task) -> tuple[Cell, ...]:
    finished = "" if task.finished_s is None else _moment(task.finished_s)
    reason = f"{task.error_code}: {task.error_message}" if task.error_code else ""
    progress = _progress(task.percent)
    return task.id, task.status, progress, reason, task.image_id, task.region, _moment(task.created_s), finished


def _faults(state: State, operations: Mapping[str, str]) -> Markup:
    rows = [
        (fault.operation, f"{fault.status} {fault.code}" if fault.effect == "answer" else fault.effect,
         " ".join(filter(None, (fault.key, "" if fault.part is None else f"part {fault.part}"))),
         f"{active.strikes} of {'all' if fault.count is None else fault.count}",
         button("remove-fault", "remove", number=number))
        for number, active in state.faults.numbered()
        for fault in (active.fault,)
    ]  # fmt: skip
    form = element(
        "form",
        element(
            "fieldset",
            element("legend", "Add a fault"),
            field("action", type="hidden", value="fault"),
            _labelled("operation", field("operation", list="operations", value="UploadPart", required=True)),
            element("datalist", *(element("option", value=each) for each in sorted(operations)), id="operations"),
            _labelled("effect", select("effect", sorted(EFFECTS), chosen="answer")),
            _labelled("status", field("status", type="number", min=200, max=599, value=503)),
            _labelled("code", field("code", value="ServiceUnavailable")),
            _labelled("message", field("message", value="Injected by the console.")),
            _labelled("key contains", field("key")),
            _labelled("calls (a number, or all)", field("count", value="1", size=4)),
            element("button", "add"),
        ),
        method="post",
    )
    none = "No faults are active."
    table_of_faults = table(("Operation", "Effect", "Only for", "Applied to", ""), rows, none=none)
    return _section("Faults", table_of_faults, button("remove-faults", "remove all") if rows else "", form)


def _labelled(label: str, control: Markup) -> Markup:
    return element("label", f"{label} ", control, " ")


def _requests(state: State, *, refused_only: bool) -> Markup:
    entries = state.requests.entries()[::-1]
    if refused_only:
        entries = tuple(each for each in entries if not 200 <= each.status < 400)
    choice = (
        element("a", "show all", href=f"{PATH}#requests")
        if refused_only
        else element("a", "show only refused", href=f"{PATH}?refused=1#requests")
    )
    shown = entries[:MAX_ROWS]
    return _section(
        "Requests",
        element("div", f"Newest first. {len(entries)} in the log. ", choice, " ", button("clear-log", "clear")),
        table(
            ("No.", "Time", "Operation", "Object", "Status", "Reason", "Received", "Sent"),
            map(_entry, shown),
            none="No requests.",
            kinds=_kinds(shown),
        ),
        _more(len(entries)),
    )


def _entry(entry: LoggedRequest) -> tuple[Cell, ...]:
    part = "" if entry.part is None else f" part {entry.part}"
    target = f"{entry.bucket}/{entry.key}{part}" if entry.bucket else ""
    reason = " ".join(filter(None, (entry.code, entry.reason, entry.fault and f"(by a fault: {entry.fault})")))
    return (entry.number, _moment(entry.at_s), f"{entry.service} {entry.operation}", target,
            entry.status or "dropped", reason, entry.body_bytes, entry.answer_bytes)  # fmt: skip


def _kinds(entries: Iterable[LoggedRequest]) -> Iterator[str]:
    for entry in entries:
        yield "dropped" if not entry.status else "refused" if entry.status >= 400 else ""


def _progress(percent: int) -> Markup:
    return join(element("progress", value=percent, max=100), f" {percent} %")


def _more(count: int) -> Markup:
    return element("p", f"{count - MAX_ROWS} more are not shown.", kind="note") if count > MAX_ROWS else Markup()


def _none(message: str) -> Markup:
    return element("p", message, kind="none")


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
