"""This file reads the answers of the RPC services: JSON as asked for, and XML where a gateway on the way prefers it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aliyun_import.cloud.clock_skew import clock_difference
from aliyun_import.cloud.errors.translate import Answer, translate
from aliyun_import.errors import AliyunImportError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: HTTP status, the document (empty where there is none), and the beginning of its text."""

    status: int
    document: Mapping[str, Any]
    text: str
    server_date: str

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes | str) -> "Reply":
        """Read an answer as it came over the wire; what can't be read is an answer without a document."""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        try:
            document = json.loads(text)
        except ValueError:
            document = _fields_of_xml(text)
        return cls(
            status=status,
            document=document if isinstance(document, dict) else {},
            text=text[:2000],
            server_date=headers.get("Date") or "",
        )

    @property
    def ok(self) -> bool:
        """Tell whether this is a success: a 2xx with a document. A 200 with a web page in it is none."""
        return self.status // 100 == 2 and bool(self.document)

    @property
    def code(self) -> str:
        """Give the service's code; empty for a success and for what is not from the service."""
        return "" if self.ok else str(self.document.get("Code") or "")

    @property
    def request_id(self) -> str:
        """Give the service's name of the request."""
        return str(self.document.get("RequestId") or "")


def refusal_of(reply: Reply, *, service: str, operation: str, operands: Mapping[str, str]) -> AliyunImportError:
    """Translate an answer that is not a success."""
    if not reply.document and reply.status // 100 == 2:
        status, code, message = 502, "NotTheService", "The answer is not one of the service: " + reply.text[:120]
    else:
        status, code = reply.status, reply.code
        message = str(reply.document.get("Message") or reply.text[:300])
    return translate(
        Answer(
            service=service,
            operation=operation,
            status=status,
            code=code,
            message=message,
            request_id=reply.request_id,
            operands=operands,
            skew=clock_difference(reply.server_date),
        )
    )


def _fields_of_xml(text: str) -> dict[str, str]:
    """Read the flat fields of <Error>...</Error>; a pattern is enough for four fields without structure."""
    if "<Error>" not in text:
        return {}
    found = (re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL) for name in ("Code", "Message", "RequestId"))
    return {match[0].split(">")[0][1:]: match[1] for match in found if match}


Fields = Mapping[str, Any]


def text(fields: Fields, name: str) -> str:
    """Give a field as text; empty where it is missing or null."""
    value = fields.get(name)
    return "" if value is None else str(value)


def objects(fields: Fields, outer: str, inner: str) -> tuple[Fields, ...]:
    """Give the objects of a list that is wrapped as {outer: {inner: [...]}}.

    Some published samples leave the inner wrapper out, or the list around a single object; both are read as well.
    """
    found = fields.get(outer)
    if isinstance(found, Mapping) and inner in found:
        found = found[inner]
    if isinstance(found, Mapping):
        found = [found] if found else []
    return tuple(one for one in found if isinstance(one, Mapping)) if isinstance(found, list) else ()


def whole(fields: Fields, name: str) -> int | None:
    """Give a field as a whole number ("40%", "60", 60); None where it is not one."""
    match = re.fullmatch(r"\s*(\d+)(?:\.\d+)?\s*%?\s*", text(fields, name))
    return int(match[1]) if match else None


def truth(fields: Fields, name: str) -> bool | None:
    """Give a field as a truth value (true, "True", "false"); None where it is not one."""
    return {"true": True, "false": False}.get(text(fields, name).strip().lower())
