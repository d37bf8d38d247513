"""Directories of the user for state and configuration, and names of the environment variables of this package."""

from pathlib import Path

_NAME = "aliyun-import"
VARIABLE_PREFIX = "ALIYUN_IMPORT_"
# Services whose endpoint ALIYUN_IMPORT_ENDPOINT_URL_<SERVICE> replaces.
SERVICES = ("OSS", "ECS", "RAM", "STS", "VPC")
# Stands for the home of a user without one, such as a container's `--user 54321`. It can't be created.
NO_HOME = Path("/nonexistent")


def state_directory() -> Path:
    """Return the user's directory for program state."""
    import platformdirs

    try:
        return _absolute(platformdirs.user_state_dir(_NAME))
    except RuntimeError:  # from pathlib: there is no home directory
        return NO_HOME / _NAME


def config_directory() -> Path:
    """Return the user's directory for configuration."""
    import platformdirs

    try:
        return _absolute(platformdirs.user_config_dir(_NAME))
    except RuntimeError:
        return NO_HOME / _NAME


def _absolute(path: str) -> Path:
    # Some versions of platformdirs return "~/..." if there is no home directory.
    return Path(path) if Path(path).is_absolute() else NO_HOME / _NAME
