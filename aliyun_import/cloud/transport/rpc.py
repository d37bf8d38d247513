"""This file sends RPC calls (ECS, RAM, STS) through the vendor's AcsClient and reads their answers.

The request is built, signed and sent by the SDK. Its outer layer is not used: it retries on its own, writes the signed
URL (token included) into its exceptions and its log, and fails with an IndexError on a SignatureDoesNotMatch whose
message has no colon (aliyunsdkcore 2.16.1, client.py).
"""

from collections.abc import Mapping
from typing import Any

from aliyunsdkcore.auth.credentials import AccessKeyCredential, StsTokenCredential
from aliyunsdkcore.auth.signers.access_key_signer import AccessKeySigner
from aliyunsdkcore.auth.signers.sts_token_signer import StsTokenSigner
from aliyunsdkcore.client import AcsClient

from aliyun_import.cloud.credentials.source import Credentials, CredentialsSource
from aliyun_import.cloud.errors.network import network_error
from aliyun_import.cloud.errors.translate import is_expired
from aliyun_import.cloud.transport.config import Timeouts, ca_bundle, proxies_for
from aliyun_import.cloud.transport.logs import logged, shut_vendor_logs
from aliyun_import.cloud.transport.rpc_response import Reply, refusal_of
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.operations import Operation

# How long the service may think before it answers, where that is longer than usual: timeout_config.json of the SDK.
_READ_S: Mapping[str, float] = {"ImportImage": 29, "DescribeImages": 38, "DeleteImage": 36}


class RpcClient:
    """Calls the operations of one service at one endpoint. Safe on any thread; connections are shared."""

    def __init__(
        self, service: str, url: str, *, region: str, credentials: CredentialsSource, timeouts: Timeouts
    ) -> None:
        self._service = service
        self._url = url
        self._credentials = credentials
        self._timeouts = timeouts
        shut_vendor_logs()
        # Each request is signed with the credentials of its moment, so the client's own are never used. They are
        # given by position all the same: ALIYUN_ACCESS_KEY_ID of the environment would beat anything else.
        self._client = AcsClient(
            "-", "-", region_id=region, auto_retry=False, verify=ca_bundle(), proxy=proxies_for(url)
        )
        # No second reading of the environment (proxies), and no passwords from ~/.netrc.
        self._client.session.trust_env = False

    def call(self, request: Any, /, **operands: str) -> dict[str, Any]:  # noqa: ANN401 -- the SDK has no types
        """Send a request of the SDK once and give the answer's JSON.

        `operands` are named in the errors (bucket, key, name, role...). After an answer that the token has expired,
        the credentials are looked up anew, and where they differ the request is sent once more.
        """
        Operation(_name(request))  # an undeclared one is a bug: docs and policy would not have its permission
        keys = self._credentials.get()
        reply = self._send(request, keys)
        if is_expired(reply.code):
            fresh = self._credentials.renew(keys)
            if fresh != keys:
                reply = self._send(request, fresh)
        if reply.ok:
            return dict(reply.document)
        raise refusal_of(reply, service=self._service, operation=_name(request), operands=operands)

    def _send(self, request: Any, keys: Credentials) -> Reply:  # noqa: ANN401
        request.set_accept_format("JSON")
        request.add_header("Accept-Encoding", "identity")
        # Left over from an attempt with other credentials.
        request.get_query_params().pop("SecurityToken", None)
        # The scheme of the URL beats the request's own (ECS would go over http).
        read_s = max(self._timeouts.read_s, _READ_S.get(_name(request), 0))
        exchange = self._client._make_http_response(self._url, request, read_s, self._timeouts.connect_s, _signer(keys))
        try:
            with logged(self._service, _name(request), method=request.get_method(), url=self._url) as answer:
                status, headers, body = exchange.get_response_object()
                reply = Reply.of(status, headers, body)
                answer.status, answer.request_id = status, reply.request_id
        except OSError as error:  # every exception of the vendored requests is one
            raise self._unreached(error, request) from None  # its chain holds the signed URL
        return reply

    def _unreached(self, error: OSError, request: Any) -> AliyunImportError:  # noqa: ANN401
        return network_error(error, service=self._service, operation=_name(request), url=self._url)


def _signer(keys: Credentials) -> AccessKeySigner | StsTokenSigner:
    if keys.token:
        return StsTokenSigner(StsTokenCredential(keys.key_id, keys.secret, keys.token))
    return AccessKeySigner(AccessKeyCredential(keys.key_id, keys.secret))


def _name(request: Any) -> str:  # noqa: ANN401
    return str(request.get_action_name())
