"""This file writes docs/errors.md from the tables: `python -m aliyun_import.cloud.error_page > docs/errors.md`."""

import sys
from collections.abc import Iterable

from aliyun_import.cloud.answer_row import Row, fill
from aliyun_import.cloud.network import TROUBLES, Trouble
from aliyun_import.cloud.translate import TABLE
from aliyun_import.errors import AliyunImportError

_HEAD = """\
# Errors

What the services answer, what this tool makes of it, and what to do. `error` is the stable `code` of
[JSON](json.md); `exit` is the [exit code](exit-codes.md). Words in capitals stand for the real values. Every error also
carries the service's own code, message and request id. This page is written by
`python -m aliyun_import.cloud.error_page`; a test keeps it so.

Errors with exit 6 are retried by the tool itself, with growing pauses, before they are shown. An answer that the
security token has expired makes it look for new credentials first, and repeat the request where it finds some.

A code that is not in these tables keeps its own words, and counts by its family and its HTTP status: `Throttling...`,
5xx, 408 and 429 are passing trouble (exit 6); `Forbidden...`, `NoPermission...`, and 401 and 403 of OSS, RAM and STS
are a matter of rights (exit 4); all else is a request that the service refuses (exit 5). ECS says 403 to much that has
nothing to do with rights.
"""
_NETWORK = """
## No answer at all

| error | exit | what it means | what to do |
| --- | --- | --- | --- |
"""
_ROWS = """
| answer | error | exit | what it means | what to do |
| --- | --- | --- | --- | --- |
"""
_SERVICES = (("OSS", "OSS"), ("ECS", "ECS"), ("RAM", "RAM"), ("STS", "ECS, RAM and STS alike"))


def page() -> str:
    """Write the page, whole."""
    parts = [_HEAD, _NETWORK, *(_network_line(one) for one in TROUBLES)]
    for service, title in _SERVICES:
        rows = [row for row in TABLE if row.services[-1] == service]
        parts += [f"\n## {title}\n", _ROWS, *_lines(rows)]
    return "".join(parts)


def _lines(rows: Iterable[Row]) -> Iterable[str]:
    for row in sorted(rows, key=lambda one: (one.code.lower(), one.variant)):
        answer = f"`{row.code}`" + (f" ({row.variant})" if row.variant else "")
        words = (answer, f"`{row.ours}`", _exit(row.kind), fill(row.means, {}), fill(row.remedy or "", {}))
        yield _line(words)


def _network_line(one: Trouble) -> str:
    return _line((f"`{one.ours}`", _exit(one.kind), fill(one.means, {}), one.remedy))


def _exit(kind: type[AliyunImportError]) -> str:
    return str(int(kind.exit_code))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
