from __future__ import annotations

from rondel.record.prune import StoredRun, runs_to_remove

RUNS = [StoredRun(id=f"r{number}", size=10) for number in (5, 4, 3, 2, 1)]


def test_without_a_budget_all_but_the_newest_go() -> None:
    assert runs_to_remove(RUNS, keep=2) == ("r1", "r2", "r3")
    assert runs_to_remove(RUNS, keep=9) == ()


def test_a_budget_takes_the_oldest_until_the_rest_fits() -> None:
    assert runs_to_remove(RUNS, budget=35, keep=1) == ("r1", "r2")
    assert runs_to_remove(RUNS, budget=50, keep=1) == ()
    assert runs_to_remove(RUNS, budget=0, keep=4) == ("r1",)


def test_runs_that_are_needed_or_being_written_stay() -> None:
    runs = [*RUNS[:4], StoredRun(id="r1", size=10, locked=True)]
    assert runs_to_remove(runs, keep=0, needed=["r3"]) == ("r2", "r4", "r5")
