"""Run one command inside a running container: ``exec_inside_main.py DESCRIPTOR``.

:mod:`rondel.engine.sandbox.exec_inside` starts it as a separate process, which imports only
light modules of the standard library. The descriptor is a file in memory with JSON: the
container's first process (a pidfd) and the rights that bwrap gave it, so that the command gets
no more than the container has.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import json
import os
import struct
import sys
import termios
from typing import Any

_NAMESPACES = {
    "user": 0x10000000, "mnt": 0x20000, "uts": 0x4000000,
    "ipc": 0x8000000, "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
_PDEATHSIG, _SECCOMP, _CAPBSET_DROP, _NO_NEW_PRIVS, _AMBIENT = 1, 22, 24, 38, 47
_AMBIENT_CLEAR_ALL, _MODE_FILTER, _SIGKILL = 4, 2, 9
_CAPSET_VERSION = 0x20080522
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def _check(answer: int, what: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, *values: int) -> int:
    padded = [*values, 0, 0, 0, 0][:4]
    return int(_libc.prctl(option, *map(ctypes.c_ulong, padded)))


def _enter(pidfd: int, pid: int) -> None:
    """Enter all namespaces of the container at once, except those that it shares with this process."""
    flags = 0
    for name, flag in _NAMESPACES.items():
        if os.stat(f"/proc/{pid}/ns/{name}").st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
            flags |= flag
    _check(_libc.setns(pidfd, flags), "setns")


def _restrict(given: dict[str, Any]) -> None:
    """Become the container's user, with its capabilities and its system call filter."""
    kept = set(given["capabilities"])
    for capability in range(_LAST_CAPABILITY + 1):
        if capability not in kept:
            _prctl(_CAPBSET_DROP, capability)
    if not given["nested"]:
        os.setgroups(given["groups"])
        os.setresgid(given["gid"], given["gid"], given["gid"])
        os.setresuid(given["uid"], given["uid"], given["uid"])
    _prctl(_AMBIENT, _AMBIENT_CLEAR_ALL)
    bits = sum(1 << number for number in kept) if given["uid"] == 0 else 0
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPSET_VERSION, 0))
    data = ctypes.create_string_buffer(struct.pack("6I", low, low, 0, high, high, 0))
    _check(_libc.syscall(_SYS_CAPSET[os.uname().machine], header, data), "capset")
    _check(_prctl(_NO_NEW_PRIVS, 1), "no_new_privs")
    _prctl(_PDEATHSIG, _SIGKILL)  # the kernel resets it when the user changes
    code = base64.b64decode(given["filter"])
    if code:
        held = ctypes.create_string_buffer(code, len(code))
        program = ctypes.create_string_buffer(
            struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held)), 16
        )
        _check(_prctl(_SECCOMP, _MODE_FILTER, ctypes.addressof(program)), "seccomp")


def _become(given: dict[str, Any]) -> None:
    """Replace this process by the command; prints Go's message if it cannot be executed."""
    name, env = given["args"][0], given["env"]
    paths = [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in env["PATH"].split(":")]
    error: OSError | None = None
    for path in paths:
        try:
            os.execve(path, given["args"], env)  # noqa: S606 - that is its purpose
        except OSError as raised:
            if error is None or raised.errno not in (2, 20):
                error = raised
    text = os.strerror(error.errno or 0).lower() if error is not None else ""
    found = "/" in name or (error is not None and error.errno not in (2, 20))
    sys.stderr.write(
        f"fork/exec {name}: {text}" if found else f'exec: "{name}": executable file not found in $PATH'
    )
    sys.stderr.flush()
    os._exit(1)


def main(descriptor: int) -> None:
    """Read the request, enter, and run the command as a child: only a child is in the new PID namespace."""
    with os.fdopen(descriptor, "rb") as file:
        given = json.loads(file.read())
    _prctl(_PDEATHSIG, _SIGKILL)
    if os.getppid() != given["parent"]:
        return
    try:
        _enter(given["pidfd"], given["pid"])
    except OSError as error:  # it has ended, or the kernel is older than 5.8
        sys.stderr.write(f"cannot enter the container: {error}")
        sys.stderr.flush()
        os._exit(1)
    os.umask(0o022)
    child = os.fork()
    if child == 0:
        try:
            if given["terminal"]:
                os.setsid()
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            _restrict(given)
            os.chdir(given["cwd"])
            _become(given)
        except OSError as error:
            sys.stderr.write(f"cannot run in the container: {error}")
            sys.stderr.flush()
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
