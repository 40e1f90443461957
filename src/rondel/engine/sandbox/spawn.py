"""One bubblewrap process: spawned without a thread, watched by descriptors, always reaped.

A container has ended when its process 1 is gone, not when bwrap exits: bwrap exits
as soon as it knows the exit code, while the kernel may still be killing
processes that the command left in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_CHUNK = 65536
_MFD_CLOEXEC = 1


def memory_file(name: str, data: bytes) -> int:
    """A descriptor of a file in memory with the content ``data``, positioned at its start."""
    held = os.memfd_create(name, _MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(held, view) :]
    os.lseek(held, 0, os.SEEK_SET)
    return held


def seal_descriptors() -> None:
    """Make all but the standard descriptors close-on-exec: a container must not inherit any."""
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(number, False)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def readable(descriptor: int) -> None:
    """Wait until a descriptor is readable; a pidfd becomes readable when its process ends."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def writable(descriptor: int) -> None:
    """Wait until a descriptor is writable: a full pipe has been read, or its reader is gone."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


class Stream:
    """The engine's end of a pipe; the event loop reads it until the other end closes."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self.ours, self.theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.ours, False)
        self.ended = asyncio.Event()

    def start(self) -> None:
        """Start reading; the other end now belongs to the child alone."""
        os.close(self.theirs)
        self.theirs = -1
        asyncio.get_running_loop().add_reader(self.ours, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self.ours, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.stop()

    def stop(self) -> None:
        """Close both ends, in any state."""
        if self.ours >= 0:
            asyncio.get_running_loop().remove_reader(self.ours)
            os.close(self.ours)
            self.ours = -1
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1
        self.ended.set()


@dataclass(slots=True)
class BwrapProcess:
    """A running bwrap: ``pid`` is its own, ``first`` the PID of the container's process 1, on the host."""

    pid: int
    pidfd: int
    status: Stream
    first: int | None = None
    first_fd: int | None = None
    exit_code: int | None = None
    code: int | None = None
    known: asyncio.Event = field(default_factory=asyncio.Event)
    _text: bytes = b""

    def take_status(self, data: bytes) -> None:
        """Parse bwrap's JSON status lines: the first process's PID, and the exit code at the end."""
        self._text += data
        while b"\n" in self._text:
            line, _, self._text = self._text.partition(b"\n")
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if "child-pid" in value:
                    self.first = int(value["child-pid"])
                    with contextlib.suppress(OSError):  # it has already ended
                        self.first_fd = os.pidfd_open(self.first)
                    self.known.set()
                if "exit-code" in value:
                    self.exit_code = int(value["exit-code"])

    async def wait(self) -> None:
        """Wait until bwrap and all processes of the container are gone, then reap it."""
        await readable(self.pidfd)
        await self.status.ended.wait()
        if self.first_fd is None:
            # bwrap was killed before it reported process 1. That process may exist and wait for bwrap for
            # ever; it is still in bwrap's process group, whose number stays reserved until bwrap is reaped.
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        self.reap()
        self.known.set()
        if self.first_fd is not None:
            await readable(self.first_fd)

    def reap(self) -> None:
        """Store bwrap's own exit code once it has ended."""
        if self.code is None:
            _, status = os.waitpid(self.pid, 0)
            self.code = os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """Kill the whole container."""
        for descriptor in (self.first_fd, self.pidfd):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def command_pid(self) -> int | None:
        """The command's PID on the host: process 1's first child, or process 1 itself."""
        if self.first is None:
            return None
        with contextlib.suppress(OSError, ValueError, IndexError):
            path = Path(f"/proc/{self.first}/task/{self.first}/children")
            return int(path.read_text().split()[0])
        return self.first

    def is_set_up(self, bwrap: str) -> bool:
        """Whether the command runs; before that, the container still has the host's mounts."""
        with contextlib.suppress(OSError):
            if Path(f"/proc/{self.first}/task/{self.first}/children").read_text():
                return True
            return not os.path.samefile(f"/proc/{self.first}/exe", bwrap)  # without init, it is the command
        return False

    def close(self) -> None:
        """Close the descriptors."""
        self.status.stop()
        for descriptor in (self.first_fd, self.pidfd):
            if descriptor is not None:
                os.close(descriptor)


_DEFAULT_SIGNALS = (
    signal.SIGINT,
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTERM,
)


def spawn(
    argv: Sequence[str],
    *,
    standard: tuple[int, int, int],
    passed: Sequence[int],
    env: Mapping[str, str] | None = None,
) -> int:
    """Spawn a program with three standard descriptors, and ``passed`` ones under their own numbers.

    Returns its PID. Call it from the event loop's thread only: ``--die-with-parent`` refers to the thread.
    The environment is PATH and ``env``; the program gets a new session.
    """
    actions: list[tuple[int, int, int]] = []
    for number, source in enumerate(standard):
        actions.append((os.POSIX_SPAWN_DUP2, source, number))
    actions += [(os.POSIX_SPAWN_DUP2, number, number) for number in passed]
    return os.posix_spawn(
        argv[0],
        list(argv),
        {"PATH": os.defpath, **(env or {})},
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=_DEFAULT_SIGNALS,
    )


def watched(pid: int) -> int:
    """A pidfd of a child. If that fails, raises OSError and kills the child."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
