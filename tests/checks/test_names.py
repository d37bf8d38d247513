"""Tests of the services' naming rules, and of names made to keep them."""

import pytest
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


@pytest.mark.parametrize(
    "name",
    ["ab", "a" * 128, "disk-1", "Web.Server_2024:x", "磁盘", "ディスク-1", "ひらがな", "a1", "xaliyun", "ACS-1"],
)
def test_names_within_the_rules(name: str) -> None:
    """The newer page's signs, and the older page's kana, are taken."""
    assert name_problem(name) is None
    assert name_doubt(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "a", "", "a" * 129, "1disk", "-disk", "_disk", ".disk", "disk 1", "disk/1", "disk\n", "aliyun-disk", "acs:disk",
        "see-http://x", "https://x", "disk+1", "disk\U0001f600",
    ],
)  # fmt: skip
def test_names_outside_the_rules(name: str) -> None:
    """Length, first character, signs, reserved beginnings, web addresses anywhere."""
    assert name_problem(name)


@pytest.mark.parametrize("name", ["Aliyun-disk", "ACS:disk", "диск", "système"])
def test_names_that_no_page_speaks_of_are_doubtful_not_refused(name: str) -> None:
    """Other alphabets, and reserved beginnings in capitals, may or may not pass."""
    assert name_problem(name) is None
    assert name_doubt(name)


@pytest.mark.parametrize(
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
        ("a/b/http:/x.raw", "disk-x"),
        ("x" * 300 + ".raw", "x" * 128),
    ],
)
def test_a_name_is_made_from_the_files_name(path: str, expected: str) -> None:
    """Suffixes go, odd signs become hyphens, and the beginning is made legal."""
    assert default_name(path) == expected


@given(st.text(max_size=200))
def test_a_made_name_always_keeps_the_rules(path: str) -> None:
    """Whatever a file is called, the name passes without doubt, and is the same the next time."""
    made = default_name(path)
    assert name_problem(made) is None
    assert name_doubt(made) is None
    assert default_name(path) == made


@pytest.mark.parametrize("bucket", ["abc", "a-b", "1ab", "a" * 63])
def test_bucket_names_within_the_rules(bucket: str) -> None:
    """3 to 63 lower-case letters, digits and hyphens."""
    assert bucket_problem(bucket) is None


@pytest.mark.parametrize("bucket", ["ab", "a" * 64, "-ab", "ab-", "Abc", "a_b", "a.b", "ab\n", "", "äbc"])
def test_bucket_names_outside_the_rules(bucket: str) -> None:
    """Length, case, signs, and no hyphen at either end."""
    assert bucket_problem(bucket)


@pytest.mark.parametrize("key", ["a", "a/b.raw", "磁盘.raw", "a" * 1023])
def test_keys_within_the_rules(key: str) -> None:
    """1 to 1023 bytes of UTF-8."""
    assert key_problem(key) is None


@pytest.mark.parametrize("key", ["", "/a", "\\a", "a" * 1024, "磁" * 342, "a\nb", "a\udc80b"])
def test_keys_outside_the_rules(key: str) -> None:
    """Length in bytes, no slash first, no control characters, no broken UTF-8."""
    assert key_problem(key)


def test_regions_have_a_form() -> None:
    """A region becomes part of a host name, so nothing else may come in by it."""
    assert region_problem("cn-hangzhou") is None
    assert region_problem("ap-southeast-1") is None
    for region in ("", "cn", "CN-hangzhou", "cn hangzhou", "evil.com/", "cn-hangzhou.x", "cn-hangzhou\n"):
        assert region_problem(region), region
