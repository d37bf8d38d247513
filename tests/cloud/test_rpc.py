"""Tests of RPC calls: keys, expired tokens, and logs."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from aliyunsdkcore.acs_exception.exceptions import ClientException

from aliyun_import.cloud.credentials.source import CredentialsSource, load_credentials
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.ram import StsIdentity
from aliyun_import.errors import AccessError, AliyunImportError, TransientError
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.cloud import adapters
from tests.cloud.credentials.test_source import OFF, configure

TEMPORARY = AccessKey(id="STS.SANDBOX", secret="TEMPORARY", token="TOKEN+/=hush", principal="assumed-role/r/s")


def test_keys_of_the_environment_do_not_replace_the_passed_ones(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK prefers ALIYUN_ACCESS_KEY_ID to a passed token."""
    monkeypatch.setenv("ALIYUN_ACCESS_KEY_ID", "of-another-user")
    monkeypatch.setenv("ALIYUN_ACCESS_KEY_SECRET", "of-another-user")
    sandbox.state.add_key(TEMPORARY)
    caller = adapters.identity(sandbox, TEMPORARY).whoami()
    assert caller.arn.endswith("assumed-role/r/s")


def _renewable(sandbox: Sandbox, home: Path) -> CredentialsSource:
    """Return credentials of a profile whose token is renewed by rewriting the file."""
    _write_profile(home, TEMPORARY)
    sandbox.state.add_key(TEMPORARY)
    return load_credentials(environment=OFF, home=home)


def _write_profile(home: Path, key: AccessKey) -> None:
    fields = {"access_key_id": key.id, "access_key_secret": key.secret, "sts_token": key.token}
    configure(home, {"name": "default", "mode": "StsToken", **fields})


def _renew(sandbox: Sandbox, home: Path) -> None:
    """Let the token expire, after a new one was written."""
    fresh = replace(TEMPORARY, id="STS.SANDBOX-2", token="NEW+/=token")
    sandbox.state.add_key(fresh)
    _write_profile(home, fresh)
    sandbox.state.expire_token(TEMPORARY.id)


def test_an_expired_token_is_renewed_and_the_call_repeated(sandbox: Sandbox, tmp_path: Path) -> None:
    """If the source has a newer token, RPC calls and OSS requests use it, and the body of a part is sent again."""
    source = _renewable(sandbox, tmp_path)
    endpoints = adapters.endpoints(sandbox)
    identity = StsIdentity(endpoints=endpoints, credentials=source)
    opened = OssStore(adapters.BUCKET, endpoints=endpoints, credentials=source)
    opened.create_bucket()
    upload_id = opened.start_upload("k")
    body = adapters.Body([bytes(1 << 20)] * 4)
    _renew(sandbox, tmp_path)
    assert opened.send_part("k", upload_id, number=1, body=body).size_bytes == 4 << 20
    assert body.iterations == 2
    assert identity.whoami().account_id == sandbox.account_id
    assert source.get().token == "NEW+/=token"


def test_an_expired_token_without_a_newer_one_is_an_error(sandbox: Sandbox, tmp_path: Path) -> None:
    """One request is sent, and the remedy is to renew the token."""
    source = _renewable(sandbox, tmp_path)
    sandbox.state.expire_token(TEMPORARY.id)
    endpoints = adapters.endpoints(sandbox)
    for act, operation in (
        (StsIdentity(endpoints=endpoints, credentials=source).whoami, "GetCallerIdentity"),
        (OssStore(adapters.BUCKET, endpoints=endpoints, credentials=source).bucket_info, "GetBucketInfo"),
    ):
        with pytest.raises(AccessError) as caught:
            act()
        assert caught.value.code == "token-expired"
        assert "Renew" in str(caught.value.remedy)
        assert len(sandbox.requests.entries(operation)) == 1


def test_a_signature_mismatch_without_a_colon_is_translated(sandbox: Sandbox) -> None:
    """The SDK raises IndexError for this answer."""
    sandbox.faults.add(Fault(status=400, code="SignatureDoesNotMatch", message="no such mark in here"))
    with pytest.raises(AccessError) as caught:
        adapters.identity(sandbox).whoami()
    assert caught.value.code == "secret-wrong"


def test_a_lost_connection_does_not_disclose_the_token(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK puts the signed URL into its exception and its log, with DEBUG=sdk, too."""
    monkeypatch.setenv("DEBUG", "sdk")
    sandbox.state.add_key(TEMPORARY)
    sandbox.faults.add(Fault(effect="cut-before"))
    with pytest.raises(TransientError) as caught:
        adapters.images(sandbox, key=TEMPORARY).regions()
    adapters.images(sandbox, key=TEMPORARY).regions()
    texts = f"{caught.value} {caught.value.cause} {caught.value.details} {caught.value.__context__!r}"
    out, err = capfd.readouterr()
    assert "hush" not in texts
    assert "Signature" not in caught.value.summary
    assert (out, err) == ("", "")
    assert logging.getLogger("aliyunsdkcore").propagate is False


def test_all_errors_are_errors_of_the_tool(sandbox: Sandbox) -> None:
    """No exception of an SDK is raised, whatever the answer."""
    for status, code in ((500, "InternalError"), (400, "Odd"), (403, "Forbidden.Odd"), (404, "Odd")):
        sandbox.faults.add(Fault(status=status, code=code, message="m"))
        with pytest.raises(AliyunImportError) as caught:
            adapters.identity(sandbox).whoami()
        assert not isinstance(caught.value, ClientException)
