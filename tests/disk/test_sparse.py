"""Tests of writing sparse files."""

from itertools import pairwise
from pathlib import Path

import pytest

from aliyun_import.disk.sparse import require_space, write_sparse
from aliyun_import.errors import DiskError, LocalStateError
from aliyun_import.limits import GIB, KIB, MIB


def test_zeros_become_holes_and_the_rest_is_written(tmp_path: Path) -> None:
    """The file has the bytes of the stream, independent of the size of the pieces."""
    data = b"head" + bytes(3 * MIB) + b"middle" * 1000 + bytes(700 * KIB + 13)
    cuts = [0, 1, 70 * KIB, 70 * KIB, 2 * MIB + 5, len(data)]
    path = tmp_path / "disk"
    pieces = [data[start:end] for start, end in pairwise(cuts)]
    assert write_sparse(pieces, path) == len(data)
    assert path.read_bytes() == data
    assert path.stat().st_blocks * 512 < 512 * KIB
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """Links are not followed either, since another user could have created them."""
    existing = tmp_path / "existing"
    existing.write_text("kept")
    (tmp_path / "link").symlink_to(existing)
    for name in ("existing", "link"):
        with pytest.raises(FileExistsError):
            write_sparse([b"x"], tmp_path / name)
    assert existing.read_text() == "kept"


def test_a_disk_larger_than_ecs_imports_is_refused(tmp_path: Path) -> None:
    """A decompression bomb stops at 2 TiB."""

    class Huge(bytes):
        """Bytes whose length is reported as 1 TiB."""

        def __len__(self) -> int:
            return 1024 * GIB

    with pytest.raises(DiskError) as caught:
        write_sparse([Huge(), Huge(), Huge()], tmp_path / "disk")
    assert caught.value.code == "disk-too-large"


def test_too_little_space_is_refused(tmp_path: Path) -> None:
    """The remedy has the option for another directory."""
    with pytest.raises(LocalStateError) as caught:
        require_space(tmp_path, 1 << 60)
    assert caught.value.code == "no-space"
    assert "--work-dir" in (caught.value.remedy or "")
