"""A container's shell on the user's own terminal.

The engine runs in its own process group, in the background of the terminal that
``rondel run`` was started from. For the duration of a shell it becomes the foreground group,
passes bytes between the terminal and the container's, and restores everything at the end.
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

    Raises EngineError if the session has no terminal.
    """
    terminal = _open_terminal()
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
                with in_foreground(terminal):
                    await _pass_on(terminal, process.terminal)
            finally:
                with anyio.CancelScope(shield=True):
                    await process.kill()
    finally:
        os.close(terminal)


async def shell_inside(session: Session, service: ContainerService, args: Sequence[str]) -> None:
    """Run a command in a running service's container on the user's terminal until it ends.

    Starts the service and keeps it while the shell runs. Raises EngineError if the session has
    no terminal.
    """
    terminal = _open_terminal()
    try:
        services = session.part(SessionServices)
        async with services.bound([("", service)]):
            process = services.get(service).process
            if process is None:
                raise EngineError("this service has no container to open a terminal in")
            env = {"TERM": session.environ.get("TERM", "xterm")}
            async with process.terminal_inside(args, env) as inner:
                with in_foreground(terminal):
                    await _pass_on(terminal, inner)
    finally:
        os.close(terminal)


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
def in_foreground(terminal: int) -> Iterator[None]:
    """Take over a terminal: foreground group and raw key input. Restores both at the end."""
    # The kernel stops a background process that takes the foreground, unless it ignores SIGTTOU.
    asked = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        before, group = termios.tcgetattr(terminal), os.tcgetpgrp(terminal)
        os.tcsetpgrp(terminal, os.getpgrp())
        try:
            # Python's default drops pending input, but users type before a slow shell is ready.
            tty.setraw(terminal, termios.TCSADRAIN)
            yield
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
            with suppress(OSError):
                os.tcsetpgrp(terminal, group)
    finally:
        signal.signal(signal.SIGTTOU, asked)


async def _pass_on(terminal: int, inner: int | None) -> None:
    if inner is None:
        raise EngineError("the container got no terminal")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_copy, terminal, inner)
        tasks.start_soon(_keep_size, terminal, inner)
        await _copy(inner, terminal)  # it ends when the command closes its side
        tasks.cancel_scope.cancel()


async def _copy(source: int, sink: int) -> None:
    while True:
        await anyio.wait_readable(source)
        try:
            data = os.read(source, _CHUNK)
        except OSError:  # EIO: the other side is closed everywhere
            return
        if not data:
            return
        while data:
            await anyio.wait_writable(sink)
            data = data[os.write(sink, data) :]


async def _keep_size(terminal: int, inner: int) -> None:
    """Give the container's terminal the size of the user's, also after a change."""
    known = b""
    while True:
        size = fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
        if size != known:
            known = size
            fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
        await anyio.sleep(_SIZE_SECONDS)
