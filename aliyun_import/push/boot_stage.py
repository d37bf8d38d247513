"""Boot test of a push: the system disk is started on this machine before its first byte is sent."""

from aliyun_import.boot.run import DEFAULT_TIMEOUT_S, BootOptions, boot_test, subject_of
from aliyun_import.checks.run import boot_finding, raise_if_blocked
from aliyun_import.disk.inspect import inspect_opened
from aliyun_import.errors import DiskError
from aliyun_import.events import FindingRaised
from aliyun_import.journal import Journal
from aliyun_import.model.boot import BootTest, Verdict
from aliyun_import.model.request import ImportRequest
from aliyun_import.push.inspect_stage import SentDisks
from aliyun_import.push.options import PushRun
from aliyun_import.push.state import fold


def boot_stage(request: ImportRequest, disks: SentDisks, run: PushRun, journal: Journal) -> BootTest | None:
    """Start the system disk as it is sent; raise DiskError "boot-test" if it does not boot.

    Returns None if no boot test of the disk is wanted, and where an earlier run of the push started the same machine.
    """
    options = run.options
    if options.boot_test != "local":
        return None
    path = request.disks[0].path
    if path is None:
        raise DiskError(
            f"oss://{request.disks[0].bucket}/{request.disks[0].key} is not on this machine, so it can't be started.",
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
