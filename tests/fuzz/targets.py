"""List of all fuzz targets."""

from collections.abc import Mapping
from importlib.util import find_spec

from tests.fuzz.config_targets import CONFIG_TARGETS
from tests.fuzz.disk_targets import DISK_TARGETS
from tests.fuzz.guest_targets import GUEST_TARGETS
from tests.fuzz.target import Target

# A target that needs an optional package is left out if the package is not installed.
TARGETS: Mapping[str, Target] = {
    name: target
    for name, target in (DISK_TARGETS | GUEST_TARGETS | CONFIG_TARGETS).items()
    if not target.needs or find_spec(target.needs) is not None
}
