"""Tests of the result `already_there`: never for a disk that changed, always for one whose content is the same."""

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.disk import build
from tests.flows.commands import Commands, Ran
from tests.flows.disks import MIB, write_disk
from tests.flows.test_push import BUCKET, same_bytes

# The sampled fingerprint of a disk of 8 MiB does not read this offset.
UNSAMPLED_OFFSET = 5 * MIB + 4096 * 3


def change(path: Path, content: bytes = b"changed", *, at: int = UNSAMPLED_OFFSET) -> None:
    """Write in place, and restore the time of modification."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def rebuild(path: Path) -> None:
    """Write another disk with the same size, inode and time of modification."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[UNSAMPLED_OFFSET : UNSAMPLED_OFFSET + 5] = b"other"
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_ino == status.st_ino


def link(path: Path) -> None:
    """Create a hard link, which changes the ctime."""
    os.link(path, path.with_name("link.raw"))


def remove_ctime(commands: Commands) -> None:
    """Remove the ctime from the journal, as an earlier version wrote it."""
    (journal,) = commands.state.glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "push-started":
            line["fingerprints"] = [":".join(one.split(":")[:5]) for one in line["fingerprints"]]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))


def count_proofs(commands: Commands) -> int:
    """Return how often the journals record that the disk was read and proven the same."""
    return sum(journal.read_text().count('"disks-seen"') for journal in commands.state.glob("*.jsonl"))


def push_changed_disk(commands: Commands, first: Ran, disk: Path, sandbox: Sandbox) -> None:
    """Push a disk that changed: the name is taken, and with --replace a second image is created."""
    refused = commands.run("push", disk, "--output", "json")
    assert (refused.code, refused.json["code"]) == (5, "image-name-taken"), refused.out
    made = commands.run("push", disk, "--replace", "rename", "--keep-object", "--output", "json")
    assert made.code == 0, made.out
    assert made.json["image_id"] != first.out.strip()
    assert made.json["already_there"] is False
    assert len(sandbox.state.part(Ecs).images) == 2


@pytest.mark.parametrize("how", [change, rebuild])
def test_a_file_that_changed_under_the_same_time_is_another_disk(
    commands: Commands, sandbox: Sandbox, disk: Path, how: Callable[[Path], None]
) -> None:
    """Changed in place, or rewritten in the same inode; utime restores the time of modification."""
    first = commands.run("push", disk)
    how(disk)
    push_changed_disk(commands, first, disk, sandbox)


@pytest.mark.parametrize("how", [link, lambda path: path.chmod(0o600)], ids=["link", "chmod"])
def test_a_disk_with_a_new_ctime_alone_is_already_there_after_a_proof(
    commands: Commands, sandbox: Sandbox, disk: Path, how: Callable[[Path], None]
) -> None:
    """The disk is read and compared once; the run after that does not read it again."""
    first = commands.run("push", disk)
    how(disk)
    sandbox.requests.clear()
    again = commands.run("push", disk)
    assert (again.code, again.out) == (0, first.out)
    assert count_proofs(commands) == 1
    assert not sandbox.requests.entries("ImportImage", "UploadPart", "InitiateMultipartUpload")
    third = commands.run("push", disk)
    assert (third.code, third.out) == (0, first.out)
    assert count_proofs(commands) == 1


def test_a_journal_of_an_earlier_version_is_proven(commands: Commands, disk: Path, sandbox: Sandbox) -> None:
    """Such a journal has no ctime, so the content decides."""
    first = commands.run("push", disk)
    remove_ctime(commands)
    again = commands.run("push", disk)
    assert (again.out, count_proofs(commands)) == (first.out, 1)
    change(disk)
    push_changed_disk(commands, first, disk, sandbox)


def test_a_compressed_disk_is_proven_by_its_decompressed_content(commands: Commands, disk: Path) -> None:
    """For a disk that is decompressed while it is sent, and for one that is decompressed to a file first."""
    content = disk.read_bytes()
    blocks, stream = disk.with_name("blocks.raw.xz"), disk.with_name("stream.raw.gz")
    blocks.write_bytes(build.xz(content, block=2 * MIB))
    with gzip.open(stream, "wb", compresslevel=1) as file:
        file.write(content)
    for number, packed in enumerate((blocks, stream), start=1):
        first = commands.run("push", packed)
        assert first.code == 0, first.err
        packed.chmod(0o600)
        again = commands.run("push", packed)
        assert (again.code, again.out) == (0, first.out), again.err
        assert count_proofs(commands) == number


def test_a_vhd_whose_parent_changed_is_another_disk(commands: Commands, tmp_path: Path) -> None:
    """The child is unchanged. A parent with a new ctime alone is proven the same."""
    base = write_disk(tmp_path / "plain.raw", size_bytes=16 * MIB, data_at=(1, 9)).read_bytes()
    parent, child = tmp_path / "base.vhd", tmp_path / "child.vhd"
    parent.write_bytes(build.vhd_fixed(base))
    child.write_bytes(build.vhd_differencing(base, base))
    first = commands.run("push", child)
    assert first.code == 0, first.err
    parent.chmod(0o600)
    assert commands.run("push", child).out == first.out
    change(parent, at=9 * MIB + 4096 * 3 + 512)
    refused = commands.run("push", child, "--output", "json")
    assert (refused.code, refused.json["code"]) == (5, "image-name-taken"), refused.out


def test_an_object_in_oss_that_was_replaced_is_another_disk(commands: Commands, disk: Path, sandbox: Sandbox) -> None:
    """The URL is the same, the ETag differs."""
    key = commands.run("push", disk, "--keep-object", "--output", "json").json["objects"][0]["key"]
    url = f"oss://{BUCKET}/{key}"
    assert commands.run("push", url, "--name", "from-oss").code == 0
    assert commands.run("push", url, "--name", "from-oss", "--output", "json").json["already_there"] is True
    bucket = sandbox.state.part(OssState).buckets[BUCKET]
    stored = bucket.current(key)
    assert stored is not None
    object.__setattr__(stored, "etag", "0" * 32)
    ran = commands.run("push", url, "--name", "from-oss", "--output", "json")
    assert ran.json.get("already_there") is not True


@pytest.fixture
def loop_device(disk: Path) -> Iterator[Path]:
    """Return a block device that holds the disk."""
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("needs root and losetup")
    made = subprocess.run(["losetup", "--find", "--show", disk], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr}")
    device = Path(made.stdout.strip())
    yield device
    subprocess.run(["umount", device], capture_output=True, check=False)
    subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.root
def test_a_block_device_is_compared_by_its_content(
    commands: Commands, sandbox: Sandbox, loop_device: Path, tmp_path: Path
) -> None:
    """A write through another node changes nothing in the status of the first node."""
    first = commands.run("push", loop_device, "--name", "golden")
    assert first.code == 0, first.err
    again = commands.run("push", loop_device, "--name", "golden", "--output", "json")
    assert (again.json["image_id"], again.json["already_there"]) == (first.out.strip(), True)
    other = tmp_path / "node"
    os.mknod(other, loop_device.stat().st_mode, loop_device.stat().st_rdev)
    change(other)
    refused = commands.run("push", loop_device, "--name", "golden", "--output", "json")
    assert (refused.code, refused.json["code"]) == (5, "image-name-taken"), refused.out
    made = commands.run(
        "push", loop_device, "--name", "golden", "--replace", "rename", "--keep-object", "--output", "json"
    )
    assert made.code == 0, made.out
    assert same_bytes(sandbox, made.json["objects"][0]["key"], loop_device)


@pytest.mark.root
def test_a_block_device_that_is_mounted_is_refused(commands: Commands, loop_device: Path, tmp_path: Path) -> None:
    """The error has the mount point. A read-only mount is a warning, and --force continues."""
    point = tmp_path / "mnt"
    point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", loop_device], check=True)
    subprocess.run(["mount", loop_device, point], check=True)
    skipped = ("--skip-check", "bare-file-system", "--skip-check", "nothing-starts")
    refused = commands.run("push", loop_device, "--name", "golden", *skipped, "--output", "json")
    assert refused.code == 3
    assert "device-in-use" in refused.json["details"]["rules"]
    assert f"is mounted at {point}" in refused.json["cause"]
    forced = commands.run("push", loop_device, "--name", "golden", "--force", "--output", "json")
    assert forced.code == 0, forced.out
    subprocess.run(["mount", "-o", "remount,ro", point], check=True)
    warned = commands.run("check", loop_device, "--output", "json")
    assert "read-only" in warned.out
    subprocess.run(["umount", point], check=True)
    assert "device-in-use" not in commands.run("check", loop_device, "--output", "json").out
