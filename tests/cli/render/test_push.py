"""Tests of the summary of a push."""

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


def test_the_summary_has_image_cost_leftovers_and_next_command() -> None:
    """Also the bytes sent and saved, the duration and the URL of the console."""
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
    """The image does not exist in the real cloud, so there is no URL and no command."""
    outcome = push_outcome(RESULT, is_real_cloud=False)
    assert [label for label, _ in outcome.summary] == ["image", "upload", "time", "stays", ""]
    assert (outcome.document["console_url"], outcome.document["run_command"]) == ("", "")


def test_a_repeated_push_has_no_summary() -> None:
    """Nothing was sent and nothing was created."""
    assert push_outcome(replace(RESULT, already_there=True)).summary == ()
