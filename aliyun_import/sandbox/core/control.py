"""This file is the control plane: faults, time and the log of requests over HTTP, for tests in another process.

GET    /_sandbox              what this is, and a summary of what it holds
GET    /_sandbox/faults       the faults in force            POST: order one (a Fault as JSON)    DELETE: lift all
GET    /_sandbox/clock        the cloud's time               POST {"advance_s": 60} or {"skew_s": 1200}
GET    /_sandbox/requests     the log, oldest first          DELETE: forget it
POST   /_sandbox/settings     change settings by name
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.http_types import Answer, Request
from aliyun_import.sandbox.core.state import State

Document = dict[str, Any]


def answer(state: State, request: Request) -> Answer:
    """Do what a request to the control plane asks; 400 with the reason when it makes no sense."""
    handler = _HANDLERS.get((request.method, request.path.rstrip("/")))
    if handler is None:
        return _json(404, {"error": f"there is no {request.method} {request.path}"})
    try:
        document = json.loads(request.body.whole() or b"{}")
        if not isinstance(document, dict):
            raise ValueError("the body must be a JSON object")  # noqa: TRY004 - it is the caller's value that is wrong
        return _json(200, handler(state, document))
    except (ValueError, TypeError) as error:
        return _json(400, {"error": str(error)})


def refuse(
    request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Make an answer of an error."""
    return _json(status, {"error": f"{code}: {message}", "request": request.id}, headers)


def _json(status: int, document: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    body = json.dumps(document, indent=1).encode() + b"\n"
    return Answer(status, (("Content-Type", "application/json"), *headers), body)


def _summary(state: State, _: Document) -> object:
    return {
        "sandbox": True,
        "now_s": state.clock.now_s(),
        "settings": asdict(state.settings),
        "requests": len(state.requests.entries()),
        "faults": len(state.faults.active()),
    }


def _order_fault(state: State, document: Document) -> object:
    return state.faults.add(Fault.from_json(document)).to_json()


def _move_clock(state: State, document: Document) -> object:
    for name, value in document.items():
        if name == "advance_s":
            state.clock.advance(float(value))
        elif name == "skew_s":
            state.clock.set_skew(float(value))
        else:
            raise ValueError(f"the clock has no {name}")
    return {"now_s": state.clock.now_s(), "wall_s": state.clock.wall_s()}


def _configure(state: State, document: Document) -> object:
    state.configure(**document)
    return asdict(state.settings)


def _lift_faults(state: State, _: Document) -> object:
    state.faults.clear()
    return []


def _clear_log(state: State, _: Document) -> object:
    state.requests.clear()
    return []


_HANDLERS: dict[tuple[str, str], Callable[[State, Document], object]] = {
    ("GET", "/_sandbox"): _summary,
    ("GET", "/_sandbox/faults"): lambda state, _: [fault.to_json() for fault in state.faults.active()],
    ("POST", "/_sandbox/faults"): _order_fault,
    ("DELETE", "/_sandbox/faults"): _lift_faults,
    ("GET", "/_sandbox/clock"): lambda state, _: _move_clock(state, {}),
    ("POST", "/_sandbox/clock"): _move_clock,
    ("GET", "/_sandbox/requests"): lambda state, _: [asdict(entry) for entry in state.requests.entries()],
    ("DELETE", "/_sandbox/requests"): _clear_log,
    ("POST", "/_sandbox/settings"): _configure,
}
