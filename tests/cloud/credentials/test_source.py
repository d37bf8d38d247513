"""Tests of the providers of credentials, their order, and the error when there are none."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.cloud.credentials.source import Credentials, load_credentials, region_of_profile
from aliyun_import.errors import AccessError
from aliyun_import.redact import remove_secrets
from tests.cloud import servers
from tests.rows import each_row

# No test may wait for a metadata service, which does not exist on this machine.
OFF = {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
KEYS = OFF | {"ALIBABA_CLOUD_ACCESS_KEY_ID": "env-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret"}


def configure(home: Path, *profiles: dict[str, Any], current: str = "default") -> Path:
    """Write the file of profiles of the aliyun CLI."""
    path = home / ".aliyun" / "config.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"current": current, "profiles": list(profiles), "meta_path": ""}))
    return path


def profile(name: str = "default", mode: str = "AK", **fields: str) -> dict[str, Any]:
    """Return a profile whose keys contain its name."""
    keys = {"access_key_id": f"{name}-id", "access_key_secret": f"{name}-secret", "region_id": "cn-qingdao"}
    return {"name": name, "mode": mode, **keys, **fields}


def test_the_environment_has_priority_over_the_current_profile(tmp_path: Path) -> None:
    """As in the vendor's chain."""
    configure(tmp_path, profile())
    source = load_credentials(environment=KEYS, home=tmp_path)
    assert source.get() == Credentials(key_id="env-id", secret="env-secret")
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in source.describe()


@each_row("prefix", ["ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_"])
def test_all_spellings_of_the_variables_are_read(prefix: str, tmp_path: Path) -> None:
    """The token, too."""
    names = {"ACCESS_KEY_ID": "i", "ACCESS_KEY_SECRET": "s", "SECURITY_TOKEN": "t"}
    environment = OFF | {prefix + name: value for name, value in names.items()}
    assert load_credentials(environment=environment, home=tmp_path).get() == Credentials(
        key_id="i", secret="s", token="t"
    )


def test_a_named_profile_has_priority_over_the_environment(tmp_path: Path) -> None:
    """The user requested it with --profile."""
    configure(tmp_path, profile(), profile("work"))
    source = load_credentials(profile="work", environment=KEYS, home=tmp_path)
    assert source.get().key_id == "work-id"
    assert "work" in source.describe()


def test_without_keys_in_the_environment_the_current_profile_is_used(tmp_path: Path) -> None:
    """ALIBABA_CLOUD_PROFILE overrides it."""
    configure(tmp_path, profile(), profile("work"), current="work")
    assert load_credentials(environment=OFF, home=tmp_path).get().key_id == "work-id"
    chosen = OFF | {"ALIBABA_CLOUD_PROFILE": "default"}
    assert load_credentials(environment=chosen, home=tmp_path).get().key_id == "default-id"


def test_only_the_mode_ststoken_has_a_token(tmp_path: Path) -> None:
    """The mode is compared ignoring case."""
    configure(tmp_path, profile(mode="ststoken", sts_token="token"), profile("plain", sts_token="stale"))
    assert load_credentials(environment=OFF, home=tmp_path).get().token == "token"
    assert load_credentials(profile="plain", environment=OFF, home=tmp_path).get().token is None


def test_the_ini_file_comes_after_the_profiles(tmp_path: Path) -> None:
    """A percent sign and a hash in the secret are read literally."""
    path = tmp_path / ".alibabacloud" / "credentials.ini"
    path.parent.mkdir()
    path.write_text("[default]\ntype = access_key\naccess_key_id = ini-id\naccess_key_secret = a%b#c\n")
    source = load_credentials(environment=OFF, home=tmp_path)
    assert source.get() == Credentials(key_id="ini-id", secret="a%b#c")
    configure(tmp_path, profile())
    assert load_credentials(environment=OFF, home=tmp_path).get().key_id == "default-id"


def test_the_error_without_credentials_lists_all_sources(tmp_path: Path) -> None:
    """It states that a sandbox needs none."""
    with pytest.raises(AccessError) as caught:
        load_credentials(environment=OFF, home=tmp_path)
    assert caught.value.code == "credentials-missing"
    for place in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "OIDC", "config.json", "credentials.ini", "ECS", "CREDENTIALS_URI"):
        assert place in str(caught.value.cause)
    assert "--sandbox" in str(caught.value.remedy)


def test_an_id_without_a_secret_is_named(tmp_path: Path) -> None:
    """It is the likely reason of the error."""
    with pytest.raises(AccessError) as caught:
        load_credentials(environment=OFF | {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id"}, home=tmp_path)
    assert "ALIBABA_CLOUD_ACCESS_KEY_SECRET is not" in str(caught.value.cause)


@each_row("mode", ["CredentialsURI", "RsaKeyPair", "RamRoleArnWithRoleName", "BearerToken"])
def test_an_unsupported_mode_is_named(mode: str, tmp_path: Path) -> None:
    """The error names the mode and the file, for a requested profile and for the current one."""
    path = configure(tmp_path, profile(mode=mode))
    for name in ("default", None):
        with pytest.raises(AccessError) as caught:
            load_credentials(profile=name, environment=OFF, home=tmp_path)
        assert caught.value.code == "profile-unsupported"
        assert mode in caught.value.summary
        assert str(path) in caught.value.summary
    ignored = OFF | {"ALIBABA_CLOUD_CLI_PROFILE_DISABLED": "true"}
    with pytest.raises(AccessError, match="No credentials"):
        load_credentials(environment=ignored, home=tmp_path)


def test_the_error_of_a_missing_profile_lists_the_existing_ones(tmp_path: Path) -> None:
    """Without any profile the error states that there are none."""
    configure(tmp_path, profile("home"), profile("work"))
    with pytest.raises(AccessError) as caught:
        load_credentials(profile="wrok", environment=OFF, home=tmp_path)
    assert caught.value.code == "profile-missing"
    assert "home, work" in str(caught.value.cause)
    assert "one of these" in str(caught.value.remedy)
    with pytest.raises(AccessError) as caught:
        load_credentials(profile="wrok", environment=OFF, home=tmp_path / "without-profiles")
    assert caught.value.cause == "There are no profiles."
    assert "one of these" not in str(caught.value.remedy)


def test_a_profile_without_keys_is_an_error_only_if_it_is_requested(tmp_path: Path) -> None:
    """`aliyun configure` leaves such a profile when it is interrupted."""
    configure(tmp_path, profile(access_key_id="", access_key_secret=""))
    with pytest.raises(AccessError, match="No credentials"):
        load_credentials(environment=OFF, home=tmp_path)
    with pytest.raises(AccessError) as caught:
        load_credentials(profile="default", environment=OFF, home=tmp_path)
    assert caught.value.code == "profile-incomplete"


@each_row("text", ["{", '"a"', "[]", '{"profiles": 5}', '{"access_key_secret": "hush", '])
def test_a_damaged_file_is_named_and_not_repeated(text: str, tmp_path: Path) -> None:
    """The error names the file, and contains none of its text."""
    path = configure(tmp_path)
    path.write_text(text)
    with pytest.raises(AccessError) as caught:
        load_credentials(environment=OFF, home=tmp_path)
    assert "config.json" in f"{caught.value.summary} {caught.value.cause}"
    assert "hush" not in f"{caught.value.summary} {caught.value.cause} {caught.value.remedy}"


def test_secrets_are_not_in_the_repr() -> None:
    """Neither the secret nor the token is."""
    text = f"{Credentials(key_id='id', secret='hush', token='hush-too')!r}"
    assert "id" in text
    assert "hush" not in text


@pytest.mark.parametrize("form", ["environment", "profile", "ini"])
def test_the_text_of_a_token_file_is_concealed_and_its_path_is_not(form: str, tmp_path: Path) -> None:
    """A concealed path would make all paths with the same start unreadable."""
    token = tmp_path / f"{form}-token"
    token.write_text(f"text-of-the-token-of-{form}")
    fields = {"oidc_provider_arn": "acs:ram::1000000000000000:oidc-provider/ci", "oidc_token_file": str(token)}
    environment = dict(OFF)
    if form == "environment":
        environment["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] = str(token)
    elif form == "profile":
        configure(tmp_path, profile(mode="OIDC", ram_role_arn="acs:ram::1000000000000000:role/ci", **fields))
    else:
        path = tmp_path / "credentials.ini"
        path.write_text(f"[default]\ntype = oidc_role_arn\noidc_token_file_path = {token}\n")
        environment["ALIBABA_CLOUD_CREDENTIALS_FILE"] = str(path)
    with suppress(AccessError):
        load_credentials(environment=environment, home=tmp_path)
    assert remove_secrets(f"{tmp_path} {token} {token.read_text()}") == f"{tmp_path} {token} ***"


def test_a_renewed_profile_is_read_by_renew(tmp_path: Path) -> None:
    """A second call with the old keys returns the same new ones."""
    configure(tmp_path, profile(mode="StsToken", sts_token="old"))
    source = load_credentials(environment=OFF, home=tmp_path)
    stale = source.get()
    assert source.renew(stale) == stale
    configure(tmp_path, profile(mode="StsToken", sts_token="new"))
    assert source.get() == stale
    assert source.renew(stale).token == "new"
    assert source.renew(stale).token == source.get().token == "new"


def test_the_region_is_read_from_the_named_or_the_current_profile(tmp_path: Path) -> None:
    """A missing region is no error."""
    assert region_of_profile(environment=OFF, home=tmp_path) is None
    configure(tmp_path, profile(), profile("work", region_id="cn-beijing"), profile("bare", region_id=""))
    assert region_of_profile(environment=OFF, home=tmp_path) == "cn-qingdao"
    assert region_of_profile("work", environment=OFF, home=tmp_path) == "cn-beijing"
    assert region_of_profile("bare", environment=OFF, home=tmp_path) is None
    assert region_of_profile("none", environment=OFF, home=tmp_path) is None


@pytest.fixture(scope="module")
def script_lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the output of a new interpreter; the vendor's library reads the environment when it is imported."""
    home = tmp_path_factory.mktemp("home")
    program = home / "keys"
    answer = {"mode": "AK", "access_key_id": "outside-id", "access_key_secret": "outside-secret"}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    program.chmod(0o755)
    configure(
        home,
        profile(),
        {"name": "outside", "mode": "External", "process_command": str(program)},
        {"name": "broken", "mode": "External", "process_command": "/nonexistent/keys"},
    )
    script = """
        import sys
        from aliyun_import.cloud.credentials.source import load_credentials
        from aliyun_import.errors import AccessError
        load_credentials().get(), load_credentials(profile="default").get()
        print("alibabacloud_credentials" in sys.modules)
        source = load_credentials(profile="outside")
        print(source.get().key_id, source.describe())
        try:
            load_credentials(profile="broken").get()
        except AccessError as error:
            print(error.code, error.summary)
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=OFF | {"PATH": os.defpath, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout.splitlines()


def test_plain_keys_do_not_import_the_vendors_library(script_lines: list[str]) -> None:
    """The import takes a second."""
    assert script_lines[0] == "False"


def test_an_external_program_is_run_by_the_vendors_library(script_lines: list[str]) -> None:
    """The library prints nothing."""
    assert script_lines[1].startswith("outside-id")
    assert "External" in script_lines[1]


def test_a_failure_of_the_vendors_library_is_an_error_of_the_tool(script_lines: list[str]) -> None:
    """It names the profile."""
    assert script_lines[2].startswith("credentials-failed")
    assert "profile broken" in script_lines[2]
    assert len(script_lines) == 3


def test_keys_from_a_uri_come_last_and_are_renewed(tmp_path: Path) -> None:
    """The URI is read if there are no other keys, and again for a renewal."""
    answers = iter(["first", "second"])

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        keys = {"AccessKeyId": "STS.fake", "AccessKeySecret": "s", "SecurityToken": next(answers)}
        body = json.dumps({"Code": "Success", "Expiration": "2099-01-01T00:00:00Z", **keys}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with servers.serve(handle) as port:
        environment = OFF | {"ALIBABA_CLOUD_CREDENTIALS_URI": f"http://127.0.0.1:{port}/keys"}
        source = load_credentials(environment=environment, home=tmp_path)
        stale = source.get()
        assert (stale.token, source.get().token, source.renew(stale).token) == ("first", "first", "second")
