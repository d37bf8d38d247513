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
    """Return a size in whole MiB or GiB, or in GiB with two digits; in bytes where that would hide a remainder."""
    if size_bytes < GIB:
        whole, rest = divmod(size_bytes, MIB)
        return f"{whole} MiB" if whole and not rest else f"{size_bytes} bytes"
    whole, rest = divmod(size_bytes, GIB)
    near = f"{size_bytes / GIB:.2f} GiB"
    return f"{whole} GiB" if not rest else f"{size_bytes} bytes" if near.endswith(".00 GiB") else near
