"""Sizes in bytes as text."""

from aliyun_import.limits import GIB, KIB, MIB, TIB


def size(count: float) -> str:
    """Return a size in the largest binary unit that is not larger than it: 1.5 GiB."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            number = f"{count / unit:.1f}".removesuffix(".0")
            return f"{number} {name}"
    return f"{count:.0f} bytes"


def exact_size(size_bytes: int) -> str:
    """Return a size in MiB or GiB, exact or with two digits; with its bytes where two digits hide the remainder."""
    unit, name = (GIB, "GiB") if size_bytes >= GIB else (MIB, "MiB")
    whole, rest = divmod(size_bytes, unit)
    if size_bytes < MIB:
        return f"{size_bytes} bytes"
    if not rest:
        return f"{whole} {name}"
    near = f"{size_bytes / unit:.2f} {name}"
    return near if unit == GIB and not near.endswith(".00 GiB") else f"{near} ({size_bytes} bytes)"
