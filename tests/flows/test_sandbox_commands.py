"""Tests of the commands around the sandbox: serve in a process of its own, disk, and push --sandbox."""

import datetime
import ipaddress
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.flows.commands import Commands, Ran

NOBODY = {
    "ALIYUN_IMPORT_ENDPOINT_URL": None,
    "ALIYUN_IMPORT_REGION": None,
    "ALIBABA_CLOUD_ACCESS_KEY_ID": None,
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": None,
}


@contextmanager
def served(commands: Commands, *arguments: str | Path) -> Iterator[dict[str, str | None]]:
    """Run `sandbox serve` in a process of its own, and read the environment that it prints."""
    running = subprocess.Popen(
        [sys.executable, "-m", "aliyun_import", "sandbox", "serve", "--import-time", "0.1s", *map(str, arguments)],
        env=commands.environment(**NOBODY),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    environment: dict[str, str | None] = {}
    for line in running.stdout:
        if line.startswith("#"):
            break
        name, _, value = line.removeprefix("export ").strip().partition("=")
        environment[name] = value
    try:
        yield environment
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=30)
        assert running.returncode == 0


def self_signed(place: Path) -> Path:
    """Make a certificate for 127.0.0.1 with its key, in one PEM file."""
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
    path = place / "sandbox.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def test_a_sandbox_in_another_process_takes_the_same_push(commands: Commands, disk: Path) -> None:
    """What `sandbox serve` prints is all that a push needs."""
    with served(commands) as environment:
        ran = commands.run("push", disk, environment=environment)
        assert ran.code == 0, ran.err
        assert ran.out.startswith("m-sandbox")


def test_it_serves_https_with_a_certificate(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """Both SDKs trust the certificate that one variable names; without it the push is exit 4 or 6, with the reason."""
    certificate = self_signed(tmp_path)
    with served(commands, "--certificate", certificate) as environment:
        assert str(environment["ALIYUN_IMPORT_ENDPOINT_URL"]).startswith("https://")
        ran = commands.run("push", disk, environment={**environment, "SSL_CERT_FILE": str(certificate)})
        assert ran.code == 0, ran.err
        stranger = commands.run("push", disk, "--output", "json", environment=environment)
        assert stranger.code != 0
        assert "certificate" in stranger.json["summary"] + stranger.json["cause"]


def test_one_service_can_be_sent_elsewhere(commands: Commands, disk: Path) -> None:
    """ALIYUN_IMPORT_ENDPOINT_URL_RAM overrides RAM alone."""
    with served(commands) as environment:
        wrong = {**environment, "ALIYUN_IMPORT_ENDPOINT_URL_RAM": "http://127.0.0.1:9"}
        ran = commands.run("role", "show", "--output", "json", environment=wrong)
        assert ran.code == 6
        assert "RAM" in ran.json["summary"]


def test_push_with_a_sandbox_of_its_own_needs_nothing(commands: Commands, disk: Path) -> None:
    """--sandbox needs no credentials, and nothing of it stays behind."""
    temporary = commands.home / "tmp"
    temporary.mkdir(parents=True)
    ran = commands.run(
        "push", disk, "--region", "cn-hangzhou", "--sandbox", environment={**NOBODY, "TMPDIR": str(temporary)}
    )
    assert ran.code == 0, ran.err
    assert ran.out.startswith("m-sandbox")
    assert list(temporary.iterdir()) == []
    assert not commands.state.exists()


def test_the_sample_disk_is_importable_and_never_overwrites(commands: Commands, tmp_path: Path) -> None:
    """`sandbox disk` writes a disk that passes the checks; run again it is the same; somebody's file is left alone."""
    out = tmp_path / "demo.raw"
    assert commands.run("sandbox", "disk", out, "--size", "2G").out == f"{out}\n"
    assert out.stat().st_size == 2 << 30
    assert out.stat().st_blocks * 512 < 1 << 20
    assert commands.run("sandbox", "disk", out, "--size", "2G").code == 0
    assert commands.run("check", out).code == 0
    out.write_text("mine")
    refused: Ran = commands.run("sandbox", "disk", out, "--size", "2G")
    assert (refused.code, out.read_text()) == (2, "mine")


def test_a_port_that_is_taken_is_told(commands: Commands) -> None:
    """The sandbox says that it can't listen, and what to do."""
    port = str(commands.sandbox.port)
    ran = commands.run("sandbox", "serve", "--port", port)
    assert ran.code == 9
    assert "--port" in ran.err


def test_seventeen_disks(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """A system disk and sixteen data disks become one image; an eighteenth is refused before a byte is sent."""
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
