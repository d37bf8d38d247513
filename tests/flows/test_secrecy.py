"""Tests that no secret is ever shown or kept: every command, credential mode and verbosity, well and ill."""

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

NOISE = random.Random(5)
# A secret is found again by any piece of this length.
PIECE = 12


def noise(length: int) -> str:
    """Make a secret with letters that URLs and JSON encode."""
    return base64.b64encode(NOISE.randbytes(length)).decode()[: length - 2] + "+/"


KEY_ID, SECRET = f"LTAI{NOISE.randbytes(10).hex()}", noise(30)
# What a role is exchanged for; the sandbox knows both pairs.
ROLE_ID, ROLE_SECRET, ROLE_TOKEN = f"STS.{NOISE.randbytes(12).hex()}", noise(44), noise(600)
OIDC, URI_PATH, URI_QUERY = f"eyJ{noise(980)}", NOISE.randbytes(12).hex(), NOISE.randbytes(12).hex()
METADATA_TOKEN = NOISE.randbytes(30).hex()
SECRETS = (KEY_ID, SECRET, ROLE_ID, ROLE_SECRET, ROLE_TOKEN, OIDC, URI_PATH, URI_QUERY, METADATA_TOKEN)


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Return every command that does something, with its name."""
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


# Each command once. Here are those that need other arguments than any value.
GIVEN: dict[str, tuple[str, ...]] = {
    "push": ("{disk}",),
    "check": ("{disk}",),
    "image boot-test": ("m-1234567890", "--vswitch", "vsw-1", "--security-group", "sg-1", "--yes"),
    "task wait": ("t-1234567890", "--timeout", "1s"),
    # An address that is not this machine's: it would serve until it is stopped.
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
LOUD = {"DEBUG": "sdk"}
NO_TALK = ("role policy", "completion", *(name for name in COMMANDS if name.startswith("sandbox ")))
OFFLINE = (*NO_TALK, "check", "pushes", "config show")
MODES = ("env-ak", "env-sts", "profile-ak", "profile-sts", "profile-role", "oidc", "uri", "ecs-role")
BY_LIBRARY = MODES[4:]
BY_STS = ("profile-role", "oidc")
CONDITIONS = ("unreachable", "refused", "working")


class _Answers(BaseHTTPRequestHandler):
    """Gives keys as STS, the metadata service and a credentials URI do, or refuses and repeats all that was asked."""

    refuses = False

    def do_GET(self) -> None:
        """Answer any request."""
        length = int(self.headers.get("Content-Length") or 0)
        asked = f"{self.command} {self.path} {dict(self.headers)} {self.rfile.read(length)[:2000]!r}"
        status, text = (403, self._refusal(asked)) if self.refuses else (200, self._keys())
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 -- the names that http.server looks for

    def _keys(self) -> str:
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

    def _refusal(self, asked: str) -> str:
        fields = parse_qsl(urlsplit(self.path).query)
        said = " ".join(f"The {name} {value} is not valid." for name, value in fields)
        message = f"{said} server string to sign is:{asked}"
        if "Action=" in self.path or "?" not in self.path:
            known = {"Code": "SignatureDoesNotMatch", "Message": message, "RequestId": "R-1"}
            return json.dumps({**known, "AccessKeySecret": SECRET, "Asked": asked})
        error = f"<Code>SignatureDoesNotMatch</Code><Message>{quote(message)}</Message>"
        return f"<Error>{error}<StringToSign>{quote(asked)}</StringToSign></Error>"

    def log_message(self, *arguments: Any) -> None:
        """Return nothing."""


class _Refusals(_Answers):
    refuses = True


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port, and give the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


@dataclass(frozen=True)
class Places:
    """Where a command is led to: the cloud, who gives keys, who refuses, and nobody."""

    sandbox: str
    giver: str
    refuser: str
    nobody: str = "http://127.0.0.1:9"

    def keys_at(self, condition: str) -> str:
        """Return where the keys are fetched."""
        return {"working": self.giver, "refused": self.refuser, "unreachable": self.nobody}[condition]

    def cloud_at(self, mode: str, condition: str) -> str:
        """Return where the services are: keys that need no fetching fail there."""
        failing = {"refused": self.refuser, "unreachable": self.nobody}
        return self.sandbox if mode in BY_LIBRARY else failing.get(condition, self.sandbox)


def set_up(mode: str, home: Path, places: Places, condition: str) -> dict[str, str]:
    """Put the credentials of a mode where they belong, and give the environment that leads there."""
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
        "uri": {f"{prefix}CREDENTIALS_URI": f"{places.keys_at(condition)}/{URI_PATH}?key={URI_QUERY}"},
        "ecs-role": {f"{prefix}ECS_METADATA": "r", f"{prefix}ECS_METADATA_DISABLED": "false"},
    }.get(mode, {})


def plan(mode: str, home: Path, disk: Path, places: Places) -> list[dict[str, Any]]:
    """List the runs: every command at its loudest, one command at all verbosities, in each condition."""
    runs = []
    for condition in CONDITIONS:
        environment = {
            **set_up(mode, home, places, condition),
            "ALIYUN_IMPORT_ENDPOINT_URL": places.cloud_at(mode, condition),
            # STS gives the keys of these; it is replaced as the other services are.
            **({"ALIYUN_IMPORT_ENDPOINT_URL_STS": places.keys_at(condition)} if mode in BY_STS else {}),
        }
        cases: list[tuple[str, tuple[str, ...], dict[str, str]]] = [
            ("role show", ("-v",), {}),
            ("role show", VERBOSE, {}),
            ("role show", ("-vv", "--output", "jsonl"), {}),
            ("role show", (), LOUD),
        ]
        # What asks nobody for keys is run once.
        cases += [
            (name, () if name in NO_TALK else VERBOSE, LOUD)
            for name in COMMANDS
            if condition == "working" or name not in OFFLINE
        ]
        for name, flags, loud in cases:
            words = [*name.split(), *flags, *(word.format(disk=disk, home=home) for word in COMMANDS[name])]
            vendor_at = places.keys_at(condition)
            runs.append({"arguments": words, "environment": environment | loud, "vendor_at": vendor_at})
    return runs


def shown(text: str) -> list[str]:
    """Return the pieces of secrets that a text shows, as they are or as a URL writes them."""
    forms = {form for secret in SECRETS for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    pieces = {form[at : at + PIECE] for form in forms for at in range(len(form) - PIECE + 1)}
    return sorted(pieces & {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)})


def drive(mode: str, home: Path, disk: Path, places: Places, forks: ForkServer) -> tuple[str, str]:
    """Do all the runs of a mode in one process: the vendor's library reads the environment when it is imported."""
    runs = plan(mode, home, disk, places)
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
        call=("tests.flows.secrecy:drive", {"vendor": mode in BY_LIBRARY, "runs": runs}),
    )
    code, out, err = runner.communicate(limit_s=110)
    assert code == 0, err[-2000:]
    assert out.count("### ") == len(runs)
    return out, err


def test_every_command_is_called_as_it_can_be() -> None:
    """A command that is added is called, too; a usage error would show no secret, whatever the command does."""
    assert set(GIVEN) <= set(COMMANDS)
    for name, command in leaves(app):
        command.make_context(name, [word.format(disk="/dev/null", home="/nonexistent") for word in COMMANDS[name]])


@pytest.mark.parametrize("mode", MODES)
def test_no_secret_is_shown_or_kept(mode: str, tmp_path: Path, forks: ForkServer) -> None:
    """Whatever the command, the verbosity and the failure: no piece of a secret is printed or written."""
    home, disk = tmp_path / "home", write_disk(tmp_path / "disk.raw", size_bytes=8 << 20, data_at=(2,))
    home.mkdir()
    quick = Settings(import_s=0.0, import_queue_s=0.0, image_ready_s=0.0)
    with (
        Sandbox.start(tmp_path / "sandbox", settings=quick) as sandbox,
        serving(_Answers) as giver,
        serving(_Refusals) as refuser,
    ):
        sandbox.state.add_key(AccessKey(id=KEY_ID, secret=SECRET))
        sandbox.state.add_key(AccessKey(id=ROLE_ID, secret=ROLE_SECRET, token=ROLE_TOKEN))
        out, err = drive(mode, home, disk, Places(sandbox.url, giver, refuser), forks)
    assert not shown(out), "on stdout"
    assert not shown(err), "on stderr"
    ours = {home / "token", home / ".aliyun" / "config.json"}
    for path in home.rglob("*"):
        if path.is_file() and path not in ours and path.name != "sample.raw":
            assert not shown(path.read_bytes().decode("utf-8", "replace")), path
    # That it was quiet is no proof: it did talk, of its own requests, and each condition came about.
    assert "STS GetCallerIdentity: " in err
    assert "Traceback" not in out + err
    assert "bug" not in err
    assert any(code in err for code in ("secret-wrong", "credentials-failed")), err[-3000:]
    assert any(code in err for code in ("connection-refused", "credentials-unreachable"))
    assert '"type": "result"' in out
