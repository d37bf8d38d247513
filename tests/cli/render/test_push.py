"""Tests of the result of a push: the summary, and the command that follows."""

from dataclasses import replace

from aliyun_import.cli.render.push import push_outcome
from aliyun_import.model.objects import UploadedObject
from aliyun_import.push.options import PushResult

GIB = 1 << 30
OBJECT = UploadedObject(
    bucket="a-bucket", key="aliyun-import/web/system.raw", size_bytes=40 * GIB, crc64=1, etag="E", proof="CRC-64",
    made_by_us=True, sent_bytes=3 * GIB, saved_bytes=37 * GIB,
)  # fmt: skip
RESULT = PushResult(
    region="cn-hangzhou", image_name="web", image_id="m-bp1example", task_id="t-bp1example", image_status="Available",
    objects=(OBJECT,), left_over=("oss://a-bucket/aliyun-import/web/system.raw",), sent_bytes=3 * GIB,
    saved_bytes=37 * GIB, seconds=754.2, architecture="x86_64",
)  # fmt: skip
NETWORK = "--SecurityGroupId SECURITY_GROUP_ID --VSwitchId VSWITCH_ID"


def test_the_summary_has_what_was_made_what_it_cost_and_what_follows() -> None:
    """Image, bytes sent and saved, duration, what stays and is billed, the console, the next command."""
    outcome = push_outcome(RESULT)
    assert outcome.text == "m-bp1example"
    assert outcome.summary == (
        ("image", 'm-bp1example "web" in cn-hangzhou, Available'),
        ("upload", "3 GiB sent, 37 GiB of 40 GiB not sent: OSS made or had them"),
        ("time", "12:34"),
        ("stays", "the image m-bp1example and its snapshot, which is billed"),
        ("", "40 GiB in oss://a-bucket/aliyun-import/web/system.raw"),
        ("console", "https://ecs.console.aliyun.com/image/region/cn-hangzhou/imageList"),
        (
            "next",
            "start an instance in one of your networks with `aliyun ecs RunInstances --RegionId cn-hangzhou "
            f"--ImageId m-bp1example --InstanceType ecs.g7.large {NETWORK}`",
        ),
    )


def test_an_arm_image_starts_on_an_arm_instance() -> None:
    """The instance type is one of the image's architecture."""
    command = push_outcome(replace(RESULT, architecture="arm64")).document["run_command"]
    assert "--InstanceType ecs.g8y.large" in command


def test_a_sandbox_has_no_console() -> None:
    """No link and no command lead to a cloud in which the image is not."""
    outcome = push_outcome(RESULT, is_real_cloud=False)
    assert [label for label, _ in outcome.summary] == ["image", "upload", "time", "stays", ""]
    assert (outcome.document["console_url"], outcome.document["run_command"]) == ("", "")


def test_a_push_that_was_done_before_has_no_summary() -> None:
    """Its stage says so in one line; nothing was sent, and nothing is new."""
    assert push_outcome(replace(RESULT, already_there=True)).summary == ()
