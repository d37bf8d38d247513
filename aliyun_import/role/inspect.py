"""This file looks at a role and judges it: may ECS assume it, and may it read the bucket with it."""

from dataclasses import dataclass, replace

from aliyun_import.context import Clock
from aliyun_import.errors import AccessError
from aliyun_import.model.roles import Policy, Role
from aliyun_import.retry import first_contact, with_retries
from aliyun_import.role import policy_eval as policy
from aliyun_import.role.policy_eval import Answer
from aliyun_import.role.spec import OSS_ROLE, RoleNeeds
from aliyun_import.services.interface import RoleService

# Any key will do where the role's policy is not narrowed to keys; this one is in the place that pushes use.
SAMPLE_KEY = "aliyun-import/disk.raw"
# What the documented system policy says, as far as the import goes.
ALLOW_ALL = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleState:
    """What a role was seen to be. `role` is None when there is none.

    `policies` is None when they could not be listed. `trusts_ecs` and `rights` (by action) are judgements; the latter
    is empty where there was nothing to judge.
    """

    name: str
    role: Role | None
    trusts_ecs: Answer = Answer.NO
    policies: tuple[Policy, ...] | None = ()
    rights: tuple[tuple[str, Answer], ...] = ()
    denied: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Name the actions that the role surely may not do."""
        return tuple(action for action, answer in self.rights if answer is Answer.NO)

    @property
    def ready(self) -> bool:
        """Tell whether nothing speaks against ECS reading the bucket with it."""
        return self.role is not None and self.trusts_ecs is not Answer.NO and not self.missing


def inspect_role(
    roles: RoleService, name: str, *, bucket: str | None, clock: Clock, needs: RoleNeeds = OSS_ROLE
) -> RoleState:
    """Look at a role and change nothing. AccessError "no-right" when we may not look at all."""
    role = first_contact(lambda: roles.role(name), clock=clock)
    if role is None:
        return RoleState(name=name, role=None)
    trust = policy.lets_assume(role.trust_policy)
    try:
        attached = with_retries(lambda: roles.attached_policies(name), clock=clock)
    except AccessError as error:
        if error.code != "no-right":
            raise
        return RoleState(name=name, role=role, trusts_ecs=trust, policies=None)
    read = tuple(_with_document(roles, one, needs, clock=clock) for one in attached)
    return RoleState(
        name=name,
        role=role,
        trusts_ecs=trust,
        policies=read,
        rights=tuple((action, _right(read, action, needs, bucket=bucket)) for action in needs.actions),
        denied=tuple(action for action in needs.actions if _is_denied(read, action, bucket=bucket)),
    )


def differences(sight: RoleState, needs: RoleNeeds = OSS_ROLE) -> tuple[str, ...]:
    """Say in words what of a role is not as the ImportImage page has it, whether it does harm or not."""
    if sight.role is None:
        return (f"There is no role {sight.name}.",)
    found = []
    if sight.trusts_ecs is Answer.NO:
        found.append(f"Its trust policy does not let {policy.ECS} assume it.")
    elif sight.trusts_ecs is Answer.MAYBE:
        found.append(f"Its trust policy lets {policy.ECS} assume it on conditions, which can't be judged from here.")
    if sight.policies is None:
        found.append("Its policies could not be listed.")
        return tuple(found)
    if not any(_is_documented(one, needs) for one in sight.policies):
        found.append(f"The system policy {needs.system_policy} is not attached.")
    if sight.missing:
        found.append(f"Its policies do not permit {', '.join(sight.missing)}.")
    doubtful = [action for action, answer in sight.rights if answer is Answer.MAYBE]
    if doubtful:
        found.append(f"Whether its policies permit {', '.join(doubtful)} can't be judged from here.")
    return tuple(found)


def _with_document(roles: RoleService, one: Policy, needs: RoleNeeds, *, clock: Clock) -> Policy:
    """Read a policy's document unless it is the documented one; without the right to, it stays unread."""
    if _is_documented(one, needs):
        return one
    try:
        return replace(one, document=with_retries(lambda: roles.policy_document(one), clock=clock))
    except AccessError as error:
        if error.code != "no-right":
            raise
        return one


def _is_documented(one: Policy, needs: RoleNeeds) -> bool:
    return one.type == "System" and one.name == needs.system_policy


def _right(policies: tuple[Policy, ...], action: str, needs: RoleNeeds, *, bucket: str | None) -> Answer:
    documents = [one.document for one in policies if one.document is not None]
    if any(_is_documented(one, needs) for one in policies):
        documents.append(ALLOW_ALL)
    answer = policy.permits(documents, action, bucket=bucket, key=SAMPLE_KEY)
    unread = any(one.document is None and not _is_documented(one, needs) for one in policies)
    return Answer.MAYBE if answer is Answer.NO and unread else answer


def _is_denied(policies: tuple[Policy, ...], action: str, *, bucket: str | None) -> bool:
    documents = [one.document for one in policies if one.document is not None]
    return policy.denies(documents, action, bucket=bucket, key=SAMPLE_KEY)
