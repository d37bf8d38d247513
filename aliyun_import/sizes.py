"""Sizes in bytes as text."""

from aliyun_import.limits import GIB, KIB, MIB, TIB


def size(count: float) -> str:
    """Return a size in the largest binary unit that is not larger than it: 1.5 GiB."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            number = f"{count / unit:.1f}".removesuffix(".0")
            return f"{number} {name}"
    return f"{count:.0f} bytes"
