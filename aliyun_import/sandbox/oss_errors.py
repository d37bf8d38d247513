"""This file says how OSS refuses: one exception, and the answer made of it."""

import base64
from collections.abc import Iterable
from xml.sax.saxutils import escape

from aliyun_import.sandbox.http import Answer, Request


class OssError(Exception):
    """A refusal: HTTP status, code, message, and what else the body holds."""

    def __init__(
        self, status: int, code: str, message: str, *, ec: str = "", extra: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.extra = tuple(extra)


def refusal(request: Request, error: OssError, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Make the answer of a refusal; for HEAD the body travels in x-oss-err, as with the real service."""
    fields = [
        ("Code", error.code),
        ("Message", error.message),
        ("RequestId", request.id),
        ("HostId", request.headers.get("host")),
        *error.extra,
        *([("EC", error.ec)] if error.ec else []),
    ]
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields)
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>\n'.encode()
    common = [("Content-Type", "application/xml"), ("x-oss-request-id", request.id), *headers]
    if error.ec:
        common.append(("x-oss-ec", error.ec))
    if request.method == "HEAD":
        common.append(("x-oss-err", base64.b64encode(body).decode()))
        return Answer(error.status, tuple(common), b"", code=error.code)
    return Answer(error.status, tuple(common), body, code=error.code)


def refuse(
    request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Make the answer of a fault that was ordered."""
    return refusal(request, OssError(status, code, message), headers=headers)
