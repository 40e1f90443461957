"""Runs further commands in a running container: health checks of services, and terminals.

bwrap always creates new namespaces. So a helper process enters those of the running
container instead (:mod:`rondel.engine.sandbox.exec_inside_main`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.sandbox import seccomp
from rondel.engine.sandbox.bwrap import CAPABILITIES
from rondel.engine.sandbox.spawn import Stream, memory_file, readable, spawn, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from rondel.engine.sandbox.bwrap import ContainerPlan
    from rondel.engine.sandbox.spawn import BwrapProcess
    from rondel.secrets.masker import MaskedStream

_MAIN = Path(__file__).with_name("exec_inside_main.py")
# The interpreter may run from another path than the one where it is installed.
_OPTIONS = ("-s", "-S", "-P", "-B")
_ENVIRONMENT = {"PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}"}
_OUTPUT_LIMIT = 128 * 1024
_LINGER_SECONDS = 1.0
_SETUP_SECONDS = 0.002
_NUMBERS = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4, "CAP_KILL": 5, "CAP_SETGID": 6,
    "CAP_SETUID": 7, "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_CHROOT": 18,
    "CAP_AUDIT_WRITE": 29, "CAP_SETFCAP": 31,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class InsideResult:
    """The result of a command inside a running container; outputs are masked, and only their end is kept."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def request(
    plan: ContainerPlan,
    args: Sequence[str],
    *,
    pid: int,
    pidfd: int,
    terminal: Mapping[str, str] | None = None,
) -> bytes:
    """The helper's input. It is passed in memory, since the environment may hold secrets.

    ``terminal`` are the extra variables of a command whose standard input is a terminal.
    """
    return json.dumps(
        {
            "pid": pid,
            "pidfd": pidfd,
            "parent": os.getpid(),
            "args": list(args),
            "env": {**dict(plan.env), **(terminal or {})},
            "terminal": terminal is not None,
            "cwd": plan.cwd,
            "uid": plan.user.uid,
            "gid": plan.user.gid,
            "groups": list(plan.user.groups),
            "nested": plan.nested_user,
            "capabilities": _capabilities(plan),
            "filter": base64.b64encode((not plan.insecure and seccomp.program()) or b"").decode(),
        }
    ).encode("utf-8", "surrogatepass")


def _capabilities(plan: ContainerPlan) -> list[int]:
    """The capabilities that bwrap gave the container's user, as the kernel's numbers."""
    if plan.nested_user and not plan.user.is_root:
        return []
    if not plan.insecure:
        return [_NUMBERS[name] for name in CAPABILITIES]
    status = Path("/proc/self/status").read_text()
    own = int(status.partition("CapPrm:")[2].split()[0], 16)
    return [number for number in range(own.bit_length()) if own >> number & 1]


async def run_inside(
    container: BwrapProcess,
    plan: ContainerPlan,
    args: Sequence[str],
    *,
    bwrap: str,
    python: str,
    scrubber: Callable[[], MaskedStream],
    prefix: Sequence[str] = (),
) -> InsideResult:
    """Run a command in a container with its environment, user and rights. If cancelled, it is killed."""
    await _set_up(container, bwrap)
    if container.code is not None or container.first is None or container.first_fd is None:
        return InsideResult(1, b"", b"the container has ended")
    outputs = {"stdout": bytearray(), "stderr": bytearray()}
    scrubbers = {name: scrubber() for name in outputs}

    def taker(name: str) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            outputs[name] += scrubbers[name].feed(data)
            del outputs[name][:-_OUTPUT_LIMIT]

        return take

    streams = {name: Stream(taker(name)) for name in outputs}
    given = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)]
    try:
        pidfd = os.dup(container.first_fd)
        given.append(pidfd)
        request_file = memory_file("inside", request(plan, args, pid=container.first, pidfd=pidfd))
        given.append(request_file)
        argv = [*prefix, python, *_OPTIONS, str(_MAIN), str(request_file)]
        theirs = (given[0], streams["stdout"].theirs, streams["stderr"].theirs)
        pid = spawn(argv, standard=theirs, passed=[pidfd, request_file], env=_ENVIRONMENT)
    except BaseException:
        for stream in streams.values():
            stream.stop()
        raise
    finally:
        for number in given:
            os.close(number)
    for stream in streams.values():
        stream.start()
    try:
        code = await _ended(pid)
        # A process that it left in the background may hold the pipes open; the check ends with its command.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                for stream in streams.values():
                    await stream.ended.wait()
    finally:
        for stream in streams.values():
            stream.stop()
    for name, masking in scrubbers.items():
        outputs[name] += masking.flush()
    return InsideResult(code, bytes(outputs["stdout"]), bytes(outputs["stderr"]))


async def _set_up(container: BwrapProcess, bwrap: str) -> None:
    """Wait until the container's mounts are in place: earlier, a command would see the host's files."""
    await container.known.wait()
    while container.code is None and not container.is_set_up(bwrap):  # noqa: ASYNC110 - bwrap sends no event for it
        await asyncio.sleep(_SETUP_SECONDS)


@contextlib.asynccontextmanager
async def terminal_inside(
    container: BwrapProcess,
    plan: ContainerPlan,
    args: Sequence[str],
    *,
    bwrap: str,
    python: str,
    env: Mapping[str, str],
    prefix: Sequence[str] = (),
) -> AsyncIterator[int | None]:
    """Run a command in a container on a new terminal; yields the descriptor of the terminal's other side.

    Yields None if the container has ended. At the end of the block, a command that still runs is killed.
    """
    await _set_up(container, bwrap)
    if container.code is not None or container.first is None or container.first_fd is None:
        yield None
        return
    ours, theirs = os.openpty()
    given = [theirs]
    try:
        os.set_inheritable(ours, False)
        pidfd = os.dup(container.first_fd)
        given.append(pidfd)
        request_file = memory_file(
            "inside", request(plan, args, pid=container.first, pidfd=pidfd, terminal=env)
        )
        given.append(request_file)
        argv = [*prefix, python, *_OPTIONS, str(_MAIN), str(request_file)]
        pid = spawn(argv, standard=(theirs, theirs, theirs), passed=[pidfd, request_file], env=_ENVIRONMENT)
    except BaseException:
        os.close(ours)
        raise
    finally:
        for number in given:
            os.close(number)
    try:
        yield ours
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended, or been killed
        os.close(ours)


async def _ended(pid: int) -> int:
    ended = watched(pid)
    try:
        await readable(ended)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.close(ended)
        _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended, or been killed
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
