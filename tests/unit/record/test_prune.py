from __future__ import annotations

from rondel.record.prune import KeptRun, choose

RUNS = [KeptRun(id=f"r{number}", size=10) for number in (5, 4, 3, 2, 1)]


def test_without_a_budget_all_but_the_newest_go() -> None:
    assert choose(RUNS, keep=2) == ("r1", "r2", "r3")
    assert choose(RUNS, keep=9) == ()


def test_a_budget_takes_the_oldest_until_the_rest_fits() -> None:
    assert choose(RUNS, budget=35, keep=1) == ("r1", "r2")
    assert choose(RUNS, budget=50, keep=1) == ()
    assert choose(RUNS, budget=0, keep=4) == ("r1",)


def test_runs_that_are_needed_or_being_written_stay() -> None:
    runs = [*RUNS[:4], KeptRun(id="r1", size=10, held=True)]
    assert choose(runs, keep=0, needed=["r3"]) == ("r2", "r4", "r5")
