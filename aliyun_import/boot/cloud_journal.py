"""Journal of the boot tests of one image.

instance-intended  image_id ... client_token    RunInstances is called with these values and with no others
instance-started   instance_id                  ECS created the instance
instance-judged    verdict reason evidence ...  the verdict: the test is not repeated while the instance exists
instance-ending                                 it is about to be deleted: no later run continues with it
instance-ended                                  it is deleted, or was never started
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from aliyun_import.model.boot import CloudBootTest, InstanceCall, Judgement, Stage, Verdict

_CALL = tuple(one.name for one in fields(InstanceCall) if one.name != "dry_run")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """The last boot test in a journal. `test` is None without a verdict; `timeout_s` is the timeout of the verdict."""

    call: InstanceCall
    instance_id: str = ""
    test: CloudBootTest | None = None
    is_ending: bool = False
    is_ended: bool = False
    timeout_s: float = 0.0

    def result(self, *, timeout_s: float, repeat: bool) -> CloudBootTest | None:
        """Return the result if the next run does not repeat the test.

        It does not while the instance may exist. After that it does with `repeat`, and if the verdict is unproven and
        the timeout is longer now.
        """
        is_short = self.test is not None and self.test.judgement.verdict is Verdict.UNPROVEN
        is_short &= timeout_s > self.timeout_s
        return None if self.is_ended and (repeat or is_short) else self.test


def identity_of(image_id: str, *, region: str, account_id: str, endpoint: str) -> Mapping[str, str]:
    """Return the identity of the journal of the boot tests of an image."""
    return {
        "name": f"boot-test-{image_id}",
        "region": region,
        "account": account_id,
        "image": image_id,
        "endpoint": endpoint,
    }


def tests_directory(state_dir: Path) -> Path:
    """Return the directory of the journals of boot tests."""
    return state_dir / "boot-tests"


def past_run(entries: Iterable[Mapping[str, Any]]) -> PastRun | None:
    """Return the last boot test of a journal."""
    run: PastRun | None = None
    for entry in entries:
        if entry["kind"] == "instance-intended":
            run = PastRun(call=InstanceCall(**{name: entry[name] for name in _CALL}))
        elif run is not None:
            run = _after(run, entry)
    return run


def _after(run: PastRun, entry: Mapping[str, Any]) -> PastRun:
    match entry["kind"]:
        case "instance-started":
            return replace(run, instance_id=entry["instance_id"])
        case "instance-judged" if entry["verdict"] in set(Verdict):
            judgement = Judgement(
                verdict=Verdict(entry["verdict"]),
                reason=entry["reason"],
                stage=next((one for one in Stage if one == entry["stage"]), None),
                remedy=entry["remedy"] or None,
                evidence=tuple(entry["evidence"]),
                stop_code=entry["stop_code"],
            )
            test = CloudBootTest(
                image_id=run.call.image_id,
                instance_id=run.instance_id,
                instance_type=run.call.instance_type,
                seconds=entry["seconds"],
                judgement=judgement,
            )
            return replace(run, test=test, timeout_s=entry.get("timeout_s", 0))
        case "instance-ending":
            return replace(run, is_ending=True)
        case "instance-ended":
            return replace(run, is_ended=True)
        case _:
            return run


def call_fields(call: InstanceCall) -> dict[str, Any]:
    """Return a call as the journal holds it."""
    return {name: getattr(call, name) for name in _CALL}


def judged_fields(test: CloudBootTest, *, timeout_s: float) -> dict[str, Any]:
    """Return a verdict as the journal holds it."""
    judgement = test.judgement
    return {
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "stage": judgement.stage or "",
        "remedy": judgement.remedy or "",
        "evidence": list(judgement.evidence),
        "stop_code": judgement.stop_code,
        "seconds": round(test.seconds),
        "timeout_s": round(timeout_s),
    }
