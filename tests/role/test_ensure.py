"""Tests of how the role is inspected, created and changed."""

import json
from urllib.parse import unquote

import pytest

from aliyun_import.context import Context
from aliyun_import.errors import AccessError, AliyunImportError, RefusedError
from aliyun_import.events import Warned
from aliyun_import.model.request import ImportRequest
from aliyun_import.model.roles import Policy, Role
from aliyun_import.retry import Retrier, with_retries
from aliyun_import.role import policy_eval as policy
from aliyun_import.role.ensure import RoleChange, RoleOutcome, differences, ensure_role, inspect_role
from aliyun_import.role.policy_eval import Decision
from aliyun_import.role.spec import (
    CLOUDBOX_ROLE,
    OSS_ROLE,
    needs_of,
    role_console_url,
    role_name_of,
    role_policy,
    user_policy,
)
from tests.clocks import SteeredClock
from tests.image.scripted_services import EventRecorder, ScriptedRoles, connection_lost, permission_denied
from tests.rows import each_row

NAME = OSS_ROLE.default_name
SYSTEM = Policy(name=OSS_ROLE.system_policy, type="System")
FOREIGN_TRUST = (
    '{"Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["fc.aliyuncs.com"]}}]}'
)


def ensure(
    roles: ScriptedRoles,
    *,
    name: str = NAME,
    fix: bool = False,
    recorder: EventRecorder | None = None,
) -> RoleChange:
    """Ensure the role with the retries of a push."""
    context = Context(clock=SteeredClock(), emit=recorder or EventRecorder())
    return ensure_role(with_retries(roles, Retrier(context)), context, name, bucket="disks", fix=fix)


def roles_with(
    *policies: Policy, trust: str = "", name: str = NAME, documents: dict[str, str] | None = None
) -> ScriptedRoles:
    """Return RAM with a role that has these policies."""
    role = Role(name=name, arn=f"acs:ram::1:role/{name}", trust_policy=trust or policy.trust_policy())
    return ScriptedRoles(roles={name: role}, attached={name: list(policies)}, documents=documents or {})


def custom(document: object) -> tuple[Policy, dict[str, str]]:
    """Return a custom policy, and its document by name."""
    return Policy(name="narrow", type="Custom"), {"narrow": json.dumps(document)}


def test_a_missing_role_is_created_as_documented() -> None:
    """The role gets the documented trust policy and the system policy, and both changes are emitted."""
    roles, recorder = ScriptedRoles(), EventRecorder()
    receipt = ensure(roles, recorder=recorder)
    assert receipt == RoleChange(
        name=NAME,
        state=RoleOutcome.CREATED,
        created=True,
        attached=(OSS_ROLE.system_policy,),
        differences=receipt.differences,
    )
    assert receipt.changed
    assert json.loads(roles.roles[NAME].trust_policy) == {
        "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["ecs.aliyuncs.com"]}}],
        "Version": "1",
    }
    assert roles.attached[NAME] == [SYSTEM]
    assert recorder.changed() == ["created role", "attached policy"]


def test_a_role_as_documented_is_not_changed() -> None:
    """Nothing is written."""
    roles = roles_with(SYSTEM)
    receipt = ensure(roles)
    assert (receipt.state, receipt.changed, receipt.differences) == ("ready", False, ())
    assert roles.calls == ["role", "attached_policies"]


def test_a_missing_policy_is_attached() -> None:
    """A role without rights on OSS gets the system policy, and nothing else is changed."""
    roles, recorder = roles_with(), EventRecorder()
    receipt = ensure(roles, recorder=recorder)
    assert (receipt.state, receipt.attached) == ("attached", (OSS_ROLE.system_policy,))
    assert recorder.changed() == ["attached policy"]
    assert "update_trust_policy" not in roles.calls


def test_a_sufficient_custom_policy_is_accepted() -> None:
    """A policy for the bucket replaces the system policy; the difference is reported."""
    narrow, documents = custom(role_policy("disks"))
    receipt = ensure(roles_with(narrow, documents=documents))
    assert receipt.state == "ready"
    assert receipt.differences == (f"The system policy {OSS_ROLE.system_policy} is not attached.",)


def test_a_custom_policy_for_another_bucket_is_not_sufficient() -> None:
    """The system policy is attached."""
    narrow, documents = custom(role_policy("others"))
    assert ensure(roles_with(narrow, documents=documents)).state == "attached"


def test_the_policy_of_the_old_documentation_is_completed() -> None:
    """It lacks GetBucketInfo; the system policy is attached, too."""
    old = {
        "Version": "1",
        "Statement": [{"Action": ["oss:GetObject", "oss:GetBucketLocation"], "Resource": "*", "Effect": "Allow"}],
    }
    narrow, documents = custom(old)
    roles = roles_with(narrow, documents=documents)
    assert ensure(roles).state == "attached"
    assert roles.attached[NAME] == [narrow, SYSTEM]


def test_a_denial_is_an_error_before_the_upload() -> None:
    """A Deny in an attached policy overrides the system policy, so the import would fail after the upload."""
    denying, documents = custom(
        {"Version": "1", "Statement": [{"Effect": "Deny", "Action": "oss:*", "Resource": "acs:oss:*:*:disks/*"}]}
    )
    with pytest.raises(AccessError) as caught:
        ensure(roles_with(SYSTEM, denying, documents=documents))
    assert caught.value.code == "role-denied"
    assert "oss:GetObject" in (caught.value.cause or "")


def test_a_policy_that_cannot_be_read_causes_a_warning() -> None:
    """Nothing is attached, because the policy may suffice."""
    roles, recorder = roles_with(Policy(name="secret", type="Custom")), EventRecorder()
    roles.fails["policy_document"] = permission_denied()
    receipt = ensure(roles, recorder=recorder)
    assert receipt.state == "ready"
    assert recorder.warned() == ["role-rights-unclear"]
    assert "attach_policy" not in roles.calls


def test_another_trust_policy_is_shown_and_not_changed() -> None:
    """Without --fix the error shows the missing statement."""
    roles = roles_with(SYSTEM, trust=FOREIGN_TRUST)
    with pytest.raises(RefusedError) as caught:
        ensure(roles)
    assert caught.value.code == "role-trust"
    assert "ecs.aliyuncs.com" in (caught.value.cause or "")
    assert "--fix" in (caught.value.remedy or "")
    assert roles.roles[NAME].trust_policy == FOREIGN_TRUST


def test_fix_adds_a_statement_and_keeps_the_others() -> None:
    """A statement that another user added between read and write is kept, too."""
    roles, recorder = roles_with(SYSTEM, trust=FOREIGN_TRUST), EventRecorder()
    newer = FOREIGN_TRUST.replace("fc.aliyuncs.com", "eci.aliyuncs.com")

    def change_trust_policy() -> None:
        roles.roles[NAME] = Role(name=NAME, arn="acs:ram::1:role/x", trust_policy=newer)

    roles.before["attached_policies"] = change_trust_policy
    receipt = ensure(roles, fix=True, recorder=recorder)
    assert (receipt.state, receipt.trust_extended) == ("extended", True)
    written = json.loads(roles.roles[NAME].trust_policy)["Statement"]
    assert written[0] == json.loads(newer)["Statement"][0]
    assert policy.lets_assume(roles.roles[NAME].trust_policy) is Decision.YES
    assert recorder.changed() == ["extended trust policy of role"]


def test_a_trust_policy_that_another_user_repairs_meanwhile_is_not_changed() -> None:
    """No second statement is added."""
    roles = roles_with(SYSTEM, trust=FOREIGN_TRUST)

    def repair_trust_policy() -> None:
        roles.roles[NAME] = Role(name=NAME, arn="acs:ram::1:role/x", trust_policy=policy.trust_policy())

    roles.before["attached_policies"] = repair_trust_policy
    receipt = ensure(roles)
    assert (receipt.state, receipt.differences) == ("ready", ())
    assert roles.roles[NAME].trust_policy == policy.trust_policy()


def test_a_trust_policy_that_denies_ecs_is_refused_with_fix_too() -> None:
    """An added statement would change nothing."""
    denied = policy.trust_policy().replace("Allow", "Deny")
    roles = roles_with(SYSTEM, trust=denied)
    with pytest.raises(RefusedError, match="denies"):
        ensure(roles, fix=True)
    assert roles.roles[NAME].trust_policy == denied


def test_a_conditional_trust_policy_is_a_warning() -> None:
    """Conditions can't be evaluated, so a warning is emitted, and ImportImage tests the role."""
    conditional = json.loads(policy.trust_policy())
    conditional["Statement"][0]["Condition"] = {"StringEquals": {"acs:SourceAccount": "1"}}
    recorder = EventRecorder()
    assert ensure(roles_with(SYSTEM, trust=json.dumps(conditional)), recorder=recorder).state == "ready"
    assert recorder.warned() == ["role-trust-conditional"]


def test_a_missing_right_to_read_the_role_is_a_warning() -> None:
    """The push continues, and ImportImage decides."""
    recorder = EventRecorder()
    roles = ScriptedRoles(fails={"role": permission_denied()})
    assert ensure(roles, recorder=recorder).state == "unseen"
    assert recorder.warned() == ["role-unseen"]
    assert roles.calls == ["role"]


def test_a_missing_right_to_list_policies_is_a_warning() -> None:
    """The role is not changed."""
    recorder = EventRecorder()
    roles = roles_with()
    roles.fails["attached_policies"] = permission_denied()
    assert ensure(roles, recorder=recorder).state == "unseen"
    assert recorder.warned() == ["role-unseen"]


def test_refused_credentials_are_an_error() -> None:
    """Only a missing right is a warning."""
    roles = ScriptedRoles(fails={"role": AccessError("Wrong key.", code="credentials-rejected", remedy=None)})
    with pytest.raises(AccessError) as caught:
        ensure(roles)
    assert caught.value.code == "credentials-rejected"


@each_row(
    ("roles", "what", "command"),
    [
        (ScriptedRoles(), "create_role", "aliyun ram CreateRole"),
        (roles_with(), "attach_policy", "aliyun ram AttachPolicyToRole"),
        (roles_with(SYSTEM, trust=FOREIGN_TRUST), "update_trust_policy", "aliyun ram UpdateRole"),
    ],
)
def test_a_missing_right_to_change_the_role_is_an_error_with_commands(
    roles: ScriptedRoles, what: str, command: str
) -> None:
    """It is exit 4; the remedy for the creation has the console page, too."""
    roles.fails[what] = permission_denied()
    with pytest.raises(AccessError) as caught:
        ensure(roles, fix=True)
    remedy = caught.value.remedy or ""
    assert caught.value.code == "role-rights"
    assert command in remedy
    assert NAME in remedy
    assert ("https://ram.console.aliyun.com/" in remedy) is (what == "create_role")


def test_the_printed_commands_are_quoted_for_a_shell() -> None:
    """A shell passes the policy document unchanged."""
    import shlex

    roles = ScriptedRoles(fails={"create_role": permission_denied()})
    with pytest.raises(AccessError) as caught:
        ensure(roles)
    command = next(command for command in (caught.value.remedy or "").splitlines() if "CreateRole" in command)
    arguments = shlex.split(command)
    assert json.loads(arguments[arguments.index("--AssumeRolePolicyDocument") + 1]) == json.loads(policy.trust_policy())


def test_a_role_that_another_user_creates_meanwhile_is_completed() -> None:
    """The missing policy is attached."""
    roles, recorder = ScriptedRoles(), EventRecorder()

    def create_role_first() -> None:
        roles.roles[NAME] = Role(name=NAME, arn="acs:ram::1:role/x", trust_policy=policy.trust_policy())

    roles.before["create_role"] = create_role_first
    receipt = ensure(roles, recorder=recorder)
    assert receipt.attached == (OSS_ROLE.system_policy,)
    assert roles.attached[NAME] == [SYSTEM]
    assert recorder.changed() == ["attached policy"]
    assert not receipt.created


def test_a_role_with_another_name_is_accepted_with_a_warning() -> None:
    """The documentation names the default role only."""
    recorder = EventRecorder()
    assert ensure(roles_with(SYSTEM, name="my-role"), name="my-role", recorder=recorder).state == "ready"
    assert recorder.warned() == ["role-name-not-default"]


def test_a_transient_failure_is_retried() -> None:
    """A lost connection does not count as a missing role."""
    roles = roles_with(SYSTEM)

    def fail() -> None:
        raise connection_lost()

    roles.before["role"] = fail
    assert ensure(roles).state == "ready"


def test_inspect_role_reports_every_difference_and_changes_nothing() -> None:
    """It is the function behind `role show`."""
    roles = roles_with(trust=FOREIGN_TRUST)
    state = inspect_role(roles, NAME, bucket="disks")
    assert not state.ready
    assert len(differences(state)) == 3
    assert set(roles.calls) == {"role", "attached_policies"}
    assert differences(inspect_role(ScriptedRoles(), NAME, bucket=None)) == (f"There is no role {NAME}.",)


def test_a_cloudbox_has_its_own_default_role() -> None:
    """A role that the user named is kept."""
    default = ImportRequest(region="cn-hangzhou", disks=(), name="disk")
    cloudbox = ImportRequest(region="cn-hangzhou", disks=(), name="disk", storage_location_arn="arn:acs:cloudbox:x")
    named = ImportRequest(region="cn-hangzhou", disks=(), name="d", storage_location_arn="arn", role_name="mine")
    typed = ImportRequest(
        region="cn-hangzhou", disks=(), name="d", storage_location_arn="arn", role_name=OSS_ROLE.default_name
    )
    assert role_name_of(typed) == OSS_ROLE.default_name, "a named role is kept"
    assert (needs_of(default), role_name_of(default)) == (OSS_ROLE, OSS_ROLE.default_name)
    assert (needs_of(cloudbox), role_name_of(cloudbox)) == (CLOUDBOX_ROLE, CLOUDBOX_ROLE.default_name)
    assert role_name_of(named) == "mine"
    roles = ScriptedRoles()
    context = Context(clock=SteeredClock())
    ensure_role(roles, context, CLOUDBOX_ROLE.default_name, bucket="b", fix=False, needs=CLOUDBOX_ROLE)
    assert roles.attached[CLOUDBOX_ROLE.default_name][0].name == CLOUDBOX_ROLE.system_policy


def test_the_url_of_the_console_page_is_percent_encoded() -> None:
    """The JSON in the query decodes to the documented request."""
    url = role_console_url(OSS_ROLE) or ""
    head, _, encoded = url.partition("?request=")
    assert head == "https://ram.console.aliyun.com/#/role/authorize"
    assert not set(encoded) & set('{}":/ ,')
    assert json.loads(unquote(encoded)) == {
        "Requests": {"request1": {"RoleName": NAME, "TemplateId": "ECSImportRole"}},
        "ReturnUrl": "https://ecs.console.aliyun.com/",
        "Service": "ECS",
    }
    assert role_console_url(CLOUDBOX_ROLE) is None


def test_the_role_policy_permits_only_the_needed_actions() -> None:
    """It permits three actions, on its bucket only."""
    document = json.dumps(role_policy("disks"))
    for action in OSS_ROLE.actions:
        assert policy.permits([document], action, bucket="disks", key="k") is Decision.YES
        assert policy.permits([document], action, bucket="others", key="k") is Decision.NO
    assert policy.permits([document], "oss:PutObject", bucket="disks", key="k") is Decision.NO


def test_the_user_policy_has_tasks_on_all_resources() -> None:
    """RAM checks task calls on all resources only; the other statements name their resources."""
    statements = user_policy("disks")["Statement"]
    by_action = {action: one["Resource"] for one in statements for action in one["Action"]}
    assert by_action["ecs:DescribeTaskAttribute"] == "*"
    assert by_action["ecs:ImportImage"] == "acs:ecs:*:*:image/*"
    assert by_action["oss:PutObject"] == "acs:oss:*:*:disks/*"
    assert by_action["oss:PutBucketLifecycle"] == "acs:oss:*:*:disks"
    assert "aliyun-import-*" in json.dumps(user_policy(None))


def test_the_user_policy_limits_attaching_to_this_role_and_policy() -> None:
    """With "*" a user could give any role every permission."""
    by_action = {action: one["Resource"] for one in user_policy()["Statement"] for action in one["Action"]}
    assert by_action["ram:AttachPolicyToRole"] == [
        f"acs:ram:*:*:role/{NAME}",
        f"acs:ram:*:system:policy/{OSS_ROLE.system_policy}",
    ]
    assert by_action["ram:UpdateRole"] == f"acs:ram:*:*:role/{NAME}"
    assert "*" not in [resource for action, resource in by_action.items() if action.startswith("ram:")]


def test_warnings_have_remedies() -> None:
    """Every warning has a remedy."""
    recorder = EventRecorder()
    ensure(ScriptedRoles(fails={"role": permission_denied()}), name="mine", recorder=recorder)
    assert all(event.remedy for event in recorder.events if isinstance(event, Warned))
    assert isinstance(permission_denied(), AliyunImportError)
