"""A container's shell on the user's own terminal.

The engine runs in a process group of its own, in the background of the terminal that
``rondel run`` was started from. For the length of a shell it takes the foreground,
passes bytes between the terminal and the container's, and gives everything back.
"""

from __future__ import annotations

import fcntl
import os
import signal
import termios
import tty
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from rondel.engine.evaluate.execs import Command, exec_spec
from rondel.engine.evaluate.services import SessionServices
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rondel.engine.evaluate.session import Session
    from rondel.engine.values import Container
    from rondel.engine.values.service import ContainerService

_CHUNK = 65536
_SIZE_SECONDS = 0.25


async def shell(
    session: Session, container: Container, args: Sequence[str], *, insecure: bool = False
) -> None:
    """Run a command of a container on the user's terminal until it ends.

    Raises EngineError when the session has no terminal.
    """
    door = _open_terminal()
    try:
        async with AsyncExitStack() as stack:
            attachment = await stack.enter_async_context(
                session.part(SessionServices).bound(container.services)
            )
            term = session.environ.get("TERM", "xterm")
            command = Command(container=container, args=tuple(args), env=(("TERM", term),), insecure=insecure)
            spec = await exec_spec(session, command, attachment, stack)
            process = await session.sandbox.start(replace(spec, tty=True))
            try:
                with in_foreground(door):
                    await _pass_on(door, process.terminal)
            finally:
                with anyio.CancelScope(shield=True):
                    await process.kill()
    finally:
        os.close(door)


async def shell_inside(session: Session, service: ContainerService, args: Sequence[str]) -> None:
    """Run a command in a running service's container on the user's terminal until it ends.

    The service is started, and stays for the shell's length. Raises EngineError when the session
    has no terminal.
    """
    door = _open_terminal()
    try:
        services = session.part(SessionServices)
        async with services.bound([("", service)]):
            process = services.get(service).process
            if process is None:
                raise EngineError("this service has no container to open a terminal in")
            env = {"TERM": session.environ.get("TERM", "xterm")}
            async with process.terminal_inside(args, env) as inner:
                with in_foreground(door):
                    await _pass_on(door, inner)
    finally:
        os.close(door)


def _open_terminal() -> int:
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise EngineError(
            "this session has no terminal",
            why=f"/dev/tty: {error.strerror}",
            hint="start the pipeline by hand in a terminal (`rondel run …`), not in CI or behind a pipe",
        ) from error


@contextmanager
def in_foreground(door: int) -> Iterator[None]:
    """Own a terminal for a while: its foreground, and its keys as they are typed. All is given back."""
    asked = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # to ask for it from the background stops one
    try:
        before, group = termios.tcgetattr(door), os.tcgetpgrp(door)
        os.tcsetpgrp(door, os.getpgrp())
        try:
            # Python's default throws away what was typed already: people don't wait for a slow shell.
            tty.setraw(door, termios.TCSADRAIN)
            yield
        finally:
            termios.tcsetattr(door, termios.TCSADRAIN, before)
            with suppress(OSError):
                os.tcsetpgrp(door, group)
    finally:
        signal.signal(signal.SIGTTOU, asked)


async def _pass_on(door: int, inner: int | None) -> None:
    if inner is None:
        raise EngineError("the container got no terminal")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_copy, door, inner)
        tasks.start_soon(_keep_size, door, inner)
        await _copy(inner, door)  # ends when the command's side closes
        tasks.cancel_scope.cancel()


async def _copy(source: int, sink: int) -> None:
    while True:
        await anyio.wait_readable(source)
        try:
            data = os.read(source, _CHUNK)
        except OSError:  # EIO: nobody has the other side any more
            return
        if not data:
            return
        while data:
            await anyio.wait_writable(sink)
            data = data[os.write(sink, data) :]


async def _keep_size(door: int, inner: int) -> None:
    """Let the container's terminal have the size of the user's, also after it has changed."""
    known = b""
    while True:
        size = fcntl.ioctl(door, termios.TIOCGWINSZ, bytes(8))
        if size != known:
            known = size
            fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
        await anyio.sleep(_SIZE_SECONDS)
