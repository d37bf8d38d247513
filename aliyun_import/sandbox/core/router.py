"""This file leads each request to its service, lets the ordered faults strike, and logs how it ended.

One port serves all: `/_sandbox/...` is the control plane, `/` with an Action is an RPC call (ECS, RAM, STS), and
anything else is OSS in path style.
"""

import importlib
import itertools
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, cast

from aliyun_import.sandbox.core import control
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.http_types import Answer, BodyTooLargeError, Call, ConnectionCutError, Request
from aliyun_import.sandbox.core.request_log import LoggedRequest
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.oss import service as oss

# What a refused client still sends is read first, up to here, so that its bytes are counted and it gets to read its
# answer; one that announced more is answered at once, and its connection is closed.
DRAIN_BYTES = 64 << 20

Send = Callable[[Answer, int | None], None]
log = logging.getLogger(__name__)


def identify(state: State, request: Request) -> Call:
    """Tell what a request asks for, from its first line (and its form, for an RPC call)."""
    if request.path.startswith("/_sandbox"):
        return Call(service="control", operation="control")
    if request.path == "/":
        action = request.param("Action") or next((value for name, value in request.form if name == "Action"), "")
        if action:
            return Call(service="rpc", operation=action)
    return oss.identify(request, state.settings.cnames)


class Gateway:
    """Serves requests on the connections' threads; `stopping` ends the waits of delayed calls."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._numbers = itertools.count(1)
        self.stopping = threading.Event()

    def serve(self, request: Request, send: Send) -> None:
        """Answer one request; raises ConnectionCutError when the connection must be dropped instead."""
        number = next(self._numbers)
        request = replace(request, id=f"SANDBOX-{number:016X}")
        try:
            call = identify(self._state, request)
        except BodyTooLargeError:
            call = Call(service="rpc", operation="unknown")
        fault = None if call.service == "control" else self._state.faults.strike(call)
        request = replace(request, call=call, fault=fault)
        try:
            answer = self._answer(request, call, fault)
            request.body.drain(DRAIN_BYTES)
            if fault is not None and fault.effect == "lose-answer":
                raise ConnectionCutError("a fault lost the answer")
        except ConnectionCutError:
            self._log(number, request, None)
            raise
        self._log(number, request, answer)
        send(answer, fault.after_bytes if fault is not None and fault.effect == "cut-answer" else None)

    def _answer(self, request: Request, call: Call, fault: Fault | None) -> Answer:
        if fault is not None:
            if fault.delay_s:
                self.stopping.wait(fault.delay_s)
            if fault.effect == "cut-before":
                raise ConnectionCutError("a fault cut the connection")
            if fault.effect == "cut-body":
                request.body.cut_after = fault.after_bytes
            if fault.effect == "answer":
                return _service(call.service).refuse(
                    request, fault.status, fault.code, fault.message, headers=tuple(fault.headers.items())
                )
        try:
            return _service(call.service).answer(self._state, request)
        except ConnectionCutError:
            raise
        except Exception:
            # A bug in the sandbox must not look like trouble of the network.
            log.exception("the sandbox failed to serve %s %s", request.method, request.target)
            return _service(call.service).refuse(request, 500, "SandboxBug", "The sandbox itself failed; see its log.")

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
                target=re.sub(
                    r"((?:^|[?&])(?:Signature|SecurityToken|security-token)=)[^&]*", r"\1***", request.target
                ),
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


class Service(Protocol):
    """What the gateway needs of a service's module."""

    def answer(self, state: State, request: Request) -> Answer:
        """Do what a request asks; a refusal is an Answer, too."""
        ...

    def refuse(
        self, request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """Make an answer of an error in the service's own form."""
        ...


def _service(name: str) -> Service:
    if name == "rpc":
        # Late, because the RPC services are many modules that a test of OSS does without.
        return cast("Service", importlib.import_module("aliyun_import.sandbox.core.rpc"))
    return control if name == "control" else oss
