"""Directories of the user for state and configuration."""

from pathlib import Path

_NAME = "aliyun-import"
# The home of a user without one, as a container's `--user 54321` makes it: it can't be created.
NO_HOME = Path("/nonexistent")


def state_directory() -> Path:
    """Return the user's directory for program state."""
    import platformdirs

    try:
        return _absolute(platformdirs.user_state_dir(_NAME))
    except RuntimeError:  # of pathlib: there is no home
        return NO_HOME / _NAME


def config_directory() -> Path:
    """Return the user's directory for configuration."""
    import platformdirs

    try:
        return _absolute(platformdirs.user_config_dir(_NAME))
    except RuntimeError:
        return NO_HOME / _NAME


def _absolute(path: str) -> Path:
    # Some versions return "~/..." where there is no home.
    return Path(path) if Path(path).is_absolute() else NO_HOME / _NAME
