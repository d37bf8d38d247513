"""This file holds the rules about getting in: cloud-init, SSH, accounts, SELinux, and what else is in the way."""

import re

from aliyun_import.checks.context import (
    CHECK_ITEMS,
    COMPLIANCE,
    GUIDE_2021,
    JUDGEMENT,
    LINUX_2026,
    METADATA,
    Rule,
    RuleContext,
    places,
)
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.request import Architecture

# ImportImage, usage notes: what the password injection of arm64 and of newer platforms asks of cloud-init.
_LEAST_CLOUD_INIT = (19, 1, 3)
# Instance metadata: what the hardened mode, the only one of ImdsSupport v2, asks of it.
_LEAST_FOR_IMDS_V2 = (23, 2, 2)


def cloud_init_missing(subject: RuleContext) -> Finding | None:
    """Warn of a system without cloud-init, or with one that does not start."""
    guest = subject.guest
    cloud_init = guest.cloud_init if guest is not None else None
    if cloud_init is None or (cloud_init.where and cloud_init.enabled is not False):
        return None
    state = "is on the disk but does not start" if cloud_init.where else "is not installed"
    return subject.finding(
        "cloud-init-missing",
        Severity.WARNS,
        f"cloud-init {state}: the instance gets neither its host name nor its password, keys and user data.",
        remedy="Enable its units and remove /etc/cloud/cloud-init.disabled." if cloud_init.where else
        "Install cloud-init 19.1.3 or newer on the source system.",
        where=cloud_init.where or "/usr/bin/cloud-init",
        source=CHECK_ITEMS,
    )  # fmt: skip


def cloud_init_source(subject: RuleContext) -> Finding | None:
    """Warn of a list of data sources without Alibaba Cloud's."""
    guest = subject.guest
    cloud_init = guest.cloud_init if guest is not None else None
    if cloud_init is None or cloud_init.sources is None or not cloud_init.where or cloud_init.enabled is False:
        return None
    if any(source.lower() == "aliyun" for source in cloud_init.sources):
        return None
    return subject.finding(
        "cloud-init-source",
        Severity.WARNS,
        f"cloud-init looks for {', '.join(cloud_init.sources) or 'nothing'}, and not for AliYun, where its data are.",
        remedy="Add AliYun to datasource_list in /etc/cloud/cloud.cfg.d on the source system.",
        where=cloud_init.sources_where,
        source=CHECK_ITEMS,
    )


def cloud_init_old(subject: RuleContext) -> Finding | None:
    """Warn of a cloud-init that is too old for the injection of passwords."""
    version, where = _cloud_init_version(subject)
    # The old line (0.7.6a15 and later) is the service's own build, which it trusts.
    if not version or version[0] == 0 or version >= _LEAST_CLOUD_INIT:
        return None
    return subject.finding(
        "cloud-init-old",
        Severity.WARNS,
        f"cloud-init {_dotted(version)} is older than 19.1.3, which setting passwords and keys asks for.",
        remedy="Install cloud-init 19.1.3 or newer on the source system.",
        where=where,
        source=LINUX_2026,
    )


def imds_v2_cloud_init(subject: RuleContext) -> Finding | None:
    """Warn of metadata by token only, asked for with a cloud-init that knows no tokens."""
    version, where = _cloud_init_version(subject)
    if subject.request.imds_support != "v2" or not version or version >= _LEAST_FOR_IMDS_V2:
        return None
    return subject.finding(
        "imds-v2-cloud-init",
        Severity.WARNS,
        f"--imds-support v2 was given, and cloud-init {_dotted(version)} is older than 23.2.2, which reads metadata "
        "with a token: the instance would get neither host name, password nor keys.",
        remedy="Leave --imds-support out, or install cloud-init 23.2.2 or newer on the source system.",
        where=where,
        source=METADATA,
    )


def no_growpart(subject: RuleContext) -> Finding | None:
    """Say that the root will not grow by itself on a larger disk."""
    guest = subject.guest
    if guest is None or guest.cloud_init is None or guest.cloud_init.growpart:
        return None
    return subject.finding(
        "no-growpart",
        Severity.NOTE,
        "growpart is not installed: on a larger disk the root keeps its size until somebody grows it.",
        remedy="Install cloud-guest-utils (Debian, Ubuntu) or cloud-utils-growpart (Red Hat) on the source system.",
        where="/usr/bin/growpart",
        source=CHECK_ITEMS,
    )


def ssh_server(subject: RuleContext) -> Finding | None:
    """Warn of a system without an SSH server, or with one that does not start."""
    guest = subject.guest
    sshd = guest.sshd if guest is not None else None
    if sshd is None or (sshd.where and sshd.enabled is not False):
        return None
    state = "is on the disk but does not start" if sshd.where else "is not installed"
    return subject.finding(
        "ssh-server",
        Severity.WARNS,
        f"The SSH server {state}: the instance is reached by its console only.",
        remedy="systemctl enable ssh (or sshd) on the source system." if sshd.where else "Install openssh-server.",
        where=sshd.where or "/usr/sbin/sshd",
        source=COMPLIANCE,
    )


def ssh_root_login(subject: RuleContext) -> Finding | None:
    """Warn that root may not log in, for whom the service sets password and key."""
    guest = subject.guest
    permit = guest.sshd.permit_root if guest is not None and guest.sshd is not None else None
    if permit is None or permit.what not in ("no", "forced-commands-only"):
        return None
    return subject.finding(
        "ssh-root-login",
        Severity.WARNS,
        f"PermitRootLogin is {permit.what}, and the service sets the password and the key of root.",
        remedy="Remove the line, or see to it that another account gets in (cloud-init's default user).",
        where=permit.where,
        source=COMPLIANCE,
    )


def ssh_port(subject: RuleContext) -> Finding | None:
    """Warn of an SSH server that does not listen on port 22."""
    guest = subject.guest
    ports = guest.sshd.ports if guest is not None and guest.sshd is not None else ()
    if not ports or any(port.what == "22" for port in ports):
        return None
    return subject.finding(
        "ssh-port",
        Severity.WARNS,
        f"SSH listens on port {ports[0].what} and not on 22, which the default security group opens.",
        remedy="Set Port 22, or open the port in the security group.",
        where=ports[0].where,
        source=COMPLIANCE,
    )


def accounts(subject: RuleContext) -> Finding | None:
    """Block a system into which the service can't put a password: no root, or a shadow file that nobody may write."""
    guest = subject.guest
    found = guest.accounts if guest is not None else None
    if found is None or not found.readable:
        return None
    if found.shadow_immutable:
        return subject.finding(
            "accounts",
            Severity.BLOCKS,
            "/etc/shadow has the immutable flag: neither the import nor cloud-init can set a password.",
            remedy="chattr -i /etc/shadow on the source system.",
            where="/etc/shadow, inode flags",
            source=COMPLIANCE,
        )
    if found.root is None:
        return subject.finding(
            "accounts",
            Severity.BLOCKS,
            "There is no account root, to which the service gives the password and the key.",
            remedy="Restore the account root on the source system.",
            where="/etc/passwd",
            source=COMPLIANCE,
        )
    if found.passwd is None:
        return subject.finding(
            "accounts",
            Severity.WARNS,
            "There is no passwd command, with which passwords are set at the first start.",
            remedy="Install the package passwd (or shadow) on the source system.",
            where="/usr/bin/passwd",
            source=COMPLIANCE,
        )
    return None


def lib_links(subject: RuleContext) -> Finding | None:
    """Warn of /lib as an absolute link, which leads elsewhere for who mounts the disk."""
    guest = subject.guest
    links = guest.absolute_lib_links if guest is not None else ()
    if not links:
        return None
    return subject.finding(
        "lib-links",
        Severity.WARNS,
        f"{links[0].what} is an absolute link: the import, which mounts the disk below another root, does not find it.",
        remedy=f"Make it relative on the source system: ln -sfn usr{links[0].where} {links[0].where}",
        where=places(links),
        source=COMPLIANCE,
    )


def selinux(subject: RuleContext) -> Finding | None:
    """Warn of SELinux in enforcing mode."""
    guest = subject.guest
    if guest is None or guest.selinux is None or guest.selinux.what != "enforcing":
        return None
    return subject.finding(
        "selinux",
        Severity.WARNS,
        "SELinux is enforcing, and what the import writes into the guest has no labels: logins may fail.",
        remedy="Set SELINUX=disabled or permissive on the source system, or touch /.autorelabel before the copy.",
        where=guest.selinux.where,
        source=CHECK_ITEMS,
    )


def guest_agent(subject: RuleContext) -> Finding | None:
    """Warn of QEMU's guest agent, which the image requirements exclude."""
    guest = subject.guest
    path = ""
    if guest is not None:
        path = guest.guest_agent.where if guest.guest_agent else guest.windows.guest_agent if guest.windows else ""
    if not path:
        return None
    return subject.finding(
        "guest-agent",
        Severity.WARNS,
        "QEMU's guest agent is installed, which gets into the way of the service's own.",
        remedy="Remove qemu-guest-agent on the source system.",
        where=path,
        source=GUIDE_2021,
    )


def local_clock(subject: RuleContext) -> Finding | None:
    """Say that the hardware clock is taken for local time; arm64 instances need UTC."""
    guest = subject.guest
    if guest is None or guest.local_clock is None:
        return None
    arm = guest.architecture is Architecture.ARM64
    return subject.finding(
        "local-clock",
        Severity.WARNS if arm else Severity.NOTE,
        "The system believes the hardware clock to be in local time; on ECS it is in UTC.",
        remedy="timedatectl set-local-rtc 0 on the source system.",
        where=guest.local_clock.where,
        source=CHECK_ITEMS,
    )


def shared_identity(subject: RuleContext) -> Finding | None:
    """Say that every instance of the image would have the same host keys or machine id."""
    guest = subject.guest
    if guest is None:
        return None
    keys = guest.sshd.host_keys if guest.sshd is not None else ()
    # cloud-init makes new host keys at the first start of an instance.
    remade = guest.cloud_init is not None and bool(guest.cloud_init.where) and guest.cloud_init.enabled is not False
    seen = [f"{len(keys)} SSH host keys"] if keys and not remade else []
    seen += ["a machine id"] if guest.machine_id is not None else []
    if not seen:
        return None
    return subject.finding(
        "shared-identity",
        Severity.NOTE,
        f"All instances of the image will share {' and '.join(seen)}.",
        remedy="Before the copy: truncate -s 0 /etc/machine-id, and rm /etc/ssh/ssh_host_*.",
        where=guest.machine_id.where if guest.machine_id else keys[0],
        source=JUDGEMENT,
    )


def _cloud_init_version(subject: RuleContext) -> tuple[tuple[int, ...], str]:
    """Give the numbers of cloud-init's version, empty where it is not known, and where cloud-init was seen."""
    cloud_init = subject.guest.cloud_init if subject.guest is not None else None
    if cloud_init is None:
        return (), ""
    return tuple(int(part) for part in re.findall(r"\d{1,6}", cloud_init.version)[:3]), cloud_init.where


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


REACH_RULES: dict[str, Rule] = {
    "cloud-init-missing": cloud_init_missing,
    "cloud-init-source": cloud_init_source,
    "cloud-init-old": cloud_init_old,
    "imds-v2-cloud-init": imds_v2_cloud_init,
    "no-growpart": no_growpart,
    "ssh-server": ssh_server,
    "ssh-root-login": ssh_root_login,
    "ssh-port": ssh_port,
    "accounts": accounts,
    "lib-links": lib_links,
    "selinux": selinux,
    "guest-agent": guest_agent,
    "local-clock": local_clock,
    "shared-identity": shared_identity,
}
