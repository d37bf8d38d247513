"""This file holds what is asked of an upload: which disk goes where, and how it travels."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One disk and where it goes: `region` is the bucket's, for advice that can be typed.

    `key` is what --key said, None to name it after `key_stem` ("aliyun-import/<image name>/system") and the content;
    `suffix` is ".raw", ".vhd" or ".qcow2"; `base_key` is what --base said.
    """

    path: Path
    disk_index: int
    region: str
    key: str | None
    key_stem: str
    suffix: str
    base_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """How it travels. `jobs` None adapts."""

    jobs: int | None = None
    limit_rate_bytes_s: float | None = None
    keep_object: bool = False
    grain_bytes: int | None = None
