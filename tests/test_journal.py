"""Tests of the journal: its lines survive kills, and a damaged file is an error."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aliyun_import import journal
from aliyun_import.errors import LocalStateError
from aliyun_import.journal import MAX_BYTES, Journal, journal_path, open_journal, read_journals
from aliyun_import.journal_form import LINES
from tests.rows import each_row

IDENTITY = {"name": "web server", "disk": "/srv/disk.raw", "bucket": "example-bucket"}


def opened(directory: Path) -> Journal:
    """Open the journal of IDENTITY."""
    return open_journal(directory, IDENTITY)


def test_written_lines_are_read_in_order(tmp_path: Path) -> None:
    """The first is the line that opened the journal."""
    with opened(tmp_path) as journal:
        journal.write("part", number=1)
        journal.write("part", number=2)
    with opened(tmp_path) as journal:
        assert [entry["kind"] for entry in journal.entries] == ["opened", "part", "part"]
        assert journal.entries[2]["number"] == 2


def test_each_line_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    """A kill directly after it loses nothing."""
    with opened(tmp_path) as journal:
        journal.write("part", number=1)
        lines = journal.path.read_bytes().splitlines()
    assert json.loads(lines[-1]) == {"kind": "part", "number": 1}


def test_an_incomplete_last_line_is_dropped(tmp_path: Path) -> None:
    """A kill during a write loses that line only, and the next line is complete."""
    with opened(tmp_path) as journal:
        journal.write("part", number=1)
    with journal.path.open("ab") as file:
        file.write(b'{"kind":"part","num')
    with opened(tmp_path) as journal:
        assert len(journal.entries) == 2
        journal.write("part", number=2)
    with opened(tmp_path) as journal:
        assert [entry.get("number") for entry in journal.entries] == [None, 1, 2]


@pytest.mark.parametrize("damage", [b"garbage\n", b"[1]\n", b'{"no":"kind"}\n', b"\x00\x00\n"])
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, damage: bytes) -> None:
    """A damaged journal is never treated as a new one: an upload that is paid for would be lost."""
    with opened(tmp_path) as journal:
        pass
    with journal.path.open("ab") as file:
        file.write(damage)
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path)
    assert raised.value.code == "journal-unreadable"
    assert str(journal.path) in str(raised.value.remedy)
    assert "Line 2" in str(raised.value.cause)


def test_another_version_is_an_error(tmp_path: Path) -> None:
    """The file of a later version is not changed."""
    path = journal_path(tmp_path, IDENTITY)
    path.write_text('{"kind":"opened","schema":99}\n')
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path)
    assert raised.value.code == "journal-unreadable"
    assert "99" in str(raised.value.cause)
    assert path.read_text() == '{"kind":"opened","schema":99}\n'


def test_the_error_of_a_second_push_has_the_pid_of_the_first(tmp_path: Path) -> None:
    """Two pushes with the same identity exclude each other, across processes."""
    script = (
        "import sys; from pathlib import Path; from aliyun_import.journal import open_journal\n"
        f"journal = open_journal(Path(sys.argv[1]), {IDENTITY!r})\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n"
        with pytest.raises(LocalStateError) as raised:
            opened(tmp_path)
        assert raised.value.code == "journal-locked"
        assert raised.value.details["pid"] == str(first.pid)
        first.communicate()
    opened(tmp_path).close()


def test_a_killed_push_leaves_no_lock(tmp_path: Path) -> None:
    """The lock ends with the process."""
    script = (
        "import os, sys, signal; from pathlib import Path; from aliyun_import.journal import open_journal\n"
        f"journal = open_journal(Path(sys.argv[1]), {IDENTITY!r}); journal.write('part', number=1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with opened(tmp_path) as journal:
        assert len(journal.entries) == 2


def test_a_full_disk_is_an_error_and_leaves_a_valid_journal(tmp_path: Path) -> None:
    """The incomplete line is removed."""
    with opened(tmp_path) as journal:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 10, limit[1]))
        try:
            with pytest.raises(LocalStateError) as raised:
                journal.write("part", number=1, padding="x" * 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, before)
        assert raised.value.code == "journal-unwritable"
        assert raised.value.resumable
        assert "--state-dir" in str(raised.value.remedy)
        journal.write("part", number=2)
    with opened(tmp_path) as journal:
        assert [entry.get("number") for entry in journal.entries] == [None, 2]


LINK_KINDS = [os.symlink, os.link]


@pytest.mark.parametrize("link", LINK_KINDS)
@pytest.mark.parametrize(
    "content", [b"a disk without a newline", b"first line\nand the rest", b"", b'{"kind":"opened"']
)
def test_a_link_in_place_of_the_journal_is_refused(
    tmp_path: Path, link: Callable[[Path, Path], None], content: bytes
) -> None:
    """The target of a symbolic or hard link is not changed."""
    target = tmp_path / "target.raw"
    target.write_bytes(content)
    link(target, journal_path(tmp_path, IDENTITY))
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path)
    assert raised.value.code == "journal-unreadable"
    assert target.read_bytes() == content
    assert list(read_journals(tmp_path)) == []


@each_row("content", [b"a disk without a newline", b"first line\nand the rest", b'{"kind":"open?'])
def test_a_file_that_is_no_journal_is_not_truncated(tmp_path: Path, content: bytes) -> None:
    """An incomplete last line is removed from a journal only."""
    path = journal_path(tmp_path, IDENTITY)
    path.write_bytes(content)
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path)
    assert raised.value.code == "journal-unreadable"
    assert path.read_bytes() == content


@each_row("content", [b"{", b'{"kind":"opened"', b'{"kind":"opened","schema":1,"iden'])
def test_a_journal_with_an_incomplete_first_line_is_started_again(tmp_path: Path, content: bytes) -> None:
    """The kill came in the first write."""
    journal_path(tmp_path, IDENTITY).write_bytes(content)
    with opened(tmp_path) as journal:
        assert [entry["kind"] for entry in journal.entries] == ["opened"]


@pytest.mark.parametrize("name", ["journal", "pid"])
def test_a_named_pipe_does_not_block(tmp_path: Path, name: str) -> None:
    """It is refused as journal, and replaced as pid file."""
    path = journal_path(tmp_path, IDENTITY)
    os.mkfifo(path if name == "journal" else path.with_suffix(".pid"))
    if name == "journal":
        with pytest.raises(LocalStateError) as raised:
            opened(tmp_path)
        assert raised.value.code == "journal-unreadable"
        assert list(read_journals(tmp_path)) == []
    else:
        with opened(tmp_path), pytest.raises(LocalStateError) as raised:
            opened(tmp_path)
        assert raised.value.details["pid"] == str(os.getpid())


def test_a_directory_in_place_of_the_journal_is_an_error(tmp_path: Path) -> None:
    """It can't be opened for writing."""
    journal_path(tmp_path, IDENTITY).mkdir()
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path)
    assert raised.value.code == "journal-unwritable"


@pytest.mark.parametrize("link", LINK_KINDS)
def test_a_link_in_place_of_the_pid_file_is_replaced(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    """The target of the link is not changed."""
    target = tmp_path / "target"
    target.write_text("precious")
    link(target, journal_path(tmp_path, IDENTITY).with_suffix(".pid"))
    with opened(tmp_path) as journal:
        assert journal.path.with_suffix(".pid").read_text() == f"{os.getpid()}\n"
    assert target.read_text() == "precious"


@each_row("pid", [b"", b"\x1b[31m1", b"1" * 40, b"12 34"])
def test_an_invalid_pid_is_unknown(tmp_path: Path, pid: bytes) -> None:
    """Only digits of the pid file are used in a message."""
    with opened(tmp_path) as journal:
        journal.path.with_suffix(".pid").write_bytes(pid)
        with pytest.raises(LocalStateError) as raised:
            opened(tmp_path)
    assert raised.value.details["pid"] == "unknown"


def test_a_world_writable_directory_is_refused(tmp_path: Path) -> None:
    """Other users could replace the journal; with the sticky bit they can't."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(LocalStateError) as raised:
        opened(shared)
    assert raised.value.code == "journal-unwritable"
    assert f"chmod o-w {shared}" in str(raised.value.remedy)
    assert list(shared.iterdir()) == []
    shared.chmod(0o1777)
    opened(shared).close()


def test_created_files_and_directories_are_private(tmp_path: Path) -> None:
    """Journal, pid file and new directories are for the user only, whatever the umask."""
    before = os.umask(0)
    try:
        with opened(tmp_path / "a" / "b") as journal:
            files = [journal.path, journal.path.with_suffix(".pid")]
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
            assert {folder.stat().st_mode & 0o777 for folder in (tmp_path / "a", tmp_path / "a" / "b")} == {0o700}
    finally:
        os.umask(before)


FINGERPRINT = {"size_bytes": 1, "mtime_ns": -1, "device": 1, "inode": 1, "sample": "s"}
PLAN = {"parts": "s5*2 z7 b9", "gap": 0, "zero_source": 0, "base": ["k", "e"]}
INTENT = {"kind": "upload-intended", "disk": 0, "key": "k", "tag": "t", "fingerprint": FINGERPRINT, "plan": PLAN}
OBJECT = {"bucket": "b", "key": "k", "size_bytes": 1, "crc64": 2**64 - 1, "etag": "e", "proof": "p", "made_by_us": True}
VALID_LINES = [
    INTENT,
    {"kind": "parts", "disk": 0, "parts": [[1, 0, 5, "00ff", "E", "crc64"]]},
    {"kind": "object", "disk": 0, "object": {**OBJECT, "sent_bytes": 3}},
    {
        "kind": "object",
        "disk": 0,
        "object": {**OBJECT, "sent_bytes": 3},
        "fingerprint": {**FINGERPRINT, "ctime_ns": None},
    },
    {"kind": "submitting", "client_token": "c", "name": "n", "objects": [OBJECT]},
    {"kind": "a kind of a later version", "field": [1]},
    {"kind": "finished", "image_id": "m-1", "a field of a later version": 1},
]


def _journal_with(directory: Path, line: str) -> None:
    path = journal_path(directory, IDENTITY)
    path.write_text(json.dumps({"kind": "opened", "schema": 1, "identity": IDENTITY}) + "\n" + line + "\n")


def test_lines_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """Fields that earlier versions did not write may be missing, and unknown kinds and fields are kept."""
    _journal_with(tmp_path, "\n".join(map(json.dumps, VALID_LINES)))
    with opened(tmp_path) as journal:
        assert [dict(entry) for entry in journal.entries[1:]] == VALID_LINES


@each_row(
    "line",
    [
        json.dumps({**INTENT, "plan": {**PLAN, "parts": "s1*99999999999"}}),
        json.dumps({**INTENT, "plan": {**PLAN, "parts": "s1*9999 s1*9999"}}),
        json.dumps({**INTENT, "plan": {**PLAN, "parts": "x5"}}),
        json.dumps({**INTENT, "plan": {**PLAN, "base": ["k"]}}),
        json.dumps({**INTENT, "key": 5}),
        json.dumps({**INTENT, "key": "\ud800"}),
        json.dumps({**INTENT, "disk": True}),
        json.dumps({**INTENT, "fingerprint": {**FINGERPRINT, "unknown": 1}}),
        json.dumps({name: value for name, value in INTENT.items() if name != "tag"}),
        json.dumps({"kind": "parts", "disk": 0, "parts": [[1, 0, 5, "zz", "E", "crc64"]]}),
        json.dumps({"kind": "parts", "disk": 0, "parts": [[1, 0, 5]]}),
        json.dumps({"kind": "parts", "disk": 0, "parts": 5}),
        json.dumps({"kind": "object", "disk": 0, "object": {**OBJECT, "size_bytes": "1"}}),
        json.dumps({"kind": "submitting", "client_token": "c", "name": "n", "objects": [None]}),
        json.dumps({"kind": ["finished"]}),
        '{"kind":"submitted","task_id":' + "9" * 5000 + "}",
        '{"kind":"x","deep":' + "[" * 200_000 + "]" * 200_000 + "}",
    ],
)
def test_a_line_of_the_wrong_form_is_an_error(tmp_path: Path, line: str) -> None:
    """It is refused before its fields are read."""
    _journal_with(tmp_path, line)
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path)
    assert raised.value.code == "journal-unreadable"
    assert "Line 2" in str(raised.value.cause)
    assert list(read_journals(tmp_path)) == []


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """A file that is larger than any journal is refused by its size."""
    path = journal_path(tmp_path, IDENTITY)
    path.touch()
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path)
    assert raised.value.code == "journal-unreadable"


def test_all_journals_are_read_without_a_lock(tmp_path: Path) -> None:
    """A journal in use is read; a damaged one and one of another version are skipped."""
    with opened(tmp_path) as journal, open_journal(tmp_path, {"name": "other"}) as other:
        journal.write("part", number=1)
        other.path.write_bytes(other.path.read_bytes() + b"garbage\n")
        (tmp_path / "later.jsonl").write_text('{"kind":"opened","schema":99}\n')
        incomplete = journal.path.read_bytes() + b'{"kind":"par'
        journal.path.write_bytes(incomplete)
        ((path, entries),) = read_journals(tmp_path)
        assert path == journal.path
        assert [entry["kind"] for entry in entries] == ["opened", "part"]
        assert journal.path.read_bytes() == incomplete
    assert list(read_journals(tmp_path / "nowhere")) == []


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    """The cause is the message of the system."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path / "file" / "state")
    assert raised.value.code == "journal-unwritable"
    assert raised.value.cause == os.strerror(errno.ENOTDIR)


def test_the_file_name_is_derived_from_the_identity(tmp_path: Path) -> None:
    """It begins with the image name, and differs for another identity."""
    path = journal_path(tmp_path, IDENTITY)
    assert path.name.startswith("web-server-")
    assert path == journal_path(tmp_path, dict(reversed(IDENTITY.items())))
    assert path != journal_path(tmp_path, {**IDENTITY, "bucket": "other-bucket"})


def test_every_written_kind_of_line_has_a_form() -> None:
    """Its fields are checked when it is read, so that a forged line is a damaged journal and no bug."""
    package = Path(journal.__file__).parent
    calls = re.compile(r"(?:journal|_journal|log)\.write\(\s*\"([a-z-]+)\"")
    written = {kind for path in package.rglob("*.py") for kind in calls.findall(path.read_text())}
    assert len(written) > 8
    assert written - set(LINES) == set()
