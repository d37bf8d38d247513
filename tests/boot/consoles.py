"""Console output of guests, as written to a serial port."""

from aliyun_import.sandbox.sample import LINE

SAMPLE_DISK = "\x1bc\x1b[?7l\x1b[2J" + LINE.rstrip(b"\0").decode()
DEBIAN = """\
[  OK  ] Started \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.\r
[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mmulti-user.target\x1b[0m - Multi-User System.\r
\r
Debian GNU/Linux 12 disk ttyS0\r
\r
disk login: """
UBUNTU = """\
[   12.430112] cloud-init[1043]: Cloud-init v. 24.1.3-0ubuntu1~22.04.5 running 'modules:final' at Sat, 01 Nov 2025
[   12.611337] cloud-init[1043]: Cloud-init v. 24.1.3-0ubuntu1~22.04.5 finished at Sat, 01 Nov 2025 09:00:12 +0000. \
Datasource DataSourceAliYun.  Up 12.60 seconds

Ubuntu 22.04.5 LTS ubuntu ttyS0

ubuntu login: """
ROCKY = """\
[  OK  ] Started Getty on tty1.
[  OK  ] Reached target Login Prompts.
[  OK  ] Reached target Multi-User System.

Rocky Linux 9.4 (Blue Onyx)
Kernel 5.14.0-427.13.1.el9_4.x86_64 on an x86_64

localhost login: """
CENTOS_7 = """\
[    6.120034] systemd[1]: Startup finished in 611ms (kernel) + 1.510s (initrd) + 3.998s (userspace) = 6.119s.

CentOS Linux 7 (Core)
Kernel 3.10.0-1160.el7.x86_64 on an x86_64

localhost login: """
ALPINE = """\
 * Starting sshd ... [ ok ]

Welcome to Alpine Linux 3.20
Kernel 6.6.41-0-virt on an x86_64 (/dev/ttyS0)

localhost login: """
OPENSUSE = """\
Welcome to openSUSE Leap 15.6 - Kernel 6.4.0-150600.21-default (ttyS0).

eth0: 100.100.100.15

localhost login: """
FREEBSD = """\
Starting sshd.
Starting cron.

Mon Nov  3 09:00:00 UTC 2025

FreeBSD/amd64 (freebsd) (ttyu0)

login: """
FLATCAR = """\
This is localhost (Linux x86_64 6.6.74-flatcar) 09:00:00
SSH host key: SHA256:0123456789abcdef (ED25519)
eth0: 100.100.100.15

localhost login: """
QUIET_SYSTEMD = "[  OK  ] Reached target \x1b[0;1;39mGraphical Interface\x1b[0m.\r\n"
WINDOWS_EMS = "Computer is booting, SAC started and initialized.\r\n\r\nSAC>"

NO_INITRAMFS = """\
[    1.882001] VFS: Cannot open root device "UUID=1111" or unknown-block(0,0): error -6
[    1.884000] Please append a correct "root=" boot option; here are the available partitions:
[    1.886000] fe00         4194304 vda
[    1.887000]  driver: virtio_blk
[    1.890001] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
[    1.892000] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-26-cloud-amd64 #1
[    1.899000] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---
"""
NO_INIT = "[    2.100000] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.\n"
DEBIAN_INITRAMFS = """\
Gave up waiting for root file system device.  Common problems:
 - Boot args (cat /proc/cmdline)
   - Check rootdelay= (did the system wait long enough?)
 - Missing modules (cat /proc/modules; ls /dev)
ALERT!  UUID=11111111-2222-4333-8444-aaaaaaaaaaaa does not exist.  Dropping to a shell!


BusyBox v1.35.0 (Debian 1:1.35.0-4+b3) built-in shell (ash)
Enter 'help' for a list of built-in commands.

(initramfs) """
DRACUT = """\
[  194.001000] dracut-initqueue[402]: Warning: dracut-initqueue timeout - starting timeout scripts
[  194.300000] dracut-initqueue[402]: Warning: Could not boot.
         Starting Dracut Emergency Shell...
Warning: /dev/disk/by-uuid/0a0a0a0a-1111-4222-8333-444444444444 does not exist

Generating "/run/initramfs/rdsosreport.txt"


Entering emergency mode. Exit the shell to continue.
Type "journalctl" to view system logs.

dracut:/# """
ARCH = """\
:: running hook [udev]
ERROR: device '/dev/vda2' not found. Skipping fsck.
ERROR: Failed to mount '/dev/vda2' on real root
You are now being dropped into an emergency shell.
sh: can't access tty; job control turned off
[rootfs ~]# """
ALPINE_INITRAMFS = "Mounting root: failed.\ninitramfs emergency recovery shell launched. Type 'exit' to continue boot\n"
FSTAB = """\
[ TIME ] Timed out waiting for device \x1b[0;1;39mdev-disk-by…0-4000-8000-000000000000\x1b[0m.
[DEPEND] Dependency failed for \x1b[0;1;39mdata.mount\x1b[0m - /data.
[DEPEND] Dependency failed for \x1b[0;1;39mlocal-fs.target\x1b[0m - Local File Systems.
You are in emergency mode. After logging in, type "journalctl -xb" to view
system logs, "systemctl reboot" to reboot, "systemctl default" or "exit"
to boot into default mode.

Cannot open access to console, the root account is locked.
See sulogin(8) man page for more details.

Press Enter to continue.
"""
GRUB_RESCUE = "GRUB loading.\nWelcome to GRUB!\n\nerror: no such partition.\nEntering rescue mode...\ngrub rescue> "
GRUB_PROMPT = """\
                             GNU GRUB  version 2.06

   Minimal BASH-like line editing is supported. For the first word, TAB
   lists possible command completions.

grub> """
GRUB_NO_KERNEL = """\
error: file `/boot/vmlinuz-6.1.0-99-amd64' not found.
error: you need to load the kernel first.

Press any key to continue...
"""
SEABIOS_NOTHING = """\
SeaBIOS (version 1.16.2-debian-1.16.2-1)
Booting from Hard Disk...
Boot failed: not a bootable disk

No bootable device.
"""
OVMF_NOTHING = """\
BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x2,0x0): Not Found
BdsDxe: No bootable option or device was found.
BdsDxe: Press any key to enter the Boot Manager Menu.
"""
OVMF_SHELL = "UEFI Interactive Shell v2.2\nEDK II\nShell> "
MISSING_SYSTEM = "Booting from Hard Disk...\nMissing operating system"
BOOTMGR = "Booting from Hard Disk...\nBOOTMGR is missing\nPress Ctrl+Alt+Del to restart\n"
OLD_GRUB = "GRUB Loading stage1.5.\n\nGRUB loading, please wait...\nError 15\n"
FREEBSD_MOUNTROOT = "Mounting from ufs:/dev/ada0p2 failed with error 19.\n\nmountroot> "
SYSTEMD_FROZEN = "[    3.000000] systemd[1]: Freezing execution.\n"
DAMAGED_FS = """\
/dev/vda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.
fsck exited with status code 4
The root filesystem on /dev/vda1 requires a manual fsck
(initramfs) """

FAILED_UNIT = """\
[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mnetworking.service\x1b[0m - Raise network interfaces.\r
See 'systemctl status networking.service' for details.\r
"""
NO_LEASE = "dhclient[501]: No DHCPOFFERS received.\n"
CLOUD_INIT_ERROR = """\
[  223.654629] cloud-init[376]: 2026-11-29 07:22:21,998 - url_helper.py[ERROR]: Timed out, no response from urls: \
['http://100.100.100.200/2016-01-01/meta-data/instance-id']
"""
EARLY = """\
[    0.000000] Linux version 6.1.0-26-cloud-amd64 (debian-kernel@lists.debian.org)
[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz root=/dev/vda1 ro console=ttyS0 panic=0
[    1.300000] systemd[1]: Reached target initrd-root-device.target - Initrd Root Device.
[***   ] A start job is running for /dev/disk/by-uuid/0a0a (31s / 1min 30s)
"""

DEBIAN_WITHOUT_INIT = (
    EARLY
    + """\
Begin: Running /scripts/init-bottom ... done.
run-init: /sbin/init: No such file or directory
Target filesystem doesn't have requested /sbin/init.
run-init: /sbin/init: No such file or directory
run-init: /etc/init: No such file or directory
run-init: /bin/init: No such file or directory
/bin/sh: 0: can't access tty; job control turned off
# """
)
