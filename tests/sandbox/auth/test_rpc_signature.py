"""Tests of RPC signatures with the published vector."""

from aliyun_import.sandbox.auth import rpc_signature
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.vendor_sdk import send, sign, signed

VECTOR = {
    "Timestamp": "2016-02-23T12:46:24Z",
    "Format": "XML",
    "AccessKeyId": "testid",
    "Action": "DescribeRegions",
    "SignatureMethod": "HMAC-SHA1",
    "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
    "Version": "2014-05-26",
    "SignatureVersion": "1.0",
}


def test_the_published_vector_is_reproduced() -> None:
    """The signature is that of the example in the ECS reference."""
    text = rpc_signature.string_to_sign("GET", VECTOR)
    assert rpc_signature.signature("testsecret", text) == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="


def test_the_signer_of_the_tests_reproduces_the_vector() -> None:
    """Tests sign hand-made requests with independent code."""
    assert sign("GET", VECTOR, secret="testsecret") == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="


def test_the_signature_itself_is_not_signed() -> None:
    """The parameter Signature is not in the string to sign."""
    assert rpc_signature.string_to_sign("GET", {**VECTOR, "Signature": "x"}) == rpc_signature.string_to_sign(
        "GET", VECTOR
    )


def test_encoding_is_that_of_rfc_3986() -> None:
    """A space is %20, an asterisk %2A, and a tilde is not encoded."""
    assert rpc_signature.percent_encode("a b*~+/é") == "a%20b%2A~%2B%2F%C3%A9"


def test_a_signature_that_is_not_ascii_is_refused(sandbox: Sandbox) -> None:
    """A signature of any characters is compared without an internal error."""
    answer = send(sandbox, {**signed(sandbox, "DescribeRegions"), "Signature": "é"})
    assert (answer.status, "SignatureDoesNotMatch" in answer.text) == (400, True)
