"""Routing of requests to services, faults, the log, and the control plane for tests in another process.

One port serves all: `/_sandbox` is the control plane, `/` with an Action (a parameter, or the header
x-acs-action) is an RPC call (ECS, RAM, STS), and everything
else is OSS in path style. The control plane:

    GET    /_sandbox              what this is, and a summary of its state
    GET    /_sandbox/faults       the active faults        POST: add one (a Fault as JSON)     DELETE: remove all
    GET    /_sandbox/clock        the sandbox's time       POST {"advance_s": 60} or {"skew_s": 1200}
    GET    /_sandbox/requests     the log, oldest first    DELETE: clear it
    POST   /_sandbox/settings     change settings by name

A web page must not reach it, though a browser on this machine can reach the port: a request with an Origin is refused,
and so is one whose Host is a name that DNS may have pointed at this machine (DNS rebinding).
"""

import ipaddress
import itertools
import json
import logging
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Protocol

from aliyun_import.sandbox.auth.rpc_signature import Nonces
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.http_types import Answer, BodyTooLargeError, Call, ConnectionCutError, Request
from aliyun_import.sandbox.core.rpc import RpcServices
from aliyun_import.sandbox.core.state import LoggedRequest, State
from aliyun_import.sandbox.ecs import operations as ecs
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss import service as oss
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.ram import operations as ram
from aliyun_import.sandbox.ram.state import Ram

# The rest of a refused request's body is read up to this size, so that its bytes are counted and the client gets to
# read its answer. A client that announced more is answered at once, and its connection is closed.
DRAIN_BYTES = 64 << 20
RPC = RpcServices((ecs.ECS, ram.RAM, ram.STS))
# All state is read at the start, because a file that no content refers to then is removed.
PARTS: tuple[Callable[[State], object], ...] = (OssState, Ecs, Ram, Nonces)
_CONCEALED = re.compile(
    r"((?:^|[?&])(?:Signature|SecurityToken|security-token|x-oss-signature|x-oss-security-token)=)[^&]*"
)

Send = Callable[[Answer, int | None], None]
Document = dict[str, Any]
log = logging.getLogger(__name__)


class Service(Protocol):
    """What answers the requests of a service: a module or an object."""

    def answer(self, state: State, request: Request) -> Answer:
        """Carry out a request; a refusal is an Answer, too."""
        ...

    def refuse(
        self, request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """Return the answer of an error in the form of the service."""
        ...


class Router:
    """Serves requests on the threads of their connections; `stopping` ends the waits of delayed calls."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._numbers = itertools.count(1)
        self._life = secrets.token_hex(4).upper()  # no request id comes twice
        for part in PARTS:
            state.part(part)
        if state.store is not None:
            state.shelf.sweep()
        self._services: dict[str, Service] = {"oss": oss, "rpc": RPC, "control": ControlPlane()}
        self.stopping = threading.Event()

    def serve(self, request: Request, send: Send) -> None:
        """Answer one request; raises ConnectionCutError when the connection must be dropped instead."""
        number = next(self._numbers)
        request = replace(request, id=f"SANDBOX-{self._life}-{number:010X}")
        try:
            call = identify(self._state, request)
        except BodyTooLargeError:
            call = Call(service="rpc", operation="unknown")
        fault = None if call.service == "control" else self._state.faults.strike(call)
        request = replace(request, call=call, fault=fault)
        try:
            answer = self._kept_answer(request, call, fault)
            if fault is not None and fault.effect == "lose-answer":
                raise ConnectionCutError("a fault lost the answer")
        except ConnectionCutError:
            self._log(number, request, None)
            raise
        self._log(number, request, answer)
        send(answer, fault.after_bytes if fault is not None and fault.effect == "cut-answer" else None)

    def _kept_answer(self, request: Request, call: Call, fault: Fault | None) -> Answer:
        """Return the answer once its effects are on the disk."""
        try:
            answer = self._answer(request, call, fault)
            request.body.drain(DRAIN_BYTES)
            return answer
        finally:
            self._state.commit()

    def _answer(self, request: Request, call: Call, fault: Fault | None) -> Answer:
        service = self._services[call.service]
        if fault is not None:
            if fault.delay_s:
                self.stopping.wait(fault.delay_s)
            if fault.effect == "cut-before":
                raise ConnectionCutError("a fault cut the connection")
            if fault.effect == "cut-body":
                request.body.cut_after = fault.after_bytes
            if fault.effect == "answer":
                headers = tuple(fault.headers.items())
                return service.refuse(request, fault.status, fault.code, fault.message, headers=headers)
        try:
            return service.answer(self._state, request)
        except ConnectionCutError:
            raise
        except Exception:
            # A bug of the sandbox must be distinguishable from a failure of the network.
            log.exception("the sandbox failed to serve %s %s", request.method, request.target)
            return service.refuse(request, 500, "SandboxBug", "The sandbox itself failed; see its log.")

    def _log(self, number: int, request: Request, answer: Answer | None) -> None:
        call, fault = request.call, request.fault
        if call is None or call.service == "control":
            return
        sent = 0
        if answer is not None and request.method != "HEAD":
            sent = len(answer.body) if isinstance(answer.body, bytes) else answer.content_length or 0
        self._state.requests.add(
            LoggedRequest(
                number=number,
                at_s=self._state.clock.now_s(),
                service=call.service,
                operation=call.operation,
                method=request.method,
                target=_CONCEALED.sub(r"\1***", request.target),
                bucket=call.bucket,
                key=call.key,
                part=call.part,
                status=answer.status if answer else 0,
                code=answer.code if answer else "",
                body_bytes=request.body.received,
                answer_bytes=sent,
                fault=fault.effect if fault else "",
            )
        )


def identify(state: State, request: Request) -> Call:
    """Return what a request asks for, from its first line and, for an RPC call, its form."""
    if request.path.startswith("/_sandbox"):
        return Call(service="control", operation="control")
    if request.path == "/":
        action = request.headers.get("x-acs-action") or request.param("Action")
        action = action or next((value for name, value in request.form if name == "Action"), "")
        if action:
            return Call(service="rpc", operation=action)
    return oss.identify(request, state.settings.cnames)


class ControlPlane:
    """The control plane, which tests in another process steer the sandbox with."""

    def answer(self, state: State, request: Request) -> Answer:
        """Carry out a request; 403 to a web page, 404 for an unknown path, 400 with the reason for a wrong document."""
        reason = _refused_as_foreign(request)
        if reason:
            return _json(403, {"error": reason})
        handler = _HANDLERS.get((request.method, request.path.rstrip("/")))
        if handler is None:
            return _json(404, {"error": f"there is no {request.method} {request.path}"})
        try:
            document = json.loads(request.body.whole() or b"{}")
            if not isinstance(document, dict):
                raise ValueError("the body must be a JSON object")  # noqa: TRY004 - it is the caller's value that is wrong
            return _json(200, handler(state, document))
        except RecursionError:
            return _json(400, {"error": "the JSON of the body is nested too deeply"})
        except BodyTooLargeError as error:
            return _json(413, {"error": str(error)})
        except (ValueError, TypeError) as error:
            return _json(400, {"error": str(error)})

    def refuse(
        self, request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """Return the answer of an error."""
        return _json(status, {"error": f"{code}: {message}", "request": request.id}, headers)


def _refused_as_foreign(request: Request) -> str:
    """Return why a request may come from a web page, or an empty text.

    Browsers send Origin with every POST and DELETE, and with reads across origins. A page that reads from its own
    origin after DNS rebinding sends none, but its Host is the name of that origin. Names without a dot (localhost, a
    container's name) pass: no page on the Internet has one.
    """
    if "origin" in request.headers:
        return "the control plane serves no web page: the request has an Origin header"
    host = request.headers.get("host").rpartition("@")[2]
    name = re.sub(r":\d*$", "", host).strip("[]").lower()
    if "." not in name and ":" not in name:
        return ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"the control plane answers to an IP address or a name without dots, not to the host name {name}"
    return ""


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


def _add_fault(state: State, document: Document) -> object:
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


def _clear_faults(state: State, _: Document) -> object:
    state.faults.clear()
    return []


def _clear_log(state: State, _: Document) -> object:
    state.requests.clear()
    return []


_HANDLERS: dict[tuple[str, str], Callable[[State, Document], object]] = {
    ("GET", "/_sandbox"): _summary,
    ("GET", "/_sandbox/faults"): lambda state, _: [fault.to_json() for fault in state.faults.active()],
    ("POST", "/_sandbox/faults"): _add_fault,
    ("DELETE", "/_sandbox/faults"): _clear_faults,
    ("GET", "/_sandbox/clock"): lambda state, _: _move_clock(state, {}),
    ("POST", "/_sandbox/clock"): _move_clock,
    ("GET", "/_sandbox/requests"): lambda state, _: [asdict(entry) for entry in state.requests.entries()],
    ("DELETE", "/_sandbox/requests"): _clear_log,
    ("POST", "/_sandbox/settings"): _configure,
}
