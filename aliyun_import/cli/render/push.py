"""Rendering of the result of a push: JSON document, line on stdout, and summary on stderr."""

import shlex
from dataclasses import asdict
from typing import Any

from aliyun_import.cli.render.boot import boot_document, cloud_boot_document
from aliyun_import.cli.render.result import Outcome
from aliyun_import.cli.render.text import count, duration, escaped
from aliyun_import.model.objects import UploadedObject
from aliyun_import.push.options import PushResult
from aliyun_import.sizes import size
from aliyun_import.upload.plan import ZERO_SEED_BYTES
from aliyun_import.upload.removal import leftovers_command

# A small instance type of each architecture, available in most regions, for the command that starts an instance.
_INSTANCE_TYPES = {"arm64": "ecs.g8y.large"}
_INSTANCE_TYPE = "ecs.g7.large"


def push_outcome(result: PushResult, *, is_real_cloud: bool = True) -> Outcome:
    """Return the result: on stdout the image id, the task with --no-wait, the plan in a dry run.

    Without `is_real_cloud` the image is in a sandbox, and the result has no URL of the console and no command to start
    it.
    """
    console, command = (console_url(result.region), run_command(result)) if is_real_cloud else ("", "")
    document = {
        "command": "push",
        "image_id": result.image_id,
        "image_name": result.image_name,
        "image_status": result.image_status,
        "region": result.region,
        "task_id": result.task_id,
        "push_id": result.push_id,
        "objects": [object_document(one) for one in result.objects],
        "left_over": list(result.left_over),
        "sent_bytes": result.sent_bytes,
        "saved_bytes": result.saved_bytes,
        "seconds": round(result.seconds, 3),
        "already_there": result.already_there,
        "dry_run": result.dry_run,
        "boot_test": boot_document(result.boot_test) if result.boot_test else None,
        "cloud_boot_test": cloud_boot_document(result.cloud_boot_test) if result.cloud_boot_test else None,
        "kept": asdict(result.kept),
        "console_url": console,
        "run_command": command if result.image_status else "",
    }
    if result.dry_run:
        return Outcome(document={**document, "plan": result.plan}, text=plan_text(result))
    if not result.image_status:
        return Outcome(document=document, text=result.task_id, summary=_running_summary(result))
    summary = () if result.already_there else _summary(result, console=console, command=command)
    return Outcome(document=document, text=result.image_id, summary=summary)


def console_url(region: str) -> str:
    """Return the page of the ECS console that lists the custom images of a region."""
    return f"https://ecs.console.aliyun.com/image/region/{region}/imageList"


def run_command(result: PushResult) -> str:
    """Return the command that starts an instance of the image; only the network is left to be filled in."""
    words = ["aliyun", "ecs", "RunInstances", "--RegionId", result.region, "--ImageId", result.image_id]
    words += ["--InstanceType", _INSTANCE_TYPES.get(result.architecture, _INSTANCE_TYPE)]
    return shlex.join([*words, "--SecurityGroupId", "SECURITY_GROUP_ID", "--VSwitchId", "VSWITCH_ID"])


def _running_summary(result: PushResult) -> tuple[tuple[str, str], ...]:
    """Return the summary of a push with --no-wait: what is still running, and the commands that finish it."""
    wait = f"`aliyun-import task wait {result.task_id} --region {result.region}`"
    rows = [
        ("image", f'{result.image_id} "{result.image_name}" in {result.region}, not usable yet'),
        ("next", f"run the same command without --no-wait to finish; or only wait with {wait}"),
    ]
    for uploaded in result.objects:
        if uploaded.made_by_us:
            remove = leftovers_command(region=result.region, bucket=uploaded.bucket, keys=[uploaded.key])
            rows.append(("stays", f"{uploaded.url}; once the import is done, {remove} deletes it"))
    return tuple(rows)


def _summary(result: PushResult, *, console: str, command: str) -> tuple[tuple[str, str], ...]:
    total = sum(one.size_bytes for one in result.objects)
    sent, saved = size(result.sent_bytes), size(result.saved_bytes)
    rows = [("image", f'{result.image_id} "{result.image_name}" in {result.region}, {result.image_status}')]
    if total:
        rows.append(("upload", f"{sent} sent, {saved} of {size(total)} not sent: OSS made or had them"))
    if result.cloud_boot_test:
        test = result.cloud_boot_test
        rows.append(("boot test", f"{test.judgement.verdict} after {duration(test.seconds)} ({test.instance_type})"))
    rows.append(("time", duration(result.seconds)))
    rows.append(("stays", f"the image {result.image_id} and its snapshot, which is billed"))
    objects = {one.url: one.size_bytes for one in result.objects}
    rows += [("", f"{f'{size(objects[url])} in ' if url in objects else ''}{url}") for url in result.left_over]
    if result.kept.objects:
        kept = f"{count(len(result.kept.objects), 'object')}, {size(result.kept.object_bytes)} in all"
        rows.append(("kept", f"{kept}, as bases of the next pushes"))
    if result.kept.images:
        rows.append(("", f"replaced images: {', '.join(result.kept.images)}"))
    if console:
        rows.append(("console", console))
    if command:
        rows.append(("next", f"start an instance in one of your networks with `{command}`"))
    return tuple(rows)


def object_document(uploaded: UploadedObject) -> dict[str, Any]:
    """Return an object as JSON, its CRC-64 in hexadecimal."""
    return {
        "bucket": uploaded.bucket,
        "key": uploaded.key,
        "size_bytes": uploaded.size_bytes,
        "crc64": f"{uploaded.crc64:016x}",
        "etag": uploaded.etag,
        "proof": uploaded.proof,
        "sent_bytes": uploaded.sent_bytes,
        "saved_bytes": uploaded.saved_bytes,
        "made_by_us": uploaded.made_by_us,
    }


def plan_text(result: PushResult) -> str:
    """Return what a push would do, one fact per line."""
    plan = result.plan
    lines = [f"image     {plan['image_name']} in {plan['region']}"]
    if result.already_there:
        return "\n".join([*lines, f"already   imported as {result.image_id}; nothing would be done"])
    lines += [f"would     {step}" for step in plan["steps"]]
    for disk in plan["disks"]:
        lines += _disk_lines(disk)
    lines += [f"{name.replace('_', ' '):<9} {value}" for name, value in plan["parameters"].items()]
    if plan["service_says"]:
        lines.append(f"ECS       {plan['service_says']}")
    if test := plan["boot_test"]:
        minutes = f"{test['longest_life_s'] / 60:.0f} minutes at most"
        lines.append(f"boot test {test['instance_type']} in {test['zone']}, or the next larger one, for {minutes}")
    return "\n".join(lines)


def _disk_lines(disk: dict[str, Any]) -> list[str]:
    lines = [f"disk      {escaped(disk['disk'])}: {size(disk['total_bytes'])} in all"]
    if disk["in_oss"]:
        return [*lines, f"  object  {disk['key']} is this disk; nothing is uploaded"]
    lines.append(f"  send    {size(disk['send_bytes'])} in {count(disk['send_parts'], 'part')}")
    if disk["zero_bytes"]:
        zeros = f"{size(disk['zero_bytes'])} made in OSS in {count(disk['zero_parts'], 'part')}"
        lines.append(f"  zeros   {zeros}, from {size(ZERO_SEED_BYTES)} that is sent")
    if disk["base_bytes"]:
        lines.append(f"  base    {size(disk['base_bytes'])} copied in {count(disk['base_parts'], 'part')}")
    if disk["gap_bytes"]:
        gaps = "of zeros or unchanged data are sent, because an upload has at most 10,000 parts of >= 100 KB"
        lines.append(f"overhead  {size(disk['gap_bytes'])} {gaps}")
    if disk["kept_bytes"]:
        lines.append(f"  kept    {size(disk['kept_bytes'])} of it are in OSS already, in an unfinished upload")
    lines.append(f"  in all  {count(disk['parts'], 'part')}, {count(disk['requests'], 'request')}")
    lines.append(f"  time    {_time(disk)}")
    return lines


def _time(disk: dict[str, Any]) -> str:
    if disk["rate_source"] is None:
        return "unknown; with --limit-rate 50M it is estimated at that rate"
    return f"about {duration(disk['estimate_s'])} at {size(disk['rate_bytes_s'])}/s, the --limit-rate"
