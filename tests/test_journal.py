"""What a push intended and finished survives kills, and nothing is guessed from a file that is damaged."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aliyun_import.errors import LocalStateError
from aliyun_import.journal import Journal, journal_path, open_journal, read_journals

IDENTITY = {"name": "web server", "disk": "/srv/disk.raw", "bucket": "example-bucket"}


def opened(directory: Path) -> Journal:
    """Open the journal of the one identity."""
    return open_journal(directory, IDENTITY)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    """Lines come back in order, after the one that opened the journal."""
    with opened(tmp_path) as journal:
        journal.write("part", number=1)
        journal.write("part", number=2)
    with opened(tmp_path) as journal:
        assert [entry["kind"] for entry in journal.entries] == ["opened", "part", "part"]
        assert journal.entries[2]["number"] == 2


def test_each_line_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    """Another reader sees it at once, so that a kill right after loses nothing."""
    with opened(tmp_path) as journal:
        journal.write("part", number=1)
        lines = journal.path.read_bytes().splitlines()
    assert json.loads(lines[-1]) == {"kind": "part", "number": 1}


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    """A kill in the middle of a write costs that line alone, and the next line is whole."""
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
    """A damaged line is never taken for a fresh start: that would forget an upload that costs money."""
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
    """A journal of a later version is left alone."""
    path = journal_path(tmp_path, IDENTITY)
    path.write_text('{"kind":"opened","schema":99}\n')
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path)
    assert raised.value.code == "journal-unreadable"
    assert "99" in str(raised.value.cause)
    assert path.read_text() == '{"kind":"opened","schema":99}\n'


def test_a_second_push_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    """Two pushes of one disk to one place exclude each other, across processes."""
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
    """The lock ends with the process, however that ended."""
    script = (
        "import os, sys, signal; from pathlib import Path; from aliyun_import.journal import open_journal\n"
        f"journal = open_journal(Path(sys.argv[1]), {IDENTITY!r}); journal.write('part', number=1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with opened(tmp_path) as journal:
        assert len(journal.entries) == 2


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    """Neither the journal nor the note of the pid stays."""
    journal = opened(tmp_path)
    journal.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_and_no_damage(tmp_path: Path) -> None:
    """A line that does not fit is taken back, so that the journal is whole once there is room."""
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


def test_all_journals_are_read_without_a_lock(tmp_path: Path) -> None:
    """For those who only look: one that is in use is read, one that is damaged or of another version passed over."""
    with opened(tmp_path) as journal, open_journal(tmp_path, {"name": "other"}) as other:
        journal.write("part", number=1)
        other.path.write_bytes(other.path.read_bytes() + b"garbage\n")
        (tmp_path / "later.jsonl").write_text('{"kind":"opened","schema":99}\n')
        torn = journal.path.read_bytes() + b'{"kind":"par'
        journal.path.write_bytes(torn)
        (entries,) = read_journals(tmp_path)
        assert [entry["kind"] for entry in entries] == ["opened", "part"]
        assert journal.path.read_bytes() == torn
    assert list(read_journals(tmp_path / "nowhere")) == []


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """The message names the directory and the option."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStateError) as raised:
        opened(tmp_path / "file" / "state")
    assert raised.value.code == "journal-unwritable"
    assert raised.value.cause == os.strerror(errno.ENOTDIR)


def test_the_name_says_whose_journal_it_is(tmp_path: Path) -> None:
    """Readable, the same for the same identity, another for another one."""
    path = journal_path(tmp_path, IDENTITY)
    assert path.name.startswith("web-server-")
    assert path == journal_path(tmp_path, dict(reversed(IDENTITY.items())))
    assert path != journal_path(tmp_path, {**IDENTITY, "bucket": "other-bucket"})
