"""The system calls that containers may not use, as a seccomp filter.

A container's root has few capabilities, but in a new user namespace it would have
all of them, and with them access to a large part of the kernel. Container
runtimes refuse the same calls. The filter is classic BPF, see
``Documentation/userspace-api/seccomp_filter.rst`` of the kernel.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_NEWUSER = 0x10000000
_X32 = 0x40000000

_REFUSED: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "acct": 163, "add_key": 248, "bpf": 321, "create_module": 174, "delete_module": 176,
        "finit_module": 313, "fsconfig": 431, "fsmount": 432, "fsopen": 430, "fspick": 433,
        "init_module": 175, "io_uring_enter": 426, "io_uring_register": 427, "io_uring_setup": 425,
        "ioperm": 173, "iopl": 172, "kexec_file_load": 320, "kexec_load": 246, "keyctl": 250,
        "mount": 165, "mount_setattr": 442, "move_mount": 429, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "open_tree": 428, "open_tree_attr": 467, "perf_event_open": 298,
        "pivot_root": 155, "quotactl": 179, "reboot": 169, "request_key": 249, "setns": 308,
        "settimeofday": 164, "swapoff": 168, "swapon": 167, "syslog": 103, "umount2": 166, "userfaultfd": 323,
        "vhangup": 153,
    },
    "aarch64": {
        "acct": 89, "add_key": 217, "bpf": 280, "delete_module": 106, "finit_module": 273,
        "fsconfig": 431, "fsmount": 432, "fsopen": 430, "fspick": 433, "init_module": 105,
        "io_uring_enter": 426, "io_uring_register": 427, "io_uring_setup": 425,
        "kexec_file_load": 294, "kexec_load": 104, "keyctl": 219, "mount": 40, "mount_setattr": 442,
        "move_mount": 429, "name_to_handle_at": 264, "open_by_handle_at": 265, "open_tree": 428,
        "open_tree_attr": 467, "perf_event_open": 241, "pivot_root": 41, "quotactl": 60, "reboot": 142,
        "request_key": 218, "setns": 268, "settimeofday": 170, "swapoff": 225, "swapon": 224, "syslog": 116,
        "umount2": 39, "userfaultfd": 282, "vhangup": 58,
    },
}  # fmt: skip
_CLONE = {"x86_64": (56, 272), "aarch64": (220, 97)}  # clone and unshare
_CLONE3 = 435
_SOCKET = {"x86_64": 41, "aarch64": 198}
_REFUSED_FAMILIES = (38, 40)  # AF_ALG exposes much of the kernel; AF_VSOCK reaches a virtual machine's host
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def program(machine: str | None = None) -> bytes | None:
    """The filter for a machine (``platform.machine()``), or None for an unknown one.

    clone3 fails with ENOSYS, because a filter cannot see its flags: C libraries
    then use clone.
    """
    machine = machine or platform.machine()
    if machine not in _REFUSED:
        return None
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        code += [_step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _ERRNO | errno.ENOSYS)]
    code += [_step(_EQUAL, _CLONE3, 0, 1), _step(_RETURN, _ERRNO | errno.ENOSYS)]
    for number in sorted(_REFUSED[machine].values()):
        code += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ERRNO | errno.EPERM)]
    code += [
        _step(_EQUAL, _SOCKET[machine], 0, len(_REFUSED_FAMILIES) + 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        *(
            _step(_EQUAL, family, len(_REFUSED_FAMILIES) - index, 0)
            for index, family in enumerate(_REFUSED_FAMILIES)
        ),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.EAFNOSUPPORT),
    ]
    clone, unshare = _CLONE[machine]
    code += [
        _step(_EQUAL, clone, 1, 0),
        _step(_EQUAL, unshare, 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _CLONE_NEWUSER, 0, 1),
        _step(_RETURN, _ERRNO | errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(code)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
