"""This file writes docs/errors.md from the tables: `python -m aliyun_import.cloud.errors.page > docs/errors.md`."""

import sys
from collections.abc import Iterable

from aliyun_import.cloud.errors.mapping import ErrorMapping, fill
from aliyun_import.cloud.errors.network import TROUBLES, Trouble
from aliyun_import.cloud.errors.translate import TABLE
from aliyun_import.errors import AccessError, AliyunImportError, RefusedError, TransientError, UsageError

_HEAD = """\
# Errors

What the services answer, what this tool makes of it, and what to do. `error` is the stable `code` of
[JSON](json.md); `exit` is the [exit code](exit-codes.md). Words in capitals stand for the real values. Every error also
carries the service's own code, message and request id. This page is written by
`python -m aliyun_import.cloud.errors.page`; a test keeps it so.

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
_HERE = """
## What this tool finds itself

| error | exit | what it means | what to do |
| --- | --- | --- | --- |
"""
# What cloud/ says of its own; a test keeps it whole.
_OWN: tuple[tuple[str, type[AliyunImportError], str, str], ...] = (
    ("credentials-missing", AccessError, "No credentials were found; the cause lists every place that was looked at.",
     "Set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, run `aliyun configure`, or pass --sandbox."),
    ("credentials-failed", AccessError, "A role, an external program or a URI did not give its keys.",
     "Repair it, or set keys in the environment."),
    ("credentials-unreachable", TransientError, "Keys have to be fetched, and the network is in the way.",
     "Check the network and run the same command again."),
    ("credentials-unreadable", AccessError, "A file of credentials is damaged or may not be read.",
     "Repair the file, or move it away and run `aliyun configure`."),
    ("profile-missing", AccessError, "The profile of --profile is not there; the cause lists those that are.",
     "Run `aliyun configure --profile NAME`, or pass another --profile."),
    ("profile-incomplete", AccessError, "The profile of --profile holds no keys.",
     "Run `aliyun configure --profile NAME`."),
    ("profile-unsupported", AccessError, "The profile has a mode that can't be used here.",
     "Pass --profile with another one, or put the keys into the environment."),
    ("region-invalid", UsageError, "The region is not written as one.", "Pass --region such as cn-hangzhou."),
    ("endpoint-invalid", UsageError, "A URL of an endpoint can't be used.", "Pass https://HOST or https://HOST:PORT."),
    ("endpoint-insecure", UsageError, "An endpoint's URL is http, and leads to another machine.",
     "Pass it as https://HOST, or add --insecure if the network in between is trusted."),
    ("proxy-unusable", UsageError, "The proxy of the environment is not an http:// or https:// URL.",
     "Set HTTPS_PROXY as http://HOST:PORT, or add the endpoint's host to NO_PROXY."),
    ("ca-bundle-unreadable", UsageError, "The file of trusted certificates that the environment names can't be read.",
     "Set ALIBABA_CLOUD_CA_BUNDLE or REQUESTS_CA_BUNDLE to a file of certificates in PEM form, or unset it."),
    ("endpoint-unknown", UsageError, "OSS has no public endpoint in the region.",
     "Run this in the region with --oss-endpoint-type internal, or pass --oss-endpoint."),
    ("bucket-name-invalid", UsageError, "No bucket can have that name.", "Pass --bucket with 3-63 of a-z, 0-9 and -."),
    ("answer-unreadable", TransientError, "Something that is not OSS answered.",
     "Check whether a portal or a proxy stands in between, and run the same command again."),
    ("base-changed", RefusedError, "The object of which ranges were to be reused is not what it was.",
     "Nothing: its bytes are sent instead."),
    ("copy-refused", RefusedError, "The store does not make parts by copying.",
     "Nothing: the bytes are sent instead. An endpoint of OSS itself copies them."),
)  # fmt: skip
_SERVICES = (("OSS", "OSS"), ("ECS", "ECS"), ("RAM", "RAM"), ("STS", "ECS, RAM and STS alike"))


def page() -> str:
    """Write the page, whole."""
    parts = [_HEAD, _HERE, *(_line((f"`{code}`", _exit(kind), means, remedy)) for code, kind, means, remedy in _OWN)]
    parts += [_NETWORK, *(_network_line(one) for one in TROUBLES)]
    for service, title in _SERVICES:
        rows = [row for row in TABLE if row.services[-1] == service]
        parts += [f"\n## {title}\n", _ROWS, *_lines(rows)]
    return "".join(parts)


def _lines(rows: Iterable[ErrorMapping]) -> Iterable[str]:
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
