"""Tests of the text of sizes, times and events."""

import dataclasses
import time
import typing
from pathlib import Path

import pytest

from aliyun_import import events
from aliyun_import.cli.render.json import event_document
from aliyun_import.cli.render.text import count, describe, duration, local_time
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.sizes import size
from tests.rows import each_row

DOCS = Path(__file__).resolve().parents[3] / "docs"
SAMPLES: dict[type, object] = {
    str: "x",
    int: 3,
    float: 2.0,
    bool: True,
    tuple[str, ...]: ("x",),
    Finding: Finding(rule="a-rule", severity=Severity.WARNS, message="Seen.", remedy="Do it."),
}


def sample(event: type, *, text: str = "x") -> events.Event:
    """Return an event whose texts are `text`."""
    samples = {**SAMPLES, str: text, tuple[str, ...]: (text,)}
    samples[Finding] = Finding(
        rule="a-rule", severity=Severity.WARNS, message=text, remedy=text, where=text, subject=text, source=text
    )
    hints = typing.get_type_hints(event)
    values = {}
    for field in dataclasses.fields(event):
        kind = hints[field.name]
        options = [one for one in typing.get_args(kind) if one is not type(None)] if kind not in samples else [kind]
        values[field.name] = samples[options[0] if kind not in samples else kind]
    return typing.cast("events.Event", event(**values))


ALL_EVENTS = typing.get_args(events.Event)


@each_row("event", ALL_EVENTS)
def test_every_event_has_a_text(event: type) -> None:
    """The text is one line."""
    line = describe(sample(event))
    assert line
    assert "\n" not in line


@each_row("event", ALL_EVENTS)
def test_every_event_and_field_is_documented(event: type) -> None:
    """docs/json.md has the type of each event and its fields."""
    document = event_document(sample(event))
    rows = [row for row in (DOCS / "json.md").read_text().splitlines() if row.startswith(f"| `{document['type']}` |")]
    assert len(rows) == 1, document["type"]
    for field in dataclasses.fields(event):
        assert f"`{field.name}`" in rows[0], field.name


@each_row(("number", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536 << 20, "1.5 GiB")])
def test_sizes_have_the_largest_unit_that_fits(number: int, text: str) -> None:
    """1610612736 is 1.5 GiB."""
    assert size(number) == text


@each_row(("seconds", "text"), [(2.5, "2.5 s"), (59, "59 s"), (65, "1:05"), (3725, "1:02:05")])
def test_durations_are_formatted_as_on_a_clock(seconds: float, text: str) -> None:
    """Below a minute in seconds."""
    assert duration(seconds) == text


def test_counts_agree_with_their_noun() -> None:
    """1 part, 2,000 parts."""
    assert (count(1, "part"), count(2000, "part")) == ("1 part", "2,000 parts")


def test_inferred_parameters_have_readable_names() -> None:
    """Python names of the parameters are for scripts."""
    event = events.DiskInspected(
        disk="web.raw", container="raw", file_bytes=1, virtual_bytes=1, summary="raw, 40 GiB",
        filled_in=("size_gib=40: the disk has 40 GiB", "boot_mode=BIOS: a boot record"),
    )  # fmt: skip
    assert describe(event) == "web.raw: raw, 40 GiB; read from the disk: size 40 GiB, boot mode BIOS"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (1_800_000_000.0, "2027-01-15 16:00+0800"),
        ("2027-01-15T08:00:00Z", "2027-01-15 16:00+0800"),
        ("2027-01-15T08:00Z", "2027-01-15 16:00+0800"),
        ("some day", "some day"),
    ],
)
def test_times_are_in_the_local_time_zone(monkeypatch: pytest.MonkeyPatch, at: float | str, expected: str) -> None:
    """With the offset, for times of journals, OSS and ECS."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert local_time(at) == expected
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_plan_has_the_bytes_sent_to_make_zeros() -> None:
    """The summary counts them among the sent bytes."""
    planned = dataclasses.replace(
        typing.cast("events.UploadPlanned", sample(events.UploadPlanned)), zero_bytes=62 << 20
    )
    assert "62 MiB of zeros are made in OSS from 1 MiB of them" in describe(planned)
    assert "made in OSS" not in describe(dataclasses.replace(planned, zero_bytes=0))
