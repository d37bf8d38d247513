"""Control plane: access to the state of a sandbox over HTTP, for other processes and for browsers.

    GET    /_sandbox              settings, and the numbers of requests and faults
    GET    /_sandbox/             the console, for a browser
    POST   /_sandbox/account      apply an account document: settings, keys, issuers, faults and time
    GET    /_sandbox/settings     the settings               POST: change settings by name
    GET    /_sandbox/keys         the keys without secrets   POST: add or change a key
    GET    /_sandbox/issuers      the issuers of tokens      POST: add an issuer with its keys, or replace its keys
    GET    /_sandbox/faults       the active faults          POST: add a fault    DELETE: remove all
    GET    /_sandbox/clock        the time                   POST {"advance_s": 60} or {"skew_s": 1200}
    GET    /_sandbox/requests     the log, oldest first      DELETE: clear it

A browser on this machine can reach the port, but web pages of other origins must not. So a request with another Origin
is refused, and so is a request whose Host is a DNS name (DNS rebinding).
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from aliyun_import.sandbox.control import account, console
from aliyun_import.sandbox.control.account import Document
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.http_types import Answer, BodyTooLargeError, Request
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ram.oidc import public_keys
from aliyun_import.sandbox.ram.state import Ram


class ControlPlane:
    """Control plane. `operations` are the names of all operations with their services."""

    def __init__(self, operations: Mapping[str, str]) -> None:
        self._operations = operations
        self._handlers: dict[tuple[str, str], Callable[[State, Document], object]] = {
            ("GET", "/_sandbox"): _summary,
            ("POST", "/_sandbox/account"): self._apply,
            ("GET", "/_sandbox/settings"): lambda state, _: asdict(state.settings),
            ("POST", "/_sandbox/settings"): self._configure,
            ("GET", "/_sandbox/keys"): lambda state, _: [account.shown_key(each) for each in state.all_keys()],
            ("POST", "/_sandbox/keys"): _save_key,
            ("GET", "/_sandbox/issuers"): lambda state, _: _issuers(state),
            ("POST", "/_sandbox/issuers"): _save_issuer,
            ("GET", "/_sandbox/faults"): lambda state, _: [asdict(fault) for fault in state.faults.active()],
            ("POST", "/_sandbox/faults"): self._add_fault,
            ("DELETE", "/_sandbox/faults"): _clear_faults,
            ("GET", "/_sandbox/clock"): _time,
            ("POST", "/_sandbox/clock"): _move_clock,
            ("GET", "/_sandbox/requests"): lambda state, _: [asdict(entry) for entry in state.requests.entries()],
            ("DELETE", "/_sandbox/requests"): _clear_log,
        }

    def answer(self, state: State, request: Request) -> Answer:
        """Carry out a request. The answer is 403 for another origin, 404 for an unknown path, 400 for a mistake."""
        reason = refused_as_foreign(request)
        if reason:
            return _json(403, {"error": reason})
        try:
            if request.method == "GET" and request.path == console.PATH:
                return console.page(state, request, self._operations)
            if request.method == "POST" and request.path == console.PATH:
                return console.carry_out(state, request, self._operations)
            handler = self._handlers.get((request.method, request.path.rstrip("/")))
            if handler is None:
                return _json(404, {"error": f"there is no {request.method} {request.path}"})
            document = json.loads(request.body.whole() or b"{}")
            if not isinstance(document, dict):
                raise ValueError("the body must be a JSON object")  # noqa: TRY004 - ValueError is answered 400
            return _json(200, handler(state, document))
        except RecursionError:
            return _json(400, {"error": "the JSON of the body is nested too deeply"})
        except BodyTooLargeError as error:
            return _json(413, {"error": str(error)})
        except ValueError as error:
            return _json(400, {"error": str(error)})

    def refuse(
        self, request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """Return the answer of an error."""
        return _json(status, {"error": f"{code}: {message}", "request": request.id}, headers)

    def _apply(self, state: State, document: Document) -> object:
        account.apply(state, document, operations=self._operations)
        return _summary(state, document)

    def _configure(self, state: State, document: Document) -> object:
        account.apply(state, {"settings": document}, operations=self._operations)
        return asdict(state.settings)

    def _add_fault(self, state: State, document: Document) -> object:
        fault = state.codec.decode(Fault, document)
        account.check_fault(fault, self._operations)
        return asdict(state.faults.add(fault))


def refused_as_foreign(request: Request) -> str:
    """Return the reason why a request may come from a web page of another origin, or an empty string.

    Browsers send Origin with every POST and DELETE, and with reads from other origins. After DNS rebinding, a page
    reads from its own origin and sends no Origin, but Host is the name of that origin. Names without a dot (localhost,
    the name of a container) are allowed, because no page on the Internet has such a name.
    """
    host = request.headers.get("host")
    origin = request.headers.get("origin")
    if "origin" in request.headers and origin not in (f"http://{host}", f"https://{host}"):
        return f"the control plane serves no web page of another origin: the Origin is {origin or 'empty'}"
    name = re.sub(r":\d*$", "", host.rpartition("@")[2]).strip("[]").lower()
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


def _save_key(state: State, document: Document) -> Any:  # noqa: ANN401 - JSON
    with state.lock:
        return account.shown_key(state.add_key(account.changed_key(state, document, where="key")))


def _issuers(state: State) -> list[dict[str, object]]:
    with state.lock:
        issuers = state.part(Ram).issuers
        return [{"url": url, "keys": [key_id for key_id, _ in public_keys(jwks)]} for url, jwks in issuers.items()]


def _save_issuer(state: State, document: Document) -> object:
    account.save_issuer(state, state.codec.decode(account.Issuer, document, "issuer"))
    return _issuers(state)


def _time(state: State, _: Document) -> object:
    return {"now_s": state.clock.now_s(), "wall_s": state.clock.wall_s()}


def _move_clock(state: State, document: Document) -> object:
    account.move_clock(state, state.codec.decode(account.ClockChange, document, "clock"))
    return _time(state, document)


def _clear_faults(state: State, _: Document) -> object:
    state.faults.clear()
    return []


def _clear_log(state: State, _: Document) -> object:
    state.requests.clear()
    return []
