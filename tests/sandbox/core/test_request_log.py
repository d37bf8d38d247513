"""Tests that the log of requests has no key, token or signature, however it was sent."""

import urllib.error
import urllib.parse
import urllib.request

import oss2
import pytest

from aliyun_import.sandbox.core.request_log import MAX_TARGET_CHARS, redacted_target
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.oss_sdk import Oss
from tests.sandbox.vendor_sdk import call, refusal

KEY = AccessKey(id="STS.LoggedKeyId", secret="LoggedSecret", token="LoggedToken+/=")
SECRETS = ("LoggedKeyId", "LoggedSecret", "LoggedToken", "LoggedSignature", "LoggedPassword")


@each_row(
    "name",
    [
        "Signature", "SecurityToken", "security-token", "x-oss-signature", "x-oss-security-token", "AccessKeyId",
        "OSSAccessKeyId", "x-oss-credential", "X-OSS-SIGNATURE", "%53ignature", "x%2Doss%2Dsecurity%2Dtoken",
        "StsToken", "AccessKeySecret", "X-Amz-Signature", "X-Amz-Credential", "Password", "UserData",
    ],
)  # fmt: skip
def test_a_secret_parameter_is_redacted_in_every_spelling(name: str) -> None:
    """The other parameters are unchanged and in order."""
    assert redacted_target(f"/disks/k?a=1&{name}=LoggedSignature%2F&b=2") == f"/disks/k?a=1&{name}=***&b=2"


@each_row(
    "target",
    [
        "/disks/k",
        "/disks/k?uploads",
        "/?Action=ImportImage&ClientToken=t&SignatureMethod=HMAC-SHA1&SignatureNonce=5&Token=",
        "/disks/?continuation-token=abc&list-type=2",
        "/?Signature=",
    ],
)
def test_other_parameters_are_not_redacted(target: str) -> None:
    """The log needs them to identify requests."""
    assert redacted_target(target) == target


def test_a_user_in_an_absolute_target_is_redacted_and_a_long_target_is_truncated() -> None:
    """Clients send absolute targets to a proxy."""
    assert redacted_target("http://user:LoggedPassword@h/b/k?a=1") == "http://***@h/b/k?a=1"
    assert len(redacted_target("/" + "x" * 60_000)) == MAX_TARGET_CHARS


def test_the_log_has_no_secret_of_any_client(sandbox: Sandbox) -> None:
    """Headers, presigned URLs of V1 and V4, forms and refusals with the string to sign are redacted."""
    sandbox.state.add_key(KEY)
    oss = Oss(sandbox)
    bucket = oss.bucket("disks", key=KEY)
    bucket.create_bucket()
    for auth in (oss2.StsAuth(KEY.id, KEY.secret, KEY.token), bucket.auth):
        for key in (KEY.secret, "a wrong one"):
            opened = oss2.Bucket(auth, sandbox.url, "disks", region="cn-hangzhou")
            url = opened.sign_url("GET", "k", 60, slash_safe=True)
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(url if key == KEY.secret else url.replace("k?", "other?"), timeout=10)
    call(sandbox, "GetCallerIdentity", key=KEY)
    wrong = AccessKey(id=KEY.id, secret="another", token=KEY.token)
    assert refusal(sandbox, "GetCallerIdentity", key=wrong)[1] == "InvalidAccessKeySecret"  # as the SDK reads it
    form = urllib.parse.urlencode({"Action": "GetRole", "AccessKeyId": KEY.id, "Signature": "LoggedSignature"}).encode()
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{sandbox.url}/", data=form, timeout=10)
    for header in ("LoggedSignature", "Basic LoggedSignature", "OSS LoggedKeyId:LoggedSignature", "AWS LoggedKeyId:x"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(
                urllib.request.Request(f"{sandbox.url}/disks/k", headers={"Authorization": header}), timeout=10
            )
    oss.close()
    logged = repr(sandbox.requests.entries())
    assert len(sandbox.requests.entries()) == 12
    assert [secret for secret in SECRETS if secret in logged] == []
