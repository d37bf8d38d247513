"""Checks of access to the guest: cloud-init, SSH, accounts, SELinux, the guest agent, the clock."""

import re

from aliyun_import.checks.registry import Found, GuestSubject, Source, check, places
from aliyun_import.disk.guest.report import Sshd
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import Architecture

# ImportImage, usage notes: the injection of passwords on arm64 and on newer platforms requires this version.
_LEAST_CLOUD_INIT = (19, 1, 3)
# Instance metadata: the hardened mode, the only one of ImdsSupport v2, requires this version.
_LEAST_FOR_IMDS_V2 = (23, 2, 2)


@check("cloud-init-missing", Severity.WARNS, source=Source.CHECK_ITEMS)
def cloud_init_missing(subject: GuestSubject) -> Found | None:
    """Check that cloud-init is installed and enabled.

    cloud-init sets the host name, password, keys, network and user data of an instance. Without it, an instance boots
    and none of these is set.
    """
    cloud_init = subject.guest.cloud_init
    if cloud_init is None or (cloud_init.where and cloud_init.enabled is not False):
        return None
    state = "installed but not enabled" if cloud_init.where else "not installed"
    return Found(
        f"cloud-init is {state}: the instance gets neither its host name nor its password, keys and user data.",
        "Enable its units and remove /etc/cloud/cloud-init.disabled."
        if cloud_init.where
        else "Install cloud-init 19.1.3 or newer on the source system.",
        cloud_init.where or "/usr/bin/cloud-init",
    )


@check("cloud-init-source", Severity.WARNS, source=Source.CHECK_ITEMS)
def cloud_init_source(subject: GuestSubject) -> Found | None:
    """Check that datasource_list of cloud-init, if it is set, contains AliYun.

    Without it, cloud-init gets no metadata on ECS.
    """
    cloud_init = subject.guest.cloud_init
    if cloud_init is None or cloud_init.sources is None or not cloud_init.where or cloud_init.enabled is False:
        return None
    if any(source.lower() == "aliyun" for source in cloud_init.sources):
        return None
    return Found(
        f"cloud-init uses the data sources {', '.join(cloud_init.sources) or '(none)'}, and not AliYun: it gets no "
        "metadata on ECS.",
        "Add AliYun to datasource_list in /etc/cloud/cloud.cfg.d on the source system.",
        cloud_init.sources_where,
    )


@check("cloud-init-old", Severity.WARNS, source=Source.API)
def cloud_init_old(subject: GuestSubject) -> Found | None:
    """Check that cloud-init is 19.1.3 or newer.

    The injection of passwords and keys requires it.
    """
    version, where = _cloud_init_version(subject)
    # The releases 0.7.6a15 and later are builds of the service, which it supports.
    if not version or version[0] == 0 or version >= _LEAST_CLOUD_INIT:
        return None
    return Found(
        f"cloud-init {_dotted(version)} is older than 19.1.3, which the injection of passwords and keys requires.",
        "Install cloud-init 19.1.3 or newer on the source system.",
        where,
    )


@check("imds-v2-cloud-init", Severity.WARNS, source=Source.METADATA)
def imds_v2_cloud_init(subject: GuestSubject) -> Found | None:
    """Check that cloud-init can read metadata with a token if ImdsSupport is v2.

    With v2, the metadata can be read with a token only (hardened mode). cloud-init supports this since 23.2.2. An image
    cannot be changed back from v2 to v1.
    """
    version, where = _cloud_init_version(subject)
    if subject.request.imds_support != "v2" or not version or version >= _LEAST_FOR_IMDS_V2:
        return None
    return Found(
        f"--imds-support v2 was given, and cloud-init {_dotted(version)} cannot read metadata with a token (23.2.2 and "
        "later can): the instance would get neither host name, password nor keys.",
        "Omit --imds-support, or install cloud-init 23.2.2 or newer on the source system.",
        where,
    )


@check("no-growpart", Severity.NOTE, source=Source.CHECK_ITEMS)
def no_growpart(subject: GuestSubject) -> Found | None:
    """Check that growpart is installed.

    cloud-init uses it to grow the root partition on a larger disk.
    """
    if subject.guest.cloud_init is None or subject.guest.cloud_init.growpart:
        return None
    return Found(
        "growpart is not installed: on a larger disk the root partition must be grown by hand.",
        "Install cloud-guest-utils (Debian, Ubuntu) or cloud-utils-growpart (Red Hat) on the source system.",
        "/usr/bin/growpart",
    )


@check("ssh-server", Severity.WARNS, source=Source.COMPLIANCE)
def ssh_server(subject: GuestSubject) -> Found | None:
    """Check that an SSH server is installed and enabled.

    Without one, the instance can be reached by its console only.
    """
    sshd = subject.guest.sshd
    if sshd is None or (sshd.where and sshd.enabled is not False):
        return None
    state = "installed but not enabled" if sshd.where else "not installed"
    return Found(
        f"The SSH server is {state}: the instance can be reached by its console only.",
        "systemctl enable ssh (or sshd) on the source system." if sshd.where else "Install openssh-server.",
        sshd.where or "/usr/sbin/sshd",
    )


@check("ssh-root-login", Severity.WARNS, source=Source.COMPLIANCE)
def ssh_root_login(subject: GuestSubject) -> Found | None:
    """Check that root may log in with SSH (PermitRootLogin).

    The service sets the password and the key of root.
    """
    permit = (subject.guest.sshd or Sshd()).permit_root
    if permit is None or permit.what not in ("no", "forced-commands-only"):
        return None
    return Found(
        f"PermitRootLogin is {permit.what}, and the service sets the password and the key of root.",
        "Remove the line, or make sure that another account can log in (cloud-init's default user).",
        permit.where,
    )


@check("ssh-port", Severity.WARNS, source=Source.COMPLIANCE)
def ssh_port(subject: GuestSubject) -> Found | None:
    """Check that the SSH server listens on port 22, which the default security group allows."""
    ports = (subject.guest.sshd or Sshd()).ports
    if not ports or any(port.what == "22" for port in ports):
        return None
    return Found(
        f"SSH listens on port {ports[0].what}, and the default security group allows port 22.",
        "Set Port 22, or allow the port in the security group.",
        ports[0].where,
    )


@check(
    "accounts",
    {Severity.BLOCKS: "if /etc/shadow is immutable or root is missing", Severity.WARNS: "without the command passwd"},
    source=Source.COMPLIANCE,
)
def accounts(subject: GuestSubject) -> Found | None:
    """Check that the password of root can be set.

    The import and cloud-init write it to /etc/shadow.
    """
    found = subject.guest.accounts
    if found is None or not found.readable:
        return None
    if found.shadow_immutable:
        return Found(
            "/etc/shadow has the immutable flag: neither the import nor cloud-init can set a password.",
            "chattr -i /etc/shadow on the source system.",
            "/etc/shadow, inode flags",
        )
    if found.root is None:
        return Found(
            "There is no account root. The service sets its password and its key.",
            "Restore the account root on the source system.",
            "/etc/passwd",
        )
    if found.passwd is None:
        return Found(
            "The command passwd is missing. It sets passwords at the first boot.",
            "Install the package passwd (or shadow) on the source system.",
            "/usr/bin/passwd",
            Severity.WARNS,
        )
    return None


@check("lib-links", Severity.WARNS, source=Source.COMPLIANCE)
def lib_links(subject: GuestSubject) -> Found | None:
    """Check that /lib and /lib64 are not absolute symbolic links.

    The import mounts the disk below a directory, from which an absolute link leads out of the disk.
    """
    links = subject.guest.absolute_lib_links
    if not links:
        return None
    return Found(
        f"{links[0].what} is an absolute symbolic link. The import mounts the disk below a directory, and cannot "
        "follow it.",
        f"Make it relative on the source system: ln -sfn usr{links[0].where} {links[0].where}",
        places(links),
    )


@check("selinux", Severity.WARNS, source=Source.CHECK_ITEMS)
def selinux(subject: GuestSubject) -> Found | None:
    """Check that SELinux is not in enforcing mode.

    The files that the import writes have no labels, so SELinux may deny access to them.
    """
    mode = subject.guest.selinux
    if mode is None or mode.what != "enforcing":
        return None
    return Found(
        "SELinux is enforcing, and files that the import writes have no labels: logins may fail.",
        "Set SELINUX=disabled or permissive on the source system, or touch /.autorelabel before the copy.",
        mode.where,
    )


@check("guest-agent", Severity.WARNS, source=Source.GUIDE_2021)
def guest_agent(subject: GuestSubject) -> Found | None:
    """Check that QEMU's guest agent is not installed.

    The image requirements ask for its removal: it interferes with the agent of the service.
    """
    guest = subject.guest
    path = guest.guest_agent.where if guest.guest_agent else guest.windows.guest_agent if guest.windows else ""
    if not path:
        return None
    return Found(
        "QEMU's guest agent is installed. It interferes with the agent of the service.",
        "Remove qemu-guest-agent on the source system.",
        path,
    )


@check("local-clock", {Severity.NOTE: "", Severity.WARNS: "on arm64"}, source=Source.CHECK_ITEMS)
def local_clock(subject: GuestSubject) -> Found | None:
    """Check that the system expects the hardware clock in UTC.

    The clock of an instance is in UTC. On arm64 this setting is required.
    """
    clock = subject.guest.local_clock
    if clock is None:
        return None
    return Found(
        "The system expects the hardware clock in local time. On ECS the clock is in UTC.",
        "timedatectl set-local-rtc 0 on the source system.",
        clock.where,
        Severity.WARNS if subject.guest.architecture is Architecture.ARM64 else None,
    )


@check("shared-identity", Severity.NOTE, source=Source.JUDGEMENT)
def shared_identity(subject: GuestSubject) -> Found | None:
    """Check that the image has no machine id, and no SSH host keys unless cloud-init replaces them.

    They would be the same on all instances of the image.
    """
    guest = subject.guest
    keys = (guest.sshd or Sshd()).host_keys
    # cloud-init replaces the host keys at the first boot of an instance.
    replaced = guest.cloud_init is not None and bool(guest.cloud_init.where) and guest.cloud_init.enabled is not False
    shared = [f"{len(keys)} SSH host keys"] if keys and not replaced else []
    shared += ["a machine id"] if guest.machine_id is not None else []
    if not shared:
        return None
    return Found(
        f"All instances of the image will share {' and '.join(shared)}.",
        "Before the copy: truncate -s 0 /etc/machine-id, and rm /etc/ssh/ssh_host_*.",
        guest.machine_id.where if guest.machine_id else keys[0],
    )


def _cloud_init_version(subject: GuestSubject) -> tuple[tuple[int, ...], str]:
    """Return the numbers of cloud-init's version, empty if it is not known, and the path of cloud-init."""
    cloud_init = subject.guest.cloud_init
    if cloud_init is None:
        return (), ""
    return tuple(int(part) for part in re.findall(r"\d{1,6}", cloud_init.version)[:3]), cloud_init.where


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
