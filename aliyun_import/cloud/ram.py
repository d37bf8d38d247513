"""Role service through RAM, and identity through STS."""

import re
from typing import Any

from aliyunsdkram.request.v20150501.AttachPolicyToRoleRequest import AttachPolicyToRoleRequest
from aliyunsdkram.request.v20150501.CreateRoleRequest import CreateRoleRequest
from aliyunsdkram.request.v20150501.GetPolicyRequest import GetPolicyRequest
from aliyunsdkram.request.v20150501.GetRoleRequest import GetRoleRequest
from aliyunsdkram.request.v20150501.ListPoliciesForRoleRequest import ListPoliciesForRoleRequest
from aliyunsdkram.request.v20150501.UpdateRoleRequest import UpdateRoleRequest
from aliyunsdksts.request.v20150401.GetCallerIdentityRequest import GetCallerIdentityRequest

from aliyun_import.cloud.transport.answer import objects, single_word, text
from aliyun_import.cloud.transport.rpc import RpcClient, unreadable
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.roles import CallerIdentity, Policy, Role


class RamRoles(RpcClient):
    """services.RoleService through RAM."""

    service = "RAM"

    def role(self, name: str) -> Role | None:
        """Return a role, None if it does not exist. AccessError "no-right" without the permission to read it."""
        try:
            return _role(self._call(GetRoleRequest, {"RoleName": name}, role=name))
        except AliyunImportError as error:
            if error.details.get("service_code") == "EntityNotExist.Role":
                return None
            raise

    def create_role(self, name: str, *, trust_policy: str, description: str) -> Role:
        """Create a role. RefusedError "role-exists" if it already exists."""
        wanted = {"RoleName": name, "AssumeRolePolicyDocument": trust_policy, "Description": description}
        return _role(self._call(CreateRoleRequest, wanted, role=name))

    def update_trust_policy(self, name: str, *, trust_policy: str) -> None:
        """Replace a role's trust policy."""
        self._call(UpdateRoleRequest, {"RoleName": name, "NewAssumeRolePolicyDocument": trust_policy}, role=name)

    def attached_policies(self, name: str) -> tuple[Policy, ...]:
        """Return the policies attached to a role, without their documents."""
        answer = self._call(ListPoliciesForRoleRequest, {"RoleName": name}, role=name)
        return tuple(
            Policy(name=single_word(one, "PolicyName"), type=single_word(one, "PolicyType"))
            for one in objects(answer, "Policies", "Policy")
        )

    def attach_policy(self, policy: Policy, *, role_name: str) -> None:
        """Attach a policy to a role; succeeds if it is already attached."""
        wanted = {"PolicyName": policy.name, "PolicyType": policy.type, "RoleName": role_name}
        try:
            self._call(AttachPolicyToRoleRequest, wanted, role=role_name, policy=policy.name)
        except AliyunImportError as error:
            if error.details.get("service_code") != "EntityAlreadyExists.Role.Policy":
                raise

    def policy_document(self, policy: Policy) -> str:
        """Return the JSON text of a policy's default version."""
        wanted = {"PolicyName": policy.name, "PolicyType": policy.type}
        answer = self._call(GetPolicyRequest, wanted, policy=policy.name)
        version = answer.get("DefaultPolicyVersion")
        return text(version, "PolicyDocument") if isinstance(version, dict) else ""


def _role(answer: dict[str, Any]) -> Role:
    role = answer.get("Role")
    fields = role if isinstance(role, dict) else {}
    return Role(
        name=single_word(fields, "RoleName"),
        arn=single_word(fields, "Arn"),
        trust_policy=text(fields, "AssumeRolePolicyDocument"),
    )


class StsIdentity(RpcClient):
    """services.Identity through STS."""

    service = "STS"

    def whoami(self) -> CallerIdentity:
        """Return the account and the principal of the credentials; requires no permission."""
        answer = self._call(GetCallerIdentityRequest, {})
        account_id = text(answer, "AccountId")
        # It becomes part of the default bucket's name.
        if not re.fullmatch(r"[0-9]{1,32}", account_id):
            raise unreadable("STS", "GetCallerIdentity", f"The account id is {account_id[:60]!r}.")
        return CallerIdentity(account_id=account_id, arn=single_word(answer, "Arn"))
