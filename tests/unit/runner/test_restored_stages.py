"""What a stage is called when it succeeded although nothing was computed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rondel.record import CommandRecord, StageRecord, UseRecord
from rondel.reports.console import state_line
from rondel.runner.success import settled_as


def record(*outcomes: str, uses: tuple[str, ...] = ("dvc",), reason: str = "it is new") -> StageRecord:
    return StageRecord(
        name="train",
        kind="pure",
        reason=reason,
        commands=[CommandRecord(args=["dvc"], exit_code=0, outcome=outcome) for outcome in outcomes],
        uses=[UseRecord(kind=kind) for kind in uses],
    )


@pytest.mark.parametrize("outcomes", [(), ("ran",), ("ran", "restored"), ("",), ("restored", "")])
def test_a_stage_ran_when_any_command_did(outcomes: tuple[str, ...]) -> None:
    assert settled_as(record(*outcomes)) == ("ran", "it is new")


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        (("restored",), "it is new; DVC restored an earlier result"),
        (("restored", "unchanged"), "it is new; DVC restored an earlier result"),
        (("unchanged",), "it is new; DVC found nothing to do"),
    ],
)
def test_a_stage_is_restored_when_dvc_had_everything(outcomes: tuple[str, ...], reason: str) -> None:
    assert settled_as(record(*outcomes, uses=("dvc", "gate"))) == ("restored", reason)


@pytest.mark.parametrize("use", ["sh", "mlflow", "container", "register"])
def test_what_dvc_does_not_run_always_runs(use: str) -> None:
    assert settled_as(record("restored", uses=("dvc", use)))[0] == "ran"


def test_an_effect_is_never_restored() -> None:
    assert settled_as(replace(record("restored"), kind="effect"))[0] == "ran"


def test_the_console_says_restored_with_the_time_it_took() -> None:
    done = replace(record("restored"), state="restored", seconds=2.0)
    assert state_line(done, colour=False) == "✓ train restored in 2.0 s"
