"""This file sees to the role by which ECS reads the disk in OSS: compare it, add what is missing, overwrite nothing.

    there is none             create it with the documented trust policy, attach the system policy
    ECS may not assume it     the difference is shown; with fix=True one statement is added, all others stay
    rights on OSS missing     the system policy is attached; policies are never made or changed
    we may not look           a warning, and ImportImage decides

RAM takes a while to tell ECS; that is waited for where ECS is asked (submit), on the exact answer.
"""

import json
from dataclasses import dataclass, replace

from aliyun_import.context import Clock
from aliyun_import.errors import AccessError, RefusedError
from aliyun_import.events import Changed, Emit, Warned
from aliyun_import.model.roles import Policy, Role
from aliyun_import.retry import with_retries
from aliyun_import.role import policy_eval as policy
from aliyun_import.role.inspect import RoleState, differences, inspect_role
from aliyun_import.role.policy_eval import Answer
from aliyun_import.role.spec import DESCRIPTION, OSS_ROLE, RoleNeeds, administrator_steps
from aliyun_import.services.interface import RoleService


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChange:
    """The role was seen to. `state`: "ready" (nothing to do), "created", "attached", "extended", or "unseen".

    `attached` names the policies that were attached, `differences` what is not as documented and was left alone.
    """

    name: str
    state: str
    created: bool = False
    attached: tuple[str, ...] = ()
    trust_extended: bool = False
    differences: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Tell whether anything was changed, so that ECS may need a while to see it."""
        return self.created or bool(self.attached) or self.trust_extended


def ensure_role(
    roles: RoleService,
    name: str,
    *,
    bucket: str | None,
    fix: bool,
    clock: Clock,
    emit: Emit,
    needs: RoleNeeds = OSS_ROLE,
) -> RoleChange:
    """See to it that ECS can assume the role and read the bucket with it; say everything that was changed.

    RefusedError "role-trust" when its trust policy does not let ECS assume it and `fix` is not set, or when `fix` can't
    help; AccessError "role-denied" when a policy of the role forbids what ECS needs, "role-rights" when we may not
    create or change what is missing, with what an administrator can apply.
    """
    _warn_of_name(name, needs, emit=emit)
    try:
        sight = inspect_role(roles, name, bucket=bucket, clock=clock, needs=needs)
    except AccessError as error:
        if error.code != "no-right":
            raise
        _warn_unseen(f"The role {name} could not be looked at: {error.summary}", emit=emit)
        return RoleChange(name=name, state="unseen")
    created = sight.role is None and _create(roles, name, needs, clock=clock, emit=emit)
    if created:
        sight = _fresh_sight(name, needs)
    elif sight.role is None:
        # Somebody was faster: theirs is looked at as if it had been there from the beginning.
        sight = inspect_role(roles, name, bucket=bucket, clock=clock, needs=needs)
    extended = _see_to_trust(roles, sight, needs, fix=fix, clock=clock, emit=emit)
    attached = _see_to_rights(roles, sight, needs, clock=clock, emit=emit)
    state = "created" if created else "extended" if extended else "attached" if attached else "ready"
    if sight.policies is None and state == "ready":
        state = "unseen"
    return RoleChange(
        name=name,
        state=state,
        created=created,
        attached=attached,
        trust_extended=extended,
        differences=differences(_after(sight, attached=attached), needs),
    )


def _after(sight: RoleState, *, attached: tuple[str, ...]) -> RoleState:
    """Give what the role is after what was done to it, without asking RAM, which may not know it yet."""
    if sight.trusts_ecs is Answer.NO:  # then it was extended by now, by us or by somebody else
        sight = replace(sight, trusts_ecs=Answer.YES)
    if attached:
        policies = tuple(Policy(name=name, type="System") for name in attached)
        rights = tuple((action, Answer.YES) for action, _ in sight.rights)
        sight = replace(sight, policies=(*(sight.policies or ()), *policies), rights=rights)
    return sight


def _warn_of_name(name: str, needs: RoleNeeds, *, emit: Emit) -> None:
    if name != needs.default_name:
        emit(
            Warned(
                code="role-name-not-default",
                message=f"The role is {name}; the ImportImage page says that an import works only with "
                f"{needs.default_name}.",
                remedy="Leave --role-name out if ECS answers that it has no role.",
            )
        )


def _create(roles: RoleService, name: str, needs: RoleNeeds, *, clock: Clock, emit: Emit) -> bool:
    """Create the role; False when somebody else was faster."""
    try:
        with_retries(
            lambda: roles.create_role(name, trust_policy=policy.trust_policy(), description=DESCRIPTION), clock=clock
        )
    except RefusedError as error:
        if error.code != "role-exists":
            raise
        return False
    except AccessError as error:
        steps = administrator_steps(name, needs, create=True, attach=True)
        message = f"The role {name} is missing, and these credentials may not create it."
        raise _no_right(error, message, steps) from error
    emit(Changed(what="created role", name=name))
    return True


def _fresh_sight(name: str, needs: RoleNeeds) -> RoleState:
    """Say what a role is that was created this moment: it trusts ECS, and has no rights yet."""
    return RoleState(
        name=name,
        role=Role(name=name, arn="", trust_policy=policy.trust_policy()),
        trusts_ecs=Answer.YES,
        rights=tuple((action, Answer.NO) for action in needs.actions),
    )


def _see_to_trust(
    roles: RoleService, sight: RoleState, needs: RoleNeeds, *, fix: bool, clock: Clock, emit: Emit
) -> bool:
    """Let ECS assume the role if it may not; True when a statement was added."""
    if sight.trusts_ecs is Answer.MAYBE:
        emit(
            Warned(
                code="role-trust-conditional",
                message=f"The role {sight.name} trusts {policy.ECS} on conditions, or its trust policy can't be read.",
                remedy="If ECS answers that it has no role, see that the trust policy has this statement: "
                f"{json.dumps(policy.trust_statement())}",
            )
        )
    if sight.trusts_ecs is not Answer.NO:
        return False
    # Read it again at the last moment: what stands in it now is what has to be kept.
    role = with_retries(lambda: roles.role(sight.name), clock=clock) or sight.role
    assert role is not None  # noqa: S101 -- the caller has created or seen it
    if policy.lets_assume(role.trust_policy) is not Answer.NO:
        return False  # somebody extended it in between
    wanted = _wanted_trust(role, fix=fix)
    try:
        with_retries(lambda: roles.update_trust_policy(sight.name, trust_policy=wanted), clock=clock)
    except AccessError as error:
        steps = administrator_steps(sight.name, needs, create=False, attach=False, trust=wanted)
        message = f"The trust policy of the role {sight.name} may not be changed with these credentials."
        raise _no_right(error, message, steps) from error
    emit(Changed(what="extended trust policy of role", name=f"{sight.name} (added {policy.ECS})"))
    return True


def _wanted_trust(role: Role, *, fix: bool) -> str:
    """Give the role's trust policy with ECS in it; RefusedError "role-trust" without `fix`, or where a Deny remains."""
    wanted = policy.extended(role.trust_policy)
    added = f"+ {json.dumps(policy.trust_statement())}"
    if policy.lets_assume(wanted) is Answer.NO:
        raise RefusedError(
            f"The role {role.name} forbids {policy.ECS} to assume it.",
            code="role-trust",
            cause=f"A statement of its trust policy denies it: {role.trust_policy}",
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


def _see_to_rights(
    roles: RoleService, sight: RoleState, needs: RoleNeeds, *, clock: Clock, emit: Emit
) -> tuple[str, ...]:
    """Attach the system policy when rights are surely missing; the names of what was attached."""
    if sight.denied:
        attached = ", ".join(one.name for one in sight.policies or ())
        raise AccessError(
            f"A policy of the role {sight.name} forbids what ECS needs to read the disk.",
            code="role-denied",
            cause=f"Denied: {', '.join(sight.denied)}. Attached: {attached}.",
            remedy=f"Have that statement removed from the policies of {sight.name}, or pass another --role-name.",
            details={"role": sight.name, "denied": ",".join(sight.denied)},
        )
    if sight.policies is None:
        _warn_unseen(f"The policies of the role {sight.name} could not be listed.", emit=emit)
        return ()
    doubtful = [action for action, answer in sight.rights if answer is Answer.MAYBE]
    if doubtful and not sight.missing:
        emit(
            Warned(
                code="role-rights-unclear",
                message=f"Whether the role {sight.name} permits {', '.join(doubtful)} can't be judged from here.",
                remedy=f"Attach {needs.system_policy} to it if the import is answered with InvalidOSS.NotAuthorized.",
            )
        )
    if not sight.missing:
        return ()
    wanted = Policy(name=needs.system_policy, type="System")
    try:
        with_retries(lambda: roles.attach_policy(wanted, role_name=sight.name), clock=clock)
    except AccessError as error:
        steps = administrator_steps(sight.name, needs, create=False, attach=True)
        message = (
            f"The role {sight.name} lacks {', '.join(sight.missing)}, and these credentials may not attach a policy."
        )
        raise _no_right(error, message, steps) from error
    emit(Changed(what="attached policy", name=f"{needs.system_policy} to role {sight.name}"))
    return (needs.system_policy,)


def _warn_unseen(message: str, *, emit: Emit) -> None:
    emit(
        Warned(
            code="role-unseen",
            message=message,
            remedy="Grant ram:GetRole, ram:ListPoliciesForRole and ram:GetPolicy to have it checked; until then "
            "ImportImage decides.",
        )
    )


def _no_right(error: AccessError, summary: str, steps: str) -> AccessError:
    """Add what an administrator can apply; an error that is not about rights stays what it is."""
    if error.code != "no-right":
        return error
    return AccessError(
        summary,
        code="role-rights",
        cause=error.summary if error.cause is None else f"{error.summary} {error.cause}",
        remedy=f"Ask an administrator of the account to:\n{steps}\nThen run the same command again.",
        details=error.details,
    )
