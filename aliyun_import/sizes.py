"""This file says numbers of bytes as people do."""

from aliyun_import.limits import GIB, KIB, MIB, TIB


def size(count: float) -> str:
    """Say a number of bytes in the largest unit that fits: 1.5 GiB."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            number = f"{count / unit:.1f}".removesuffix(".0")
            return f"{number} {name}"
    return f"{count:.0f} bytes"
