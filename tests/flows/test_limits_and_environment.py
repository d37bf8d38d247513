"""Tests of commands under resource limits and in unusual environments: exit code 1 is for bugs alone."""

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.server import Sandbox
from tests.cloud import servers
from tests.flows.commands import LIMIT_S, Commands, Ran, command_environment
from tests.flows.fork_server import ForkServer

PROGRAM = f"{sys.executable} -m aliyun_import"


def push_with_limits(limits: str, disk: Path, home: Path, sandbox: Sandbox, **changes: str) -> Ran:
    """Push a disk from a shell that first sets limits."""
    command = f"{limits}; exec {PROGRAM} push '{disk}' --region cn-hangzhou"
    done = subprocess.run(
        ["bash", "-c", command],
        env=command_environment(home, sandbox, **changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def assert_no_bug(ran: Ran, setting: str = "") -> None:
    """Assert that the push succeeds, or that the error names the setting that raises the limit."""
    assert ran.code in (0, 9), ran.err
    assert "Traceback" not in ran.err
    assert ran.code == 0 or setting in ran.err


@pytest.mark.parametrize(("limit", "most", "setting"), [("RLIMIT_NOFILE", 14, "ulimit -n"), ("RLIMIT_FSIZE", 0, "")])
def test_a_limit_of_the_machine_assert_no_bug(
    limit: str, most: int, setting: str, disk: Path, commands: Commands
) -> None:
    """For limits on open files and on the size of files."""
    running = commands.start("push", disk, limits={getattr(resource, limit): most}, clock_url=commands.sandbox.url)
    assert_no_bug(Ran(*running.communicate(limit_s=LIMIT_S)), setting)


def test_a_limit_of_memory_assert_no_bug(disk: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    """The command runs in a fresh interpreter, because the limit counts the imported modules, too."""
    assert_no_bug(push_with_limits("ulimit -v 90000", disk, tmp_path / "home", sandbox), "ulimit -v")


@pytest.mark.root
@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 12, 20])
def test_few_threads_are_enough_or_the_limit_is_named(most: int, disk: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    """The kernel does not apply this limit to root, so the command runs as another user."""
    user = "setpriv --reuid 54321 --regid 54321 --clear-groups"
    if subprocess.run(["bash", "-c", f"{user} {PROGRAM} --version"], capture_output=True, check=False).returncode:
        pytest.skip("another user can't run this interpreter")
    for directory in (tmp_path, home := tmp_path / "home"):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o777)
    ran = push_with_limits(
        f"ulimit -u {most}; exec {user} bash -c '{PROGRAM} push \"{disk}\" --region cn-hangzhou'", disk, home, sandbox
    )
    assert ran.code in (0, 9), ran.err


def test_a_user_without_home_can_push_with_a_state_directory(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """`docker run --user 54321` runs a command without HOME; the keys are in the environment."""
    arguments = ("push", str(disk), "--region", "cn-hangzhou", "--state-dir", str(tmp_path / "state"))
    assert commands.run(*arguments, environment={"HOME": None}).code == 0


@pytest.mark.parametrize("name", ["state", "work"])
def test_nothing_is_created_if_the_local_state_cannot_be_written(
    name: str, commands: Commands, disk: Path, sandbox: Sandbox
) -> None:
    """The directory is tested before a bucket or a role is created."""
    ran = commands.run("push", str(disk), "--region", "cn-hangzhou", f"--{name}-dir", str(disk / "below a file"))
    assert ran.code == (9 if name == "state" else 0), ran.err
    if name == "state":
        assert not {one.operation for one in sandbox.requests.entries()} & {"PutBucket", "CreateRole", "ImportImage"}


@pytest.mark.parametrize(
    ("variable", "value", "code", "expected"),
    [
        ("HTTP_PROXY", "socks5://127.0.0.1:1080", 0, "m-"),  # does not apply to this machine
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "with a blank", 4, "credentials-malformed"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "two\nlines", 4, "credentials-malformed"),
        ("ALIYUN_IMPORT_ENDPOINT_URL", "https://[::1", 2, "endpoint-invalid"),
        ("ALIYUN_IMPORT_ENDPOINT_URL", "http://a..b", 2, "endpoint-invalid"),
        ("TMPDIR", "/nonexistent", 0, "m-"),
        ("COLUMNS", "0", 0, "m-"),
        ("LC_ALL", "C", 0, "m-"),
    ],
)
def test_an_unusual_variable_works_or_is_named(
    variable: str, value: str, code: int, expected: str, commands: Commands, disk: Path
) -> None:
    """The push succeeds, or the error has the code of this variable."""
    ran = commands.run("push", str(disk), "--region", "cn-hangzhou", environment={variable: value})
    assert ran.code == code, ran.err
    assert expected in ran.out + ran.err


@pytest.fixture(params=[403, 407])
def filter_url(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """Answer every request with the page of a web filter; yield the status and the URL."""

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        page = b"<html><body>Blocked by policy</body></html>"
        head = f"HTTP/1.1 {request.param} X\r\nConnection: close\r\nContent-Length: {len(page)}\r\n\r\n"
        connection.sendall(head.encode() + page)

    with servers.serve(handle) as port:
        yield request.param, f"http://127.0.0.1:{port}"


def test_a_response_of_a_web_filter_is_recognized(filter_url: tuple[int, str], commands: Commands, disk: Path) -> None:
    """It is neither a missing permission nor a transient failure."""
    status, url = filter_url
    ran = commands.run("push", str(disk), "--region", "cn-hangzhou", "--endpoint-url", url, "--output", "json")
    assert (ran.json["exit_code"], ran.json["code"]) == (4, {403: "intercepted", 407: "proxy-login"}[status])
    assert "grant" not in ran.json["remedy"]
    assert status == 407 or "Blocked by policy" in ran.json["cause"]


def test_an_ipv6_endpoint_is_reached(disk: Path, tmp_path: Path, forks: ForkServer) -> None:
    """A push reaches a sandbox at ::1 by its URL."""
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    try:
        running = Sandbox.start(tmp_path / "cloud", host="::1", settings=Settings(import_s=0.1))
    except OSError:
        pytest.skip("this machine has no ::1")
    with running:
        commands = Commands(home=tmp_path / "home", sandbox=running, forks=forks)
        ran = commands.run("push", str(disk), "--region", "cn-hangzhou")
    assert ran.code == 0, ran.err
    assert "[::1]" in running.url
