"""Tests of the page on nightly builds: its commands run as cron, systemd and CI systems run them."""

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
from tests.docs.page import DOCS, User, blocks
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
def user(tmp_path: Path) -> Iterator[User]:
    """Return a user with the directory, settings and script of the section on the job."""
    with Sandbox.start(tmp_path / "sandbox", settings=Settings(import_s=0.1)) as sandbox:
        one = User(tmp_path / "home", sandbox).install_programs()
        script = next(block for block in blocks(PAGE, "sh") if block.startswith("cat > nightly.sh"))
        settings = "".join(f"{name}={value}\n" for name, value in sandbox.environment().items())
        golden = one.home / "golden"
        golden.mkdir()
        (golden / "golden.env").write_text(settings)
        ran = one.run(f"cd golden && aliyun-import sandbox disk golden.raw\n{script.partition('./nightly.sh')[0]}")
        assert ran.returncode == 0, ran.stderr
        yield one


def test_cron_runs_the_line_and_prints_only_failures(user: User) -> None:
    """By sh, in the home directory, with the short PATH of cron, which mails the output."""
    variable, line = blocks(PAGE, "crontab")[0].splitlines()
    assert re.fullmatch(r"MAILTO=\S+", variable)
    fields = re.fullmatch(r"((?:[\d*/,-]+ ){5})(.*)", line)
    assert fields
    command = fields[2]
    assert "%" not in command, "cron ends the line there"
    cron_environment = {"HOME": str(user.home), "LOGNAME": "builder", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}

    ran = user.run(command, shell="/bin/sh", environment=cron_environment)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    golden = user.home / "golden"
    assert IMAGE.fullmatch((golden / "image-id").read_text().strip())

    (golden / "golden.raw").write_bytes(bytes(64 << 20))
    ran = user.run(command, shell="/bin/sh", environment=cron_environment)
    assert "(no-partition-table, exit 3)" in ran.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units_and_the_service_runs(user: User) -> None:
    """The units are verified as user units; the command of the service runs with the environment of systemd."""
    units = user.home / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    for block in blocks(PAGE, "ini"):
        name, _, text = block.partition("\n")
        (units / name.removeprefix("# ")).write_text(text)
    names = sorted(path.name for path in units.iterdir())
    assert names == ["golden-image.service", "golden-image.timer"]
    systemd_environment = {"HOME": str(user.home), "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(user.home)}
    verified = user.run(f"systemd-analyze --user verify {units}/golden-image.*", environment=systemd_environment)
    assert (verified.returncode, verified.stderr) == (0, "")
    started = re.search(r"^ExecStart=%h(.*)$", (units / "golden-image.service").read_text(), re.MULTILINE)
    assert started
    ran = user.run(f"{user.home}{started[1]}", environment=systemd_environment)
    assert ran.returncode == 0, ran.stderr
    assert IMAGE.search((user.home / "golden" / "image-id").read_text())


def _prepare_account(user: User, claims: dict[str, str]) -> str:
    """Run the commands for the administrator, and return a token of the CI system."""
    prepare = next(block for block in blocks(PAGE, "sh") if "CreateOIDCProvider" in block)
    ran = user.run(prepare)
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = {"issuers": [{"url": claims["iss"], "jwks": jwks()}]}
    account.apply(user.sandbox.state, document, operations=OPERATIONS)
    builder = user.home / "build-image.sh"
    builder.write_text('#!/bin/sh\nexec aliyun-import sandbox disk "$1"\n')
    builder.chmod(0o755)
    return Token(claims=claims).text(user.sandbox)


def _job(text: str) -> Any:
    return yaml.safe_load(text.replace("ACCOUNT_ID", ACCOUNT_ID))


class _TokenOfGitHub(BaseHTTPRequestHandler):
    """Endpoint from which a job of GitHub Actions fetches its token."""

    token = ""

    def do_GET(self) -> None:
        expected = ("bearer of-the-run", "/token?api-version=2.0&audience=sts.aliyuncs.com")
        self.send_response(200 if (self.headers["Authorization"], self.path) == expected else 401)
        self.end_headers()
        self.wfile.write(f'{{"value": "{self.token}"}}'.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def test_a_github_job_pushes_with_its_token(user: User) -> None:
    """Each `run` is run by the shell that GitHub uses, with the variables of a job with id-token: write."""
    job = next(each for text in blocks(PAGE, "yaml") if "jobs" in (each := _job(text)))
    assert job["permissions"]["id-token"] == "write"
    assert re.fullmatch(r"(\S+ ){4}\S+", job[True]["schedule"][0]["cron"])  # YAML 1.1 reads `on` as true
    handler = type("Handler", (_TokenOfGitHub,), {"token": _prepare_account(user, GITHUB)})
    tokens = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=tokens.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    job_environment = user.environment(
        **job["jobs"]["push"]["env"],
        ALIYUN_IMPORT_ENDPOINT_URL=user.sandbox.url,
        RUNNER_TEMP=str(user.home),
        ACTIONS_ID_TOKEN_REQUEST_URL=f"http://127.0.0.1:{tokens.server_port}/token?api-version=2.0",
        ACTIONS_ID_TOKEN_REQUEST_TOKEN="of-the-run",
    )
    shells = {None: "bash -e", "bash": "bash --noprofile --norc -eo pipefail"}
    printed = []
    try:
        for step in job["jobs"]["push"]["steps"]:
            if "run" in step:
                ran = user.run(step["run"], shell=shells[step.get("shell")], environment=job_environment)
                assert ran.returncode == 0, ran.stderr
                printed.append(ran.stdout)
    finally:
        tokens.shutdown()
        thread.join()
        tokens.server_close()
    assert IMAGE.fullmatch(printed[-1].strip())


@pytest.mark.parametrize(("branch", "code"), [("main", 0), ("other", 4)])
def test_a_gitlab_job_pushes_with_its_token(user: User, branch: str, code: int) -> None:
    """The script runs in one shell, with the variables of the job. A job of another branch is refused."""
    job = next(each["golden-image"] for text in blocks(PAGE, "yaml") if "golden-image" in (each := _job(text)))
    token = _prepare_account(user, {**GITLAB, "sub": GITLAB["sub"].replace(":main", f":{branch}")})
    assert list(job["id_tokens"].values()) == [{"aud": "sts.aliyuncs.com"}]
    job_environment = user.environment(
        **job["variables"], **dict.fromkeys(job["id_tokens"], token), ALIYUN_IMPORT_ENDPOINT_URL=user.sandbox.url
    )
    ran = user.run("\n".join(job["script"]), shell="bash -eo pipefail", environment=job_environment)
    assert ran.returncode == code, ran.stderr
    assert bool(IMAGE.search(ran.stdout)) == (code == 0)
