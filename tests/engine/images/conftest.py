"""A session of the engine over a store of the tests' own, and a real registry on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rondel.engine.server.launcher import Session

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Queries:
    """Sends queries to a session and answers their data."""

    session: Session

    def raw(self, query: str) -> dict[str, Any]:
        reply = httpx.post(
            f"http://127.0.0.1:{self.session.port}/query", json={"query": query},
            auth=(self.session.token, ""), timeout=600, trust_env=False,
        )  # fmt: skip
        answer: dict[str, Any] = reply.json()
        return answer

    def __call__(self, query: str) -> Any:
        answer = self.raw(query)
        assert "errors" not in answer, answer["errors"]
        value = answer["data"]
        while isinstance(value, dict) and len(value) == 1:
            value = next(iter(value.values()))
        return value

    def error(self, query: str) -> dict[str, Any]:
        answer = self.raw(query)
        assert answer.get("errors"), answer
        first: dict[str, Any] = answer["errors"][0]
        return first


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


Start = Callable[..., Queries]


@pytest.fixture
def start(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a session; ``store`` names another store than the shared one, ``environ`` adds variables."""
    opened: list[Session] = []

    def make(store: Path | None = None, **environ: str) -> Queries:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        session = Session.open(store=store or home)
        opened.append(session)
        return Queries(session)

    yield make
    for session in opened:
        session.close()


@pytest.fixture
def query(start: Start) -> Queries:
    return start()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on a free port; its host and port."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed: apt-get install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": 0.1, "log": {"accesslog": {"disabled": True}, "level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }  # fmt: skip
    (folder / "config.yml").write_text(json.dumps(config))
    process = subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
    )  # fmt: skip
    host, port = address.split(":")
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                break
        time.sleep(0.05)
    yield address
    process.kill()
    process.wait()


@pytest.fixture
def skopeo() -> Callable[..., str]:
    program = shutil.which("skopeo")
    if program is None:
        pytest.skip("skopeo is not installed: apt-get install skopeo")

    def run(*args: str) -> str:
        done = subprocess.run([program, *args], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
