"""This file asks STS who the credentials are."""

from aliyunsdksts.request.v20150401.GetCallerIdentityRequest import GetCallerIdentityRequest

from aliyun_import.cloud.connection import Timeouts
from aliyun_import.cloud.credentials import CredentialsSource
from aliyun_import.cloud.endpoints import Endpoints
from aliyun_import.cloud.rpc import RpcClient
from aliyun_import.model import CallerIdentity


class StsIdentity:
    """ports.Identity through STS."""

    def __init__(
        self, *, endpoints: Endpoints, credentials: CredentialsSource, timeouts: Timeouts | None = None
    ) -> None:
        self._client = RpcClient(
            "STS", endpoints.sts, region=endpoints.region, credentials=credentials, timeouts=timeouts or Timeouts()
        )

    def whoami(self) -> CallerIdentity:
        """Ask who the credentials are; needs no right."""
        answer = self._client.call(GetCallerIdentityRequest())
        return CallerIdentity(
            account_id=str(answer.get("AccountId", "")),
            arn=str(answer.get("Arn", "")),
            identity_type=str(answer.get("IdentityType", "")),
        )
