"""Tests of the translation of service errors: each row of the table, and the rules for codes without a row."""

import re
import socket
from collections.abc import Callable, Iterator

import pytest

from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.cloud.errors.mapping import ErrorMapping
from aliyun_import.cloud.errors.translate import TABLE, Refusal, translate
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.transport.answer import Answer
from aliyun_import.cloud.transport.rpc import refusal_of
from aliyun_import.errors import (
    AliyunImportError,
    DiskError,
    Exit,
    PermissionDenied,
    RefusedError,
    Throttled,
    TransientError,
    UsageError,
)
from aliyun_import.model.roles import Policy
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.rpc_errors import REFUSALS
from aliyun_import.sandbox.server import Sandbox
from tests.cloud import adapters, servers
from tests.rows import each_row

TOKEN = "NOT-A-TOKEN"  # as if a service returned one
ROWS = [(service, row) for row in TABLE for service in row.services if not row.variant]
# The codes of OSS's published tables of errors and of its pages on endpoints, signatures and custom domains.
OSS_CODES = """
InvalidBucketName InvalidObjectName InvalidArgument MissingArgument InvalidDigest InvalidCRC64 IncompleteBody
RequestTimeout EntityTooSmall EntityTooLarge InlineDataTooLarge InvalidPart InvalidPartOrder FilePartNotExist
MalformedXML TooManyBuckets InvalidHostPutBucket InvalidEncryptionAlgorithmError KmsServiceNotEnabled NotImplemented
OperationNotSupported PublicEndpointForbidden AccessDenied PermanentRedirect BucketNotBelongTo InvalidAccessKeyId
SignatureDoesNotMatch RequestTimeTooSkewed InvalidSecurityToken SecurityTokenExpired
AccessKeyIdAndSecurityTokenNotMatch SecurityTokenNotSupported UserDisable BucketDisable AbnormalBucketOwnerStatus
SecondLevelDomainForbidden NonStandardHostForbidden TransferAccelerationDisabled InvalidObjectState NoSuchBucket
NoSuchKey NoSuchUpload NoSuchLifecycle MethodNotAllowed BucketAlreadyExists BucketNotEmpty FileAlreadyExists
FileImmutable RestoreAlreadyInProgress MissingContentLength PreconditionFailed InvalidRange InternalError
ServiceUnavailable UploadTrafficRateLimitExceeded DownloadTrafficRateLimitExceeded TotalQpsLimitExceeded
MetaOperationQpsLimitExceeded
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Start one sandbox for all rows; each row adds its fault, which applies to one call."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def _call_for(cloud: Sandbox, service: str, row: ErrorMapping) -> Callable[[], object]:
    """Return a call that has the values in the row's sentences, and raises the refusal."""
    text = f"{row.summary} {row.remedy}"
    if service == "OSS":
        return lambda: adapters.store(cloud).read("disk.raw")
    if service == "STS":
        return lambda: adapters.identity(cloud).whoami()
    if service == "RAM" and "{policy}" in text:
        expected_code = Policy(name="ours", type="Custom")
        return lambda: adapters.roles(cloud).attach_policy(expected_code, role_name=adapters.ROLE)
    if service == "RAM":
        return lambda: adapters.roles(cloud).update_trust_policy(adapters.ROLE, trust_policy="{}")
    if "{vswitch}" in text:
        return lambda: adapters.instances(cloud).run_instance(adapters.instance_call())
    if "{task}" in text:
        return lambda: adapters.images(cloud).cancel_task("t-1")
    if "{image}" in text:
        return lambda: adapters.images(cloud).rename_image("m-1", name="web-43")
    return lambda: adapters.images(cloud).import_image(adapters.import_call())


def _error_of_row(cloud: Sandbox, service: str, row: ErrorMapping) -> AliyunImportError:
    """Return the error of a call that is answered with the row's code."""
    status = REFUSALS.get(row.service_code, (400, ""))[0]
    cloud.faults.clear()
    cloud.faults.add(
        Fault(status=status, code=row.service_code, message=f"The message of the service. SecurityToken={TOKEN}")
    )
    act = _call_for(cloud, service, row)
    with pytest.raises(AliyunImportError) as caught:
        act()
    return caught.value


@each_row(
    ("service", "row"),
    [one for one in ROWS if one[1].service_code != "EntityAlreadyExists.Role.Policy"],
)
def test_each_row_becomes_its_error(service: str, row: ErrorMapping, cloud: Sandbox) -> None:
    """Class, code, summary and remedy are those of the row; the service's message is kept, its secrets are not."""
    error = _error_of_row(cloud, service, row)
    assert type(error) is row.kind
    assert error.code == row.code
    assert error.details["service_code"] == row.service_code
    assert error.details["request_id"].startswith("SANDBOX-")
    assert f"with {row.service_code} (HTTP" in str(error.cause)
    assert "The message of the service." in str(error.cause)
    text = f"{error.summary} {error.remedy} {error.cause} {error.details}"
    assert TOKEN not in text
    for name in set(re.findall(r"{(\w+)}", f"{row.summary} {row.remedy}")) - {"skew", "policy_command"}:
        assert error.details[name] in f"{error.summary} {error.remedy}"
    assert (error.remedy is None) == (row.remedy is None)


@each_row(
    ("service", "row"),
    [one for one in ROWS if one[0] != "OSS"],
)
def test_an_rpc_answer_in_xml_becomes_the_same_error(service: str, row: ErrorMapping) -> None:
    """A gateway may answer in XML although JSON was requested."""
    body = (
        f'<?xml version="1.0"?><Error><RequestId>R-1</RequestId><HostId>h</HostId><Code>{row.service_code}</Code>'
        "<Message>Words.</Message></Error>"
    )
    error = refusal_of(Answer(400, {}, body.encode()), service=service, operation="Do", operands={})
    assert (type(error), error.code) == (row.kind, row.code)
    assert error.details["request_id"] == "R-1"
    assert "Words." in str(error.cause)


@each_row(
    ("status", "kind"), [(400, RefusedError), (403, PermissionDenied), (429, TransientError), (502, TransientError)]
)
@each_row("body", ["<Error><Code/><Message/></Error>", "<Error/>", "", "<html>Bad gateway</html>"])
def test_an_answer_of_oss_without_a_code_is_an_error_of_its_status(
    status: int, kind: type[AliyunImportError], body: str
) -> None:
    """A request id shows that OSS answered; an empty code is retried or refused by its status."""
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nx-oss-request-id: R-1\r\nConnection: close\r\n\r\n"

    def answer(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.sendall((head + body).encode())

    with servers.serve(answer) as port:
        where = resolve_endpoints("cn-hangzhou", endpoint_url=f"http://127.0.0.1:{port}")
        store = OssStore(adapters.BUCKET, endpoints=where, credentials=adapters.any_credentials())
        with pytest.raises(kind) as caught:
            store.read("disk.raw")
    assert "(HTTP " in str(caught.value.cause)
    assert caught.value.details["request_id"] == "R-1"


def test_no_row_is_duplicate() -> None:
    """A service, a code and a variant determine one row."""
    keys = [(service, row.service_code, row.variant) for row in TABLE for service in row.services]
    assert len(keys) == len(set(keys))


@each_row("code", OSS_CODES.split())
def test_every_published_code_of_oss_has_a_row(code: str) -> None:
    """No documented code uses the default."""
    assert [row for row in TABLE if row.service_code == code and "OSS" in row.services]


@each_row("service", ["ECS", "RAM", "STS"])
def test_every_code_of_the_sandbox_is_translated(service: str) -> None:
    """A code without a row is an error with the code and the status, and no bug."""
    for code, (status, message) in REFUSALS.items():
        error = translate(
            Refusal(
                service=service,
                operation="DescribeImages",
                status=status,
                code=code,
                message=message,
                request_id="R-1",
                operands={},
            )
        )
        assert error.exit_code is not Exit.BUG
        assert error.details["service_code"] == code
        assert f"with {code} (HTTP {status})" in str(error.cause)


@each_row(
    ("service", "status", "code", "kind", "expected_code"),
    [
        ("ECS", 400, "Throttling.Unheard", Throttled, "throttled"),
        ("OSS", 503, "NewRateLimitExceeded", Throttled, "throttled"),
        ("ECS", 500, "Unheard", TransientError, "service-unwell"),
        ("RAM", 429, "Unheard", TransientError, "service-unwell"),
        ("OSS", 500, "", TransientError, "service-unwell"),
        ("ECS", 403, "Forbidden.Unheard", PermissionDenied, "no-right"),
        ("RAM", 403, "Unheard", PermissionDenied, "access-denied"),
        ("ECS", 403, "InvalidSomething.Unheard", RefusedError, "refused"),
        ("ECS", 403, "QuotaExceed.Unheard", RefusedError, "quota-exceeded"),
        ("RAM", 400, "InvalidParameter.Unheard.Length", RefusedError, "request-invalid"),
        ("ECS", 404, "Unheard", RefusedError, "refused"),
        ("OSS", 404, "", RefusedError, "refused"),
    ],
)
def test_an_unknown_code_is_translated_by_its_prefix_or_status(
    service: str, status: int, code: str, kind: type[AliyunImportError], expected_code: str
) -> None:
    """Code, message and request id are kept."""
    error = translate(
        Refusal(service=service, operation="Do", status=status, code=code, message="Own words.", request_id="R-1")
    )
    assert (type(error), error.code) == (kind, expected_code)
    assert "Own words." in str(error.cause)
    assert str(status) in str(error.cause)
    assert error.details["request_id"] == "R-1"


def test_braces_in_values_and_messages_are_kept() -> None:
    """They are not placeholders."""
    error = translate(
        Refusal(
            service="ECS",
            operation="ImportImage",
            status=400,
            code="InvalidOSSObject.Size",
            message="{bucket} {0}",
            request_id="",
            operands={"key": "{x} {bucket}"},
        )
    )
    assert "{x} {bucket}" in error.summary
    assert "{bucket} {0}" in str(error.cause)


@each_row("row", [*TABLE, None])
def test_sentences_are_complete_without_values(row: ErrorMapping | None) -> None:
    """Without message, action and operands there is no placeholder and no gap."""
    error = translate(
        Refusal(
            service=row.services[0] if row else "OSS",
            operation="AnOperation",
            status=403,
            code=row.service_code if row else "",
            variant=row.variant if row else "",
            message="",
            request_id="",
        )
    )
    for text in (error.summary, error.remedy or "", error.cause or ""):
        assert not re.search(r"[{}]|MESSAGE|ACTION", text)
        assert not re.search(r"  | [.,;:)](\s|$)|\(\)", text)
        for name in re.findall(r"{(\w+)}", f"{row.summary} {row.remedy}" if row else ""):
            assert name.upper() not in text


def test_no_row_is_a_disk_or_usage_error() -> None:
    """The services have no information about local disks and the command line."""
    assert not [row for row in TABLE if issubclass(row.kind, (DiskError, UsageError))]
