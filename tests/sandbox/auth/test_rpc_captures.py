"""Tests of the verification of RPC and ACS3 signatures, with captured requests of real clients."""

import contextlib
import io
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aliyun_import.sandbox.auth.rpc_signature import authenticate, call_parameters
from aliyun_import.sandbox.core.http_types import Body, Headers, Request
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey, State
from tests.rows import each_row

WIRE = Path(__file__).parents[1] / "wire"
CAPTURES = sorted(path for name in ("aliyun-cli", "core", "tea-acs3") for path in (WIRE / name).glob("*.txt"))


@dataclass(frozen=True)
class Capture:
    """A captured request."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @classmethod
    def read(cls, path: Path) -> "Capture":
        """Read a capture: request line, headers, a blank line, the body, and comments."""
        head, _, rest = path.read_text().partition("\n\n")
        first, *lines = head.splitlines()
        method, target, _ = first.split(" ")
        pairs = [line.split(": ", 1) for line in lines]
        body = rest.partition("### ")[0].removesuffix("\n")
        return cls(method, target, Headers((name, value) for name, value in pairs), body.encode())

    def authenticate(self, state: State, *, method: str = "", target: str = "", body: bytes | None = None) -> AccessKey:
        """Verify its signature, with another method, target or body if given."""
        sent = self.body if body is None else body
        request = Request(
            method=method or self.method,
            target=target or self.target,
            headers=self.headers,
            body=Body(io.BytesIO(sent).read, length=len(sent)),
        )
        return authenticate(state, request, call_parameters(request))


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Return a state with the keys and the day of the captures."""
    state = State(tmp_path)
    state.add_key(AccessKey(id="AKTEST", secret="SKTEST"))
    state.add_key(AccessKey(id="STS.AK", secret="SKTEST", token="TOKEN+/=", principal="assumed-role/r/s"))
    state.clock.set_wall(datetime(2026, 11, 23, 22, 46, tzinfo=UTC).timestamp())
    return state


@each_row("path", CAPTURES)
def test_a_captured_request_verifies(state: State, path: Path) -> None:
    """The key is the one that signed the request."""
    capture = Capture.read(path)
    key = capture.authenticate(state)
    assert key.id == ("STS.AK" if path.stem.endswith("-sts") else "AKTEST")


def _accepted(state: State, capture: Capture, *, first: int = 0, step: int = 1) -> list[int]:
    """Return the indices of bytes of the query whose change is accepted, of every `step`-th byte."""
    accepted = []
    for index in range(2 + first, len(capture.target), step):
        changed = "x" if capture.target[index] != "x" else "y"
        target = capture.target[:index] + changed + capture.target[index + 1 :]
        with contextlib.suppress(Refusal):
            capture.authenticate(state, target=target)
            accepted.append(index)
    for index in range(first, len(capture.body), step):
        body = bytearray(capture.body)
        body[index] ^= 1
        with pytest.raises(Refusal, match="SignatureDoesNotMatch"):
            capture.authenticate(state, body=bytes(body))
    return accepted


@each_row(("number", "path"), enumerate(CAPTURES))
def test_a_captured_request_with_one_byte_changed_is_refused(state: State, number: int, path: Path) -> None:
    """Every 4th byte of query and body is changed, with another offset for each request."""
    assert _accepted(state, Capture.read(path), first=number % 4, step=4) == []


@pytest.mark.slow
@each_row("path", CAPTURES)
def test_a_captured_request_with_any_byte_changed_is_refused(state: State, path: Path) -> None:
    """Every byte of query and body of every request is changed."""
    assert _accepted(state, Capture.read(path)) == []


def test_the_method_is_signed(state: State) -> None:
    """The same parameters have another signature with GET."""
    capture = Capture.read(CAPTURES[0])
    with pytest.raises(Refusal, match="SignatureDoesNotMatch"):
        capture.authenticate(state, method="GET")


def test_there_are_captures() -> None:
    """The number of captures of each client is complete."""
    assert Counter(path.parent.name for path in CAPTURES) == {"aliyun-cli": 2, "core": 10, "tea-acs3": 2}
