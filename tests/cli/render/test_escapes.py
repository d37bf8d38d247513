"""Tests that text from disks, files and services cannot control the terminal."""

import io
import json
import re
from pathlib import Path

from aliyun_import import events
from aliyun_import.checks.infer import InferredParameters, Value
from aliyun_import.checks.run import CheckResult
from aliyun_import.cli.render.check import check_outcome
from aliyun_import.cli.render.json import JsonRenderer
from aliyun_import.cli.render.renderer import PlainRenderer, SafeRenderer
from aliyun_import.cli.render.result import Outcome, Verbosity
from aliyun_import.cli.render.text import escaped, failure_lines
from aliyun_import.disk.report import DiskReport
from aliyun_import.errors import RefusedError
from aliyun_import.model.finding import Finding, Severity
from tests.cli.render.test_text import ALL_EVENTS, sample
from tests.rows import each_row

HOSTILE = "a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\u202ee\u2066f\u200eg\x00h\x7fi\rj\nrm -rf /\u2028k\udc80l"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def is_clean(text: str) -> bool:
    """Return whether a text has no control character and no injected line."""
    return not CONTROLS.search(text) and not any(line.startswith("rm -rf") for line in text.splitlines())


def test_controls_are_shown_as_escapes() -> None:
    """The original text remains readable."""
    assert escaped("a\x1b[31m\u202e\n\t\x85\udc80") == "a\\x1b[31m\\u202e\\n\\t\\x85\\udc80"
    assert escaped("1\n2\x1b", lines=True) == "1\n2\\x1b"
    assert escaped(("é✓", {"k": ["\x07"]}, Severity.WARNS, 3)) == ("é✓", {"k": ["\\x07"]}, Severity.WARNS, 3)
    assert escaped(Path("d\x1b.raw")) == Path("d\\x1b.raw")


@each_row("event", ALL_EVENTS)
def test_no_event_controls_the_terminal(event: type) -> None:
    """With control characters in all its texts."""
    stderr = io.StringIO()
    renderer = SafeRenderer(PlainRenderer(io.StringIO(), stderr, Verbosity(1)), escapes=True)
    renderer.emit(sample(event, text=HOSTILE))
    assert is_clean(stderr.getvalue())
    assert len(stderr.getvalue().splitlines()) <= 1


def test_no_result_controls_the_terminal() -> None:
    """Line breaks stay; other control characters are escaped."""
    stdout = io.StringIO()
    renderer = SafeRenderer(PlainRenderer(stdout, io.StringIO(), Verbosity(0)), escapes=True)
    renderer.outcome(Outcome(document={}, text="one\ntwo \x1b[31m\x9b\u202e"))
    assert stdout.getvalue() == "one\ntwo \\x1b[31m\\x9b\\u202e\n"


def test_no_error_controls_the_terminal() -> None:
    """Lines of a message are indented below their label."""
    error = RefusedError(HOSTILE, code="a", cause=HOSTILE, remedy=HOSTILE, details={"request_id": HOSTILE})
    lines = failure_lines(error)
    assert all(is_clean(line) for line in lines)
    assert len([line for line in lines if "rm -rf" in line]) == 3 + 1


def test_no_checked_disk_controls_the_terminal() -> None:
    """With control characters in path, parameters and findings."""
    finding = Finding(
        rule="r", severity=Severity.WARNS, message=HOSTILE, where=HOSTILE, remedy=HOSTILE, subject=HOSTILE
    )
    report = DiskReport(
        path=Path(HOSTILE.replace("/", "")), container="raw", format=None, file_bytes=0, virtual_bytes=None
    )
    result = CheckResult(
        report=report,
        parameters=InferredParameters(values={"platform": Value(HOSTILE, evidence=HOSTILE)}),
        findings=(finding,),
    )
    for results in ([result], [result, result]):
        assert is_clean(check_outcome(results).text)
        assert is_clean(check_outcome(results, width=60).text)


def test_json_keeps_every_character_as_an_escape() -> None:
    """The decoded document has the original text; the encoded one has no control character."""
    stdout = io.StringIO()
    JsonRenderer(stdout, lines=True).emit(events.Noted(message=HOSTILE))
    text = stdout.getvalue()
    assert not CONTROLS.search(text)
    text.encode("utf-8")
    assert json.loads(text)["message"] == HOSTILE
