"""Tests of the readers of ext2, ext3, ext4 and XFS, with images that mkfs wrote."""

import pytest

from aliyun_import.disk.filesystems.ext import Ext
from aliyun_import.disk.filesystems.interface import MAX_ENTRIES, FileSystem, child_names
from aliyun_import.disk.filesystems.tree import Tree
from aliyun_import.disk.filesystems.xfs import Xfs
from aliyun_import.disk.reader import Bad, BytesReader, Missing, Recent, Unsupported, Window
from tests.disk.fixtures import image
from tests.disk.trees import ROOT_UUID, Link, corner_tree
from tests.rows import each_row

EXT = ("ext4", "ext4-1k", "ext4-inline", "ext4-meta-bg", "ext3", "ext2")
XFS = ("xfs-v5", "xfs-v4", "xfs-1k", "xfs-2k-inodes")


def opened(name: str) -> FileSystem:
    """Open an image of fixtures/."""
    reader = BytesReader(image(name))
    return Ext(reader) if name in EXT else Xfs(reader)


@each_row("name", EXT + XFS)
def test_every_file_directory_and_link_reads_back(name: str) -> None:
    """Contents, names and link targets are exactly those of the tree that mkfs wrote."""
    _assert_same(Tree(opened(name)), corner_tree())


@each_row("name", EXT + XFS)
def test_the_facts_of_the_superblock_are_read(name: str) -> None:
    """Type, UUID, size and free space are read, and the file system is clean."""
    facts = opened(name).facts
    assert facts.type == name.split("-")[0]
    assert facts.uuid == ROOT_UUID
    assert facts.size_bytes == len(image(name))
    assert 0 < facts.free_bytes < facts.size_bytes
    assert facts.free_inodes > 0
    assert (facts.unclean, facts.errors) == ("", False)


@each_row("name", ["ext4", "ext2", "xfs-v5", "xfs-1k"])
def test_any_range_of_a_file_can_be_read(name: str) -> None:
    """Ranges across blocks, beyond the end and of length 0 can be read."""
    files = opened(name)
    node = Tree(files).node("/large")
    content = corner_tree()["/large"]
    assert isinstance(content, bytes)
    for offset, length in [(0, 1), (4095, 2), (1023, 70_000), (399_999, 10), (400_000, 5), (500_000, 1), (7, 0)]:
        assert files.read(node.number, offset, length) == content[offset : offset + length]


@pytest.mark.parametrize("name", ["ext4", "ext3", "xfs-v5"])
def test_a_hole_reads_as_zeros(name: str) -> None:
    """Ranges without a block are zeros: mkfs does not write blocks of zeros."""
    files = opened(name)
    assert files.read(Tree(files).node("/large").number, 0, 14) == b"line 00000000\n"
    empty = Tree(files).node("/empty")
    assert (empty.size_bytes, files.read(empty.number, 0, 10)) == (0, b"")


@pytest.mark.parametrize(
    ("name", "at", "change", "message"),
    [
        pytest.param("ext4", 1024 + 96, b"\x00\x00\x10\x00", "0x100000", id="ext incompatible"),
        pytest.param("xfs-v5", 216, b"\x00\x10\x00\x00", "0x100000", id="xfs incompatible"),
        pytest.param("xfs-v5", 100, b"\x00\x03", "version 3", id="xfs version"),
    ],
)
def test_unknown_features_are_refused(name: str, at: int, change: bytes, message: str) -> None:
    """An unknown feature bit may change the layout."""
    raw = bytearray(image(name))
    raw[at : at + len(change)] = change
    with pytest.raises(Unsupported, match=message):
        (Ext if name == "ext4" else Xfs)(BytesReader(bytes(raw)))


@pytest.mark.parametrize(
    ("state", "incompat", "text", "errors"),
    [
        (0, 0, "not unmounted cleanly", False),
        (1, 4, "journal", False),
        (3, 0, "errors", True),
    ],
)
def test_an_unclean_ext_is_reported(state: int, incompat: int, text: str, errors: bool) -> None:
    """The state and the journal flag of the superblock are reported."""
    raw = bytearray(image("ext4"))
    raw[1024 + 58] = state
    raw[1024 + 96] |= incompat
    facts = Ext(BytesReader(bytes(raw))).facts
    assert text in facts.unclean
    assert facts.errors is errors


def test_an_xfs_that_needs_repair_has_errors() -> None:
    """The kernel refuses to mount such a file system."""
    raw = bytearray(image("xfs-v5"))
    raw[219] |= 0x10
    assert Xfs(BytesReader(bytes(raw))).facts.errors


@pytest.mark.parametrize("name", ["ext4", "xfs-v5"])
def test_a_truncated_file_system_raises_bad(name: str) -> None:
    """A read beyond the end raises Bad and no other error."""
    raw = image(name)
    files = (Ext if name == "ext4" else Xfs)(BytesReader(raw[: len(raw) // 64]))
    with pytest.raises(Bad):
        _assert_same(Tree(files), corner_tree())


def test_bytes_that_are_not_a_file_system_raise_bad() -> None:
    """Zeros contain neither superblock."""
    for kind in (Ext, Xfs):
        with pytest.raises(Bad):
            kind(BytesReader(bytes(1 << 16)))


def test_the_immutable_flag_is_read() -> None:
    """The bit that chattr +i sets in the inode is 0x10 in ext and 0x8 in XFS."""
    for name, at, bit in (("ext4", 32, 0x10), ("xfs-v5", 91, 0x8)):
        files = opened(name)
        number = Tree(files).node("/block").number
        raw = bytearray(image(name))
        raw[_inode_at(files, number) + at] |= bit
        changed = (Ext if name == "ext4" else Xfs)(BytesReader(bytes(raw)))
        assert Tree(changed).node("/block").immutable
        assert not Tree(files).node("/block").immutable


def test_a_directory_with_encrypted_names_is_unsupported() -> None:
    """Plain names would be reported as missing otherwise."""
    files = opened("ext4")
    raw = bytearray(image("ext4"))
    raw[_inode_at(files, Tree(files).node("/many").number) + 33] |= 0x8
    with pytest.raises(Unsupported, match="encrypted"):
        Tree(Ext(BytesReader(bytes(raw)))).names("/many")


def test_a_directory_whose_index_exceeds_its_block_raises_bad() -> None:
    """An XFS directory of one block ends with the number of its names; too large a number would hide all names."""
    raw = bytearray(image("xfs-v5"))
    for at in range(0, len(raw), 4096):
        if raw[at : at + 4] == b"XDB3":
            raw[at + 4096 - 8 : at + 4096 - 4] = b"\xff" * 4
    with pytest.raises(Bad, match="index"):
        _assert_same(Tree(Xfs(BytesReader(bytes(raw)))), corner_tree())


def test_the_number_of_unused_entries_is_limited() -> None:
    """Unused entries count as names do."""
    with pytest.raises(Bad, match="more than"):
        list(child_names(2, ((b"", 0) for _ in range(MAX_ENTRIES + 2))))


def test_a_cache_is_bounded_by_the_size_of_its_values() -> None:
    """The least recently used values are evicted, and a value larger than the bound evicts all others."""
    cache: Recent[str] = Recent(10)
    for key in (1, 2, 3):
        cache.keep(key, str(key), parts=2)
    assert cache.get(1) == "1"
    cache.keep(4, "4", parts=2)
    assert [cache.get(key) for key in (1, 2, 3, 4)] == ["1", None, "3", "4"]
    cache.keep(5, "5", parts=1000)
    assert [cache.get(key) for key in (1, 3, 4, 5)] == [None, None, None, "5"]


@pytest.mark.parametrize("name", ["ext4", "xfs-v5"])
def test_links_are_followed_inside_the_image_only(name: str) -> None:
    """Absolute links start at the root of the image, .. does not leave it, and loops and long chains end."""
    tree = Tree(opened(name))
    assert tree.read("/links/absolute") == corner_tree()["/block"]
    assert tree.read("/links/outside") == corner_tree()["/tiny"]
    assert tree.read("/links/chain-15") == corner_tree()["/tiny"]
    for path in ("/links/a", "/links/chain-19", "/links/nowhere"):
        with pytest.raises(Missing):
            tree.read(path)
        assert not tree.exists(path)
        assert tree.has_name(path)


def _assert_same(tree: Tree, expected: dict[str, bytes | Link]) -> None:
    folders: dict[str, set[str]] = {"/": {"lost+found"} & set(tree.names("/"))}
    for path, content in expected.items():
        if isinstance(content, Link):
            assert tree.link(path) == content.target, path
        else:
            assert tree.read(path) == content, path
        parent, _, name = path.rpartition("/")
        while True:
            folders.setdefault(parent or "/", set()).add(name)
            if not parent:
                break
            parent, _, name = parent.rpartition("/")
    for folder, names in folders.items():
        assert set(tree.names(folder)) == names, folder


def _inode_at(files: FileSystem, number: int) -> int:
    """Return the offset of an inode, from the reads of its file system."""
    offsets: list[int] = []

    class RecordingReader:
        size = len(image("ext4")) if isinstance(files, Ext) else len(image("xfs-v5"))
        inner = BytesReader(image("ext4") if isinstance(files, Ext) else image("xfs-v5"))

        def pread(self, offset: int, length: int) -> bytes:
            offsets.append(offset)
            return self.inner.pread(offset, length)

    recorded = type(files)(Window(RecordingReader(), start=0, size=RecordingReader.size))  # type: ignore[call-arg]
    offsets.clear()
    recorded.node(number)
    return offsets[-1]
