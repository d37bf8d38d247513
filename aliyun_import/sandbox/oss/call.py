"""This file says what every OSS operation is handed, and the pieces of answers that they share."""

from dataclasses import dataclass

from aliyun_import.sandbox.auth.oss_signature import Caller
from aliyun_import.sandbox.core.http_types import Answer, Request
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.oss.errors import OssError, invalid_argument
from aliyun_import.sandbox.oss.state import Bucket, OssState, StoredObject
from aliyun_import.sandbox.oss.xml import Tree, document


@dataclass(frozen=True, eq=False)
class OssCall:
    """A request whose signature, bucket and rights were checked."""

    state: State
    oss: OssState
    request: Request
    caller: Caller
    region: str
    bucket_name: str = ""
    key: str = ""
    found: Bucket | None = None

    @property
    def bucket(self) -> Bucket:
        """Give the bucket of an operation that needs one; the door has seen that it is there."""
        if self.found is None:
            raise LookupError(f"{self.bucket_name} was let through without a bucket")
        return self.found

    @property
    def account_id(self) -> str:
        """Give the account of the caller."""
        return self.caller.key.account_id

    @property
    def now_s(self) -> float:
        """Give the cloud's time."""
        return self.state.clock.now_s()

    def number(self, name: str, *, default: int, low: int, high: int) -> int:
        """Read a number from the query string; InvalidArgument when it is none or out of bounds."""
        text = self.request.param(name)
        if not text:
            return default
        if not text.isdecimal() or not low <= int(text) <= high:
            raise invalid_argument(name, text)
        return int(text)

    def struck_by(self, effect: str) -> bool:
        """Tell whether a fault with this effect was ordered for the call."""
        return self.request.fault is not None and self.request.fault.effect == effect

    def require(self, action: str, message: str = "You have no right to access this object.") -> None:
        """Refuse a caller without the right to an action."""
        if not self.caller.key.may(action):
            raise OssError(403, "AccessDenied", message, ec="0003-00000001", extra=[("Action", action)])


def xml_answer(root: str, tree: Tree | str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Answer 200 with a body."""
    return Answer(200, (("Content-Type", "application/xml"), *headers), document(root, tree))


def quoted(etag: str) -> str:
    """Write an ETag as it travels."""
    return f'"{etag}"'


def crc_header(crc64: int | None) -> tuple[tuple[str, str], ...]:
    """Give the CRC header, where there is a CRC."""
    return () if crc64 is None else (("x-oss-hash-crc64ecma", str(crc64)),)


def version_header(bucket: Bucket, stored: StoredObject) -> tuple[tuple[str, str], ...]:
    """Give the version's header, where versions are or were kept."""
    return (("x-oss-version-id", stored.version_id),) if bucket.versioning else ()


def owner(account_id: str) -> Tree:
    """Give the Owner element of an account."""
    return {"ID": account_id, "DisplayName": account_id}
