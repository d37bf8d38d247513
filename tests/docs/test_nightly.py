"""Tests of the page on nightly builds: cron, systemd and CI systems run what it shows, as they run it."""

import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from aliyun_import.sandbox.control import account
from aliyun_import.sandbox.core.router import OPERATIONS
from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.server import Sandbox
from tests.docs.page import DOCS, Reader, blocks
from tests.sandbox.ram.oidc import Token, jwks

# Each command of a job is a process of its own; .ci/run runs them.
pytestmark = pytest.mark.slow

PAGE = DOCS / "how-to" / "nightly.md"
ACCOUNT_ID = "1000000000000000"
GITHUB = {
    "iss": "https://token.actions.githubusercontent.com",
    "sub": "repo:ORGANIZATION/REPOSITORY:ref:refs/heads/main",
}
GITLAB = {"iss": "https://gitlab.com", "sub": "project_path:GROUP/PROJECT:ref_type:branch:ref:main"}
IMAGE = re.compile(r"^m-sandbox\w+$", re.MULTILINE)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Return a reader at the end of the section on the job: directory, settings and script are there."""
    with Sandbox.start(tmp_path / "sandbox", settings=Settings(import_s=0.1)) as sandbox:
        one = Reader(tmp_path / "home", sandbox).settle()
        script = next(block for block in blocks(PAGE, "sh") if block.startswith("cat > nightly.sh"))
        settings = "".join(f"{name}={value}\n" for name, value in sandbox.environment().items())
        golden = one.home / "golden"
        golden.mkdir()
        (golden / "golden.env").write_text(settings)
        ran = one.run(f"cd golden && aliyun-import sandbox disk golden.raw\n{script.partition('./nightly.sh')[0]}")
        assert ran.returncode == 0, ran.stderr
        yield one


def test_cron_runs_the_line_and_mails_a_failure(reader: Reader) -> None:
    """By sh, in the home directory, with the short PATH of cron; a night that succeeds prints nothing."""
    variable, line = blocks(PAGE, "crontab")[0].splitlines()
    assert re.fullmatch(r"MAILTO=\S+", variable)
    fields = re.fullmatch(r"((?:[\d*/,-]+ ){5})(.*)", line)
    assert fields
    command = fields[2]
    assert "%" not in command, "cron takes it for the end of the line"
    of_cron = {"HOME": str(reader.home), "LOGNAME": "builder", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}

    ran = reader.run(command, shell="/bin/sh", environment=of_cron)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    golden = reader.home / "golden"
    assert IMAGE.fullmatch((golden / "image-id").read_text().strip())

    (golden / "golden.raw").write_bytes(bytes(64 << 20))
    ran = reader.run(command, shell="/bin/sh", environment=of_cron)
    assert "(no-partition-table, exit 3)" in ran.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units_and_the_service_runs(reader: Reader) -> None:
    """The units are verified as those of a user; what the service starts is run with the environment of systemd."""
    units = reader.home / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    for block in blocks(PAGE, "ini"):
        name, _, text = block.partition("\n")
        (units / name.removeprefix("# ")).write_text(text)
    names = sorted(path.name for path in units.iterdir())
    assert names == ["golden-image.service", "golden-image.timer"]
    of_systemd = {"HOME": str(reader.home), "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(reader.home)}
    verified = reader.run(f"systemd-analyze --user verify {units}/golden-image.*", environment=of_systemd)
    assert (verified.returncode, verified.stderr) == (0, "")
    started = re.search(r"^ExecStart=%h(.*)$", (units / "golden-image.service").read_text(), re.MULTILINE)
    assert started
    ran = reader.run(f"{reader.home}{started[1]}", environment=of_systemd)
    assert ran.returncode == 0, ran.stderr
    assert IMAGE.search((reader.home / "golden" / "image-id").read_text())


def _prepare_account(reader: Reader, claims: dict[str, str]) -> str:
    """Do what the administrator does, and return a token of the CI system."""
    prepare = next(block for block in blocks(PAGE, "sh") if "CreateOIDCProvider" in block)
    ran = reader.run(prepare)
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = {"issuers": [{"url": claims["iss"], "jwks": jwks()}]}
    account.apply(reader.sandbox.state, document, operations=OPERATIONS)
    builder = reader.home / "build-image.sh"
    builder.write_text('#!/bin/sh\nexec aliyun-import sandbox disk "$1"\n')
    builder.chmod(0o755)
    return Token(claims=claims).text(reader.sandbox)


def _job(text: str) -> Any:
    return yaml.safe_load(text.replace("ACCOUNT_ID", ACCOUNT_ID))


class _TokenOfGitHub(BaseHTTPRequestHandler):
    """The endpoint at which a job of GitHub Actions fetches its token."""

    token = ""

    def do_GET(self) -> None:
        right = ("bearer of-the-run", "/token?api-version=2.0&audience=sts.aliyuncs.com")
        self.send_response(200 if (self.headers["Authorization"], self.path) == right else 401)
        self.end_headers()
        self.wfile.write(f'{{"value": "{self.token}"}}'.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def test_a_job_of_github_pushes_with_the_token_of_its_run(reader: Reader) -> None:
    """Each `run` by the shell that GitHub starts for it, with the variables of a job that may fetch a token."""
    job = next(each for text in blocks(PAGE, "yaml") if "jobs" in (each := _job(text)))
    assert job["permissions"]["id-token"] == "write"
    assert re.fullmatch(r"(\S+ ){4}\S+", job[True]["schedule"][0]["cron"])  # YAML 1.1 reads `on` as true
    handler = type("Handler", (_TokenOfGitHub,), {"token": _prepare_account(reader, GITHUB)})
    tokens = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=tokens.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    of_the_job = reader.environment(
        **job["jobs"]["push"]["env"],
        ALIYUN_IMPORT_ENDPOINT_URL=reader.sandbox.url,
        RUNNER_TEMP=str(reader.home),
        ACTIONS_ID_TOKEN_REQUEST_URL=f"http://127.0.0.1:{tokens.server_port}/token?api-version=2.0",
        ACTIONS_ID_TOKEN_REQUEST_TOKEN="of-the-run",
    )
    shells = {None: "bash -e", "bash": "bash --noprofile --norc -eo pipefail"}
    printed = []
    try:
        for step in job["jobs"]["push"]["steps"]:
            if "run" in step:
                ran = reader.run(step["run"], shell=shells[step.get("shell")], environment=of_the_job)
                assert ran.returncode == 0, ran.stderr
                printed.append(ran.stdout)
    finally:
        tokens.shutdown()
        thread.join()
        tokens.server_close()
    assert IMAGE.fullmatch(printed[-1].strip())


@pytest.mark.parametrize(("branch", "code"), [("main", 0), ("other", 4)])
def test_a_job_of_gitlab_pushes_with_its_token(reader: Reader, branch: str, code: int) -> None:
    """The lines in one shell, with the variables of the job; a job of another branch is refused."""
    job = next(each["golden-image"] for text in blocks(PAGE, "yaml") if "golden-image" in (each := _job(text)))
    token = _prepare_account(reader, {**GITLAB, "sub": GITLAB["sub"].replace(":main", f":{branch}")})
    assert list(job["id_tokens"].values()) == [{"aud": "sts.aliyuncs.com"}]
    of_the_job = reader.environment(
        **job["variables"], **dict.fromkeys(job["id_tokens"], token), ALIYUN_IMPORT_ENDPOINT_URL=reader.sandbox.url
    )
    ran = reader.run("\n".join(job["script"]), shell="bash -eo pipefail", environment=of_the_job)
    assert ran.returncode == code, ran.stderr
    assert bool(IMAGE.search(ran.stdout)) == (code == 0)
