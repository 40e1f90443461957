from __future__ import annotations

import pytest

from rondel.engine.store import Snapshot
from rondel.engine.store.collect import plan_collection
from rondel.engine.store.index import Object
from rondel.engine.store.layers import plan_merge

pytestmark = pytest.mark.anyio


def test_few_layers_are_left_alone():
    assert plan_merge([5] * 24) is None
    assert plan_merge([]) is None


def test_the_cheapest_run_of_neighbours_is_merged_and_never_the_base():
    assert plan_merge([0] + [9] * 4 + [1] * 20)[0] == 5
    assert plan_merge([0] * 25)[0] >= 1


def test_a_merge_always_gets_below_the_limit_at_once():
    sizes = [1] * 100
    start, end = plan_merge(sizes, most=10)
    assert len(sizes) - (end - start) + 1 <= 10


def test_each_file_of_a_long_chain_is_merged_few_times():
    sizes, work = [0], 0
    for _ in range(2000):
        sizes.append(1)
        while (chosen := plan_merge(sizes)) is not None:
            start, end = chosen
            total = sum(sizes[start:end])
            work += total
            sizes[start:end] = [total]
    assert sum(sizes) == 2000
    assert work <= 2000 * 10


def test_collection_stops_at_the_budget_and_at_the_cutoff():
    rows = [Object("layer", str(n), 10, 1, float(n)) for n in range(5)]
    assert [row.id for row in plan_collection(rows, budget=25, cutoff=100)] == ["0", "1", "2"]
    assert [row.id for row in plan_collection(rows, budget=0, cutoff=2.0)] == ["0", "1"]
    assert plan_collection(rows, budget=50, cutoff=100) == []


async def test_a_compacted_chain_shows_the_same_and_is_remembered(store):
    snapshot = Snapshot()
    for number in range(40):
        async with store.draft(snapshot) as draft:
            draft.write(f"/d{number % 3}/f{number}", b"%d" % number)
            if number % 5 == 4:
                draft.remove(f"/d{(number - 3) % 3}")
            snapshot = await draft.commit()
    compact = await store.compact(snapshot)
    assert len(compact.layers) <= 24

    def seen(which: Snapshot) -> list[tuple[str, int, int]]:
        return [(entry.path, entry.mode, entry.size * entry.is_file) for entry in store.view(which).walk()]

    assert seen(compact) == seen(snapshot)
    assert await store.compact(snapshot) == compact
    assert await store.compact(compact) == compact
    assert seen(await store.compact(snapshot, most=3)) == seen(snapshot)
