"""Checks of the request: values that ImportImage would refuse after the upload.

If two pages of the service differ, the newer one or the one that allows more is used. A value that is not on a closed
list blocks, because the service would refuse the call; `--skip-check ID` is for a list that has grown since. The list
of platforms grows often, so an unknown platform is sent unchanged (platform.py).
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from enum import Enum
from pathlib import PurePosixPath

from aliyun_import.checks import names
from aliyun_import.checks.platform import UNCHECKED_PLATFORMS, is_windows
from aliyun_import.checks.registry import AppliesTo, Check, Found, RequestSubject, Source, check, declare_check
from aliyun_import.limits import (
    MAX_DESCRIPTION_CHARS,
    MAX_DISK_GIB,
    MAX_DISKS,
    MAX_ROLE_NAME_CHARS,
    MAX_TAGS,
    MAX_TOKEN_CHARS,
    MIN_DESCRIPTION_CHARS,
    MIN_DISK_GIB,
)
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture, BootMode, DiskFormat, Parameter, parameters


@check("region-form", Severity.BLOCKS, source=Source.API)
def region_form(subject: RequestSubject) -> Found | None:
    """Check that the region has the form of a region id, such as cn-hangzhou.

    The region becomes part of host names.
    """
    region = subject.request.region
    problem = names.region_problem(region)
    return Found(f"{region!r} is not a region id. {problem}", names.region_advice(region)) if problem else None


@check("region-unlisted", Severity.WARNS, source=Source.API)
def region_unlisted(subject: RequestSubject) -> Found | None:
    """Check that the region is on the published list.

    The finding has similar names. It does not block, because the list grows; the service is asked later.
    """
    region = subject.request.region
    if region in names.REGIONS or names.region_problem(region):
        return None
    return Found(f"The region {region} is not on the published list.", names.region_advice(region))


@check("image-name", Severity.BLOCKS, source=Source.API)
def image_name(subject: RequestSubject) -> Found | None:
    """Check the form of ImageName.

    A name has 2 to 128 letters, digits, periods, colons, underscores and hyphens. The first character is a letter. It
    must not begin with `aliyun` or `acs:`, and must not contain `http://` or `https://`.
    """
    name = subject.request.name
    problem = names.name_problem(name)
    if problem is None:
        return None
    advice = f"Pass --name with another one, such as {names.default_name(name)}."
    return Found(f"The image name {name!r} is not allowed. {problem}", advice)


@check("image-name-doubtful", Severity.WARNS, source=Source.API)
def image_name_doubtful(subject: RequestSubject) -> Found | None:
    """Check that ImageName is certainly allowed.

    It may be refused if it has letters that no page of the service mentions, or begins with a reserved prefix in
    capitals.
    """
    name = subject.request.name
    doubt = None if names.name_problem(name) else names.name_doubt(name)
    if doubt is None:
        return None
    advice = "Pass --name with plain letters if the service refuses it."
    return Found(f"The image name {name!r} may be refused. {doubt}", advice)


@check("description", {Severity.BLOCKS: "", Severity.WARNS: "for one character"}, source=Source.API)
def description(subject: RequestSubject) -> Found | None:
    """Check that Description is empty, or has 2 to 256 characters and does not begin with a web address.

    A single character is only a warning: one page of the service requires two, another has a maximum only.
    """
    text = subject.request.description
    if not text:
        return None
    if not MIN_DESCRIPTION_CHARS <= len(text) <= MAX_DESCRIPTION_CHARS:
        allowed = f"{MIN_DESCRIPTION_CHARS} to {MAX_DESCRIPTION_CHARS} are allowed"
        message = f"The description has {len(text)} character{'s' if len(text) > 1 else ''}; {allowed}."
        severity = Severity.WARNS if len(text) < MIN_DESCRIPTION_CHARS else None
        return Found(message, "Pass a --description of that length, or none.", severity=severity)
    if text.startswith(names.WEB_ADDRESSES):
        message = "The description begins with a web address, which the service refuses."
        return Found(message, "Put a word in front of the address in --description.")
    return None


@check("tag-count", Severity.BLOCKS, source=Source.API)
def tag_count(subject: RequestSubject) -> Found | None:
    """Check that at most 18 tags are given.

    An image can have 20 tags. This tool uses two of them to identify its images.
    """
    count = len(subject.request.tags)
    if count <= names.MAX_USER_TAGS:
        return None
    own = len(names.OWN_TAGS)
    message = f"{count} tags are given; an image can have {MAX_TAGS}, of which this tool uses {own}."
    return Found(message, f"Pass at most {names.MAX_USER_TAGS} --tag.")


@check("tag-key", Severity.BLOCKS, source=Source.API)
def tag_key(subject: RequestSubject) -> Found | None:
    """Check the form of the tag keys.

    A key has 1 to 128 characters. It must not begin with `aliyun` or `acs:`, must not contain a web address, and must
    not be a key that this tool uses.
    """
    problems = [f"{key!r} {problem}" for key in subject.request.tags if (problem := names.tag_key_problem(key))]
    return Found(f"Invalid tag keys: {'; '.join(problems)}.", "Pass --tag with other keys.") if problems else None


@check("tag-value", Severity.BLOCKS, source=Source.API)
def tag_value(subject: RequestSubject) -> Found | None:
    """Check the form of the tag values.

    A value has at most 128 characters. It must not begin with `acs:`, and must not contain a web address.
    """
    tags = subject.request.tags.items()
    problems = [f"that of {key!r} {problem}" for key, value in tags if (problem := names.tag_value_problem(value))]
    return Found(f"Invalid tag values: {'; '.join(problems)}.", "Pass --tag with other values.") if problems else None


@check("tag-twice", Severity.BLOCKS, source=Source.API)
def tag_twice(subject: RequestSubject) -> Found | None:
    """Check that no two tag keys differ in case only, including those that this tool uses.

    The service refuses such keys with TagKey.Duplication.
    """
    known = {key.lower(): key for key in names.OWN_TAGS}
    for key in subject.request.tags:
        if key.lower() in known and key not in names.OWN_TAGS:
            message = f"The tag keys {known[key.lower()]!r} and {key!r} are equal for the service, which ignores case."
            return Found(message, f"Omit --tag {key}=..., or use another key.")
        known[key.lower()] = key
    return None


@check("client-token", Severity.BLOCKS, source=Source.API)
def client_token(subject: RequestSubject) -> Found | None:
    """Check that ClientToken has 1 to 64 printable ASCII characters.

    The service refuses other values with InvalidClientToken.Malformed.
    """
    token = subject.request.client_token
    if token is None or (token and token.isascii() and token.isprintable() and len(token) <= MAX_TOKEN_CHARS):
        return None
    return Found(
        f"The client token must have 1 to {MAX_TOKEN_CHARS} printable ASCII characters.",
        "Pass another --client-token, or omit it to have one generated.",
    )


@check("role-name", Severity.BLOCKS, source=Source.RAM)
def role_name(subject: RequestSubject) -> Found | None:
    """Check that RoleName has 1 to 64 letters, digits, periods and hyphens. Old roles may have at signs, too."""
    name = subject.request.role_name
    if name is None or re.fullmatch(rf"[A-Za-z0-9.@-]{{1,{MAX_ROLE_NAME_CHARS}}}", name):
        return None
    return Found(
        f"{name!r} is not a role name: 1 to {MAX_ROLE_NAME_CHARS} letters, digits, periods and hyphens.",
        "Omit --role-name to use the default role.",
    )


@check("resource-group", Severity.BLOCKS, source=Source.API)
def resource_group(subject: RequestSubject) -> Found | None:
    """Check that ResourceGroupId is an id (rg-...) and not a name."""
    group = subject.request.resource_group
    if group is None or re.fullmatch(r"rg-[A-Za-z0-9-]+", group):
        return None
    return Found(
        f"{group!r} is not the id of a resource group.",
        "Pass --resource-group with an id such as rg-acfm3example, found in the console under Resource Management.",
    )


@check("storage-location", Severity.BLOCKS, source=Source.API)
def storage_location(subject: RequestSubject) -> Found | None:
    """Check that StorageLocationArn has the form of a CloudBox, and that it is in the region of the import.

    The form is `arn:acs:cloudbox:REGION:ACCOUNT:cloudbox/ID`.
    """
    arn, region = subject.request.storage_location_arn, subject.request.region
    if arn is None:
        return None
    match = re.fullmatch(r"arn:acs:cloudbox:([a-z0-9-]+):(\d+):cloudbox/([A-Za-z0-9-]+)", arn)
    if match is None:
        form = f"arn:acs:cloudbox:{region}:ACCOUNT_ID:cloudbox/CLOUDBOX_ID"
        return Found(f"{arn!r} is not the location of a CloudBox.", f"Pass --storage-location-arn {form}.")
    if match[1] != region:
        advice = f"Pass --region {match[1]}, or a CloudBox in {region}."
        return Found(f"The CloudBox is in {match[1]}, the import in {region}.", advice)
    return None


@check("boot-mode-arm64", Severity.BLOCKS, source=Source.API)
def boot_mode_arm64(subject: RequestSubject) -> Found | None:
    """Check that an arm64 image is not imported with BIOS.

    arm64 instances boot with UEFI only. The service refuses BIOS with InvalidBootMode.NotSupport.
    """
    mode = subject.request.boot_mode
    if subject.request.architecture is not Architecture.ARM64 or mode is None or mode.imported_as is BootMode.UEFI:
        return None
    return Found("An arm64 image cannot boot with BIOS.", "Pass --boot-mode UEFI, or omit it.")


@check("license-type-unused", Severity.NOTE, source=Source.API)
def license_type_unused(subject: RequestSubject) -> Found | None:
    """Check that a license type is given for Windows Server only. It has no effect on other systems."""
    license_type = subject.request.license_type
    if license_type not in ("Aliyun", "BYOL") or is_windows(subject.request):
        return None
    return Found(f"The license type {license_type} has an effect on Windows Server only.", "Omit --license-type.")


@check("detection-windows", Severity.WARNS, source=Source.CHECK_OVERVIEW)
def detection_windows(subject: RequestSubject) -> Found | None:
    """Check that no image check is requested for Windows.

    The pages disagree: a page of 2025 has the error ImageCheckUnsupported.WindowsImage, pages of 2026 list check items
    for Windows. If ECS refuses the check, the image is imported without it.
    """
    if subject.request.detection_strategy != "Standard" or not is_windows(subject.request):
        return None
    return Found(
        "The service may refuse to check Windows images; the image is then imported without the check.",
        "Pass --detection-strategy none, or have the image checked in the console afterwards.",
    )


@check("detection-platform", Severity.WARNS, source=Source.CHECK_OVERVIEW)
def detection_platform(subject: RequestSubject) -> Found | None:
    """Check that no image check is requested for a platform for which the service has none.

    The service does not check images of CoreOS, Customized Linux, Fedora CoreOS, FreeBSD and Gentoo.
    """
    request = subject.request
    if request.detection_strategy != "Standard" or request.platform not in UNCHECKED_PLATFORMS or is_windows(request):
        return None
    return Found(f"The service does not check images of {request.platform}.", "Omit --detection-strategy.")


@check("disk-count", Severity.BLOCKS, source=Source.API)
def disk_count(subject: RequestSubject) -> Found | None:
    """Check that there are 1 to 17 disks.

    An image has one system disk and up to 16 data disks. The service ignores further disks without an error.
    """
    count = len(subject.request.disks)
    if 1 <= count <= MAX_DISKS:
        return None
    message = f"{count} disks are given; an image has one system disk and up to {MAX_DISKS - 1} data disks."
    return Found(message, f"Pass at most {MAX_DISKS - 1} --data-disk.")


@check("disk-twice", Severity.WARNS, source=Source.JUDGEMENT)
def disk_twice(subject: RequestSubject) -> Found | None:
    """Check that no disk is given twice. The service allows it, but it is nearly always a mistake."""
    disks = [str(disk.path) if disk.path else disk.url for disk in subject.request.disks]
    twice = next((disk for disk in disks if disks.count(disk) > 1), None)
    if twice is None:
        return None
    return Found(f"{twice} is given more than once for one image.", "Check the --data-disk options.")


@check("disk-size", Severity.BLOCKS, source=Source.API)
def disk_size(subject: RequestSubject) -> Iterator[Found]:
    """Check that every DiskImageSize is 1 to 2048 GiB."""
    for index, disk in enumerate(subject.request.disks):
        if disk.size_gib is not None and not MIN_DISK_GIB <= disk.size_gib <= MAX_DISK_GIB:
            yield Found(
                f"The size of {_which(index)} is {disk.size_gib} GiB; {MIN_DISK_GIB} to {MAX_DISK_GIB} are allowed.",
                "Pass another --disk-size." if index == 0 else "Pass another size in --data-disk DISK,size=GIB.",
            )


@check("disk-format-vmdk", Severity.WARNS, source=Source.API)
def disk_format_vmdk(subject: RequestSubject) -> Iterator[Found]:
    """Check that no disk is a VMDK.

    The service accepts VMDK from invited accounts only. It refuses others with UserNotInTheWhiteList.
    """
    for index, disk in enumerate(subject.request.disks):
        if disk.format is DiskFormat.VMDK:
            yield Found(
                f"The format of {_which(index)} is VMDK, which the service accepts from invited accounts only.",
                "Convert it with `qemu-img convert -O qcow2` unless your account was invited.",
            )


@check("bucket-name", Severity.BLOCKS, source=Source.OSS_NAMES)
def bucket_name(subject: RequestSubject) -> Iterator[Found]:
    """Check that the name of a bucket has 3 to 63 lower-case letters, digits and hyphens.

    The first and the last character must not be a hyphen. The service refuses other names with
    InvalidOSSBucket.Malformed.
    """
    given = [(disk.bucket, f"oss://{disk.bucket}/...") for disk in subject.request.disks]
    for bucket, option in [*given, (subject.bucket, f"--bucket {subject.bucket}")]:
        problem = names.bucket_problem(bucket) if bucket is not None else None
        if problem is not None:
            yield Found(f"{bucket!r} is not a bucket name. {problem}", f"Change {option} to the name of a bucket.")


@check("object-key", Severity.BLOCKS, source=Source.OSS_NAMES)
def object_key(subject: RequestSubject) -> Iterator[Found]:
    r"""Check that an object key has 1 to 1023 bytes and no control characters, and does not begin with `/` or `\`."""
    for key, _ in _keys(subject):
        problem = names.key_problem(key)
        if problem is not None:
            yield Found(f"{key!r} is not an object key. {problem}", "Pass another --key.")


@check("key-suffix", Severity.WARNS, source=Source.API)
def key_suffix(subject: RequestSubject) -> Iterator[Found]:
    """Check that an object key ends in the suffix of the disk's format.

    ECS refuses unknown suffixes with UnsupportedSuffix.OSSObject, and no page lists the known ones.
    """
    for key, format_ in _keys(subject):
        suffix, expected = PurePosixPath(key).suffix.lower(), f".{format_.lower()}" if format_ else None
        if names.key_problem(key) or (suffix in names.KEY_SUFFIXES and expected in (None, suffix)):
            continue
        yield Found(
            f"The key {key} does not end in {expected or ', '.join(names.KEY_SUFFIXES)}. ECS refuses unknown suffixes, "
            "and no page lists the known ones.",
            f"Use a key that ends in {expected or names.KEY_SUFFIXES[0]}.",
        )


def _choice_check(parameter: Parameter) -> Check:
    """Return a check that a parameter has one of its documented values."""
    check_id, listed = parameter.option.removeprefix("--"), ", ".join(parameter.choices)

    def one_of(subject: RequestSubject) -> Found | None:
        value = getattr(subject.request, parameter.name)
        if value is None or value in parameter.choices:
            return None
        lower = {choice.lower(): choice for choice in parameter.choices}
        near = get_close_matches(value.lower(), lower, n=1)
        return Found(
            f"{value!r} is not a value of {parameter.option}; the service lists {listed}.",
            f"Pass {parameter.option} {lower[near[0]] if near else ' or '.join(parameter.choices)}, or "
            f"--skip-check {check_id} if the list has grown.",
        )

    explanation = f"Check that {parameter.api} is one of the documented values: {listed}."
    return declare_check(
        check_id, Severity.BLOCKS, explanation, source=Source.API, applies_to=AppliesTo.REQUEST, function=one_of
    )


# The request refuses other values of an Enum when it is created.
CHOICE_CHECKS = tuple(
    _choice_check(one) for one in parameters() if one.choices and not isinstance(one.choices[0], Enum)
)
# aliyun_import/account makes this check.
BUCKET_ENCRYPTED = declare_check(
    "bucket-encrypted",
    {Severity.BLOCKS: "for a key of KMS", Severity.WARNS: "for AES256"},
    """Check that the bucket does not encrypt its objects by default.

    The page on ImportImage has the error InvalidOSSBucket.EncryptUnsupported, without the kinds of encryption. Imports
    from a bucket with AES256 are reported to work in at least one region.""",
    source=Source.API,
    applies_to=AppliesTo.BUCKET,
)


def _keys(subject: RequestSubject) -> Iterator[tuple[str, DiskFormat | None]]:
    """Yield the keys of the disks that are in OSS, and the key for a local system disk, with their formats."""
    disks = subject.request.disks
    yield from ((disk.key, disk.format) for disk in disks if disk.key is not None)
    if subject.key is not None:
        yield subject.key, disks[0].format if disks else None


def _which(index: int) -> str:
    return "the system disk" if index == 0 else f"data disk {index}"
