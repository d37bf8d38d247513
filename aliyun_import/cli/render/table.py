"""This file sets rows of text in columns, for the results of commands that list things."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set rows below a head, columns as wide as their widest text; the last column is not padded."""
    return "\n".join(columns([head, *rows]))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows in columns, two spaces apart; a column with nothing in it takes no place."""
    used = [row for row in zip(*rows, strict=True) if any(row)]
    padded = [[text.ljust(max(map(len, texts))) for text in texts] for texts in used]
    return ["  ".join(texts).rstrip() for texts in zip(*padded, strict=True)]
