"""What a session answers when its engine could not start or has died: the reason, to every query.

A client reports a closed port as a broken network and nothing else. So the launcher answers
instead of the engine, with a GraphQL error. It uses the standard library only: it must
work in a broken installation.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.errors import EngineUnavailable, RondelError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

PATIENCE = 5.0
"""Seconds that a client has to send its request."""

MAX_REQUEST = 64 * 1024 * 1024
LONGEST_REASON = 64 * 1024
ENGINE_UNAVAILABLE = "ENGINE_UNAVAILABLE"
"""The error's ``extensions._type``, which distinguishes it from an error of the query."""


def reason_of(error: BaseException) -> str:
    """Why an engine could not start, in words: cause, place, what to do. No traceback."""
    leaves = list(_leaves(error))
    if all(isinstance(leaf, RondelError) for leaf in leaves):
        return "\n".join(str(leaf) for leaf in leaves)
    strange = next(leaf for leaf in leaves if not isinstance(leaf, RondelError))
    said = f"{type(strange).__name__}: {strange}".rstrip(": ")
    trace = strange.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        said += f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
    if isinstance(strange, ImportError):
        hint = "a package is missing or broken: install again (`make setup`, or `uv sync`)"
    elif isinstance(strange, OSError):
        hint = "the engine keeps its files in $RONDEL_ENGINE_HOME, or in rondel/engine of the user's cache"
    else:
        hint = "this is a bug in Rondel; `rondel doctor` shows what this machine can run"
    return str(EngineUnavailable("the embedded engine could not start", why=said, hint=hint))


def reason_of_end(code: int, words: str) -> str:
    """Why an engine ended: ``words`` are its last message, ``code`` its exit code (-N for signal N)."""
    if words:
        return words
    if code >= 0:
        why = f"its process ended with exit code {code}"
    else:
        name = signal.Signals(-code).name
        why = f"its process was ended by {name}"
        if -code == signal.SIGKILL:
            why += ", which the kernel also sends when memory runs out"
    hint = "run again, finished work is kept; `rondel doctor` shows what this machine can run"
    return str(EngineUnavailable("the embedded engine ended unexpectedly", why=why, hint=hint))


def _leaves(error: BaseException) -> Iterable[BaseException]:
    """The single errors in an exception group, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def refuse(listener: socket.socket, token: str, message: str, until: int) -> None:
    """Answer every request on ``listener`` with ``message`` until the descriptor ``until`` is readable."""
    while True:
        readable, _, _ = select.select([listener.fileno(), until], [], [])
        if until in readable:
            return
        with contextlib.suppress(OSError, ValueError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                connection.sendall(_answer(_request(connection), token, message))


def _request(connection: socket.socket) -> bytes:
    """The head of a request. Its body is read, too: otherwise the client might never read the answer."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < LONGEST_REASON:
        block = connection.recv(65536)
        if not block:
            return data
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    left = min(int(_header(head, b"content-length") or 0), MAX_REQUEST) - len(body)
    while left > 0:
        block = connection.recv(min(left, 65536))
        if not block:
            break
        left -= len(block)
    return head


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _answer(head: bytes, token: str, message: str) -> bytes:
    expected = b"Basic " + base64.b64encode(f"{token}:".encode())
    if not hmac.compare_digest(_header(head, b"authorization"), expected):
        return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    error = {"message": message, "extensions": {"_type": ENGINE_UNAVAILABLE}}
    body = json.dumps({"errors": [error], "data": None}).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
