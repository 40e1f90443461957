"""The GitLab stub, and small HTTP servers that misbehave in one way each."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from gitlab_stub import GitlabStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def gitlab() -> Iterator[GitlabStub]:
    stub = GitlabStub()
    yield stub
    stub.close()


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes | None], int]]:
    """Start a server that answers every request with these bytes (None: never); its port."""
    sockets: list[socket.socket] = []

    def start(answer: bytes | None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                sockets.append(connection)
                if answer is None:
                    continue
                try:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
