"""Sessions of the engine over a store of the tests' own, and queries to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rondel.engine.server.launcher import EmbeddedSession

if TYPE_CHECKING:
    from pathlib import Path


def pytest_itemcollected(item: pytest.Item) -> None:
    """All that is here needs the engine; .ci/run has it once more without any privilege."""
    item.add_marker("container")


@dataclass
class Queries:
    """Sends queries to a session and answers their data."""

    session: EmbeddedSession

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
    """Start a session; ``store`` names another than the shared one, ``environ`` adds variables."""
    opened: list[EmbeddedSession] = []

    def make(store: Path | None = None, workdir: Path | None = None, **environ: str) -> Queries:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        session = EmbeddedSession.open(store=store or home, workdir=workdir)
        opened.append(session)
        return Queries(session)

    yield make
    for session in opened:
        session.close()


@pytest.fixture
def query(start: Start) -> Queries:
    return start()
