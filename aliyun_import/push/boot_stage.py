"""Boot tests of a push: of the disk before it is sent, and of the image before it gets its name.

The user is asked about the cost of an instance before the upload. The verdict on an image is in the journal of the boot
tests of that image. Every later run of the push decides by it, and by a newer one of `image boot-test`.
"""

import shlex
from collections.abc import Mapping

from aliyun_import.boot.cloud import boot_test_image
from aliyun_import.boot.cloud_journal import PastRun, identity_of, past_run, tests_directory
from aliyun_import.boot.instance_choice import Cloud, CloudBootOptions, InstanceOffer, expected_offer
from aliyun_import.boot.run import DEFAULT_TIMEOUT_S, BootOptions, boot_test, ensure_writable, subject_of
from aliyun_import.checks.run import BOOT_TEST, boot_finding, image_boot_finding, raise_if_blocked
from aliyun_import.disk.inspect import inspect_opened
from aliyun_import.errors import AliyunImportError, DiskError, ImportFailed, UsageError
from aliyun_import.events import FindingRaised
from aliyun_import.journal import Journal, copy_journal, open_journal
from aliyun_import.model.boot import BootTest, CloudBootTest, Verdict
from aliyun_import.model.image import Image
from aliyun_import.model.request import Architecture, ImportRequest
from aliyun_import.push.inspect_stage import SentDisks
from aliyun_import.push.options import PushOptions, PushRun
from aliyun_import.push.state import fold


def refuse_contradictions(options: PushOptions) -> None:
    """Raise UsageError if options contradict others, or would have no effect."""
    if options.keep_last is not None and not options.transfer.keep_object and not options.replace:
        raise UsageError(
            "--keep-last needs --keep-object or --replace: without them nothing is kept.",
            code="usage",
            remedy="Pass --keep-object or --replace, or leave --keep-last out.",
        )
    if options.boot_test == "cloud" and not options.wait:
        raise UsageError(
            "--no-wait and --boot-test cloud exclude each other.",
            code="usage",
            cause="The image can't be started before its import is done.",
            remedy="Leave --no-wait out, or test the image later with `image boot-test`.",
        )
    network = {"--vswitch": options.vswitch_id, "--security-group": options.security_group_id}
    others = {"--boot-timeout": options.boot_timeout_s, "--boot-log": options.boot_log}
    others["--boot-screen"] = options.boot_screen
    for names, needed in ((network, "--boot-test cloud"), (others, "--boot-test")):
        given = [name for name, value in names.items() if value is not None]
        if given and (options.boot_test is None or (names is network and options.boot_test != "cloud")):
            raise UsageError(f"{given[0]} needs {needed}.", code="usage", remedy=f"Pass {needed}, or leave it out.")


def boot_stage(request: ImportRequest, disks: SentDisks, run: PushRun, journal: Journal) -> BootTest | None:
    """Start the system disk as it is sent. Raises DiskError "boot-test" if it does not boot.

    Returns None if no boot test of the disk is wanted, or an earlier run of the push started the same machine.
    """
    options = run.options
    if options.boot_test != "local":
        return None
    path = request.disks[0].path
    if path is None:
        raise DiskError(
            f"{request.disks[0].url} is not on this machine, so it can't be started.",
            code="boot-test-impossible",
            remedy="Leave --boot-test out.",
        )
    report = disks.sent.reports[0] or inspect_opened(run.disks[path])
    subject = subject_of(path, report, request)
    machine = (
        f"{subject.architecture} {subject.boot_mode} {subject.size_gib} GiB"
        f"{' nvme' if subject.is_nvme_supported else ''}"
    )
    if fold(journal.entries).boot_tested == machine:
        return None
    boot_options = BootOptions(
        timeout_s=options.boot_timeout_s or DEFAULT_TIMEOUT_S, log=options.boot_log, screen=options.boot_screen
    )
    test = boot_test(subject, boot_options, run.context)
    finding = boot_finding(test, report.path)
    if finding.rule not in options.skip_checks:
        raise_if_blocked([finding], force=options.force)
        run.context.emit(FindingRaised(finding=finding))
    if test.verdict is not Verdict.FAILS:  # --force and --skip-check are for one run
        journal.write("boot-tested", machine=machine, verdict=test.verdict)
    return test


def confirm_instance(
    request: ImportRequest, run: PushRun, *, account_id: str, image_id: str = ""
) -> InstanceOffer | None:
    """Ask the user about the expected instance of the boot test, before anything is sent, and return it.

    Returns None if no boot test is wanted, or an earlier run has started the instance. A dry run does not ask the user.
    Raises what the service refuses already, and what `confirm` raises.
    """
    if run.options.boot_test != "cloud":
        return None
    cloud, options = _cloud(run), _boot_options(run.options)
    past = _past(request, run, account_id=account_id, image_id=image_id)
    if past is not None and (not past.is_ended or past.result(timeout_s=options.timeout_s, repeat=False)):
        return None
    if not run.options.dry_run:
        for path in (options.log, options.screen):
            if path is not None:
                ensure_writable(path)
    offer = expected_offer(
        options,
        cloud,
        architecture=request.architecture or Architecture.X86_64,
        has_nvme=request.nvme_support == "supported",
        size_gib=request.disks[0].size_gib,
    )
    if not run.options.dry_run:
        run.confirm(offer)
        run.context.check_cancelled()
    return offer


def image_boot_stage(
    request: ImportRequest,
    image: Image,
    run: PushRun,
    journal: Journal,
    *,
    account_id: str,
    offer: InstanceOffer | None,
) -> CloudBootTest | None:
    """Start an instance of a usable image. Raises ImportFailed "image-does-not-boot" if it does not boot.

    Without --boot-test cloud only the verdict of an earlier test counts. An unproven boot is a finding. Remedies of
    other errors name the temporary name that the image keeps. `offer` is the result of `confirm_instance`.
    """
    if run.options.boot_test == "cloud":
        identity = _identity(request, run, account_id=account_id, image_id=image.image_id)
        try:
            with open_journal(tests_directory(run.options.state_dir), identity) as tests:
                test = boot_test_image(
                    image.image_id,
                    _boot_options(run.options),
                    _cloud(run),
                    tests,
                    confirm=run.confirm if offer is None else lambda _: None,
                    repeat=False,
                )
        except AliyunImportError as error:
            if image.name == request.name:
                raise
            raise error.with_remedy(
                f"The image {image.image_id} is usable, and keeps the name {image.name}."
            ) from error
        journal.write("image-judged", image_id=image.image_id, verdict=test.judgement.verdict)
        _refuse_failed(request, image, test, run)
        return test
    if image.name != request.name:
        refuse_known_failure(request, image, run, account_id=account_id)
    return None


def _refuse_failed(request: ImportRequest, image: Image, test: CloudBootTest, run: PushRun) -> None:
    """Raise ImportFailed if the image does not boot, unless --force or --skip-check is given; emit the finding."""
    if BOOT_TEST.id in run.options.skip_checks:
        return
    if test.judgement.verdict is Verdict.FAILS and not run.options.force:
        raise _does_not_boot(request, image, test, run.options)
    run.context.emit(FindingRaised(finding=image_boot_finding(test)))


def refuse_known_failure(request: ImportRequest, image: Image, run: PushRun, *, account_id: str) -> None:
    """Raise ImportFailed if an earlier boot test showed that the image does not boot, as `image_boot_stage` does."""
    past = _past(request, run, account_id=account_id, image_id=image.image_id)
    if past is not None and past.test is not None:
        _refuse_failed(request, image, past.test, run)


def _does_not_boot(request: ImportRequest, image: Image, test: CloudBootTest, options: PushOptions) -> ImportFailed:
    judgement = test.judgement
    network = {"--vswitch": options.vswitch_id, "--security-group": options.security_group_id}
    words = ["aliyun-import", "image", "boot-test", image.image_id, "--region", request.region]
    words += [word for name, value in network.items() if value for word in (name, value)]
    again = f"`{shlex.join(words)}`"
    is_named = image.name == request.name
    kept = "It has its name since an earlier run" if is_named else f"The image keeps the name {image.name}"
    regardless = "" if is_named else f" --skip-check {BOOT_TEST.id} gives it the name {request.name} regardless."
    return ImportFailed(
        f"The image {image.image_id} does not boot ({test.instance_type}).",
        code="image-does-not-boot",
        cause="\n".join([judgement.reason, *(f"| {line}" for line in judgement.evidence)]),
        remedy=f"{judgement.remedy or 'Repair the disk.'} Then run the same command again. {kept}; {again} tests it "
        f"once more.{regardless}",
        details={
            "image_id": image.image_id,
            "image_name": image.name,
            "instance_id": test.instance_id,
            "instance_type": test.instance_type,
            "verdict": judgement.verdict,
        },
    )


def _past(request: ImportRequest, run: PushRun, *, account_id: str, image_id: str) -> PastRun | None:
    """Return the last boot test of an image on this machine; None without an image."""
    if not image_id:
        return None
    identity = _identity(request, run, account_id=account_id, image_id=image_id)
    return past_run(copy_journal(tests_directory(run.options.state_dir), identity).entries)


def _identity(request: ImportRequest, run: PushRun, *, account_id: str, image_id: str) -> Mapping[str, str]:
    return identity_of(image_id, region=request.region, account_id=account_id, endpoint=run.services.endpoint)


def _boot_options(options: PushOptions) -> CloudBootOptions:
    return CloudBootOptions(
        vswitch_id=options.vswitch_id,
        security_group_id=options.security_group_id,
        timeout_s=options.boot_timeout_s or DEFAULT_TIMEOUT_S,
        log=options.boot_log,
        screen=options.boot_screen,
    )


def _cloud(run: PushRun) -> Cloud:
    if run.cloud is None:
        raise ValueError("a boot test of the image needs `cloud`")
    return run.cloud
