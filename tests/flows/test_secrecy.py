"""Tests that no secret is printed or written, for every command, credential mode, verbosity and failure."""

import base64
import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import click
import pytest

from aliyun_import.cli.main import app
from aliyun_import.sandbox.core.state import AccessKey, Settings
from aliyun_import.sandbox.server import Sandbox
from tests.flows.disks import write_disk
from tests.flows.fork_server import ForkServer

RNG = random.Random(5)
# Length of the pieces by which the output is searched for a secret.
PIECE_LENGTH = 12


def random_secret(length: int) -> str:
    """Return a secret with characters that URLs and JSON encode."""
    return base64.b64encode(RNG.randbytes(length)).decode()[: length - 2] + "+/"


KEY_ID, SECRET = f"LTAI{RNG.randbytes(10).hex()}", random_secret(30)
# Temporary credentials of a role; the sandbox knows both pairs.
ROLE_ID, ROLE_SECRET, ROLE_TOKEN = f"STS.{RNG.randbytes(12).hex()}", random_secret(44), random_secret(600)
OIDC, URI_PATH, URI_QUERY = f"eyJ{random_secret(980)}", RNG.randbytes(12).hex(), RNG.randbytes(12).hex()
METADATA_TOKEN = RNG.randbytes(30).hex()
SECRETS = (KEY_ID, SECRET, ROLE_ID, ROLE_SECRET, ROLE_TOKEN, OIDC, URI_PATH, URI_QUERY, METADATA_TOKEN)


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is not a group, with its name."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, f"{path} {name}".strip())


EXAMPLES = {"IMAGE": "m-1234567890", "TASK": "t-1234567890"}


def arguments_of(command: click.Command) -> tuple[str, ...]:
    """Return a value for each argument and each required option of a command."""
    needed = [one for one in command.params if isinstance(one, click.Argument) or one.required]
    words = (
        (one.opts[0] if isinstance(one, click.Option) else "", EXAMPLES.get(one.metavar or "", "x")) for one in needed
    )
    return tuple(word for pair in words for word in pair if word)


# Arguments of the commands that do not accept arbitrary values.
GIVEN: dict[str, tuple[str, ...]] = {
    "push": ("{disk}",),
    "check": ("{disk}",),
    "image boot-test": ("m-1234567890", "--vswitch", "vsw-1", "--security-group", "sg-1", "--yes"),
    "task wait": ("t-1234567890", "--timeout", "1s"),
    # An address of another machine: with its own, it would serve until it is stopped.
    "sandbox serve": ("--host", "192.0.2.1"),
    "sandbox disk": ("{home}/sample.raw", "--size", "1G"),
    "sandbox run": ("--", "env"),
    "sandbox status": ("--dir", "{home}/none"),
    "sandbox stop": ("--dir", "{home}/none"),
    "sandbox reset": ("--dir", "{home}/none"),
    "config show": ("push",),
    "completion": ("bash",),
}
COMMANDS = {name: GIVEN[name] if name in GIVEN else arguments_of(command) for name, command in leaves(app)}
VERBOSE = ("-vv",)
DEBUG = {"DEBUG": "sdk"}
NO_REQUESTS = ("role policy", "completion", *(name for name in COMMANDS if name.startswith("sandbox ")))
OFFLINE = (*NO_REQUESTS, "check", "pushes", "config show")
MODES = ("env-ak", "env-sts", "profile-ak", "profile-sts", "profile-role", "oidc", "uri", "ecs-role")
BY_LIBRARY = MODES[4:]
BY_STS = ("profile-role", "oidc")
CONDITIONS = ("unreachable", "refused", "working")


class _CredentialsService(BaseHTTPRequestHandler):
    """Return keys as STS, instance metadata and a credentials URI do; or an error that repeats the whole request."""

    refuses = False

    def do_GET(self) -> None:
        """Answer any request."""
        length = int(self.headers.get("Content-Length") or 0)
        request = f"{self.command} {self.path} {dict(self.headers)} {self.rfile.read(length)[:2000]!r}"
        status, text = (403, self._refusal(request)) if self.refuses else (200, self._credentials())
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 -- the names that http.server looks for

    def _credentials(self) -> str:
        if self.command == "PUT":
            return METADATA_TOKEN
        if "Action=GetCallerIdentity" in self.path:
            return json.dumps({"RequestId": "R-1", "AccountId": "1000000000000000", "Arn": "acs:ram::1:role/r"})
        keys = {
            "AccessKeyId": ROLE_ID,
            "AccessKeySecret": ROLE_SECRET,
            "SecurityToken": ROLE_TOKEN,
            "Expiration": "2099-01-01T00:00:00Z",
        }
        return json.dumps({"Code": "Success", **keys, "Credentials": keys})

    def _refusal(self, request: str) -> str:
        fields = parse_qsl(urlsplit(self.path).query)
        invalid = " ".join(f"The {name} {value} is not valid." for name, value in fields)
        message = f"{invalid} server string to sign is:{request}"
        if "Action=" in self.path or "?" not in self.path:
            error = {"Code": "SignatureDoesNotMatch", "Message": message, "RequestId": "R-1"}
            return json.dumps({**error, "AccessKeySecret": SECRET, "Asked": request})
        fields_of_error = f"<Code>SignatureDoesNotMatch</Code><Message>{quote(message)}</Message>"
        return f"<Error>{fields_of_error}<StringToSign>{quote(request)}</StringToSign></Error>"

    def log_message(self, *arguments: Any) -> None:
        """Write nothing."""


class _RefusingService(_CredentialsService):
    refuses = True


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port, and yield the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


@dataclass(frozen=True)
class Endpoints:
    """URLs of the sandbox, of the services for credentials, and of a port without a server."""

    sandbox: str
    working: str
    refusing: str
    unreachable: str = "http://127.0.0.1:9"

    def credentials_url(self, condition: str) -> str:
        """Return the URL at which credentials are fetched."""
        return {"working": self.working, "refused": self.refusing, "unreachable": self.unreachable}[condition]

    def cloud_url(self, mode: str, condition: str) -> str:
        """Return the URL of the services. Credentials that are not fetched fail there."""
        failing = {"refused": self.refusing, "unreachable": self.unreachable}
        return self.sandbox if mode in BY_LIBRARY else failing.get(condition, self.sandbox)


def set_up(mode: str, home: Path, endpoints: Endpoints, condition: str) -> dict[str, str]:
    """Write the credentials of a mode to its files, and return its environment."""
    role = {"ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc/p"}
    (home / ".aliyun").mkdir(parents=True, exist_ok=True)
    (home / "token").write_text(OIDC + "\n")
    pair = {"access_key_id": KEY_ID, "access_key_secret": SECRET}
    temporary = {"access_key_id": ROLE_ID, "access_key_secret": ROLE_SECRET, "sts_token": ROLE_TOKEN}
    profile: dict[str, dict[str, str]] = {
        "profile-ak": {"mode": "AK", **pair},
        "profile-sts": {"mode": "StsToken", **temporary},
        "profile-role": {"mode": "RamRoleArn", "ram_role_arn": "acs:ram::1:role/r", "ram_session_name": "s", **pair},
    }
    if mode in profile:
        document = {"current": "default", "profiles": [{"name": "default", **profile[mode]}]}
        (home / ".aliyun" / "config.json").write_text(json.dumps(document))
    prefix = "ALIBABA_CLOUD_"
    names = (f"{prefix}ACCESS_KEY_ID", f"{prefix}ACCESS_KEY_SECRET", f"{prefix}SECURITY_TOKEN")
    return {
        "env-ak": dict(zip(names[:2], (KEY_ID, SECRET), strict=True)),
        "env-sts": dict(zip(names, (ROLE_ID, ROLE_SECRET, ROLE_TOKEN), strict=True)),
        "oidc": {**role, f"{prefix}OIDC_TOKEN_FILE": str(home / "token")},
        "uri": {f"{prefix}CREDENTIALS_URI": f"{endpoints.credentials_url(condition)}/{URI_PATH}?key={URI_QUERY}"},
        "ecs-role": {f"{prefix}ECS_METADATA": "r", f"{prefix}ECS_METADATA_DISABLED": "false"},
    }.get(mode, {})


def plan(mode: str, home: Path, disk: Path, endpoints: Endpoints) -> list[dict[str, Any]]:
    """Return the runs: every command with most output, and one command at all verbosities, in each condition."""
    runs = []
    for condition in CONDITIONS:
        environment = {
            **set_up(mode, home, endpoints, condition),
            "ALIYUN_IMPORT_ENDPOINT_URL": endpoints.cloud_url(mode, condition),
            # These modes fetch credentials from STS, which is replaced as the other services are.
            **({"ALIYUN_IMPORT_ENDPOINT_URL_STS": endpoints.credentials_url(condition)} if mode in BY_STS else {}),
        }
        cases: list[tuple[str, tuple[str, ...], dict[str, str]]] = [
            ("role show", ("-v",), {}),
            ("role show", VERBOSE, {}),
            ("role show", ("-vv", "--output", "jsonl"), {}),
            ("role show", (), DEBUG),
        ]
        # Commands that fetch no credentials run once.
        cases += [
            (name, () if name in NO_REQUESTS else VERBOSE, DEBUG)
            for name in COMMANDS
            if condition == "working" or name not in OFFLINE
        ]
        for name, flags, extra in cases:
            words = [*name.split(), *flags, *(word.format(disk=disk, home=home) for word in COMMANDS[name])]
            credentials_url = endpoints.credentials_url(condition)
            runs.append({"arguments": words, "environment": environment | extra, "credentials_url": credentials_url})
    return runs


def shown(text: str) -> list[str]:
    """Return the pieces of secrets in a text, plain or URL-encoded."""
    forms = {form for secret in SECRETS for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    pieces = {form[at : at + PIECE_LENGTH] for form in forms for at in range(len(form) - PIECE_LENGTH + 1)}
    return sorted(pieces & {text[at : at + PIECE_LENGTH] for at in range(len(text) - PIECE_LENGTH + 1)})


def run_mode(mode: str, home: Path, disk: Path, endpoints: Endpoints, forks: ForkServer) -> tuple[str, str]:
    """Run all commands of a mode in one process: the credentials library reads the environment when it is imported."""
    runs = plan(mode, home, disk, endpoints)
    base = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        "ALIYUN_IMPORT_REGION": "cn-hangzhou",
    }
    runner = forks.start(
        [],
        environment=base | runs[0]["environment"],
        cwd=home,
        call=("tests.flows.secrecy:run_plan", {"is_redirected": mode in BY_LIBRARY, "runs": runs}),
    )
    code, out, err = runner.communicate(limit_s=110)
    assert code == 0, err[-2000:]
    assert out.count("### ") == len(runs)
    return out, err


def test_every_command_is_called_with_valid_arguments() -> None:
    """A new command is included. A usage error would print no secret and prove nothing."""
    assert set(GIVEN) <= set(COMMANDS)
    for name, command in leaves(app):
        command.make_context(name, [word.format(disk="/dev/null", home="/nonexistent") for word in COMMANDS[name]])


@pytest.mark.parametrize("mode", MODES)
def test_no_secret_is_shown_or_kept(mode: str, tmp_path: Path, forks: ForkServer) -> None:
    """No piece of a secret is in the output or in a file, for each command, verbosity and failure."""
    home, disk = tmp_path / "home", write_disk(tmp_path / "disk.raw", size_bytes=8 << 20, data_at=(2,))
    home.mkdir()
    settings = Settings(import_s=0.0, import_queue_s=0.0, image_ready_s=0.0)
    with (
        Sandbox.start(tmp_path / "sandbox", settings=settings) as sandbox,
        serving(_CredentialsService) as working,
        serving(_RefusingService) as refusing,
    ):
        sandbox.state.add_key(AccessKey(id=KEY_ID, secret=SECRET))
        sandbox.state.add_key(AccessKey(id=ROLE_ID, secret=ROLE_SECRET, token=ROLE_TOKEN))
        out, err = run_mode(mode, home, disk, Endpoints(sandbox.url, working, refusing), forks)
    assert not shown(out), "on stdout"
    assert not shown(err), "on stderr"
    inputs = {home / "token", home / ".aliyun" / "config.json"}
    for path in home.rglob("*"):
        if path.is_file() and path not in inputs and path.name != "sample.raw":
            assert not shown(path.read_bytes().decode("utf-8", "replace")), path
    # The output is not empty, and each condition did occur.
    assert "STS GetCallerIdentity: " in err
    assert "Traceback" not in out + err
    assert "bug" not in err
    assert any(code in err for code in ("secret-wrong", "credentials-failed")), err[-3000:]
    assert any(code in err for code in ("connection-refused", "credentials-unreachable"))
    assert '"type": "result"' in out
