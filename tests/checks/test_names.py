"""Tests of the services' naming rules, and of default names."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.checks.names import (
    bucket_problem,
    default_name,
    key_problem,
    name_doubt,
    name_problem,
    region_problem,
)
from aliyun_import.disk.containers.registry import FORMATS
from tests.rows import each_row


@each_row(
    "name",
    ["ab", "a" * 128, "disk-1", "Web.Server_2024:x", "磁盘", "ディスク-1", "ひらがな", "a1", "xaliyun", "ACS-1"],
)
def test_names_within_the_rules(name: str) -> None:
    """The characters of the newer page, and the kana of the older one, are valid."""
    assert name_problem(name) is None
    assert name_doubt(name) is None


@each_row(
    "name",
    [
        "a", "", "a" * 129, "1disk", "-disk", "_disk", ".disk", "disk 1", "disk/1", "disk\n", "aliyun-disk", "acs:disk",
        "see-http://x", "https://x", "disk+1", "disk\U0001f600",
    ],
)  # fmt: skip
def test_names_outside_the_rules(name: str) -> None:
    """Length, first character, other characters, reserved prefixes and URLs are checked."""
    assert name_problem(name)


@each_row("name", ["Aliyun-disk", "ACS:disk", "диск", "système"])
def test_undocumented_names_are_doubtful_and_not_refused(name: str) -> None:
    """Other alphabets, and reserved prefixes in capitals, may or may not be valid."""
    assert name_problem(name) is None
    assert name_doubt(name)


@each_row(
    ("path", "expected"),
    [
        ("disk.raw", "disk"),
        ("/data/Debian 12 (web).qcow2", "Debian-12-web"),
        ("web.img.gz", "web"),
        ("debian-12.8.raw", "debian-12.8"),
        ("disk", "disk"),
        ("12.raw", "disk-12"),
        ("-x-.vhd", "disk-x"),
        ("aliyun_3_x64.vhd", "disk-aliyun_3_x64"),
        ("Aliyun.vhd", "disk-Aliyun"),
        ("acs:x.raw", "disk-acs:x"),
        ("磁盘.raw", "磁盘"),
        ("système.raw", "systeme"),
        (".raw", "raw"),
        ("диск.raw", "disk"),
        ("ビ\u309b・サーバー.raw", "ビ-サーバー"),
        ("a/b/http:/x.raw", "disk-x"),
        ("x" * 300 + ".raw", "x" * 128),
    ],
)
def test_the_default_name_is_derived_from_the_file_name(path: str, expected: str) -> None:
    """Suffixes are removed, invalid characters become hyphens, and an invalid beginning is prefixed."""
    assert default_name(path) == expected


def test_the_default_name_has_no_suffix_of_a_format() -> None:
    """The suffixes are those of all formats that are recognised."""
    suffixes = [suffix for known in FORMATS for suffix in known.suffixes]
    assert [suffix for suffix in suffixes if default_name(f"disk{suffix}.gz") != "disk"] == []


# Any character, with those of the rules more often. st.text() would first build tables of Unicode, which takes 2 s.
PIECES = st.one_of(
    st.sampled_from(["aliyun", "acs:", "http://", ".raw", *"aZ09-_.: /\\+\n磁ひディсé\u0301"]),
    st.integers(0, sys.maxunicode).map(chr),
)


@given(st.lists(PIECES, max_size=200).map("".join))
def test_a_default_name_is_always_valid(path: str) -> None:
    """For any file name the result is valid without doubt, and always the same."""
    name = default_name(path)
    assert name_problem(name) is None
    assert name_doubt(name) is None
    assert default_name(path) == name


@each_row("bucket", ["abc", "a-b", "1ab", "a" * 63])
def test_bucket_names_within_the_rules(bucket: str) -> None:
    """A name is 3 to 63 lower-case letters, digits and hyphens."""
    assert bucket_problem(bucket) is None


@each_row("bucket", ["ab", "a" * 64, "-ab", "ab-", "Abc", "a_b", "a.b", "ab\n", "", "äbc"])
def test_bucket_names_outside_the_rules(bucket: str) -> None:
    """Length, case, other characters and hyphens at either end are checked."""
    assert bucket_problem(bucket)


@each_row("key", ["a", "a/b.raw", "磁盘.raw", "a" * 1023])
def test_keys_within_the_rules(key: str) -> None:
    """A key is 1 to 1023 bytes of UTF-8."""
    assert key_problem(key) is None


@each_row("key", ["", "/a", "\\a", "a" * 1024, "磁" * 342, "a\nb", "a\udc80b"])
def test_keys_outside_the_rules(key: str) -> None:
    """Length in bytes, a leading slash, control characters and invalid UTF-8 are checked."""
    assert key_problem(key)


def test_regions_have_a_form() -> None:
    """A region becomes part of a host name, so nothing else may be in it."""
    assert region_problem("cn-hangzhou") is None
    assert region_problem("ap-southeast-1") is None
    for region in ("", "cn", "CN-hangzhou", "cn hangzhou", "evil.com/", "cn-hangzhou.x", "cn-hangzhou\n"):
        assert region_problem(region), region
