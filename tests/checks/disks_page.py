"""This file makes the tables of docs/disks.md from the texts: python -m tests.checks.disks_page docs/disks.md."""

import re
import sys
from pathlib import Path

from aliyun_import.checks.context import Text
from aliyun_import.checks.explain_disk import CONTAINER_TEXTS, DISK_TEXTS
from aliyun_import.checks.explain_guest import GUEST_TEXTS

TABLES: dict[str, dict[str, Text]] = {"container": CONTAINER_TEXTS, "disk": DISK_TEXTS, "guest": GUEST_TEXTS}


def with_tables(page: str) -> str:
    """Put each table behind its mark, in place of the one that is there."""
    for mark, texts in TABLES.items():
        rows = "".join(f"| `{name}` | {classes} | {text} |\n" for name, (classes, text, _source) in texts.items())
        table = f"<!-- {mark} -->\n\n| Name | Class | What is wrong, and why it matters |\n| --- | --- | --- |\n{rows}"
        page = re.sub(rf"<!-- {mark} -->\n(\n\|[^\n]*\n(\|[^\n]*\n)*)?", table.replace("\\", r"\\"), page)
    return page


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_tables(path.read_text()))
