"""Tests that a command imports only what it needs."""

import json
import subprocess
import sys

SLOW_MODULES = (
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
COMMAND_MODULES = (
    "aliyun_import.cli.commands",
    "aliyun_import.cli.params",
    "aliyun_import.cli.settings",
    "aliyun_import.error_codes",
    "aliyun_import.limits",
    "aliyun_import.model",
    "dataclasses",
    "difflib",
    "tomllib",
    "traceback",
    "urllib.parse",
)
REPORT = """
import json, sys
from aliyun_import.cli.main import run
for arguments in {commands!r}:
    sys.argv = ["aliyun-import", *arguments]
    try:
        run()
    except SystemExit as end:
        assert end.code in (None, 0), arguments
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(*commands: tuple[str, ...]) -> set[str]:
    """Return the modules that a new interpreter has imported after these commands."""
    code = REPORT.format(commands=commands)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stderr))


def test_version_and_help_of_the_program_import_no_command() -> None:
    """Nor options, settings, error codes, or modules of the standard library that only commands use."""
    loaded = modules_after(("--help",), ("--version",))
    assert not [name for name in COMMAND_MODULES if name in loaded]


def test_help_imports_no_slow_module() -> None:
    """SDKs, rich, the sandbox and the engine are imported when they are used."""
    loaded = modules_after(("--help",), ("--version",), ("push", "--help"), ("sandbox", "--help"))
    assert not [name for name in SLOW_MODULES if name in loaded]
