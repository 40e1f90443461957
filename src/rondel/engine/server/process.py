"""What runs in the engine process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio

from rondel.engine.api.calls import Calls
from rondel.engine.api.resolvers import load_first
from rondel.engine.evaluate import Session
from rondel.engine.evaluate.live_output import LiveOutput
from rondel.engine.sandbox import Sandbox
from rondel.engine.server.app import App, Application
from rondel.engine.store import Store
from rondel.errors import EngineUnavailable, RondelError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from socket import socket

TRIM_SECONDS = 5.0
"""How many seconds the end of a session may spend on trimming the store."""


def serve(listener: socket, start: bytes) -> int:
    """Serve a session on a listening socket. ``start`` is the launcher's JSON line.

    Raises the reason if the engine cannot run; the launcher tells clients.
    """
    settings = json.loads(start)
    live = LiveOutput.of(os.environ)  # now: the path may contain /proc/PID, which the new namespaces hide
    anyio.run(_serve, listener, {**settings, "in_place": not _contained(), "live": live})
    return 0


def _contained() -> bool:
    """Whether containers work here. If not, commands run in place, unless that is forbidden.

    Raises EngineUnavailable if it is (``RONDEL_ENGINE_IN_PLACE=never``).
    """
    from rondel.engine.namespace import become_root

    try:
        become_root()
    except EngineUnavailable as error:
        if os.environ.get("RONDEL_ENGINE_IN_PLACE") == "never":
            raise
        from rondel.engine.inplace import NOT_IN_PLACE

        print(f"{NOT_IN_PLACE} ({error.why})", file=sys.stderr, flush=True)
        return False
    return True


async def _serve(listener: socket, settings: dict[str, Any]) -> None:
    async with open_session(settings) as session:
        await _http(App(Calls(session), settings["token"]), listener)


@contextlib.asynccontextmanager
async def open_session(settings: dict[str, Any]) -> AsyncIterator[Session]:
    """A session over the user's store; at its end everything that it started ends."""
    load_first()
    home = settings.get("store")
    store = Store.open(Path(home) if home else None)
    try:
        async with anyio.create_task_group() as tasks:
            workdir = Path(settings["workdir"])
            live = settings.get("live") or LiveOutput()
            session = Session(
                store,
                _sandbox(store, workdir, in_place=bool(settings.get("in_place"))),
                tasks,
                workdir=workdir,
                notify=partial(_notify, live),
                live=live,
            )
            try:
                yield session
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(15):
                    await session.aclose()
                tasks.cancel_scope.cancel()
        await _trim(store)
    finally:
        store.close()


async def _trim(store: Store) -> None:
    """Trim the store to its budget once no client waits; what is left over, the next session removes."""
    try:
        with anyio.CancelScope(shield=True):
            await store.trim(seconds=TRIM_SECONDS)
    except (OSError, RondelError) as error:
        # The session has done its work: a store that cannot be trimmed deserves a line, not a failure.
        print(f"the engine's store was not trimmed: {error}", file=sys.stderr, flush=True)


def _sandbox(store: Store, workdir: Path, *, in_place: bool) -> Sandbox:
    if not in_place:
        return Sandbox(store)
    from rondel.engine.inplace import InPlaceSandbox

    return cast("Sandbox", InPlaceSandbox(store, workdir))


async def _http(app: Application, listener: socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_level=logging.ERROR,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=3_600,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:

        async def end_with_launcher() -> None:
            await _until_closed(sys.stdin.fileno())
            server.should_exit = True

        tasks.start_soon(end_with_launcher)
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()


async def _until_closed(descriptor: int) -> None:
    """Wait for a pipe's end."""
    os.set_blocking(descriptor, False)
    while True:
        await anyio.wait_readable(descriptor)
        try:
            if not os.read(descriptor, 4096):
                return
        except BlockingIOError:
            continue


def _notify(live: LiveOutput, line: str) -> None:
    if live.tell(line):
        return
    # The client may be drawing a progress line on the terminal right now: overwrite it.
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{clear}{line}", file=sys.stderr, flush=True)
