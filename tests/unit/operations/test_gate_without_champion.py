"""A gate that can't ask for the champion does not take it that there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rondel.errors import ConfigurationError
from rondel.operations.gate.run import Gating

if TYPE_CHECKING:
    from rondel.gates import Verdict


class Context(Gating):
    """A stage's context in a run without an MLflow server."""

    def __init__(self) -> None:
        self._recorder: Any = SimpleNamespace(
            **dict.fromkeys(("use", "metrics", "verdict", "output"), lambda *_, **__: None)
        )
        self._environment: Any = SimpleNamespace(tracking=None)
        self.stage: Any = SimpleNamespace(place="ci/main.py:1")

    async def _bring_metrics(self, metrics: Any) -> None: ...

    def _evaluation(self, metrics: Any, model_file: Any) -> None: ...


def gate(*rules: str, model: str | None = "flights") -> Verdict:
    async def judge() -> Verdict:
        return await Context().gate(*rules, metrics={"auc": 0.7}, model=model)

    return anyio.run(judge)


def test_a_rule_about_a_champion_that_nobody_can_name_does_not_pass() -> None:
    with pytest.raises(ConfigurationError, match="the champion of flights is not known"):
        gate("auc >= champion.auc - 0.01")


def test_rules_that_need_no_champion_are_judged() -> None:
    assert gate("auc >= 0.6").passed
    assert gate("auc >= 0.6", model=None).passed
