"""Tests of how the role is seen to."""

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
from tests.image.scripted import Heard, ScriptedRoles, lost, no_right
from tests.rows import each_row
from tests.steered import SteeredClock

NAME = OSS_ROLE.default_name
SYSTEM = Policy(name=OSS_ROLE.system_policy, type="System")
FOREIGN_TRUST = (
    '{"Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["fc.aliyuncs.com"]}}]}'
)


def ensure(
    roles: ScriptedRoles,
    *,
    name: str = NAME,
    bucket: str | None = "disks",
    fix: bool = False,
    heard: Heard | None = None,
) -> RoleChange:
    """Ensure the role, with retries as a push does."""
    context = Context(clock=SteeredClock(), emit=heard or Heard())
    return ensure_role(with_retries(roles, Retrier(context)), context, name, bucket=bucket, fix=fix)


def there(
    *policies: Policy, trust: str = "", name: str = NAME, documents: dict[str, str] | None = None
) -> ScriptedRoles:
    """Have a role with these policies."""
    role = Role(name=name, arn=f"acs:ram::1:role/{name}", trust_policy=trust or policy.trust_policy())
    return ScriptedRoles(roles={name: role}, attached={name: list(policies)}, documents=documents or {})


def custom(document: object, name: str = "narrow") -> tuple[Policy, dict[str, str]]:
    """Return a custom policy, and its document by name."""
    return Policy(name=name, type="Custom"), {name: json.dumps(document)}


def test_a_missing_role_is_made_as_documented() -> None:
    """The role gets the documented trust policy and the system policy, and both changes are emitted."""
    roles, heard = ScriptedRoles(), Heard()
    receipt = ensure(roles, heard=heard)
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
    assert heard.changed() == ["created role", "attached policy"]


def test_a_role_as_documented_is_left_alone() -> None:
    """Nothing is written when nothing is missing."""
    roles = there(SYSTEM)
    receipt = ensure(roles)
    assert (receipt.state, receipt.changed, receipt.differences) == ("ready", False, ())
    assert roles.calls == ["role", "attached_policies"]


def test_a_missing_policy_is_attached() -> None:
    """A role without rights on OSS gets the system policy, and nothing else is touched."""
    roles, heard = there(), Heard()
    receipt = ensure(roles, heard=heard)
    assert (receipt.state, receipt.attached) == ("attached", (OSS_ROLE.system_policy,))
    assert heard.changed() == ["attached policy"]
    assert "update_trust_policy" not in roles.calls


def test_a_custom_policy_that_suffices_is_enough() -> None:
    """A policy for the bucket suffices without the system policy; the difference is reported."""
    narrow, documents = custom(role_policy("disks"))
    receipt = ensure(there(narrow, documents=documents))
    assert receipt.state == "ready"
    assert receipt.differences == (f"The system policy {OSS_ROLE.system_policy} is not attached.",)


def test_a_custom_policy_for_another_bucket_is_not_enough() -> None:
    """Rights on another bucket are no rights on this one."""
    narrow, documents = custom(role_policy("others"))
    assert ensure(there(narrow, documents=documents)).state == "attached"


def test_the_policy_of_the_old_page_is_completed() -> None:
    """A custom policy from the older page lacks GetBucketInfo; the system policy is attached beside it."""
    old = {
        "Version": "1",
        "Statement": [{"Action": ["oss:GetObject", "oss:GetBucketLocation"], "Resource": "*", "Effect": "Allow"}],
    }
    narrow, documents = custom(old)
    roles = there(narrow, documents=documents)
    assert ensure(roles).state == "attached"
    assert roles.attached[NAME] == [narrow, SYSTEM]


def test_a_denial_is_an_error_before_the_upload() -> None:
    """A Deny in an attached policy beats the system policy, so that the import would fail after the upload."""
    denying, documents = custom(
        {"Version": "1", "Statement": [{"Effect": "Deny", "Action": "oss:*", "Resource": "acs:oss:*:*:disks/*"}]}
    )
    with pytest.raises(AccessError) as caught:
        ensure(there(SYSTEM, denying, documents=documents))
    assert caught.value.code == "role-denied"
    assert "oss:GetObject" in (caught.value.cause or "")


def test_an_unread_policy_is_neither_a_right_nor_a_lack() -> None:
    """Without the right to read a policy's document nothing is attached on suspicion; a warning says so."""
    roles, heard = there(Policy(name="secret", type="Custom")), Heard()
    roles.fails["policy_document"] = no_right()
    receipt = ensure(roles, heard=heard)
    assert receipt.state == "ready"
    assert heard.warned() == ["role-rights-unclear"]
    assert "attach_policy" not in roles.calls


def test_a_foreign_trust_policy_is_shown_and_not_touched() -> None:
    """Without --fix the missing statement is shown, and the role stays as it is."""
    roles = there(SYSTEM, trust=FOREIGN_TRUST)
    with pytest.raises(RefusedError) as caught:
        ensure(roles)
    assert caught.value.code == "role-trust"
    assert "ecs.aliyuncs.com" in (caught.value.cause or "")
    assert "--fix" in (caught.value.remedy or "")
    assert roles.roles[NAME].trust_policy == FOREIGN_TRUST


def test_fix_adds_a_statement_and_keeps_the_others() -> None:
    """With --fix every statement that was there stays, also one that came between reading and writing."""
    roles, heard = there(SYSTEM, trust=FOREIGN_TRUST), Heard()
    newer = FOREIGN_TRUST.replace("fc.aliyuncs.com", "eci.aliyuncs.com")

    def somebody_writes() -> None:
        roles.roles[NAME] = Role(name=NAME, arn="acs:ram::1:role/x", trust_policy=newer)

    roles.before["attached_policies"] = somebody_writes
    receipt = ensure(roles, fix=True, heard=heard)
    assert (receipt.state, receipt.trust_extended) == ("extended", True)
    written = json.loads(roles.roles[NAME].trust_policy)["Statement"]
    assert written[0] == json.loads(newer)["Statement"][0]
    assert policy.lets_assume(roles.roles[NAME].trust_policy) is Decision.YES
    assert heard.changed() == ["extended trust policy of role"]


def test_a_trust_policy_that_is_repaired_meanwhile_is_not_changed() -> None:
    """No second statement is added beside theirs."""
    roles = there(SYSTEM, trust=FOREIGN_TRUST)

    def somebody_repairs() -> None:
        roles.roles[NAME] = Role(name=NAME, arn="acs:ram::1:role/x", trust_policy=policy.trust_policy())

    roles.before["attached_policies"] = somebody_repairs
    receipt = ensure(roles)
    assert (receipt.state, receipt.differences) == ("ready", ())
    assert roles.roles[NAME].trust_policy == policy.trust_policy()


def test_fix_cannot_help_against_a_deny() -> None:
    """A trust policy that denies ECS is refused with --fix, too: an added statement would change nothing."""
    denied = policy.trust_policy().replace("Allow", "Deny")
    roles = there(SYSTEM, trust=denied)
    with pytest.raises(RefusedError, match="denies"):
        ensure(roles, fix=True)
    assert roles.roles[NAME].trust_policy == denied


def test_a_conditional_trust_policy_is_a_warning() -> None:
    """Conditions can't be evaluated, so a warning is emitted, and ImportImage tests the role."""
    conditional = json.loads(policy.trust_policy())
    conditional["Statement"][0]["Condition"] = {"StringEquals": {"acs:SourceAccount": "1"}}
    heard = Heard()
    assert ensure(there(SYSTEM, trust=json.dumps(conditional)), heard=heard).state == "ready"
    assert heard.warned() == ["role-trust-conditional"]


def test_no_right_to_look_is_a_warning() -> None:
    """Without rights on RAM the push goes on, and ImportImage decides."""
    heard = Heard()
    roles = ScriptedRoles(fails={"role": no_right()})
    assert ensure(roles, heard=heard).state == "unseen"
    assert heard.warned() == ["role-unseen"]
    assert roles.calls == ["role"]


def test_no_right_to_list_policies_is_a_warning() -> None:
    """A role that is there and whose policies may not be listed is not touched."""
    heard = Heard()
    roles = there()
    roles.fails["attached_policies"] = no_right()
    assert ensure(roles, heard=heard).state == "unseen"
    assert heard.warned() == ["role-unseen"]


def test_wrong_credentials_are_no_warning() -> None:
    """Only a missing right is passed over; keys that are refused are an error."""
    roles = ScriptedRoles(fails={"role": AccessError("Wrong key.", code="credentials-rejected", remedy=None)})
    with pytest.raises(AccessError) as caught:
        ensure(roles)
    assert caught.value.code == "credentials-rejected"


@each_row(
    ("roles", "what", "command"),
    [
        (ScriptedRoles(), "create_role", "aliyun ram CreateRole"),
        (there(), "attach_policy", "aliyun ram AttachPolicyToRole"),
        (there(SYSTEM, trust=FOREIGN_TRUST), "update_trust_policy", "aliyun ram UpdateRole"),
    ],
)
def test_no_right_to_change_says_what_an_administrator_can_run(roles: ScriptedRoles, what: str, command: str) -> None:
    """Exit 4, with the very commands; those for creating have the console page, too."""
    roles.fails[what] = no_right()
    with pytest.raises(AccessError) as caught:
        ensure(roles, fix=True)
    remedy = caught.value.remedy or ""
    assert caught.value.code == "role-rights"
    assert command in remedy
    assert NAME in remedy
    assert ("https://ram.console.aliyun.com/" in remedy) is (what == "create_role")


def test_the_commands_survive_a_shell() -> None:
    """The policy in the command is quoted, so that what a shell hands on is the document."""
    import shlex

    roles = ScriptedRoles(fails={"create_role": no_right()})
    with pytest.raises(AccessError) as caught:
        ensure(roles)
    line = next(line for line in (caught.value.remedy or "").splitlines() if "CreateRole" in line)
    words = shlex.split(line)
    assert json.loads(words[words.index("--AssumeRolePolicyDocument") + 1]) == json.loads(policy.trust_policy())


def test_a_role_that_another_process_creates_first_is_used() -> None:
    """A role that appears between looking and creating is looked at and completed."""
    roles, heard = ScriptedRoles(), Heard()

    def somebody_creates() -> None:
        roles.roles[NAME] = Role(name=NAME, arn="acs:ram::1:role/x", trust_policy=policy.trust_policy())

    roles.before["create_role"] = somebody_creates
    receipt = ensure(roles, heard=heard)
    assert receipt.attached == (OSS_ROLE.system_policy,)
    assert roles.attached[NAME] == [SYSTEM]
    assert heard.changed() == ["attached policy"]
    assert not receipt.created


def test_another_name_works_with_a_warning() -> None:
    """A role of another name is seen to alike; the page's word about the name is passed on."""
    heard = Heard()
    assert ensure(there(SYSTEM, name="my-role"), name="my-role", heard=heard).state == "ready"
    assert heard.warned() == ["role-name-not-default"]


def test_passing_trouble_is_passed_over() -> None:
    """A dropped line is no verdict about the role."""
    roles = there(SYSTEM)

    def once() -> None:
        raise lost()

    roles.before["role"] = once
    assert ensure(roles).state == "ready"


def test_inspecting_changes_nothing_and_says_all() -> None:
    """`role show` reports every difference and changes nothing."""
    roles = there(trust=FOREIGN_TRUST)
    sight = inspect_role(roles, NAME, bucket="disks")
    assert not sight.ready
    assert len(differences(sight)) == 3
    assert set(roles.calls) == {"role", "attached_policies"}
    assert differences(inspect_role(ScriptedRoles(), NAME, bucket=None)) == (f"There is no role {NAME}.",)


def test_a_cloudbox_has_another_role() -> None:
    """A location in a CloudBox changes the default role; a role that the user named stays."""
    plain = ImportRequest(region="cn-hangzhou", disks=(), name="disk")
    boxed = ImportRequest(region="cn-hangzhou", disks=(), name="disk", storage_location_arn="arn:acs:cloudbox:x")
    named = ImportRequest(region="cn-hangzhou", disks=(), name="d", storage_location_arn="arn", role_name="mine")
    typed = ImportRequest(
        region="cn-hangzhou", disks=(), name="d", storage_location_arn="arn", role_name=OSS_ROLE.default_name
    )
    assert role_name_of(typed) == OSS_ROLE.default_name, "a role that was named is not exchanged for another"
    assert (needs_of(plain), role_name_of(plain)) == (OSS_ROLE, OSS_ROLE.default_name)
    assert (needs_of(boxed), role_name_of(boxed)) == (CLOUDBOX_ROLE, CLOUDBOX_ROLE.default_name)
    assert role_name_of(named) == "mine"
    roles = ScriptedRoles()
    context = Context(clock=SteeredClock())
    ensure_role(roles, context, CLOUDBOX_ROLE.default_name, bucket="b", fix=False, needs=CLOUDBOX_ROLE)
    assert roles.attached[CLOUDBOX_ROLE.default_name][0].name == CLOUDBOX_ROLE.system_policy


def test_the_console_page_is_percent_encoded() -> None:
    """The JSON in the address is encoded whole and decodes to the documented request."""
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


def test_the_role_policy_gives_what_is_needed_and_no_more() -> None:
    """The narrowed policy permits the three actions on its bucket, and nothing on another or besides."""
    document = json.dumps(role_policy("disks"))
    for action in OSS_ROLE.actions:
        assert policy.permits([document], action, bucket="disks", key="k") is Decision.YES
        assert policy.permits([document], action, bucket="others", key="k") is Decision.NO
    assert policy.permits([document], "oss:PutObject", bucket="disks", key="k") is Decision.NO


def test_the_user_policy_has_tasks_on_all_resources() -> None:
    """Task calls authorise on all resources only; the bucket's statements name the bucket."""
    statements = user_policy("disks")["Statement"]
    by_action = {action: one["Resource"] for one in statements for action in one["Action"]}
    assert by_action["ecs:DescribeTaskAttribute"] == "*"
    assert by_action["ecs:ImportImage"] == "acs:ecs:*:*:image/*"
    assert by_action["oss:PutObject"] == "acs:oss:*:*:disks/*"
    assert by_action["oss:PutBucketLifecycle"] == "acs:oss:*:*:disks"
    assert "aliyun-import-*" in json.dumps(user_policy(None))


def test_the_user_policy_makes_no_administrator() -> None:
    """Attaching is limited to this role and policy: with "*" a user could give any role every permission."""
    by_action = {action: one["Resource"] for one in user_policy()["Statement"] for action in one["Action"]}
    assert by_action["ram:AttachPolicyToRole"] == [
        f"acs:ram:*:*:role/{NAME}",
        f"acs:ram:*:system:policy/{OSS_ROLE.system_policy}",
    ]
    assert by_action["ram:UpdateRole"] == f"acs:ram:*:*:role/{NAME}"
    assert "*" not in [resource for action, resource in by_action.items() if action.startswith("ram:")]


def test_warnings_have_remedies() -> None:
    """Every warning has a remedy."""
    heard = Heard()
    ensure(ScriptedRoles(fails={"role": no_right()}), name="mine", heard=heard)
    assert all(event.remedy for event in heard.events if isinstance(event, Warned))
    assert isinstance(no_right(), AliyunImportError)
