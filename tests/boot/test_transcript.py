"""Tests of the text of terminals."""

from aliyun_import.boot.transcript import MAX_CHARS, Transcript, lines_of, tail
from tests.rows import each_row


@each_row(
    ("raw", "expected"),
    [
        (b"[\x1b[0;32m  OK  \x1b[0m] Reached\r\n", "[  OK  ] Reached\n"),
        (b"\x1b[05;02Hmenu\x1b[23;01Hgrub> ", "\nmenu\ngrub> "),
        (b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n", "\n\nSeaBIOS\n"),
        (b"\x1b]0;title\x07shell# ", "shell# "),
        (b"caf\xc3\xa9 \xff\n", "café \ufffd\n"),
        (b"a\x00b\x07c\n", "abc\n"),
        ("for device \x1b[0;1;…9999-cccc.\n".encode(), "for device …9999-cccc.\n"),
    ],
)
def test_escape_sequences_are_removed(raw: bytes, expected: str) -> None:
    """Colours vanish; a moved cursor begins another line, so that a prompt stands at the beginning of one."""
    transcript = Transcript()
    transcript.feed(raw)
    assert transcript.text == expected
    bytewise = Transcript()
    for at in range(len(raw)):
        bytewise.feed(raw[at : at + 1])
    assert lines_of(bytewise.text) == lines_of(expected)


def test_a_guest_that_writes_without_end_fills_no_memory() -> None:
    """The last part is kept, also of an escape sequence that never ends."""
    transcript = Transcript()
    for _ in range(20):
        transcript.feed(b"x" * (MAX_CHARS // 10))
    transcript.feed(b"\x1b]" + b"y" * 1000)
    transcript.feed(b"\n end")
    assert len(transcript.text) <= MAX_CHARS
    assert transcript.last_line == "end"


def test_a_restart_begins_anew() -> None:
    """What was written before a restart decides nothing afterwards."""
    transcript = Transcript()
    transcript.feed(b"Kernel panic\n\x1b[")
    transcript.restart()
    transcript.feed(b"login: ")
    assert transcript.text == "login: "


def test_the_tail_has_the_telling_line() -> None:
    """The line that decided is among the evidence, however much follows it."""
    text = "panic here\n" + "\n".join(f"line {number}" for number in range(50))
    assert tail(text, containing="panic", most=3) == ("panic here", "line 48", "line 49")
    assert tail(text, most=2) == ("line 48", "line 49")
    assert tail("", containing="panic") == ()
