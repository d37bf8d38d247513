"""Tests of the verification of OSS signatures, with captured requests of real clients and published vectors."""

import hashlib
import hmac
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aliyun_import.sandbox.auth.oss_signature import ANONYMOUS, V1_SUBRESOURCES, authenticate
from aliyun_import.sandbox.core.http_types import Headers, Request
from aliyun_import.sandbox.core.state import AccessKey, State
from aliyun_import.sandbox.oss.protocol import Caller, OssError
from aliyun_import.sandbox.oss.service import split_resource
from tests.rows import each_row

WIRE = Path(__file__).parents[1] / "wire"
CAPTURES = sorted(path for folder in WIRE.glob("oss*") for path in folder.glob("*.txt"))
CAPTURED = datetime(2026, 11, 23, 22, 51, 41, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Captured:
    """A captured request without its body, which no signature covers."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, path: Path) -> "Captured":
        """Read a request line and headers."""
        first, *lines = path.read_text().partition("\n\n")[0].splitlines()
        method, target, _ = first.split(" ")
        return cls(method, target, tuple(tuple(line.split(": ", 1)) for line in lines))  # type: ignore[misc]

    @property
    def v4(self) -> bool:
        """Return whether the signature is V4."""
        return any(value.startswith("OSS4-") for _, value in self.headers)

    def authenticate(self, state: State) -> Caller:
        """Verify its signature."""
        request = Request(method=self.method, target=self.target, headers=Headers(self.headers))
        return authenticate(state, request, split_resource(request, {})[2])

    def with_header(self, index: int, value: str) -> "Captured":
        """Change one header's value."""
        headers = list(self.headers)
        headers[index] = (headers[index][0], value)
        return replace(self, headers=tuple(headers))


def _changed(text: str) -> Iterator[str]:
    """Yield the text with one character changed, for each character."""
    for index, char in enumerate(text):
        yield text[:index] + ("x" if char != "x" else "y") + text[index + 1 :]


def _mutants(request: Captured) -> Iterator[Captured]:
    """Yield the request with one signed byte changed, for each such byte."""
    yield replace(request, method="PUT" if request.method != "PUT" else "POST")
    path, mark, query = request.target.partition("?")
    for changed in _changed(path[1:]):
        yield replace(request, target=f"/{changed}{mark}{query}")
    pairs = query.split("&") if query else []
    for index, pair in enumerate(pairs):
        if request.v4 or pair.partition("=")[0] in V1_SUBRESOURCES:
            for changed in _changed(pair.removesuffix("=")):
                others = [*pairs[:index], changed, *pairs[index + 1 :]]
                yield replace(request, target=f"{path}?{'&'.join(others)}")
    signed = {"authorization", "content-md5", "content-type"}
    if not request.v4 or not any(name.lower() == "x-oss-date" for name, _ in request.headers):
        signed.add("date")
    for index, (name, value) in enumerate(request.headers):
        if name.lower() in signed or name.lower().startswith("x-oss-"):
            yield from (request.with_header(index, changed) for changed in _changed(value))


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Return a state with the keys and the time of the captures."""
    state = State(tmp_path)
    state.add_key(AccessKey(id="AKTEST", secret="SKTEST"))
    state.add_key(AccessKey(id="STS.AK", secret="SKTEST", token="TOKEN+/="))
    state.clock.set_wall(CAPTURED)
    return state


def test_there_are_captures_of_all_clients() -> None:
    """The number of captures of each client and signature is complete."""
    assert Counter(path.parent.name for path in CAPTURES) == {
        "oss2-v1": 25, "oss2-v4": 25, "oss2-v4-sts": 25, "oss-v2sdk-v4": 16, "ossutil-v4": 5
    }  # fmt: skip


def _accepted(state: State, mutants: Iterable[Captured]) -> list[Captured]:
    """Return the requests that are accepted, or refused with another status than 400 or 403."""
    wrong = []
    for mutant in mutants:
        try:
            mutant.authenticate(state)
        except OssError as error:
            if error.status in (400, 403):
                continue
        wrong.append(mutant)
    return wrong


@each_row(("number", "path"), enumerate(CAPTURES))
def test_a_captured_request_verifies_and_a_changed_one_does_not(state: State, number: int, path: Path) -> None:
    """Every 8th signed byte is changed, with another offset for each request."""
    request = Captured.read(path)
    caller = request.authenticate(state)
    assert caller.region == ("cn-hangzhou" if request.v4 else None)
    assert _accepted(state, itertools.islice(_mutants(request), number % 8, None, 8)) == []


@pytest.mark.slow
@each_row("path", CAPTURES)
def test_a_captured_request_with_any_signed_byte_changed_is_refused(state: State, path: Path) -> None:
    """Every signed byte of every captured request is changed."""
    assert _accepted(state, _mutants(Captured.read(path))) == []


def _capture(name: str) -> Captured:
    return Captured.read(WIRE / name)


def test_a_mismatch_has_the_string_to_sign_of_the_service(state: State) -> None:
    """The refusal of a V4 signature has the canonical request and the string to sign."""
    with pytest.raises(OssError) as refused:
        replace(_capture("oss2-v4/list_parts.txt"), method="PUT").authenticate(state)
    shown = dict(refused.value.extra)
    assert (refused.value.status, refused.value.code) == (403, "SignatureDoesNotMatch")
    assert shown["CanonicalRequest"].startswith("PUT\n/bkt/dir/a%20b%2B%C3%BC.bin\n")
    assert shown["StringToSign"].startswith("OSS4-HMAC-SHA256\n20261123T225141Z\n20261123/cn-hangzhou/oss/")


@each_row("folder", ["oss2-v1", "oss2-v4"])
@each_row("skew_s", [-901, 901])
def test_a_date_more_than_15_minutes_off_is_refused(state: State, folder: str, skew_s: int) -> None:
    """The window is 15 minutes in both directions."""
    state.clock.set_wall(CAPTURED + skew_s - (2 if skew_s < 0 else -2))
    with pytest.raises(OssError, match="RequestTimeTooSkewed"):
        _capture(f"{folder}/list_parts.txt").authenticate(state)
    state.clock.set_wall(CAPTURED + skew_s * 0.99)
    _capture(f"{folder}/list_parts.txt").authenticate(state)


def test_faults_of_keys_and_tokens_have_different_codes(state: State) -> None:
    """Disabled keys, and wrong, missing and expired tokens have their own codes."""
    plain, temporary = _capture("oss2-v4/list_parts.txt"), _capture("oss2-v4-sts/list_parts.txt")

    def code(request: Captured) -> str:
        with pytest.raises(OssError) as refused:
            request.authenticate(state)
        return refused.value.code

    def without_token(request: Captured) -> Captured:
        return replace(request, headers=tuple(each for each in request.headers if "token" not in each[0]))

    assert code(without_token(temporary)) == "InvalidSecurityToken"
    assert code(replace(plain, headers=(*plain.headers, ("x-oss-security-token", "T")))) == (
        "AccessKeyIdAndSecurityTokenNotMatch"
    )
    state.expire_token("STS.AK")
    assert code(temporary) == "SecurityTokenExpired"
    state.add_key(AccessKey(id="AKTEST", secret="SKTEST", enabled=False))
    assert code(plain) == "InvalidAccessKeyId"
    state.configure(v1_signatures=False)
    assert code(_capture("oss2-v1/list_parts.txt")) == "AccessDenied"


def test_a_request_without_a_signature_is_anonymous(state: State) -> None:
    """ACLs determine its permissions; a signature of Amazon S3 is refused with 501."""
    bare = Captured("GET", "/bkt/key", ())
    assert bare.authenticate(state).key is ANONYMOUS
    with pytest.raises(OssError, match="Amazon S3") as refused:
        replace(bare, headers=(("Authorization", "AWS4-HMAC-SHA256 Credential=A"),)).authenticate(state)
    assert refused.value.status == 501


# Published and recomputed with an independent implementation: method, target, headers, signature.
V4_VECTORS = [
    (
        "PUT",
        "/my-bucket/dir/disk%201.raw?partNumber=2&uploadId=0004B9895DBBB6EC98E3",
        {},
        "e341e810ff1d5193335596e6f7815c0601e8f85bef483a57fd9d5864d7e1f533",
    ),
    (
        "POST",
        "/my-bucket/k.raw?uploads",
        {"content-type": "application/octet-stream", "x-oss-forbid-overwrite": "true"},
        "26cf83a6adf484722b9e4f05fc3987bf68b77cd79e10bdf213266d954b587e79",
    ),
]


@each_row("authorization", ["Credential={c}, Signature={s}", "Credential={c},Signature={s}"])
@each_row(("method", "target", "headers", "signature"), V4_VECTORS)
def test_v4_vectors(
    state: State, method: str, target: str, headers: dict[str, str], signature: str, authorization: str
) -> None:
    """The vectors verify with both separators of the fields."""
    state.add_key(AccessKey(id="EXAMPLE-KEY", secret="testsecret"))
    state.clock.set_wall(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp())
    scope = "EXAMPLE-KEY/20260102/cn-hangzhou/oss/aliyun_v4_request"
    sent = {
        "x-oss-date": "20260102T030405Z",
        "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
        "authorization": "OSS4-HMAC-SHA256 " + authorization.format(c=scope, s=signature),
        **headers,
    }
    Captured(method, target, tuple(sent.items())).authenticate(state)


def test_v1_vector(state: State) -> None:
    """The example of "Add signatures to the header" verifies."""
    state.add_key(AccessKey(id="EXAMPLE-KEY", secret="OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV"))
    state.clock.set_wall(datetime(2005, 11, 17, 18, 49, 58, tzinfo=UTC).timestamp())
    sent = {
        "Content-Md5": "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=",
        "Content-Type": "text/html",
        "Date": "Thu, 17 Nov 2005 18:49:58 GMT",
        "X-OSS-Meta-Author": "foo@bar.com",
        "X-OSS-Magic": "abracadabra",
        "Authorization": "OSS EXAMPLE-KEY:26NBxoKdsyly4EDv6inkoDft/yA=",
    }
    Captured("PUT", "/oss-example/nelson", tuple(sent.items())).authenticate(state)


ADDITIONAL = """GET
/bkt/k

host:disks.example.com
range:bytes=0-9
x-oss-content-sha256:UNSIGNED-PAYLOAD
x-oss-date:20261123T225141Z

host;range
UNSIGNED-PAYLOAD"""


def test_additional_headers_are_signed(state: State) -> None:
    """A header in AdditionalHeaders is signed, so that changing it breaks the signature."""
    string = "OSS4-HMAC-SHA256\n20261123T225141Z\n20261123/cn-hangzhou/oss/aliyun_v4_request\n"
    string += hashlib.sha256(ADDITIONAL.encode()).hexdigest()
    key = b"aliyun_v4SKTEST"
    for step in ("20261123", "cn-hangzhou", "oss", "aliyun_v4_request", string):
        key = hmac.digest(key, step.encode(), "sha256")
    sent = {
        "Host": "disks.example.com",
        "Range": "bytes=0-9",
        "x-oss-date": "20261123T225141Z",
        "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
        "Authorization": "OSS4-HMAC-SHA256 Credential=AKTEST/20261123/cn-hangzhou/oss/aliyun_v4_request,"
        f"AdditionalHeaders=host;range,Signature={key.hex()}",
    }
    Captured("GET", "/bkt/k", tuple(sent.items())).authenticate(state)
    with pytest.raises(OssError, match="SignatureDoesNotMatch"):
        Captured("GET", "/bkt/k", tuple({**sent, "Range": "bytes=0-8"}.items())).authenticate(state)


def test_additional_headers_must_be_those_that_were_signed(state: State) -> None:
    """An added header, and an empty field, make a valid request invalid."""
    plain = _capture("oss2-v4/list_parts.txt")
    index = next(i for i, (name, _) in enumerate(plain.headers) if name == "authorization")
    for added, code in (("AdditionalHeaders=host", "SignatureDoesNotMatch"), ("AdditionalHeaders=", "InvalidArgument")):
        value = re.sub(r", (Signature=)", rf", {added}, \1", plain.headers[index][1])
        with pytest.raises(OssError, match=code):
            plain.with_header(index, value).authenticate(state)
