"""Tests that `--help` is cheap: a command imports only what it needs."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "oss2",
    "aliyunsdkcore",
    "alibabacloud_credentials",
    "rich",
    "requests",
    "fastcrc",
    "aliyun_import.sandbox",
    "aliyun_import.events",
    "aliyun_import.push",
    "aliyun_import.cloud",
)
REPORT = """
import json, sys
sys.argv = {arguments!r}
try:
    from aliyun_import.cli.main import run
    run()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    """Run a command in a fresh interpreter and tell what it imported."""
    code = REPORT.format(arguments=["aliyun-import", *arguments])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stderr))


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("push", "--help"), ("sandbox", "--help")])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """SDKs, rich, the sandbox and the engine are imported when they are used."""
    loaded = modules_after(*arguments)
    assert not [name for name in HEAVY if name in loaded]
