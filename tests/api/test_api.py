"""Tests of the public API: names, imports, types and examples."""

import ast
import inspect
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import aliyun_import
import aliyun_import.api
import aliyun_import.push.push
import aliyun_import.upload.upload
from aliyun_import import CloudConfig, Credentials, Interrupted, UsageError, connect, push
from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.sample import write_sample_disk
from aliyun_import.sandbox.server import Sandbox
from tests.cloud import servers

ROOT = Path(__file__).parents[2]
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate_commands.py"))
NAMES: Any = aliyun_import.__all__
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(aliyun_import, name))]
# Fields of these have types that are described elsewhere: a report in docs/json.md, a client has only methods.
OPAQUE = (aliyun_import.DiskReport, aliyun_import.Client)


def test_the_public_names_are_those_of_the_documentation() -> None:
    """docs/library.md lists them, and each can be imported."""
    assert (ROOT / "docs" / "library.md").read_text() == GENERATOR["library_page"](), "run `python docs/generate.py`"
    assert set(dir(aliyun_import)) >= set(NAMES)
    assert hasattr(aliyun_import, "__version__")
    assert not hasattr(aliyun_import, "no_such_name")


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING match the names that are loaded on access."""
    source = ast.parse((ROOT / "aliyun_import" / "__init__.py").read_text())
    typed = {
        (node.module, alias.name)
        for block in source.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname or alias.name == "*"
    }
    table = {(f"aliyun_import.{module}", name) for name, module in aliyun_import._MODULE_OF.items()}
    assert typed == table | {(f"aliyun_import.{module}", "*") for module in aliyun_import._FUNCTIONS}


def types_in(hint: Any) -> Iterator[type]:
    """Yield the classes of the package in a type hint."""
    if isinstance(hint, type) and hint.__module__.startswith("aliyun_import."):
        yield hint
    for part in get_args(hint):
        yield from types_in(part)
    if isinstance(hint, list):  # the arguments of a Callable
        for part in hint:
            yield from types_in(part)


def annotated_types(public: Any) -> Iterator[type]:
    """Yield the classes that a function takes and returns, or that the fields and properties of a class have."""
    if inspect.isfunction(public):
        hints = get_type_hints(public, localns={"Client": aliyun_import.Client})
    elif isinstance(public, type) and public not in OPAQUE and not issubclass(public, (Exception, Enum)):
        hints = {name: hint for name, hint in get_type_hints(public).items() if not name.startswith("_")}
        properties = {name: one for name, one in vars(public).items() if isinstance(one, property)}
        hints |= {name: get_type_hints(one.fget)["return"] for name, one in properties.items()}
    else:
        hints = {}
    for hint in hints.values():
        yield from types_in(hint)


def test_the_types_of_arguments_and_results_are_public() -> None:
    """A user can annotate whatever a public function takes and returns, and the fields of these values."""
    public = [getattr(aliyun_import, name) for name in NAMES]
    needed = {one for each in public for one in annotated_types(each) if "events" not in one.__module__}
    assert sorted(one.__name__ for one in needed if one not in public) == []


def test_modules_do_not_replace_functions_of_their_name() -> None:
    """`push`, `upload` and `cleanup` are functions, also after the modules of the same name were imported."""
    both = {name for name in NAMES if f"aliyun_import.{name}" in sys.modules}
    assert both == {"push", "upload", "cleanup"}
    for name in both:
        assert getattr(aliyun_import, name) is getattr(aliyun_import.api, name)
        assert sys.modules[f"aliyun_import.{name}"] is not getattr(aliyun_import, name)


IMPORT = """
import os, sys
class Environment(dict):
    def _read(self, *_): raise SystemExit("the environment was read")
    __getitem__ = __contains__ = __iter__ = get = items = keys = values = _read
os.environ = Environment()
import aliyun_import
print(sorted(name for name in sys.modules if name.startswith("aliyun_import.")))
"""
SDKS = ("oss2", "aliyunsdkcore", "alibabacloud_credentials", "rich", "click", "requests", "aliyun_import.sandbox")
USE = "import sys\nfrom aliyun_import import CloudConfig, ImportRequest, PushOptions, check, connect, errors, events\n"


def run_python(code: str) -> str:
    """Run a program in a fresh interpreter, and return its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert done.stderr == ""
    return done.stdout


def test_the_import_has_no_side_effects() -> None:
    """It prints nothing, reads no environment and imports no module of the package."""
    assert run_python(IMPORT) == "[]\n"


def test_types_and_errors_need_no_sdk() -> None:
    """A program that imports them loads no SDK and no module of the command line."""
    loaded = run_python(f"{USE}print(*sys.modules)").split()
    assert [name for name in SDKS if name in loaded] == []


def test_the_package_has_types_and_mypy_checks_the_example() -> None:
    """py.typed is there, and the configuration of mypy includes the example of a user's program."""
    assert (ROOT / "aliyun_import" / "py.typed").exists()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert (settings["strict"], "tests" in settings["files"]) == (True, True)
    assert not any("typing_example" in word for word in settings.get("exclude", []))
    assert not any("tests.*" in word for override in settings.get("overrides", []) for word in override["module"])


def test_the_example_uses_each_function() -> None:
    """What mypy checks in it is the whole API."""
    source = ast.parse((ROOT / "tests" / "api" / "typing_example.py").read_text())
    called = {ast.unparse(node.func) for node in ast.walk(source) if isinstance(node, ast.Call)}
    assert [name for name in FUNCTIONS if f"aliyun_import.{name}" not in called] == []


@pytest.mark.slow
def test_a_program_of_another_project_passes_mypy_strict() -> None:
    """Without the configuration of this project, for a program that uses each function of the API."""
    program = ROOT / "tests" / "api" / "typing_example.py"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--config-file={os.devnull}", "--follow-imports=silent", program],
        capture_output=True, text=True, timeout=300, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Change to a directory with disks, with a sandbox in the environment."""
    with Sandbox.start(tmp_path / "sandbox", settings=Settings(import_s=0.1)) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        write_sample_disk(tmp_path / "disk.raw", size_bytes=1 << 30)
        write_sample_disk(tmp_path / "other.raw", size_bytes=2 << 30)
        yield running


def blocks(page: str) -> list[str]:
    """Return the blocks of Python in a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", ["docs/library.md", "README.md"])
def test_the_examples_run(page: str, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """All examples of a page run in order, in one namespace."""
    assert blocks(page)
    namespace: dict[str, Any] = {}
    for number, block in enumerate(blocks(page), 1):
        exec(compile(block, f"{page}, example {number}", "exec"), namespace)
    assert "m-sandbox" in capsys.readouterr().out


def test_a_push_to_a_sandbox_is_ten_lines() -> None:
    """The first example in docs/library.md."""
    assert len(blocks("docs/library.md")[0].strip().splitlines()) <= 10


def test_a_request_of_another_region_is_refused(sandbox: Sandbox) -> None:
    """A client has one region."""
    request = aliyun_import.ImportRequest(region="cn-beijing", disks=(), name="web-1")
    with connect(aliyun_import.from_environment()) as client, pytest.raises(UsageError) as caught:
        push(client, request)
    assert caught.value.code == "region-mismatch"


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint_url": "http://192.0.2.1:9"},
        {"endpoint_overrides": {"STS": "http://192.0.2.1:9"}},
        {"oss_endpoint": "http://oss.example.com"},
    ],
)
def test_http_to_another_host_needs_insecure(changes: dict[str, Any]) -> None:
    """Key id, signature and token would be sent without encryption."""
    keys = Credentials(key_id="id", secret="secret")
    with pytest.raises(UsageError) as caught:
        connect(CloudConfig(region="cn-hangzhou", credentials=keys, **changes))
    assert caught.value.code == "endpoint-insecure"
    assert (
        connect(CloudConfig(region="cn-hangzhou", credentials=keys, insecure=True, **changes)).region == "cn-hangzhou"
    )


def test_a_configuration_shows_no_secret() -> None:
    """Its repr may be logged."""
    config = CloudConfig(region="cn-hangzhou", credentials=Credentials(key_id="id", secret="hidden", token="hidden"))
    assert "hidden" not in repr(config)


def _client(port: int) -> aliyun_import.Client:
    keys = Credentials(key_id="id", secret="secret")
    return connect(CloudConfig(region="cn-hangzhou", endpoint_url=f"http://127.0.0.1:{port}", credentials=keys))


def test_cancel_ends_the_wait_for_a_response() -> None:
    """The call ends when `cancel` is set, not at the timeout."""
    cancel, requested = threading.Event(), threading.Event()

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        requested.set()
        connection.recv(1)  # until the client closes the connection

    def cancel_when_requested() -> None:
        requested.wait(30)
        cancel.set()

    threading.Thread(target=cancel_when_requested, daemon=True).start()
    with servers.serve(handle) as port, _client(port) as client, pytest.raises(Interrupted):
        aliyun_import.cleanup(client, cancel=cancel)


def test_leaving_the_block_closes_the_connections() -> None:
    """A kept-alive connection is closed at the end of the block of the client."""
    closed = threading.Event()
    body = b'{"AccountId": "1", "Arn": "acs:ram::1:root", "RequestId": "R-1"}'

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        if connection.recv(1) == b"":
            closed.set()

    with servers.serve(handle) as port:
        with _client(port) as client:
            services = client.services()
            assert services.identity.whoami().account_id == "1"
            assert not closed.is_set()
        assert closed.wait(10)
        del services
