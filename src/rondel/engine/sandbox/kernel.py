"""The /proc, /sys and /dev of a container, with the dangerous parts masked.

bwrap leaves /proc/sys writable for user 0, who could then make the host run any
program on a crash (kernel.core_pattern). So it is bound read-only; the container
cannot undo that by umount or remount, since it has no CAP_SYS_ADMIN.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from rondel.engine.sandbox.bwrap import Bind, BwrapMount, Device, Kernel, Memory

if TYPE_CHECKING:
    from pathlib import Path

# bwrap's /dev/shm is for root alone; semaphores and shared memory are for every user.
_SHARED_MEMORY = Memory("/dev/shm", shared=True)  # noqa: S108 - the container's, not the host's
# Nested containers, FUSE file systems, VPNs and virtual machines need these.
_DEVICES = ("/dev/fuse", "/dev/kvm", "/dev/net/tun")
_READ_ONLY = ("/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger", "/proc/dynamic_debug")
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/fuse",
    "/sys/fs/pstore",
    "/sys/fs/selinux",
    "/sys/hypervisor",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
    "/sys/module",
)


def kernel_mounts(empty_file: Path) -> tuple[BwrapMount, ...]:
    """The mounts of /dev, /proc and /sys on this machine. ``empty_file`` replaces masked files."""
    mounts: list[BwrapMount] = [Kernel("/dev", "dev"), _SHARED_MEMORY, Kernel("/proc", "proc")]
    if os.path.isdir("/sys"):
        mounts.append(Bind("/sys", "/sys"))
    mounts += [Bind(path, path) for path in _READ_ONLY if os.path.exists(path)]
    for path in _MASKED:
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        mounts.append(Memory(path, readonly=True) if stat.S_ISDIR(mode) else Bind(path, str(empty_file)))
    return tuple(mounts)


def insecure_kernel_mounts() -> tuple[BwrapMount, ...]:
    """The same mounts for a command with all rights: nothing is masked, and it sees some host devices."""
    mounts: list[BwrapMount] = [Kernel("/dev", "dev"), _SHARED_MEMORY, Kernel("/proc", "proc")]
    if os.path.isdir("/sys"):
        mounts.append(Bind("/sys", "/sys", readonly=False))
    mounts += [Device(path) for path in _DEVICES if os.path.exists(path)]
    return tuple(mounts)
