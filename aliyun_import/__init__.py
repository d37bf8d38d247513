"""Upload of local disk images to Alibaba Cloud and their import as custom images.

    from aliyun_import import CloudConfig, connect, push

    with connect(CloudConfig(region="cn-hangzhou")) as client:
        print(push(client, "disk.raw").image_id)

The names in `__all__` are the public API; docs/library.md describes it. Each name is imported on first use, so that
importing the package is fast, reads no environment and loads no SDK.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aliyun_import.api import *  # noqa: F403 -- its __all__
    from aliyun_import.boot.instance_choice import CloudBootOptions as CloudBootOptions
    from aliyun_import.boot.instance_choice import Confirm as Confirm
    from aliyun_import.boot.instance_choice import InstanceOffer as InstanceOffer
    from aliyun_import.boot.run import BootOptions as BootOptions
    from aliyun_import.boot_tests import *  # noqa: F403
    from aliyun_import.checks.infer import InferredParameters as InferredParameters
    from aliyun_import.checks.run import CheckResult as CheckResult
    from aliyun_import.cleanup import CleanupResult as CleanupResult
    from aliyun_import.cleanup import Leftover as Leftover
    from aliyun_import.cleanup import LeftoverKind as LeftoverKind
    from aliyun_import.cleanup import Places as Places
    from aliyun_import.cloud.config import CloudConfig as CloudConfig
    from aliyun_import.cloud.config import OssEndpointType as OssEndpointType
    from aliyun_import.cloud.config import from_environment as from_environment
    from aliyun_import.cloud.connect import Client as Client
    from aliyun_import.cloud.connect import connect as connect
    from aliyun_import.cloud.credentials.source import Credentials as Credentials
    from aliyun_import.disk.report import DiskReport as DiskReport
    from aliyun_import.errors import AccessError as AccessError
    from aliyun_import.errors import AliyunImportError as AliyunImportError
    from aliyun_import.errors import DiskError as DiskError
    from aliyun_import.errors import Exit as Exit
    from aliyun_import.errors import ImportFailed as ImportFailed
    from aliyun_import.errors import Interrupted as Interrupted
    from aliyun_import.errors import LocalStateError as LocalStateError
    from aliyun_import.errors import RefusedError as RefusedError
    from aliyun_import.errors import StillRunning as StillRunning
    from aliyun_import.errors import TransientError as TransientError
    from aliyun_import.errors import UsageError as UsageError
    from aliyun_import.events import Event as Event
    from aliyun_import.image.tasks import TaskWithImage as TaskWithImage
    from aliyun_import.model.boot import BootMachine as BootMachine
    from aliyun_import.model.boot import BootRun as BootRun
    from aliyun_import.model.boot import BootTest as BootTest
    from aliyun_import.model.boot import Bus as Bus
    from aliyun_import.model.boot import CloudBootTest as CloudBootTest
    from aliyun_import.model.boot import InstanceType as InstanceType
    from aliyun_import.model.boot import Judgement as Judgement
    from aliyun_import.model.boot import Stage as Stage
    from aliyun_import.model.boot import SystemDisk as SystemDisk
    from aliyun_import.model.boot import Verdict as Verdict
    from aliyun_import.model.finding import Finding as Finding
    from aliyun_import.model.finding import Severity as Severity
    from aliyun_import.model.image import Image as Image
    from aliyun_import.model.image import ImageStatus as ImageStatus
    from aliyun_import.model.image import Task as Task
    from aliyun_import.model.image import TaskStatus as TaskStatus
    from aliyun_import.model.objects import UploadedObject as UploadedObject
    from aliyun_import.model.request import Architecture as Architecture
    from aliyun_import.model.request import BootMode as BootMode
    from aliyun_import.model.request import DiskFormat as DiskFormat
    from aliyun_import.model.request import DiskRequest as DiskRequest
    from aliyun_import.model.request import ImportParameters as ImportParameters
    from aliyun_import.model.request import ImportRequest as ImportRequest
    from aliyun_import.model.request import OsType as OsType
    from aliyun_import.model.roles import Policy as Policy
    from aliyun_import.model.roles import Role as Role
    from aliyun_import.push.diagnosis import Diagnosis as Diagnosis
    from aliyun_import.push.diagnosis import Health as Health
    from aliyun_import.push.options import Kept as Kept
    from aliyun_import.push.options import PushOptions as PushOptions
    from aliyun_import.push.options import PushResult as PushResult
    from aliyun_import.push.state import KnownPush as KnownPush
    from aliyun_import.push.state import PushStage as PushStage
    from aliyun_import.role.ensure import RoleChange as RoleChange
    from aliyun_import.role.ensure import RoleOutcome as RoleOutcome
    from aliyun_import.role.ensure import RoleState as RoleState
    from aliyun_import.role.policy_eval import Decision as Decision
    from aliyun_import.upload.context import TransferOptions as TransferOptions

__version__ = "0.1.0"

_MODULES = ("errors", "events")
# Modules of public functions, which they list in their `__all__`.
_FUNCTIONS = ("api", "boot_tests")
# Module -> public types that it defines.
_PUBLIC = {
    "boot.instance_choice": ("CloudBootOptions", "Confirm", "InstanceOffer"),
    "boot.run": ("BootOptions",),
    "checks.infer": ("InferredParameters",),
    "checks.run": ("CheckResult",),
    "cleanup": ("CleanupResult", "Leftover", "LeftoverKind", "Places"),
    "cloud.config": ("CloudConfig", "OssEndpointType", "from_environment"),
    "cloud.connect": ("Client", "connect"),
    "cloud.credentials.source": ("Credentials",),
    "disk.report": ("DiskReport",),
    "errors": (
        "AccessError", "AliyunImportError", "DiskError", "Exit", "ImportFailed", "Interrupted",
        "LocalStateError", "RefusedError", "StillRunning", "TransientError", "UsageError",
    ),
    "events": ("Event",),
    "image.tasks": ("TaskWithImage",),
    "model.boot": (
        "BootMachine", "BootRun", "BootTest", "Bus", "CloudBootTest", "InstanceType", "Judgement", "Stage",
        "SystemDisk", "Verdict",
    ),
    "model.finding": ("Finding", "Severity"),
    "model.image": ("Image", "ImageStatus", "Task", "TaskStatus"),
    "model.objects": ("UploadedObject",),
    "model.request": (
        "Architecture", "BootMode", "DiskFormat", "DiskRequest", "ImportParameters", "ImportRequest", "OsType",
    ),
    "model.roles": ("Policy", "Role"),
    "push.diagnosis": ("Diagnosis", "Health"),
    "push.options": ("Kept", "PushOptions", "PushResult"),
    "push.state": ("KnownPush", "PushStage"),
    "role.ensure": ("RoleChange", "RoleOutcome", "RoleState"),
    "role.policy_eval": ("Decision",),
    "upload.context": ("TransferOptions",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}


class _Package(ModuleType):
    """Package that keeps its functions `push`, `upload` and `cleanup` when submodules of these names are imported.

    The import system sets each imported submodule as an attribute of its package.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in ("push", "upload", "cleanup") and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


_package = sys.modules[__name__]
_package.__class__ = _Package


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    value: object
    if name == "__all__":
        value = ["__version__", *sorted([*_MODULE_OF, *(one for module in _FUNCTIONS for one in _functions(module))])]
    else:
        module = _MODULE_OF.get(name)
        if module is None and not name.startswith("_"):
            module = next((one for one in _FUNCTIONS if name in _functions(one)), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def _functions(module: str) -> list[str]:
    """Import a module and return the names of its public functions."""
    names: list[str] = importlib.import_module(f"{__name__}.{module}").__all__
    return names


def __dir__() -> list[str]:
    return sorted({*globals(), *_package.__all__})
