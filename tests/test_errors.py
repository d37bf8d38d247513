"""Tests of the error classes: copies, pickles, and exit codes."""

import copy
import pickle

from aliyun_import import errors
from aliyun_import.errors import AliyunImportError, Exit, UploadNotFound
from tests.rows import each_row


def _classes(kind: type[AliyunImportError]) -> list[type[AliyunImportError]]:
    return [kind, *(subclass for one in kind.__subclasses__() for subclass in _classes(one))]


def _error(kind: type[AliyunImportError]) -> AliyunImportError:
    details = {"bucket": "example-bucket"}
    return kind("It failed.", code="c", remedy="Retry.", cause="Why.", details=details, retry_after_s=2.0)


@each_row("kind", _classes(AliyunImportError))
def test_copies_and_pickles_keep_every_field(kind: type[AliyunImportError]) -> None:
    """So does `with_remedy`, which adds to the remedy."""
    error = _error(kind)
    for same in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error)), error.with_remedy("Wait.")):
        assert type(same) is kind
        assert (same.summary, same.code, same.cause) == ("It failed.", "c", "Why.")
        assert (dict(same.details), same.retry_after_s, same.resumable) == ({"bucket": "example-bucket"}, 2.0, False)
    assert error.with_remedy("Wait.", resumable=True).remedy == "Retry. Wait."
    assert error.with_remedy("Wait.", resumable=True).resumable


def test_a_subclass_has_the_exit_code_of_its_group() -> None:
    """Every exit code but DONE has a class."""
    assert UploadNotFound.exit_code is Exit.REFUSED
    assert {kind.exit_code for kind in _classes(AliyunImportError)} == set(Exit) - {Exit.DONE}


def test_every_class_is_declared_in_the_errors_module() -> None:
    """All kinds of failure are declared in one place."""
    assert {kind.__module__ for kind in _classes(AliyunImportError)} == {errors.__name__}
