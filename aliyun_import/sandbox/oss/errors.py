"""This file says how OSS refuses: one exception, and the answer made of it."""

import base64
from collections.abc import Iterable
from http import HTTPStatus
from xml.sax.saxutils import escape

from aliyun_import.sandbox.core.http_types import Answer, Request


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


def invalid_argument(name: str, value: str, message: str = "Invalid Argument.", *, ec: str = "") -> OssError:
    """Make the refusal of an argument, naming it and its value."""
    return OssError(400, "InvalidArgument", message, ec=ec, extra=[("ArgumentName", name), ("ArgumentValue", value)])


def no_such_key(key: str) -> OssError:
    """Make the refusal of a key that no object has."""
    return OssError(404, "NoSuchKey", "The specified key does not exist.", extra=[("Key", key)])


def not_done(what: str, *, header: str = "") -> OssError:
    """Make the refusal, by name, of something that OSS does and the sandbox does not."""
    extra = [("Header", header)] if header else []
    return OssError(501, "NotImplemented", f"The sandbox does not do {what}.", extra=extra)


def malformed_xml() -> OssError:
    """Make the refusal of a body that is no XML or does not say what it must."""
    return OssError(
        400,
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema.",
    )


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
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>\n'.encode(errors="replace")
    common = [("Content-Type", "application/xml"), *headers]
    if error.ec:
        common.append(("x-oss-ec", error.ec))
    if error.status == HTTPStatus.NOT_MODIFIED:
        return Answer(error.status, code=error.code)
    if request.method == "HEAD":
        common.append(("x-oss-err", base64.b64encode(body).decode()))
        return Answer(error.status, tuple(common), b"", code=error.code)
    return Answer(error.status, tuple(common), body, code=error.code)


def refuse(
    request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Make the answer of a fault that was ordered."""
    return refusal(request, OssError(status, code, message), headers=[("x-oss-request-id", request.id), *headers])
