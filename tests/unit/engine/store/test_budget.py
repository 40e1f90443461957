"""The size that the store may have, and keeping to it."""

from __future__ import annotations

import os
import sqlite3

import pytest

from rondel.engine.store import Store
from rondel.engine.store.budget import LARGEST, budget_of, default_budget
from rondel.engine.store.collect import first_of
from rondel.engine.store.index import Object
from rondel.errors import ConfigurationError

pytestmark = pytest.mark.anyio
GIB = 1 << 30


def test_the_default_is_20_gib_or_a_quarter_of_the_disk():
    assert default_budget(free=1000 * GIB, held=0) == LARGEST
    assert default_budget(free=8 * GIB, held=0) == 2 * GIB
    # What the store takes makes it no smaller.
    assert default_budget(free=6 * GIB, held=2 * GIB) == 2 * GIB


def test_the_variable_wins(tmp_path):
    assert budget_of(tmp_path, 0, {"RONDEL_ENGINE_CACHE_SIZE": "300M"}) == 300 << 20
    assert 0 < budget_of(tmp_path, 0, {}) <= LARGEST
    with pytest.raises(ConfigurationError, match="RONDEL_ENGINE_CACHE_SIZE: 'much' is no size"):
        budget_of(tmp_path, 0, {"RONDEL_ENGINE_CACHE_SIZE": "much"})


def test_a_collection_goes_in_steps_of_bounded_size():
    rows = [Object("layer", str(number), 100, 1, number) for number in range(5)]
    assert [row.id for row in first_of(rows, count=3)] == ["0", "1", "2"]
    assert [row.id for row in first_of(rows, size=250)] == ["0", "1"]
    assert [row.id for row in first_of(rows, size=1)] == ["0"]
    assert first_of([]) == []


async def filled(path, count):
    """A store with some layers of a session that is over."""
    store = Store.open(path)
    for _ in range(count):
        folder = store.new_path()
        folder.mkdir()
        (folder / "f").write_bytes(os.urandom(100_000))
        await store.publish(folder)
    store.close(sync=False)
    with sqlite3.connect(path / "index.db") as db:
        db.execute("UPDATE objects SET used = 1")
    db.close()


async def test_a_store_within_its_budget_is_left_alone(tmp_path):
    await filled(tmp_path / "store", 3)
    store = Store.open(tmp_path / "store")
    try:
        assert await store.trim(seconds=60, environ={"RONDEL_ENGINE_CACHE_SIZE": "1G"}) == 0
        assert len(os.listdir(store.root / "l")) == 3
    finally:
        store.close(sync=False)


async def test_a_store_over_its_budget_shrinks_to_it(tmp_path):
    await filled(tmp_path / "store", 3)
    store = Store.open(tmp_path / "store")
    try:
        assert await store.trim(seconds=60, environ={"RONDEL_ENGINE_CACHE_SIZE": "250K"}) > 0
        assert len(os.listdir(store.root / "l")) == 2
        assert store.index.held() <= 250 << 10
    finally:
        store.close(sync=False)


async def test_a_collection_that_runs_out_of_time_stops_and_goes_on_the_next_time(tmp_path, monkeypatch):
    monkeypatch.setattr("rondel.engine.store.store.first_of", lambda doomed: first_of(doomed, count=1))
    await filled(tmp_path / "store", 3)
    store = Store.open(tmp_path / "store")
    try:
        none = {"RONDEL_ENGINE_CACHE_SIZE": "0"}
        for left in (2, 1, 0):
            assert await store.trim(seconds=0, environ=none) > 0
            assert len(os.listdir(store.root / "l")) == left
        assert await store.trim(seconds=0, environ=none) == 0
    finally:
        store.close(sync=False)
