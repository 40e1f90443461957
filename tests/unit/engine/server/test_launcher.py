"""Sessions that nobody connects to: their engine loads, and does nothing more."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from rondel.engine.server.__main__ import NOT_NEEDED
from rondel.engine.server.launcher import EmbeddedSession, run
from rondel.errors import EngineUnavailable

if TYPE_CHECKING:
    from pathlib import Path


def test_a_session_has_a_port_and_a_token() -> None:
    with EmbeddedSession.open() as session:
        assert json.loads(session.connection_line) == {"port": session.port, "session_token": session.token}
        assert session.environment["DAGGER_SESSION_PORT"] == str(session.port)
        assert len(session.token) >= 32


@pytest.mark.parametrize("seconds", [0.0, 1.5], ids=["still loading", "waiting"])
def test_an_engine_that_nobody_connects_to_opens_no_store_and_is_ended_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with EmbeddedSession.open(store=tmp_path / "store") as session:
        time.sleep(seconds)
    assert session._engine is not None
    assert session._engine.returncode == -NOT_NEEDED
    assert not (tmp_path / "store").exists()


def test_on_one_processor_no_engine_loads_before_somebody_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with EmbeddedSession.open() as session:
        time.sleep(0.2)
        assert session._engine is None


def test_nothing_listens_after_the_end() -> None:
    with EmbeddedSession.open() as session:
        port = session.port
    session.close()  # a second time does no harm
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_two_sessions_share_neither_port_nor_token() -> None:
    with EmbeddedSession.open() as one, EmbeddedSession.open() as two:
        assert (one.port, one.token) != (two.port, two.token)
        assert one.token != two.token


def test_run_passes_environment_and_exit_code_on(tmp_path: Path) -> None:
    script = "import os,sys; sys.exit(7 if os.environ['DAGGER_SESSION_TOKEN'] else 1)"
    assert run([sys.executable, "-c", script], workdir=tmp_path) == 7


def test_run_reports_an_end_by_signal() -> None:
    assert run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


def test_run_names_a_command_that_is_not_there() -> None:
    with pytest.raises(EngineUnavailable, match="no-such-command"):
        run(["no-such-command"])
    assert "DAGGER_SESSION_TOKEN" not in os.environ
