"""A gate that can't look up the champion does not conclude that there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rondel.errors import ConfigurationError
from rondel.operations.gate.run import GateRunner

if TYPE_CHECKING:
    from rondel.gates import Verdict


def judge(*rules: str, model: str | None = "flights") -> Verdict:
    """The verdict in a run without an MLflow server."""
    silent = dict.fromkeys(("metrics", "verdict", "output", "step"), lambda *_, **__: None)
    runtime: Any = SimpleNamespace(
        recorder=SimpleNamespace(**silent),
        environment=SimpleNamespace(tracking=None),
        stage=SimpleNamespace(place="ci/main.py:1"),
    )

    async def judged() -> Verdict:
        return await GateRunner(runtime).judge(
            rules, {"auc": 0.7}, model=model, model_file=None, measure=None
        )

    return anyio.run(judged)


def test_a_rule_about_an_unknown_champion_does_not_pass() -> None:
    with pytest.raises(ConfigurationError, match="the champion of flights is unknown"):
        judge("auc >= champion.auc - 0.01")


def test_rules_that_need_no_champion_are_judged() -> None:
    assert judge("auc >= 0.6").passed
    assert judge("auc >= 0.6", model=None).passed
