"""The host's Unix sockets for containers.

If a socket is mounted with an owner, the container gets another one: the host's own may be
closed to the container's user, as an SSH agent's is. The engine listens on the new socket and
forwards the data.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

from rondel.engine.store.files import remove_tree, set_owner
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rondel.engine.store import Store

_CHUNK = 65536


def check(path: Path) -> Path:
    """The path of an existing socket. Raises EngineError if it is missing or something else."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise EngineError(f"socket {path}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISSOCK(mode):
        raise EngineError(f"socket {path}: not a socket")
    return path


@contextlib.asynccontextmanager
async def owned(store: Store, target: Path, owner: tuple[int, int]) -> AsyncIterator[Path]:
    """A socket that only its owner can use and that leads to another one; removed at the end."""
    folder = store.new_path()
    folder.mkdir(mode=0o700)
    inner = folder / "s"
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            talks.add(task)
            task.add_done_callback(talks.discard)
        await _talk(target, reader, writer)

    try:
        server = await asyncio.start_unix_server(talk, sock=_bound(folder, inner.name))
        set_owner(inner, *owner)
        inner.chmod(0o600)
        try:
            yield inner
        finally:
            server.close()
            for task in talks:
                task.cancel()
    finally:
        remove_tree(folder)


def _bound(folder: Path, name: str) -> socket.socket:
    """A socket bound in a folder whose path may be longer than a socket address allows."""
    here = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.bind(f"/proc/self/fd/{here}/{name}")
    except BaseException:
        made.close()
        raise
    finally:
        os.close(here)
    return made


async def _talk(target: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        back_reader, back_writer = await asyncio.open_unix_connection(target)
        with contextlib.closing(back_writer):
            await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward one direction, and its end, so that the other direction can continue."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
