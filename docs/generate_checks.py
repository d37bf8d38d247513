"""Generator of the tables of checks in docs/: python docs/generate_checks.py."""

import re
from pathlib import Path

from aliyun_import.checks.registry import AppliesTo
from aliyun_import.checks.run import CHECKS

PAGES = ("disks.md", "request-checks.md")
# The mark before a table -> what the checks in it apply to.
TABLES = {
    "container": {AppliesTo.CONTAINER},
    "disk": {AppliesTo.ANY_DISK, AppliesTo.SYSTEM_DISK},
    "guest": {AppliesTo.GUEST, AppliesTo.WINDOWS},
    "request": {AppliesTo.REQUEST, AppliesTo.BUCKET},
    "boot": {AppliesTo.BOOT},
}


def with_tables(page: str) -> str:
    """Return a page with the table after each mark `<!-- NAME -->` replaced."""
    for mark, applies_to in TABLES.items():
        rows = "".join(
            f"| `{one.id}` | {one.severity_text} | {' '.join(one.explanation.split())} |\n"
            for one in CHECKS
            if one.applies_to in applies_to
        )
        table = f"<!-- {mark} -->\n\n| Check | Severity | What is checked, and why |\n| --- | --- | --- |\n{rows}"
        page = re.sub(rf"<!-- {mark} -->\n(\n\|[^\n]*\n(\|[^\n]*\n)*)?", lambda _, table=table: table, page)
    return page


if __name__ == "__main__":
    for name in PAGES:
        path = Path(__file__).with_name(name)
        path.write_text(with_tables(path.read_text()))
