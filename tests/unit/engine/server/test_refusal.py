"""What clients are told by a session whose engine could not start, or died."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from rondel.engine.server.refusal import reason_of, reason_of_end, refuse
from rondel.errors import EngineUnavailable
from rondel.runner.services import engine_error

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "secret"


@pytest.fixture
def port() -> Iterator[int]:
    wait, wake = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener, TOKEN, "the reason\n  → do this", wait))
        thread.start()
        yield listener.getsockname()[1]
        os.close(wake)
        thread.join(5)
        os.close(wait)
    assert not thread.is_alive()


def ask(port: int, head: str, body: bytes = b"{}") -> tuple[str, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(f"POST /query HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    status, _, rest = answer.partition(b"\r\n")
    return status.decode(), rest.partition(b"\r\n\r\n")[2]


def basic(token: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{token}:'.encode()).decode()}\r\n"


def test_every_query_is_answered_with_the_reason(port: int) -> None:
    for size in (2, 300_000):
        status, body = ask(port, basic(TOKEN), b"x" * size)
        assert status == "HTTP/1.1 200 OK"
        error = {"message": "the reason\n  → do this", "extensions": {"_type": "ENGINE_UNAVAILABLE"}}
        assert json.loads(body) == {"errors": [error], "data": None}


def test_strangers_are_told_nothing(port: int) -> None:
    assert ask(port, basic("wrong")) == ("HTTP/1.1 401 Unauthorized", b"")
    assert ask(port, "") == ("HTTP/1.1 401 Unauthorized", b"")


def test_a_client_that_hangs_up_or_talks_nonsense_does_not_end_the_refusal(port: int) -> None:
    socket.create_connection(("127.0.0.1", port)).close()
    assert ask(port, "Content-Length: many\r\n")[0] == ""
    assert ask(port, basic(TOKEN))[0] == "HTTP/1.1 200 OK"


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301 - it is what gives it a traceback
    except BaseException as caught:  # noqa: BLE001
        return caught


def test_the_engines_own_errors_are_told_as_they_are() -> None:
    error = EngineUnavailable("no namespaces", why="EPERM", hint="allow them")
    assert reason_of(error) == "no namespaces\n  EPERM\n  → allow them"
    assert reason_of(BaseExceptionGroup("", [error])) == reason_of(error)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ModuleNotFoundError("No module named 'uvicorn'"), "install again"),
        (PermissionError(13, "Permission denied", "/x"), "RONDEL_ENGINE_HOME"),
        (RuntimeError("what"), "a bug in Rondel"),
    ],
)
def test_other_errors_are_told_with_place_and_advice_but_without_a_traceback(
    error: Exception, hint: str
) -> None:
    text = reason_of(raised(ExceptionGroup("unhandled errors in a TaskGroup", [raised(error)])))  # type: ignore[list-item]
    what, why, advice = text.splitlines()
    assert what == "the embedded engine could not start"
    assert why.startswith(f"  {type(error).__name__}: {error} (test_refusal.py:")
    assert hint in advice
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("code", "why"),
    [(-9, "SIGKILL, which the kernel also sends when memory runs out"), (-11, "SIGSEGV"), (3, "exit code 3")],
)
def test_an_engine_that_said_nothing_is_described_by_its_end(code: int, why: str) -> None:
    assert why in reason_of_end(code, "")
    assert reason_of_end(code, "its own words") == "its own words"


def test_the_clients_words_around_the_reason_are_taken_away() -> None:
    reason = str(EngineUnavailable("no namespaces", why="EPERM\nhere", hint="allow them"))
    wrapped = (
        f"Failed to establish client connection: Failed to build schema from introspection query: {reason}"
    )
    assert str(engine_error(RuntimeError(wrapped))) == reason
    assert engine_error(OSError("refused")).what == "the engine does not answer"
