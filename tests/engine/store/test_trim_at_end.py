"""A session that ends leaves the store within its budget, and what it used itself in place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx
import pytest

from rondel.engine.server.launcher import EmbeddedSession

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container


def use(store: Path, name: str) -> None:
    """A session that makes one directory of a megabyte."""
    text = name * 1_000_000
    query = f'{{directory{{withNewFile(path:"f",contents:"{text}"){{entries}}}}}}'
    with EmbeddedSession.open(store=store) as session:
        reply = httpx.post(
            f"http://127.0.0.1:{session.port}/query",
            json={"query": query}, auth=(session.token, ""), timeout=60, trust_env=False,
        )  # fmt: skip
        assert "errors" not in reply.json()


def test_the_end_of_a_session_trims_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = tmp_path / "l"
    for name in "abc":
        use(tmp_path, name)
    kept = set(os.listdir(layers))
    assert len(kept) == 3
    monkeypatch.setenv("RONDEL_ENGINE_CACHE_SIZE", "1500K")
    use(tmp_path, "d")
    assert len(os.listdir(layers)) == 1
    assert not kept & set(os.listdir(layers))


def test_a_wrong_size_is_told_and_costs_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RONDEL_ENGINE_CACHE_SIZE", "much")
    use(tmp_path, "a")
    assert "RONDEL_ENGINE_CACHE_SIZE: 'much' is no size" in capfd.readouterr().err
