"""This file writes and reads OSS's XML bodies.

Without the `xmlns` that the documents print: oss2 cannot read namespaced bodies, so the service cannot be sending it.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aliyun_import.sandbox.core.http_types import BodyTooLargeError, Request
from aliyun_import.sandbox.oss.errors import invalid_argument, malformed_xml

MAX_BODY_BYTES = 4 << 20  # a Complete body of 10,000 parts has about 1 MB

Tree = Mapping[str, Any]


def document(root: str, tree: Tree | str) -> bytes:
    """Write a body: a mapping is an element's children in order, a list is an element repeated, None is left out."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_element(root, tree)}\n'.encode()


def _element(name: str, value: object) -> str:
    match value:
        case None:
            return ""
        case list():
            return "".join(_element(name, item) for item in value)
        case Mapping():
            inner = "".join(_element(child, item) for child, item in value.items())
        case bool():
            inner = "true" if value else "false"
        case _:
            inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"


def stamp(at_s: float) -> str:
    """Write a moment as OSS does in bodies."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at_s))


def http_date(at_s: float) -> str:
    """Write a moment as headers do, whatever the locale."""
    moment = time.gmtime(at_s)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.tm_wday]
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return time.strftime(f"{day}, %d {months[moment.tm_mon - 1]} %Y %H:%M:%S GMT", moment)


class KeyEncoder:
    """Writes keys as the request's `encoding-type` asks: url-encoded, or as they are."""

    def __init__(self, request: Request) -> None:
        self.type = request.param("encoding-type") or None
        if self.type not in (None, "url"):
            message = "Invalid Encoding Method specified in Request"
            raise invalid_argument("encoding-type", self.type or "", message)

    def __call__(self, key: str) -> str:
        """Write one key."""
        return quote(key, safe="-_.~") if self.type else key


def parse(request: Request, root: str) -> ElementTree.Element:
    """Read a body whose root must be so named; raises MalformedXML. Namespaces are dropped."""
    try:
        tree = ElementTree.fromstring(request.body.whole(max_bytes=MAX_BODY_BYTES))  # noqa: S314 - expat bounds what entities expand to
    except (ElementTree.ParseError, BodyTooLargeError) as error:
        raise malformed_xml() from error
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    if tree.tag != root:
        raise malformed_xml()
    return tree


def texts(parent: ElementTree.Element, names: Iterable[str]) -> tuple[str, ...]:
    """Give the stripped texts of children that must all be there; raises MalformedXML."""
    found = []
    for name in names:
        child = parent.find(name)
        if child is None or not (child.text or "").strip():
            raise malformed_xml()
        found.append((child.text or "").strip())
    return tuple(found)
