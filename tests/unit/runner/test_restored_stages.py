"""The state of a stage that succeeded without computing anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rondel.record import CommandRecord, StageRecord
from rondel.reports.console import state_line
from rondel.runner.decide import Decision
from rondel.runner.success import outcome_of

RUN = Decision(reason="parameter n changed from 1 to 2")
RESTORE = Decision(action="restore", reason="unchanged since run r1; DVC has its results")


def record(*outcomes: str) -> StageRecord:
    return StageRecord(
        name="train",
        kind="pure",
        reason=RUN.reason,
        commands=[CommandRecord(args=["dvc"], exit_code=0, outcome=outcome) for outcome in outcomes],
    )


@pytest.mark.parametrize("outcomes", [(), ("ran",), ("ran", "restored"), ("unchanged",), ("restored",)])
def test_a_stage_that_was_to_run_ran_whatever_its_commands_found(outcomes: tuple[str, ...]) -> None:
    assert outcome_of(record(*outcomes), RUN) == ("ran", RUN.reason)


@pytest.mark.parametrize("outcomes", [("restored",), ("restored", "unchanged")])
def test_a_stage_that_was_to_be_restored_is(outcomes: tuple[str, ...]) -> None:
    assert outcome_of(record(*outcomes), RESTORE) == ("restored", RESTORE.reason)


def test_a_stage_that_could_not_be_restored_ran_with_the_reason() -> None:
    state, reason = outcome_of(record("ran"), RESTORE)
    assert state == "ran"
    assert reason.startswith(RESTORE.reason)
    assert reason.endswith("ran again")


def test_the_console_says_restored_with_the_time_it_took() -> None:
    done = replace(record("restored"), state="restored", seconds=2.0)
    assert state_line(done, colour=False) == "✓ train restored in 2.0 s"
