"""Tests that the public API refuses invalid arguments before it sends anything."""

import inspect
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import pytest

import aliyun_import
from aliyun_import import (
    BootMode,
    BootOptions,
    Client,
    CloudBootOptions,
    CloudConfig,
    DiskFormat,
    DiskRequest,
    ImportParameters,
    ImportRequest,
    OssEndpointType,
    PushOptions,
    TransferOptions,
    UsageError,
    from_environment,
)
from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.server import Sandbox
from tests.push.push_host import write_small_disk

DISK = DiskRequest(path=Path("disk.raw"))
# The types of arguments, with the values that they require.
TYPES: tuple[tuple[Callable[..., Any], dict[str, Any]], ...] = (
    (PushOptions, {}),
    (TransferOptions, {}),
    (BootOptions, {}),
    (CloudBootOptions, {}),
    (ImportParameters, {}),
    (CloudConfig, {"region": "cn-hangzhou"}),
    (DiskRequest, {"path": Path("disk.raw")}),
    (ImportRequest, {"region": "cn-hangzhou", "disks": (DISK,)}),
)


def accepted(call: Callable[[], object]) -> bool:
    """Return whether a call raises no UsageError "argument-invalid" with a remedy; other errors are raised."""
    try:
        call()
    except UsageError as error:
        return not (error.code == "argument-invalid" and error.remedy and error.details["argument"])
    return True


def collection_arguments() -> Iterator[tuple[str, str]]:
    """Yield each function and argument of the API that is a collection."""
    for name in aliyun_import.__all__:  # type: ignore[attr-defined]
        function = getattr(aliyun_import, name)
        if inspect.isfunction(function):
            for argument, hint in get_type_hints(function, localns={"Client": Client}).items():
                if argument != "return" and get_origin(hint) in (Collection, tuple, frozenset):
                    yield name, argument


def test_one_text_is_not_a_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its characters would be taken for the items: `*` at the end of a pattern names every object."""
    monkeypatch.setenv("ALIYUN_IMPORT_REGION", "cn-hangzhou")
    found = list(collection_arguments())
    assert {("cleanup", "remove"), ("cleanup", "prefixes"), ("list_tasks", "statuses"), ("check", "skip_checks")} <= {
        *found
    }
    wrong = []
    for name, argument in found:
        function = getattr(aliyun_import, name)
        # Without a client nothing can be sent.
        required = [one for one in inspect.signature(function).parameters.values() if one.default is one.empty]
        given = {one.name: "disk.raw" if one.name == "disk" else None for one in required}
        given[argument] = "aliyun-import/web/*"
        if accepted(lambda function=function, given=given: function(**given)):  # type: ignore[misc]
            wrong.append((name, argument))
    assert not wrong


def test_a_field_of_another_type_is_refused_at_construction() -> None:
    """Each field of each type of arguments."""
    wrong = [
        f"{kind}.{one.name}"
        for kind, required in TYPES
        for one in fields(kind)  # type: ignore[arg-type]
        if accepted(lambda kind=kind, required=required, one=one: kind(**{**required, one.name: object()}))  # type: ignore[misc]
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("kind", "argument", "values"),
    [
        (PushOptions, "keep_last", (0, -1, True, "3")),
        (PushOptions, "replace", ("bogus", "Rename", "")),
        (PushOptions, "boot_test", ("Cloud", "", True)),
        (PushOptions, "boot_timeout_s", (0, -1, math.nan)),
        (PushOptions, "timeout_s", (-1, math.nan, "2h")),
        (PushOptions, "skip_checks", ("ssh-port", [1])),
        (TransferOptions, "jobs", (0, -1, 65, 1.5, True)),
        (TransferOptions, "limit_rate_bytes_s", (0, 0.5, -1, math.nan, "50M")),
        (BootOptions, "timeout_s", (0, -1, math.nan, None)),
        (CloudBootOptions, "timeout_s", (0, -1, math.nan, None)),
        (ImportParameters, "boot_mode", ("bogus", "uefi", 1)),
        (ImportParameters, "architecture", ("amd64",)),
        (CloudConfig, "oss_endpoint_type", ("Internal", None)),
        (CloudConfig, "endpoint_overrides", ({"oss": "https://oss.example.com"}, ["OSS"])),
        (CloudConfig, "insecure", ("yes", 1)),
        (DiskRequest, "bucket", ("a-bucket",)),
        (DiskRequest, "key", ("disk.raw",)),
        (DiskRequest, "path", (None,)),
        (DiskRequest, "format", ("raw",)),
        (ImportRequest, "disks", (DISK, ("disk.raw",), "disk.raw")),
        (ImportRequest, "tags", ([("team", "infra")], {"team": 1})),
    ],
)
def test_a_value_without_a_meaning_is_refused_at_construction(
    kind: Callable[..., Any], argument: str, values: tuple[Any, ...]
) -> None:
    """Later it would be ignored, or fail after the upload, or remove what was just kept."""
    required = dict(TYPES)[kind]
    wrong = [one for one in values if accepted(lambda one=one: kind(**{**required, argument: one}))]  # type: ignore[misc]
    assert not wrong


@pytest.mark.parametrize("timeout_s", [-1, math.nan, "60"])
def test_wait_refuses_an_invalid_timeout(timeout_s: Any) -> None:
    """Without a client nothing can be sent."""
    client: Any = None
    assert not accepted(lambda: aliyun_import.wait(client, "t-1", timeout_s=timeout_s))


@pytest.mark.parametrize("given", [{}, {"bucket": "a-bucket"}, {"key": "disk.raw"}])
def test_a_disk_needs_a_path_or_an_object(given: dict[str, str]) -> None:
    """A bucket or a key alone names nothing."""
    assert not accepted(lambda: DiskRequest(**given))  # type: ignore[arg-type]


def test_text_is_converted_to_the_type_of_the_field() -> None:
    """Paths, members of an Enum, and lists, as a script or a configuration file has them."""
    options: Any = PushOptions(state_dir="x", boot_log="log", skip_checks=["ssh-port"], keep_last=1)  # type: ignore[arg-type]
    assert (options.state_dir, options.boot_log, options.skip_checks) == (Path("x"), Path("log"), {"ssh-port"})
    disk: Any = DiskRequest(path="disk.raw", format="VHD")  # type: ignore[arg-type]
    assert (disk.path, disk.format) == (Path("disk.raw"), DiskFormat.VHD)
    request: Any = ImportRequest(region="cn-hangzhou", disks=[disk], boot_mode="UEFI")  # type: ignore[arg-type]
    assert (request.disks, request.boot_mode) == ((disk,), BootMode.UEFI)
    assert isinstance(request.boot_mode, BootMode)
    config: Any = CloudConfig(region="cn-hangzhou", oss_endpoint_type="internal")  # type: ignore[arg-type]
    assert config.oss_endpoint_type is OssEndpointType.INTERNAL


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("true", True), ("Yes", True), ("on", True), ("0", False), ("", False)]
)
def test_from_environment_reads_flags_as_the_command_line_does(text: str, expected: bool, tmp_path: Path) -> None:
    """ALIYUN_IMPORT_OSS_CNAME and ALIYUN_IMPORT_INSECURE."""
    environment = {"ALIYUN_IMPORT_REGION": "cn-hangzhou", "ALIYUN_IMPORT_OSS_ENDPOINT": "https://disks.example.com"}
    environment |= {"ALIYUN_IMPORT_OSS_CNAME": text, "ALIYUN_IMPORT_INSECURE": text}
    config = from_environment(environment=environment, home=tmp_path)
    assert (config.oss_cname, config.insecure) == (expected, expected)
    given = from_environment(environment=environment, home=tmp_path, oss_cname=False, insecure=False)
    assert (given.oss_cname, given.insecure) == (False, False)


def test_from_environment_refuses_a_flag_that_is_neither_true_nor_false(tmp_path: Path) -> None:
    """It names the variable."""
    environment = {"ALIYUN_IMPORT_REGION": "cn-hangzhou", "ALIYUN_IMPORT_INSECURE": "maybe"}
    with pytest.raises(UsageError, match="ALIYUN_IMPORT_INSECURE") as caught:
        from_environment(environment=environment, home=tmp_path)
    assert caught.value.code == "config-invalid"


def test_force_new_takes_a_free_name_for_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the command line: the name of the file was not chosen by the user. A chosen name is kept."""
    disk = write_small_disk(tmp_path / "web.raw")
    options = PushOptions(state_dir=tmp_path / "state", force_new=True)
    with Sandbox.start(tmp_path / "sandbox", settings=Settings(import_s=0.0)) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        with aliyun_import.connect(from_environment()) as client:
            names = [aliyun_import.push(client, disk, options=options).image_name for _ in range(2)]
            named = ImportRequest(region=client.region, disks=(DiskRequest(path=disk),), name="web")
            with pytest.raises(aliyun_import.RefusedError):
                aliyun_import.push(client, named, options=options)
            with pytest.raises(UsageError):
                aliyun_import.push(client, ImportRequest(region=client.region, disks=()), options=options)
    assert names == ["web", "web-2"]
