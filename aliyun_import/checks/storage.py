"""This file holds the rules about the request's disks: how many, how large, and where in OSS."""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from aliyun_import.checks import names
from aliyun_import.checks.request_findings import blocks, warns
from aliyun_import.limits import MAX_DISK_GIB, MAX_DISKS, MIN_DISK_GIB
from aliyun_import.model.finding import Finding
from aliyun_import.model.request import DiskFormat, DiskRequest, ImportRequest

OSS_PAGE = "OSS developer guide, Naming conventions"

DiskRule = Callable[[int, DiskRequest], Finding | None]


def place_findings(request: ImportRequest, *, bucket: str | None, key: str | None) -> tuple[Finding, ...]:
    """Apply every rule about the disks of the request, and about the place where local ones shall be staged."""
    return (
        *_present(disk_count(request), disk_twice(request)),
        *_present(*(rule(index, disk) for index, disk in enumerate(request.disks) for rule in DISK_RULES)),
        *_present(bucket_name(bucket, option=f"--bucket {bucket}") if bucket is not None else None),
        *(_key_findings(key, request.disks[0].format if request.disks else None) if key is not None else ()),
    )


def disk_count(request: ImportRequest) -> Finding | None:
    """Refuse more than 17 disks: the service drops what comes after without a word."""
    count = len(request.disks)
    if 1 <= count <= MAX_DISKS:
        return None
    return blocks(
        "disk-count",
        f"{count} disks are asked for; an image has one system disk and up to {MAX_DISKS - 1} data disks.",
        f"Pass at most {MAX_DISKS - 1} --data-disk.",
    )


def disk_twice(request: ImportRequest) -> Finding | None:
    """Warn of the same disk twice, which is legal and nearly always a slip."""
    places = [str(disk.path) if disk.path else f"oss://{disk.bucket}/{disk.key}" for disk in request.disks]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is None:
        return None
    return warns(
        "disk-twice",
        f"{twice} is asked for more than once in one image.",
        "Check the --data-disk options.",
        source="our own judgement: no document of the service asks for it",
    )


def disk_size(index: int, disk: DiskRequest) -> Finding | None:
    """Judge DiskImageSize: 1 to 2048 GiB, for the system disk and for data disks."""
    size = disk.size_gib
    if size is None or MIN_DISK_GIB <= size <= MAX_DISK_GIB:
        return None
    return blocks(
        "disk-size",
        f"{_which(index)} shall have {size} GiB; {MIN_DISK_GIB} to {MAX_DISK_GIB} are allowed.",
        "Pass another --disk-size." if index == 0 else "Pass another size in --data-disk DISK,size=GIB.",
    )


def vmdk_by_invitation(index: int, disk: DiskRequest) -> Finding | None:
    """Warn of VMDK, an invitational preview; accounts not invited are answered "UserNotInTheWhiteList"."""
    if disk.format is not DiskFormat.VMDK:
        return None
    return warns(
        "disk-format-vmdk",
        f"{_which(index)} is a VMDK, which the service takes from invited accounts only.",
        "Convert it with `qemu-img convert -O qcow2` unless your account was invited.",
    )


def object_bucket(index: int, disk: DiskRequest) -> Finding | None:
    """Judge the bucket of a disk that is in OSS already."""
    del index
    return bucket_name(disk.bucket, option=f"oss://{disk.bucket}/...") if disk.bucket is not None else None


def object_key(index: int, disk: DiskRequest) -> Finding | None:
    """Judge the key of a disk that is in OSS already."""
    del index
    return next(_key_findings(disk.key, disk.format), None) if disk.key is not None else None


def bucket_name(bucket: str, *, option: str) -> Finding | None:
    """Judge a bucket name: 3 to 63 lower-case letters, digits and hyphens ("InvalidOSSBucket.Malformed")."""
    problem = names.bucket_problem(bucket)
    if problem is None:
        return None
    return blocks(
        "bucket-name",
        f"{bucket!r} is no name of a bucket. {problem}",
        f"Change {option} to the name of a bucket.",
        source=OSS_PAGE,
    )


DISK_RULES: tuple[DiskRule, ...] = (disk_size, vmdk_by_invitation, object_bucket, object_key)
PLACE_RULE_NAMES = frozenset(
    {"disk-count", "disk-size", "disk-twice", "disk-format-vmdk", "bucket-name", "object-key", "key-suffix"}
)


def _key_findings(key: str, format_: DiskFormat | None) -> Iterator[Finding]:
    """Judge a key; ECS goes by the suffix as well ("UnsupportedSuffix.OSSObject"), and no page says by which ones."""
    problem = names.key_problem(key)
    if problem is not None:
        yield blocks("object-key", f"{key!r} is no key of an object. {problem}", "Pass another --key.", source=OSS_PAGE)
        return
    suffix = PurePosixPath(key).suffix.lower()
    wanted = f".{format_.value.lower()}" if format_ else None
    if suffix not in names.KEY_SUFFIXES or (wanted and suffix != wanted):
        yield warns(
            "key-suffix",
            f"The key {key} does not end in {wanted or ', '.join(names.KEY_SUFFIXES)}; ECS refuses suffixes that "
            "it does not know, and no page lists those that it does.",
            f"Give the object a key that ends in {wanted or names.KEY_SUFFIXES[0]}.",
        )


def _which(index: int) -> str:
    return "The system disk" if index == 0 else f"Data disk {index}"


def _present(*findings: Finding | None) -> Iterator[Finding]:
    return (finding for finding in findings if finding is not None)
