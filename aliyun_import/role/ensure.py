"""Inspection and setup of the role with which ECS reads the disk in OSS.

    no such role                   it is created with the documented trust policy; the system policy is attached
    ECS can't assume it            an error with the missing statement; with fix=True that statement is added
    permissions on OSS missing     the system policy is attached; policies are never created or changed
    not readable                   a warning; ImportImage tests the role

ECS finds a new role only after some time. `submit` waits for that, while ECS answers that it finds no role.
"""

import json
from dataclasses import dataclass, replace
from enum import StrEnum

from aliyun_import.context import Context
from aliyun_import.errors import AccessError, PermissionDenied, RefusedError, RoleExists
from aliyun_import.events import Changed, Emit, Warned
from aliyun_import.model.objects import KEY_PREFIX
from aliyun_import.model.roles import Policy, Role
from aliyun_import.role import policy_eval as policy
from aliyun_import.role.policy_eval import Decision
from aliyun_import.role.spec import DESCRIPTION, OSS_ROLE, RoleNeeds, administrator_steps
from aliyun_import.services import RoleService

# Key for the evaluation of policies that are limited to keys.
SAMPLE_KEY = f"{KEY_PREFIX}disk.raw"
# Stands for the documented system policy, which permits everything that an import needs.
ALLOW_ALL = '{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleState:
    """State of a role. `role` is None if it does not exist.

    `policies` is None if they could not be listed. `trusts_ecs` and `rights` (by action) are evaluated from the
    policies; `rights` is empty without policies. `denied` are the actions that a policy denies.
    """

    name: str
    role: Role | None
    trusts_ecs: Decision = Decision.NO
    policies: tuple[Policy, ...] | None = ()
    rights: tuple[tuple[str, Decision], ...] = ()
    denied: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The actions that the role certainly lacks."""
        return tuple(action for action, decision in self.rights if decision is Decision.NO)

    @property
    def unclear(self) -> tuple[str, ...]:
        """The actions that the role may lack or have."""
        return tuple(action for action, decision in self.rights if decision is Decision.MAYBE)

    @property
    def ready(self) -> bool:
        """Whether nothing is known that prevents ECS from reading the bucket with the role."""
        return self.role is not None and self.trusts_ecs is not Decision.NO and not self.missing


class RoleOutcome(StrEnum):
    """Result of `ensure_role`. UNSEEN: nothing was done, because the role could not be read."""

    READY = "ready"
    CREATED = "created"
    ATTACHED = "attached"
    EXTENDED = "extended"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChange:
    """Result of ensuring a role.

    `attached` are the names of the attached policies; `differences` are sentences on the remaining differences from the
    documented role.
    """

    name: str
    state: RoleOutcome
    created: bool = False
    attached: tuple[str, ...] = ()
    trust_extended: bool = False
    differences: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was changed; ECS may notice it only after some time."""
        return self.created or bool(self.attached) or self.trust_extended


def inspect_role(roles: RoleService, name: str, *, bucket: str | None, needs: RoleNeeds = OSS_ROLE) -> RoleState:
    """Return the state of a role. AccessError "no-right" without the permission to read it."""
    role = roles.role(name)
    if role is None:
        return RoleState(name=name, role=None)
    trust = policy.lets_assume(role.trust_policy)
    try:
        attached = roles.attached_policies(name)
    except PermissionDenied:
        return RoleState(name=name, role=role, trusts_ecs=trust, policies=None)
    read = tuple(_with_document(roles, one, needs) for one in attached)
    return RoleState(
        name=name,
        role=role,
        trusts_ecs=trust,
        policies=read,
        rights=tuple((action, _right(read, action, needs, bucket=bucket)) for action in needs.actions),
        denied=tuple(action for action in needs.actions if _is_denied(read, action, bucket=bucket)),
    )


def differences(state: RoleState, needs: RoleNeeds = OSS_ROLE) -> tuple[str, ...]:
    """Return sentences on the differences of a role from the ImportImage page, harmful or not."""
    if state.role is None:
        return (f"There is no role {state.name}.",)
    found = []
    if state.trusts_ecs is Decision.NO:
        found.append(f"Its trust policy does not let {policy.ECS} assume it.")
    elif state.trusts_ecs is Decision.MAYBE:
        found.append(f"Its trust policy lets {policy.ECS} assume it on conditions, which can't be evaluated here.")
    if state.policies is None:
        found.append("Its policies could not be listed.")
        return tuple(found)
    if not any(_is_documented(one, needs) for one in state.policies):
        found.append(f"The system policy {needs.system_policy} is not attached.")
    if state.missing:
        found.append(f"Its policies do not permit {', '.join(state.missing)}.")
    if state.unclear:
        found.append(f"Whether its policies permit {', '.join(state.unclear)} can't be evaluated here.")
    return tuple(found)


def ensure_role(
    roles: RoleService,
    context: Context,
    name: str,
    *,
    bucket: str | None,
    fix: bool,
    needs: RoleNeeds = OSS_ROLE,
) -> RoleChange:
    """Ensure that ECS can assume the role and read the bucket with it; emit every change.

    RefusedError "role-trust" if the trust policy does not let ECS assume the role, and `fix` is not set or can't help.
    AccessError "role-denied" if a policy of the role denies what ECS needs; "role-rights", with the steps for an
    administrator, without the permission to create or change the role.
    """
    emit = context.emit
    _warn_of_name(name, needs, emit=emit)
    try:
        state = inspect_role(roles, name, bucket=bucket, needs=needs)
    except PermissionDenied as error:
        _warn_unseen(f"The role {name} could not be read: {error.summary}", emit=emit)
        return RoleChange(name=name, state=RoleOutcome.UNSEEN)
    created = state.role is None and _create(roles, name, needs, emit=emit)
    if created:
        state = _new_state(name, needs)
    elif state.role is None:
        # Another process created it meanwhile; the role is treated as an existing one.
        state = inspect_role(roles, name, bucket=bucket, needs=needs)
    extended = _ensure_trust(roles, state, needs, fix=fix, emit=emit)
    attached = _ensure_rights(roles, state, needs, emit=emit)
    return RoleChange(
        name=name,
        state=_outcome(state, created=created, extended=extended, attached=bool(attached)),
        created=created,
        attached=attached,
        trust_extended=extended,
        differences=differences(_after(state, attached=attached), needs),
    )


def _outcome(state: RoleState, *, created: bool, extended: bool, attached: bool) -> RoleOutcome:
    if created:
        return RoleOutcome.CREATED
    if extended:
        return RoleOutcome.EXTENDED
    if attached:
        return RoleOutcome.ATTACHED
    return RoleOutcome.UNSEEN if state.policies is None else RoleOutcome.READY


def _after(state: RoleState, *, attached: tuple[str, ...]) -> RoleState:
    """Return the state after the changes. It is not read from RAM, whose answers may be older than the changes."""
    if state.trusts_ecs is Decision.NO:  # the policy was extended since, here or by another process
        state = replace(state, trusts_ecs=Decision.YES)
    if attached:
        policies = tuple(Policy(name=name, type="System") for name in attached)
        rights = tuple((action, Decision.YES) for action, _ in state.rights)
        state = replace(state, policies=(*(state.policies or ()), *policies), rights=rights)
    return state


def _warn_of_name(name: str, needs: RoleNeeds, *, emit: Emit) -> None:
    if name != needs.default_name:
        emit(
            Warned(
                code="role-name-not-default",
                message=f"The role is {name}; according to the ImportImage page an import works only with "
                f"{needs.default_name}.",
                remedy="Leave --role-name out if ECS does not find the role.",
            )
        )


def _create(roles: RoleService, name: str, needs: RoleNeeds, *, emit: Emit) -> bool:
    """Create the role; return False if it already exists."""
    try:
        roles.create_role(name, trust_policy=policy.trust_policy(), description=DESCRIPTION)
    except RoleExists:
        return False
    except PermissionDenied as error:
        steps = administrator_steps(name, needs, create=True, attach=True)
        message = f"The role {name} is missing, and these credentials can't create it."
        raise _no_right(error, message, steps) from error
    emit(Changed(what="created role", name=name))
    return True


def _new_state(name: str, needs: RoleNeeds) -> RoleState:
    """Return the state of a new role: it trusts ECS and has no permissions."""
    return RoleState(
        name=name,
        role=Role(name=name, arn="", trust_policy=policy.trust_policy()),
        trusts_ecs=Decision.YES,
        rights=tuple((action, Decision.NO) for action in needs.actions),
    )


def _ensure_trust(roles: RoleService, state: RoleState, needs: RoleNeeds, *, fix: bool, emit: Emit) -> bool:
    """Ensure that ECS can assume the role; return whether a statement was added."""
    if state.trusts_ecs is Decision.MAYBE:
        emit(
            Warned(
                code="role-trust-conditional",
                message=f"The role {state.name} trusts {policy.ECS} on conditions, or its trust policy can't be read.",
                remedy="If ECS does not find the role, ensure that the trust policy has this statement: "
                f"{json.dumps(policy.trust_statement())}",
            )
        )
    if state.trusts_ecs is not Decision.NO:
        return False
    # Read the policy again immediately before writing, to keep all its present statements.
    role = roles.role(state.name) or state.role
    assert role is not None  # noqa: S101 -- the caller has created or read it
    if policy.lets_assume(role.trust_policy) is not Decision.NO:
        return False  # extended meanwhile
    wanted = _wanted_trust(role, fix=fix)
    try:
        roles.update_trust_policy(state.name, trust_policy=wanted)
    except PermissionDenied as error:
        steps = administrator_steps(state.name, needs, create=False, attach=False, trust=wanted)
        message = f"These credentials can't change the trust policy of the role {state.name}."
        raise _no_right(error, message, steps) from error
    emit(Changed(what="extended trust policy of role", name=f"{state.name} (added {policy.ECS})"))
    return True


def _wanted_trust(role: Role, *, fix: bool) -> str:
    """Return the role's trust policy with ECS added. RefusedError "role-trust" without `fix`, or if a Deny remains."""
    wanted = policy.extended(role.trust_policy)
    added = f"+ {json.dumps(policy.trust_statement())}"
    if policy.lets_assume(wanted) is Decision.NO:
        raise RefusedError(
            f"The trust policy of the role {role.name} denies {policy.ECS}.",
            code="role-trust",
            cause=f"One of its statements denies sts:AssumeRole: {role.trust_policy}",
            remedy=f"Remove that statement from the role {role.name}, or pass --role-name with another role.",
            details={"role": role.name},
        )
    if not fix:
        raise RefusedError(
            f"The role {role.name} does not let {policy.ECS} assume it, so ECS can't read the disk.",
            code="role-trust",
            cause=f"Its trust policy lacks one statement:\n{added}",
            remedy="Pass --fix to add that statement and keep all others, or pass --role-name with another role.",
            details={"role": role.name},
        )
    return wanted


def _ensure_rights(roles: RoleService, state: RoleState, needs: RoleNeeds, *, emit: Emit) -> tuple[str, ...]:
    """Attach the system policy if permissions are certainly missing; return the names of the attached policies."""
    if state.denied:
        attached = ", ".join(one.name for one in state.policies or ())
        raise AccessError(
            f"A policy of the role {state.name} denies actions that ECS needs to read the disk.",
            code="role-denied",
            cause=f"Denied: {', '.join(state.denied)}. Attached: {attached}.",
            remedy=f"Have that statement removed from the policies of {state.name}, or pass another --role-name.",
            details={"role": state.name, "denied": ",".join(state.denied)},
        )
    if state.policies is None:
        _warn_unseen(f"The policies of the role {state.name} could not be listed.", emit=emit)
        return ()
    if state.unclear and not state.missing:
        emit(
            Warned(
                code="role-rights-unclear",
                message=f"Whether the role {state.name} permits {', '.join(state.unclear)} can't be evaluated here.",
                remedy=f"Attach {needs.system_policy} to it if the import fails with InvalidOSS.NotAuthorized.",
            )
        )
    if not state.missing:
        return ()
    wanted = Policy(name=needs.system_policy, type="System")
    try:
        roles.attach_policy(wanted, role_name=state.name)
    except PermissionDenied as error:
        steps = administrator_steps(state.name, needs, create=False, attach=True)
        message = (
            f"The role {state.name} lacks {', '.join(state.missing)}, and these credentials can't attach a policy."
        )
        raise _no_right(error, message, steps) from error
    emit(Changed(what="attached policy", name=f"{needs.system_policy} to role {state.name}"))
    return (needs.system_policy,)


def _warn_unseen(message: str, *, emit: Emit) -> None:
    emit(
        Warned(
            code="role-unseen",
            message=message,
            remedy="Grant ram:GetRole, ram:ListPoliciesForRole and ram:GetPolicy to have it checked before the "
            "upload; otherwise ImportImage tests it.",
        )
    )


def _no_right(error: PermissionDenied, summary: str, steps: str) -> AccessError:
    """Return the error of a missing permission, with the steps for an administrator."""
    return AccessError(
        summary,
        code="role-rights",
        cause=error.summary if error.cause is None else f"{error.summary} {error.cause}",
        remedy=f"Ask an administrator of the account to:\n{steps}\nThen run the same command again.",
        details=error.details,
    )


def _with_document(roles: RoleService, one: Policy, needs: RoleNeeds) -> Policy:
    """Return a policy with its document, unless it is the documented one or can't be read."""
    if _is_documented(one, needs):
        return one
    try:
        return replace(one, document=roles.policy_document(one))
    except PermissionDenied:
        return one


def _is_documented(one: Policy, needs: RoleNeeds) -> bool:
    return one.type == "System" and one.name == needs.system_policy


def _right(policies: tuple[Policy, ...], action: str, needs: RoleNeeds, *, bucket: str | None) -> Decision:
    documents = [one.document for one in policies if one.document is not None]
    if any(_is_documented(one, needs) for one in policies):
        documents.append(ALLOW_ALL)
    decision = policy.permits(documents, action, bucket=bucket, key=SAMPLE_KEY)
    unread = any(one.document is None and not _is_documented(one, needs) for one in policies)
    return Decision.MAYBE if decision is Decision.NO and unread else decision


def _is_denied(policies: tuple[Policy, ...], action: str, *, bucket: str | None) -> bool:
    documents = [one.document for one in policies if one.document is not None]
    return policy.denies(documents, action, bucket=bucket, key=SAMPLE_KEY)
