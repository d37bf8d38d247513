"""Tests of the user's directories."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from aliyun_import.user_directories import NO_HOME, config_directory, state_directory

BOTH = [state_directory, config_directory]


@pytest.mark.parametrize("directory", BOTH)
def test_the_directories_are_below_the_home_or_in_xdg_variables(
    directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """XDG_STATE_HOME and XDG_CONFIG_HOME have priority."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert directory().is_relative_to(tmp_path)
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "xdg"))
    assert directory() == tmp_path / "xdg" / "aliyun-import"


@pytest.mark.parametrize("directory", BOTH)
def test_a_user_without_a_home_gets_a_fixed_directory(
    directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container with `--user 54321` has neither HOME nor an entry in passwd."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert os.path.expanduser("~") == "~"  # noqa: PTH111 -- Path.expanduser raises
    assert directory().is_relative_to(NO_HOME)
