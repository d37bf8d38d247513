"""Signatures of RPC requests, by the vendor's SDK."""

from typing import Any

from aliyunsdkcore.auth.credentials import AccessKeyCredential, StsTokenCredential
from aliyunsdkcore.auth.signers.access_key_signer import AccessKeySigner
from aliyunsdkcore.auth.signers.sts_token_signer import StsTokenSigner


def signed(request: Any, *, region: str, key_id: str, secret: str, token: str | None) -> tuple[dict[str, str], str]:  # noqa: ANN401
    """Return the headers and the path with query of an SDK request, signed with the keys."""
    request.set_accept_format("JSON")
    # Left over from an attempt with other credentials.
    request.get_query_params().pop("SecurityToken", None)
    if token:
        headers, target = StsTokenSigner(StsTokenCredential(key_id, secret, token)).sign(region, request)
    else:
        headers, target = AccessKeySigner(AccessKeyCredential(key_id, secret)).sign(region, request)
    return {**request.get_headers(), **headers}, target
