"""Tests of the text of the plan of a dry run."""

from typing import Any

from aliyun_import.cli.render.push import plan_text
from aliyun_import.push.options import PushResult
from tests.rows import each_row

DISK = {
    "disk": "web.raw", "key": "k", "total_bytes": 300 << 20, "send_bytes": 100 << 20, "send_parts": 13, "zero_bytes": 0,
    "zero_parts": 0, "base_bytes": 0, "base_parts": 0, "gap_bytes": 0, "kept_bytes": 0, "parts": 13,
    "requests": 20, "in_oss": False,
}  # fmt: skip


@each_row(
    ("rate", "source", "text"),
    [
        (10 << 20, "given", "about 10 s at 10 MiB/s, the --limit-rate"),
        (None, None, "unknown; with --limit-rate 50M it is estimated at that rate"),
    ],
)
def test_the_estimated_time_has_its_rate(rate: int | None, source: str | None, text: str) -> None:
    """The rate of --limit-rate, or how to get an estimate."""
    disk = {
        **DISK,
        "rate_bytes_s": rate,
        "rate_source": source,
        "rate_measured_at_s": None,
        "estimate_s": DISK["send_bytes"] / rate if rate else None,  # type: ignore[operator]
    }
    plan: dict[str, Any] = {
        "image_name": "web",
        "region": "cn-hangzhou",
        "steps": [],
        "disks": [disk],
        "parameters": {},
        "boot_test": None,
    }
    result = PushResult(region="cn-hangzhou", image_name="web", dry_run=True, plan={**plan, "service_says": "yes"})
    assert f"  time    {text}" in plan_text(result).splitlines()
