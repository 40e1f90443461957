"""A real MLflow server as a team has one: without Rondel's login, and not Rondel's to stop."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rondel.tracking.server_state import ServerFolder
from rondel.tracking.supervisor import ask_version, server_command, server_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def mlflow_server(root: Path, *, database: str | None = None) -> Iterator[str]:
    """The address of a server with its files below ``root``; ``database`` replaces its own."""
    folder = ServerFolder.of(root)
    folder.artifacts.mkdir(parents=True)
    folder.temporary.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = server_command(folder, port)
    at = command.index("--app-name")
    del command[at : at + 2]
    if database is not None:
        command[command.index("--backend-store-uri") + 1] = database
    with folder.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            env=server_environment(os.environ, folder),
            stdout=log,
            stderr=log,
            cwd=root,
            process_group=0,
        )
    try:
        while ask_version(port) is None:
            assert process.poll() is None, folder.log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)
