"""This file tests the last guard before stdout and stderr."""

import io

import pytest

from aliyun_import import redact
from aliyun_import.cli.streams import GuardedStream


def test_a_secret_does_not_get_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written by whatever way is concealed; the stream is else what it was."""
    for name, value in (("_secrets", set()), ("_ids", set()), ("_pattern", None)):
        monkeypatch.setattr(redact, name, value)
    redact.learn("a-long-secret")
    inner = io.StringIO()
    stream = GuardedStream(inner)
    print("say a-long-secret", file=stream)
    stream.writelines(["and a-long-secret", "."])
    assert inner.getvalue() == "say ***\nand ***."
    assert stream.getvalue() == inner.getvalue()
    assert stream.write("a-long-secret") == len("a-long-secret")
