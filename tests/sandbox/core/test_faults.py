"""Tests of the selection of calls to which faults apply."""

from dataclasses import asdict

import pytest

from aliyun_import.sandbox.core.faults import Fault, Faults
from aliyun_import.sandbox.core.http_types import Call
from aliyun_import.sandbox.core.records import Codec, Table


def _part(number: int, key: str = "dir/disk.raw") -> Call:
    return Call(service="oss", operation="UploadPart", bucket="b", key=key, part=number)


def test_a_fault_applies_to_count_calls_from_the_nth() -> None:
    """nth=2, count=2 applies to the second and the third call."""
    faults = Faults(Table())
    faults.add(Fault(operation="UploadPart", nth=2, count=2))
    matched = [faults.match(_part(number)) is not None for number in range(1, 6)]
    assert matched == [False, True, True, False, False]
    assert faults.active() == ()


def test_only_matching_calls_are_counted() -> None:
    """Operation, a piece of the key and the part number must all match."""
    faults = Faults(Table())
    faults.add(Fault(operation="Upload*", key="disk", part=3))
    assert faults.match(_part(2)) is None
    assert faults.match(_part(3, key="other")) is None
    assert faults.match(Call(service="oss", operation="PutObject", key="disk", part=3)) is None
    assert faults.match(_part(3)) is not None


def test_two_faults_apply_one_after_the_other() -> None:
    """The first added fault applies first, and does not use up the other."""
    faults = Faults(Table())
    first, second = faults.add(Fault(code="A")), faults.add(Fault(code="B"))
    assert [faults.match(_part(1)) for _ in range(3)] == [first, second, None]


def test_a_permanent_fault_can_be_removed() -> None:
    """count=None applies until all faults are removed."""
    faults = Faults(Table())
    faults.add(Fault(count=None))
    assert all(faults.match(_part(1)) for _ in range(20))
    faults.clear()
    assert faults.match(_part(1)) is None


def test_faults_can_be_encoded_as_json() -> None:
    """A decoded fault is equal to the encoded one. Unknown fields and invalid values are refused by name."""
    fault = Fault(operation="ImportImage", effect="lose-answer", headers={"x": "y"})
    assert Codec().decode(Fault, asdict(fault)) == fault
    with pytest.raises(ValueError, match="colour"):
        Codec().decode(Fault, {"colour": "red"})
    for wrong in ({"status": 99}, {"delay_s": float("inf")}, {"after_bytes": -1}, {"headers": {"a": "b\r\nc: d"}}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Codec().decode(Fault, wrong)
    with pytest.raises(ValueError, match="explode"):
        Fault(effect="explode")
