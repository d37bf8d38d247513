"""Routing of requests to services, with faults and the log of requests.

All services share one port. `/_sandbox` is the control plane and its console. `/` with an Action (a parameter, or the
header x-acs-action) is an RPC call (ECS, VPC, RAM, STS). Everything else is OSS.
"""

import itertools
import logging
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from aliyun_import.sandbox.auth.rpc_signature import Nonces
from aliyun_import.sandbox.control.plane import ControlPlane
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.http_server import Send
from aliyun_import.sandbox.core.http_types import Answer, BodyTooLargeError, Call, ConnectionCutError, Request
from aliyun_import.sandbox.core.request_log import LoggedRequest, redacted_target
from aliyun_import.sandbox.core.rpc import RpcServices
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.core.store import UnwrittenStateError
from aliyun_import.sandbox.ecs import operations as ecs
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss import service as oss
from aliyun_import.sandbox.oss.operations import OPERATIONS as OSS_OPERATIONS
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.ram import operations as ram
from aliyun_import.sandbox.ram.state import Ram

# The rest of the body of a refused request is read up to this size, so that its bytes are counted and the client reads
# the answer. If the client announced more, it is answered at once and its connection is closed.
DRAIN_BYTES = 64 << 20
# Hosts of ECS, VPC, RAM, IMS and STS. A bucket can be named ecs, too: ecs.oss-cn-hangzhou.aliyuncs.com.
_RPC_HOST = re.compile(r"(?:ram|ims|(?:ecs|sts|vpc)(?:-vpc)?(?:[.-](?!oss-)[a-z0-9-]+)?)\.aliyuncs\.com")
RPC = RpcServices((ecs.VPC, ecs.ECS, ram.RAM, ram.IMS, ram.STS))
# Operation -> service.
OPERATIONS: Mapping[str, str] = MappingProxyType(
    {row.name: "oss" for row in OSS_OPERATIONS}
    | {row.name: service.name for service in RPC.by_version.values() for row in service.operations}
)
# All state is read at the start, because files without a reference are removed then.
STATES: tuple[Callable[[State], object], ...] = (OssState, Ecs, Ram, Nonces)

log = logging.getLogger(__name__)


class Service(Protocol):
    """Handler of the requests of a service: a module or an object."""

    def answer(self, state: State, request: Request) -> Answer:
        """Carry out a request, and return its answer or a refusal."""

    def refuse(
        self, request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """Return the answer of an error in the form of the service."""


class Router:
    """Router. It serves requests on the threads of their connections. `stopping` ends the waits of delayed calls."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._numbers = itertools.count(1)
        self._run_id = secrets.token_hex(4).upper()  # makes request ids unique across restarts
        for part in STATES:
            state.part(part)
        if state.store is not None:
            state.blobs.sweep()
        self._services: dict[str, Service] = {"oss": oss, "rpc": RPC, "control": ControlPlane(OPERATIONS)}
        self.stopping = threading.Event()

    def serve(self, request: Request, send: Send) -> None:
        """Answer a request. Raises ConnectionCutError if the connection must be dropped without an answer."""
        number = next(self._numbers)
        request.id = f"SANDBOX-{self._run_id}-{number:010X}"
        try:
            call = identify(self._state, request)
        except BodyTooLargeError:
            call = Call(service="rpc", operation="unknown")
        fault = None if call.service == "control" else self._state.faults.match(call)
        request.call, request.fault = call, fault
        try:
            answer = self._committed_answer(request, call, fault)
            if fault is not None and fault.effect == "lose-answer":
                raise ConnectionCutError("a fault lost the answer")
        except ConnectionCutError:
            self._log(number, request, None)
            raise
        self._log(number, request, answer)
        send(answer, fault.after_bytes if fault is not None and fault.effect == "cut-answer" else None)

    def _committed_answer(self, request: Request, call: Call, fault: Fault | None) -> Answer:
        """Return the answer after its effects are on the disk. Raises ConnectionCutError if they cannot be written."""
        try:
            answer = self._answer(request, call, fault)
            request.body.drain(DRAIN_BYTES)
            return answer
        finally:
            try:
                self._state.commit()
            except UnwrittenStateError as error:
                log.error("the sandbox cannot write its state to %s: %s", self._state.directory, error)  # noqa: TRY400
                raise ConnectionCutError("the state cannot be written") from error

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
        except ConnectionError as error:  # the client was killed or stopped while it sent the body
            raise ConnectionCutError("the client closed the connection") from error
        except Exception:
            # The client must be able to distinguish a bug of the sandbox from a network failure.
            log.exception("the sandbox failed to serve %s %s", request.method, redacted_target(request.target))
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
                target=redacted_target(request.target),
                bucket=call.bucket,
                key=call.key,
                part=call.part,
                status=answer.status if answer else 0,
                code=answer.code if answer else "",
                reason=answer.reason if answer else "",
                body_bytes=request.body.received,
                answer_bytes=sent,
                fault=fault.effect if fault else "",
            )
        )


def identify(state: State, request: Request) -> Call:
    """Return the call of a request, from its first line, its headers and, for an RPC call, its form."""
    if request.path.startswith("/_sandbox"):
        return Call(service="control", operation="control")
    if _is_rpc(request):
        action = request.headers.get("x-acs-action") or request.param("Action")
        action = action or next((value for name, value in request.form if name == "Action"), "unknown")
        return Call(service="rpc", operation=action)
    return oss.identify(request, state.settings.cnames)


def _is_rpc(request: Request) -> bool:
    """Return whether a request is for ECS, RAM or STS: by its signature, else its host, else its parameters."""
    scheme = request.headers.get("authorization").partition(" ")[0]
    if scheme.startswith("ACS"):
        return True
    if scheme or request.has("x-oss-signature") or request.has("OSSAccessKeyId"):
        return False
    if _RPC_HOST.fullmatch(request.headers.get("host").partition(":")[0].lower()):
        return True
    names = {name for name, _ in (*request.query, *(request.form if request.path == "/" else ()))}
    return request.path == "/" and bool(names & {"Action", "SignatureMethod"} or "x-acs-action" in request.headers)
