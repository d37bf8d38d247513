"""Tests of the group `sandbox` and of push --sandbox."""

import datetime
import ipaddress
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aliyun_import.sandbox.directory import DirectoryLock
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands, Ran

NO_ACCOUNT = {
    "ALIYUN_IMPORT_ENDPOINT_URL": None,
    "ALIYUN_IMPORT_REGION": None,
    "ALIBABA_CLOUD_ACCESS_KEY_ID": None,
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": None,
}


@contextmanager
def served(commands: Commands, *arguments: str | Path) -> Iterator[dict[str, str | None]]:
    """Run `sandbox serve` in a process of its own, and yield the environment that it prints."""
    running = commands.start("sandbox", "serve", "--import-time", "0.1s", *arguments, environment=NO_ACCOUNT)
    environment: dict[str, str | None] = {}
    for line in running.stdout:
        if line.startswith("#"):
            break
        name, _, value = line.removeprefix("export ").strip().partition("=")
        environment[name] = value
    try:
        yield environment
    finally:
        running.kill(signal.SIGTERM)
        assert running.communicate(limit_s=30)[0] == 0


def self_signed(directory: Path) -> Path:
    """Write a certificate for 127.0.0.1 and its key to one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "sandbox.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def test_a_push_uses_the_environment_that_serve_prints(commands: Commands, disk: Path) -> None:
    """It needs no other variable."""
    with served(commands) as environment:
        ran = commands.run("push", disk, environment=environment)
        assert ran.code == 0, ran.err
        assert ran.out.startswith("m-sandbox")


def test_a_sandbox_serves_https_with_a_certificate(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """The client trusts the certificate in SSL_CERT_FILE; without it the push fails, and the error names the reason."""
    certificate = self_signed(tmp_path)
    with served(commands, "--certificate", certificate) as environment:
        assert str(environment["ALIYUN_IMPORT_ENDPOINT_URL"]).startswith("https://")
        ran = commands.run("push", disk, environment={**environment, "SSL_CERT_FILE": str(certificate)})
        assert ran.code == 0, ran.err
        untrusted = commands.run("push", disk, "--output", "json", environment=environment)
        assert untrusted.code != 0
        assert "certificate" in untrusted.json["summary"] + untrusted.json["cause"]


def test_one_service_can_have_another_endpoint(commands: Commands, disk: Path) -> None:
    """ALIYUN_IMPORT_ENDPOINT_URL_RAM overrides RAM alone."""
    with served(commands) as environment:
        wrong = {**environment, "ALIYUN_IMPORT_ENDPOINT_URL_RAM": "http://127.0.0.1:9"}
        ran = commands.run("role", "show", "--output", "json", environment=wrong)
        assert ran.code == 6
        assert "RAM" in ran.json["summary"]


def test_push_with_sandbox_needs_no_credentials(commands: Commands, disk: Path) -> None:
    """It leaves no file and no journal."""
    temporary = commands.home / "tmp"
    temporary.mkdir(parents=True)
    ran = commands.run(
        "push", disk, "--region", "cn-hangzhou", "--sandbox", environment={**NO_ACCOUNT, "TMPDIR": str(temporary)}
    )
    assert ran.code == 0, ran.err
    assert ran.out.startswith("m-sandbox")
    assert list(temporary.iterdir()) == []
    assert not commands.state.exists()


def test_the_sample_disk_is_importable_and_overwrites_nothing(commands: Commands, tmp_path: Path) -> None:
    """A repeated `sandbox disk` succeeds; another file at the path is refused and kept."""
    out = tmp_path / "demo.raw"
    assert commands.run("sandbox", "disk", out, "--size", "2G").out == f"{out}\n"
    assert out.stat().st_size == 2 << 30
    assert out.stat().st_blocks * 512 < 1 << 20
    assert commands.run("sandbox", "disk", out, "--size", "2G").code == 0
    assert commands.run("check", out).code == 0
    out.write_text("mine")
    refused: Ran = commands.run("sandbox", "disk", out, "--size", "2G")
    assert (refused.code, out.read_text()) == (2, "mine")


def test_a_port_in_use_is_an_error(commands: Commands) -> None:
    """The error names --port."""
    port = str(commands.sandbox.port)
    ran = commands.run("sandbox", "serve", "--port", port)
    assert ran.code == 9
    assert "--port" in ran.err


def exported(ran: Ran) -> dict[str, str]:
    """Return the variables of the export lines that a command printed."""
    lines = [line.removeprefix("export ") for line in ran.out.splitlines() if line.startswith("export ")]
    return {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}


REAL = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-REAL",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "REAL-SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "REAL-TOKEN",
    "ALIBABA_CLOUD_CREDENTIALS_URI": "http://credentials.example.com",
    "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/real",
    "ALIBABACLOUD_ACCESS_KEY_ID": "LTAI-REAL",
    "ALICLOUD_ACCESS_KEY": "LTAI-REAL",
    "ALICLOUD_SECRET_KEY": "REAL-SECRET",
    "OSS_ACCESS_KEY_SECRET": "REAL-SECRET",
    "ACCESS_KEY_SECRET": "REAL-SECRET",
    "ALIBABA_CLOUD_PROFILE": "real",
    "ALIYUN_IMPORT_PROFILE": "real",
    "ALIYUN_IMPORT_ENDPOINT_URL": "https://real.example.com",
    "ALIYUN_IMPORT_ENDPOINT_URL_RAM": "https://real.example.com",
    "ALIYUN_IMPORT_OSS_ENDPOINT": "oss.real.example.com",
    "ALIYUN_IMPORT_STATE_DIR": "/real",
}


def test_run_replaces_the_variables_of_the_real_cloud(commands: Commands) -> None:
    """No key, profile, endpoint or state directory of the outer environment is passed; region and output are."""
    outer = {
        **REAL,
        "ALIYUN_IMPORT_REGION": "cn-beijing",
        "ALIYUN_IMPORT_OUTPUT": "json",
        "NO_PROXY": "corp.example.com",
    }
    ran = commands.run("sandbox", "run", "--", "env", environment=outer)
    assert ran.code == 0, ran.err
    assert "real" not in ran.out.lower().replace("aliyun-import-sandbox", "")
    inner = dict(line.partition("=")[::2] for line in ran.out.splitlines())
    assert inner["ALIYUN_IMPORT_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert inner["ALIBABA_CLOUD_ACCESS_KEY_ID"] == "SANDBOX-KEY"
    assert (inner["ALIYUN_IMPORT_REGION"], inner["ALIYUN_IMPORT_OUTPUT"]) == ("cn-beijing", "json")
    assert inner["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] == "true"
    assert inner["NO_PROXY"].split(",")[:2] == ["corp.example.com", "127.0.0.1"]
    assert not Path(inner["ALIYUN_IMPORT_STATE_DIR"]).parent.exists(), "the state directory is removed"


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 128 + signal.SIGTERM)])
def test_run_returns_the_exit_code_of_its_command(commands: Commands, script: str, code: int) -> None:
    """For a signal it is 128 plus the number, as in a shell."""
    assert commands.run("sandbox", "run", "--", "sh", "-c", script).code == code


def test_run_fails_as_a_shell_does(commands: Commands, tmp_path: Path) -> None:
    """127 for a missing command, 126 for one that is not executable, and 2 without a command."""
    missing = commands.run("sandbox", "run", "--", "no-such-command")
    assert (missing.code, "no-such-command" in missing.err) == (127, True)
    (tmp_path / "text").write_text("no program")
    assert commands.run("sandbox", "run", "--", tmp_path / "text").code == 126
    assert commands.run("sandbox", "run").code == 2


def test_run_passes_a_signal_to_its_command(commands: Commands) -> None:
    """Also a signal that arrives right after the start; the exit code is that of the command."""
    script = "trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.05; done"
    assert commands.run("sandbox", "run", "--", "sh", "-c", script).code == 7


def test_run_applies_a_policy(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """A permission that the policy lacks is refused, and the error names it."""
    policy = json.loads(commands.run("role", "policy", "--for", "user").out)
    for statement in policy["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action != "ecs:ImportImage"]
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    push: list[str | Path] = [sys.executable, "-m", "aliyun_import", "push", disk, "--output", "json"]
    ran = commands.run("sandbox", "run", "--policy", tmp_path / "policy.json", "--", *push, environment=REAL)
    assert (ran.code, ran.json["code"]) == (4, "no-right")
    assert "ecs:ImportImage" in ran.out


def test_a_sandbox_in_the_background_has_status_stop_and_kept_state(commands: Commands, disk: Path) -> None:
    """`status` prints what `serve` printed; after `stop` and a new start the image still exists."""
    directory = commands.home / "kept"
    options = ("--dir", directory, "--import-time", "0.1s")
    started = commands.run("sandbox", "serve", *options, environment={"ALIYUN_IMPORT_BACKGROUND": "true"})
    try:
        assert started.code == 0, started.err
        shown = commands.run("sandbox", "status", "--dir", directory)
        assert shown.out == started.out
        image = commands.run("push", disk, environment=exported(shown)).out.strip()
        for refused in ("serve", "reset"):
            ran = commands.run("sandbox", refused, "--dir", directory)
            assert (ran.code, f"sandbox stop --dir {directory}" in ran.err) == (9, True), ran.err
    finally:
        stopped = commands.run("sandbox", "stop", "--dir", directory)
    assert (stopped.code, stopped.out) == (0, f"Stopped the sandbox in {directory}.\n")
    assert commands.run("sandbox", "stop", "--dir", directory).out == f"No sandbox runs in {directory}.\n"
    absent = commands.run("sandbox", "status", "--dir", directory)
    assert (absent.code, f"sandbox serve --background --dir {directory}" in absent.err) == (9, True)
    with Sandbox.start(directory, keep=True) as again:
        assert list(again.state.part(Ecs).images) == [image]
    assert commands.run("sandbox", "reset", "--dir", directory).code == 0
    with Sandbox.start(directory, keep=True) as empty:
        assert not empty.state.part(Ecs).images


def test_a_locked_or_foreign_directory_is_refused(commands: Commands, tmp_path: Path) -> None:
    """A sandbox that starts is neither running nor absent; `reset` keeps a directory that holds no sandbox."""
    with DirectoryLock(tmp_path / "kept"):
        ran = commands.run("sandbox", "status", "--dir", tmp_path / "kept")
    assert (ran.code, "starts or ends" in ran.err) == (9, True), ran.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    refused = commands.run("sandbox", "reset", "--dir", tmp_path / "mine")
    assert (refused.code, (tmp_path / "mine" / "notes").exists()) == (9, True), refused.err
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "lock").symlink_to(tmp_path / "mine" / "notes")
    for command in ("status", "stop", "reset", "serve"):
        assert commands.run("sandbox", command, "--dir", tmp_path / "link").code == 9, command
    assert (tmp_path / "mine" / "notes").read_text() == "mine"


def test_a_failed_start_in_the_background_has_its_reason(commands: Commands) -> None:
    """The message and the exit code are those of the process that failed."""
    ran = commands.run(
        "sandbox", "serve", "--background", "--dir", commands.home / "kept", "--port", str(commands.sandbox.port)
    )
    assert ran.code == 9
    assert "in use" in ran.err
    assert commands.run("sandbox", "status", "--dir", commands.home / "kept").code == 9


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--account", '{"settings": {"images_per_regoin": 1}}', "did you mean images_per_region?"),
        ("--account", '{"faults": [{"operation": "UplaodPart"}]}', "did you mean UploadPart?"),
        ("--account", "{", "Expecting property name"),
        ("--account", "[]", "takes an object"),
        ("--policy", '{"Version": "1"}', "Statement must be a list"),
    ],
)
def test_an_invalid_file_is_a_usage_error(
    commands: Commands, tmp_path: Path, option: str, text: str, message: str
) -> None:
    """The error names the file and what is wrong in it."""
    (tmp_path / "facts.json").write_text(text)
    ran = commands.run("sandbox", "run", option, tmp_path / "facts.json", "--", "true")
    assert (ran.code, message in ran.err, "facts.json" in ran.err) == (2, True, True), ran.err


def test_an_unusable_directory_is_refused(commands: Commands, tmp_path: Path) -> None:
    """A directory with other files is refused; for a damaged state the error has the command that removes it."""
    (tmp_path / "home.txt").write_text("mine")
    foreign = commands.run("sandbox", "serve", "--dir", tmp_path)
    assert (foreign.code, "empty directory" in foreign.err) == (9, True)
    damaged = commands.home / "kept"
    damaged.mkdir(parents=True)
    (damaged / "state.db").write_bytes(b"damaged" * 999)
    ran = commands.run("sandbox", "serve", "--dir", damaged)
    assert (ran.code, f"aliyun-import sandbox reset --dir {damaged}" in ran.err) == (9, True), ran.err
    assert commands.run("sandbox", "reset", "--dir", damaged).code == 0


def test_an_image_has_seventeen_disks_at_most(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """A system disk and sixteen data disks become one image; an eighteenth disk is refused before the upload."""
    data: list[str | Path] = []
    for number in range(17):
        path = tmp_path / f"data{number}.raw"
        with path.open("wb") as file:
            file.truncate(2 << 20)
            file.seek(1 << 20)
            file.write(os.urandom(1000 + number))
            file.truncate(2 << 20)
        data += ["--data-disk", path]
    ran = commands.run("push", disk, *data[:32], "--output", "json")
    assert ran.code == 0, ran.out
    assert len(ran.json["objects"]) == 17
    refused = commands.run("push", disk, *data, "--name", "too-many", "--output", "json")
    assert refused.code == 5
    assert "disk" in refused.json["details"]["rules"]
