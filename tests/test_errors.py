"""Errors: values that survive copying, and no secret in any of their texts."""

import copy
import pickle

from aliyun_import import errors
from aliyun_import.errors import AliyunImportError, Exit, UploadNotFound
from tests.rows import each_row


def _classes(kind: type[AliyunImportError]) -> list[type[AliyunImportError]]:
    return [kind, *(below for one in kind.__subclasses__() for below in _classes(one))]


def _error(kind: type[AliyunImportError]) -> AliyunImportError:
    details = {"bucket": "example-bucket"}
    return kind("It failed.", code="c", remedy="Retry.", cause="Why.", details=details, retry_after_s=2.0)


@each_row("kind", _classes(AliyunImportError))
def test_every_class_survives_copy_pickle_and_advice(kind: type[AliyunImportError]) -> None:
    """A copy, a pickled error and an advised one keep the class and every field."""
    error = _error(kind)
    for same in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error)), error.advised("Wait.")):
        assert type(same) is kind
        assert (same.summary, same.code, same.cause) == ("It failed.", "c", "Why.")
        assert (dict(same.details), same.retry_after_s, same.resumable) == ({"bucket": "example-bucket"}, 2.0, False)
    assert error.advised("Wait.", resumable=True).remedy == "Retry. Wait."
    assert error.advised("Wait.", resumable=True).resumable


def test_a_failure_has_the_exit_code_of_its_group() -> None:
    """A class for one failure changes nothing for scripts."""
    assert UploadNotFound.exit_code is Exit.REFUSED
    assert {kind.exit_code for kind in _classes(AliyunImportError)} == set(Exit) - {Exit.DONE}


def test_every_class_is_of_this_module() -> None:
    """All kinds of failure are declared in one place."""
    assert {kind.__module__ for kind in _classes(AliyunImportError)} == {errors.__name__}
