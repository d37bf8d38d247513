"""Boot test of a custom image by an instance, which is started, judged by its console, and deleted.

The journal has the call before an instance is started. After a kill the same command continues with that instance, by
the client token, or deletes it. ECS releases an instance that is not deleted at its AutoReleaseTime.
"""

import shlex
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from aliyun_import.boot.cloud_journal import PastRun, call_fields, judged_fields, past_run
from aliyun_import.boot.instance_choice import Cloud, CloudBootOptions, Confirm, choose_instance
from aliyun_import.boot.output import Transcript
from aliyun_import.boot.run import ensure_writable, write_file
from aliyun_import.boot.verdict import BootObservation, decide, is_up
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    LocalStateError,
    RefusedError,
    TransientError,
)
from aliyun_import.events import BootProgress, Noted, Warned
from aliyun_import.journal import Journal
from aliyun_import.model.boot import CloudBootTest, InstanceCall, Judgement, Verdict
from aliyun_import.retry import without_retries

# An instance of an earlier run with less time left is not reused: ECS would refuse its AutoReleaseTime, or release it
# soon.
_MIN_LEFT_S = 31 * 60.0
_PROGRESS_EVERY_S = 1.0
# The console is a cache of the service, which changes seldom: it is read every 15 s.
_CONSOLE_EVERY, _STATUS_EVERY = 15, 5
_PHASES = {"Pending": "creating", "Starting": "starting"}
# DescribeInstances may not list an instance right after its start.
_UNLISTED_S = 60.0
# Time for Windows to show its login screen.
_WITHOUT_CONSOLE_S = 180.0
# Terraform, Packer and BOSH retry for 5 minutes: an instance that is being created can't be deleted.
_DELETE_POLL_S, _DELETE_POLLS = 5, 60


def boot_test_image(
    image_id: str,
    options: CloudBootOptions,
    cloud: Cloud,
    journal: Journal,
    *,
    confirm: Confirm,
    repeat: bool = True,
) -> CloudBootTest:
    """Start an instance of an image, return the verdict by its console, and delete the instance in any case.

    If an earlier run was stopped before it deleted its instance, its verdict is the result. Without `repeat` every
    earlier verdict is, except an unproven one with a shorter timeout. `confirm` is called before an instance is
    started, and raises an error to refuse that. Raises RefusedError "image-missing", "image-state",
    "instance-type-unavailable", "boot-network-missing" and what ECS refuses, and LocalStateError "file-unwritable"
    before anything is started.
    """
    past = past_run(journal.entries)
    known = past.result(timeout_s=options.timeout_s, repeat=repeat) if past is not None else None
    if past is not None and known is not None:
        cloud.context.emit(Noted(message="The verdict is that of an earlier run."))
        is_gone = past.is_ended or _end_or_warn(past.call, past.instance_id, cloud, journal)
        return known if is_gone else replace(known, left_over=past.instance_id)
    for path in (options.log, options.screen):
        if path is not None:
            ensure_writable(path)
    call = _unfinished(past, options, cloud, journal)
    if call is None:
        call = choose_instance(image_id, options, cloud, confirm)
        journal.write("instance-intended", **call_fields(call))
    else:
        cloud.context.emit(Noted(message="The boot test of an earlier run is continued."))
    instance_id = ""
    try:
        detail = f"instance of {image_id}, {call.instance_type}, released by ECS at {call.released} at the latest"
        with cloud.context.stage("boot", detail) as report:
            instance_id = cloud.instances.run_instance(call)
            journal.write("instance-started", instance_id=instance_id)
            test = _Watch(image_id, instance_id, call, options, cloud).until_verdict()
            journal.write("instance-judged", **judged_fields(test, timeout_s=options.timeout_s))
            report.detail = test.judgement.verdict
    except BaseException as error:
        # Without an answer it is not known whether there is an instance; the next run repeats the same call.
        is_refused = not instance_id and isinstance(error, RefusedError | AccessError)
        _end_or_warn(call, instance_id, cloud, journal, is_settled=is_refused)
        raise
    return test if _end_or_warn(call, instance_id, cloud, journal) else replace(test, left_over=instance_id)


def _unfinished(past: PastRun | None, options: CloudBootOptions, cloud: Cloud, journal: Journal) -> InstanceCall | None:
    """Return the call of an earlier run whose instance can be reused; delete an instance that can't be."""
    if past is None or past.is_ended:
        return None
    call, wanted = past.call, (options.vswitch_id, options.security_group_id)
    left_s = _seconds(call.released) - cloud.context.clock.now_s()
    is_same = all(
        one in (None, used) for one, used in zip(wanted, (call.vswitch_id, call.security_group_id), strict=True)
    )
    if not past.is_ending and is_same and left_s >= max(_MIN_LEFT_S, options.timeout_s):
        return call
    _end(call, past.instance_id, cloud, journal)
    journal.write("instance-ended")
    return None


class _Watch:
    """Observation of one instance until its verdict."""

    def __init__(
        self, image_id: str, instance_id: str, call: InstanceCall, options: CloudBootOptions, cloud: Cloud
    ) -> None:
        self._image_id = image_id
        self._instance_id = instance_id
        self._call = call
        self._options = options
        self._cloud = cloud
        self._began_s = self._changed_s = cloud.context.clock.monotonic_s()
        self._up_s: float | None = None
        self._was_running = False
        self._phase = "creating"
        self._raw: bytes | None = b""
        self._transcript = Transcript()

    def until_verdict(self) -> CloudBootTest:
        """Poll the console until there is a verdict; save the console and the screen if requested."""
        while (judgement := self._judged()) is None:
            for _ in range(_CONSOLE_EVERY if self._was_running else _STATUS_EVERY):
                self._report()
                self._cloud.context.sleep(_PROGRESS_EVERY_S)
        if self._options.log is not None:
            self._save(self._options.log, self._raw or b"")
        if self._options.screen is not None:
            self._save_screen(self._options.screen)
        return CloudBootTest(
            image_id=self._image_id,
            instance_id=self._instance_id,
            instance_type=self._call.instance_type,
            seconds=self._elapsed_s,
            judgement=judgement,
        )

    @property
    def _command(self) -> str:
        words = ["aliyun-import", "image", "boot-test", self._image_id, "--region", self._cloud.region]
        network = ["--vswitch", self._call.vswitch_id, "--security-group", self._call.security_group_id]
        return shlex.join([*words, *network])

    @property
    def _elapsed_s(self) -> float:
        return self._cloud.context.clock.monotonic_s() - self._began_s

    def _judged(self) -> Judgement | None:
        instance = self._cloud.instances.instance(self._instance_id)
        if instance is None:
            if self._elapsed_s < _UNLISTED_S:
                return None
            return Judgement(
                verdict=Verdict.UNPROVEN,
                reason="The instance was deleted while it was tested.",
                remedy=f"Run `{self._command}` to test it again.",
            )
        self._phase = _PHASES.get(instance.status, "booting")
        # An instance may be Stopped before it is Starting.
        self._was_running |= instance.status == "Running"
        self._read()
        if self._raw is None or instance.is_windows:
            return _without_console(self._elapsed_s, self._options.timeout_s)
        return decide(self._observation(is_off=self._was_running and instance.status == "Stopped"))

    def _report(self) -> None:
        progress = BootProgress(
            disk=self._image_id,
            bus=self._call.instance_type,
            elapsed_s=self._elapsed_s,
            timeout_s=self._options.timeout_s,
            line=self._transcript.last_line,
            phase=self._phase,
        )
        self._cloud.context.emit(progress)

    def _read(self) -> None:
        raw = self._cloud.instances.console(self._instance_id)
        if raw == self._raw:
            return
        self._raw = raw
        self._transcript = Transcript()
        self._transcript.feed(raw or b"")
        self._changed_s = self._cloud.context.clock.monotonic_s()

    def _observation(self, *, is_off: bool) -> BootObservation:
        now_s = self._cloud.context.clock.monotonic_s()
        # The console is a cache, which may be behind the guest: an unchanged one proves nothing before the timeout.
        # What the guest reads is not known.
        is_silent = not self._transcript.text.strip() and self._elapsed_s >= self._options.timeout_s
        seen = BootObservation(
            console=self._transcript.text,
            elapsed_s=self._elapsed_s,
            still_s=self._elapsed_s if is_silent else 0.0,
            console_still_s=now_s - self._changed_s,
            timeout_s=self._options.timeout_s,
            read_bytes=None,
            powered_off=is_off,
        )
        if self._up_s is None and is_up(seen):
            self._up_s = now_s
        return replace(seen, up_s=None if self._up_s is None else now_s - self._up_s)

    def _save_screen(self, path: Path) -> None:
        try:
            picture = self._cloud.instances.screenshot(self._instance_id)
        except (RefusedError, AccessError, TransientError) as error:
            self._cloud.context.emit(Noted(message=f"There is no picture of the screen. {error.summary}"))
            return
        self._save(path, picture)

    def _save(self, path: Path, data: bytes) -> None:
        """Write a result; a full disk must not hide the verdict."""
        try:
            write_file(path, data)
        except LocalStateError as error:
            message = f"{error.summary} {error.cause or ''}".rstrip()
            self._cloud.context.emit(Warned(code=error.code, message=message, remedy=error.remedy))


def _without_console(elapsed_s: float, timeout_s: float) -> Judgement | None:
    """Judge an instance whose console the service does not offer: unproven, since a picture is no evidence."""
    if elapsed_s < min(_WITHOUT_CONSOLE_S, timeout_s):
        return None
    return Judgement(
        verdict=Verdict.UNPROVEN,
        reason="ECS offers no console of this instance.",
        remedy="Look at the screen: `--boot-screen FILE` saves it.",
    )


def _end_or_warn(
    call: InstanceCall, instance_id: str, cloud: Cloud, journal: Journal, *, is_settled: bool = False
) -> bool:
    """Delete the instance; return False, after a warning that names it, if it could not be deleted.

    `is_settled`: no instance exists if none is listed.
    """
    try:
        is_ended = _end(call, instance_id, cloud, journal)
    except AliyunImportError as error:
        cloud.deleting_context.emit(
            Warned(
                code="instance-left",
                message=f"The instance {instance_id or 'of the boot test'} could not be deleted. {error.summary}",
                remedy=f"Run the same command again, or delete it in the console; ECS releases it at {call.released}.",
            )
        )
        return False
    if not is_ended and not is_settled:
        cloud.deleting_context.emit(
            Warned(
                code="instance-left",
                message="Whether an instance was started is not known: ECS did not answer, and lists none.",
                remedy=f"Run the same command again, which continues with it; ECS releases it at {call.released}.",
            )
        )
    else:
        # A journal that can't be written must not hide the verdict; the next run finds nothing to delete.
        with suppress(AliyunImportError):
            journal.write("instance-ended")
    return True


def _end(call: InstanceCall, instance_id: str, cloud: Cloud, journal: Journal) -> bool:
    """Delete the instances of a call, and wait until none is listed; return whether there was one.

    A call without an answer may still have started one that is not listed yet: the journal then keeps the call.
    """
    ids = {instance_id} - {""} or _listed(call, cloud)
    if not ids:
        return False
    # A journal that can't be written must not keep the instance running.
    with suppress(AliyunImportError):
        journal.write("instance-ending")
    began_s = cloud.deleting_context.clock.monotonic_s()
    with cloud.deleting_context.stage("finish", f"instance {', '.join(sorted(ids))}") as report:
        for _ in range(_DELETE_POLLS):
            for one in ids:
                with suppress(TransientError):  # it is still being created; the next round repeats the call
                    without_retries(cloud.deleting).delete_instance(one)
            ids = _listed(call, cloud)
            if not ids:
                report.detail = "the instance is deleted"
                return True
            for _ in range(_DELETE_POLL_S):
                cloud.deleting_context.emit(_deletion(call, cloud.deleting_context.clock.monotonic_s() - began_s))
                cloud.deleting_context.sleep(_PROGRESS_EVERY_S)
    raise TransientError(
        f"ECS has not deleted the instance {', '.join(sorted(ids))}.",
        code="instance-left",
        remedy="Run the same command again, or delete it in the console.",
        resumable=True,
    )


def _deletion(call: InstanceCall, elapsed_s: float) -> BootProgress:
    return BootProgress(
        disk=call.image_id,
        bus=call.instance_type,
        elapsed_s=elapsed_s,
        timeout_s=float(_DELETE_POLL_S * _DELETE_POLLS),
        line="",
        phase="deleting",
    )


def _listed(call: InstanceCall, cloud: Cloud) -> set[str]:
    return {one.instance_id for one in cloud.deleting.instances(tags=call.tags)}


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:  # not a valid date: treated as past
        return 0.0
