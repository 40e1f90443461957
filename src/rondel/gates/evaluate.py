"""Evaluates rules; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.errors import nearest
from rondel.gates.metrics import Metrics, canonical
from rondel.gates.verdict import RuleResult, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.gates.rules import MetricName, NoChampion, Rule, StaleChampion
    from rondel.gates.verdict import Measured


@dataclass(frozen=True, kw_only=True, slots=True)
class ChampionMetrics:
    """The champion's version, and its metrics by name.

    ``measured`` says where the metrics come from, ``note`` why. ``stale`` metrics
    come from an evaluation with other data or code that could not be repeated.
    """

    version: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    measured: Measured = "recorded"
    note: str = ""

    @property
    def stale(self) -> bool:
        """Whether the metrics are not comparable with the challenger's."""
        return self.measured == "stale"


def evaluate(
    rules: Iterable[Rule],
    metrics: Metrics,
    champion: ChampionMetrics | None = None,
    *,
    model: str | None = None,
    no_champion: NoChampion = "pass",
    stale_champion: StaleChampion = "fail",
) -> Verdict:
    """Evaluate the rules. Does not raise for missing or bad metrics: rules that need them fail.

    ``no_champion`` decides rules that need a champion while there is none,
    ``stale_champion`` while its metrics are not comparable. Policies among
    ``rules`` take precedence.
    """
    rules = tuple(rules)
    for rule in rules:
        no_champion = rule.no_champion or no_champion
        stale_champion = rule.stale_champion or stale_champion
    incomparable = champion is not None and champion.stale and stale_champion == "fail"
    known = {canonical(name): value for name, value in champion.metrics.items()} if champion else {}
    results = tuple(
        _result(rule, metrics, champion, known, no_champion, incomparable=incomparable)
        for rule in rules
        if rule.metric is not None
    )
    return Verdict(
        passed=metrics.problem is None and all(result.passed for result in results),
        results=results,
        model=model,
        champion_version=champion.version if champion else None,
        source=metrics.source,
        metrics=dict(metrics.values),
        champion_metrics=known,
        champion_measured=champion.measured if champion else "",
        champion_note=champion.note if champion else "",
    )


def _result(
    rule: Rule,
    metrics: Metrics,
    champion: ChampionMetrics | None,
    known: Mapping[str, float],
    no_champion: NoChampion,
    *,
    incomparable: bool,
) -> RuleResult:
    assert rule.metric is not None  # noqa: S101 (policies were left out)
    name = canonical(str(rule.metric))
    value, problem = _look_up(name, metrics)
    if value is None:
        return _failed(rule, name, reason=problem)
    bound = rule.bound.value(None)
    champion_value: float | None = None
    if rule.bound.champion is not None:
        if champion is None:
            passed = no_champion == "pass"
            return RuleResult(
                rule=rule.text,
                passed=passed,
                outcome="no champion",
                metric=name,
                value=value,
                reason=f"{_show(value)}; there is no champion yet",
            )
        if incomparable:
            reason = f"not comparable with the champion (version {champion.version}): {champion.note}"
            return _failed(rule, name, value=value, reason=reason, comparable=False)
        champion_value, problem = _champion_value(rule.bound.champion, champion, known)
        if champion_value is None:
            return _failed(rule, name, value=value, reason=problem)
        bound = rule.bound.value(champion_value)
    holds = rule.holds(value, bound)
    return RuleResult(
        rule=rule.text,
        passed=holds,
        outcome="passed" if holds else "failed",
        metric=name,
        value=value,
        bound=bound,
        champion=champion_value,
        reason=f"{_show(value)} {'is' if holds else 'is not'} {rule.operator} {_show(bound)}",
    )


def _look_up(name: str, metrics: Metrics) -> tuple[float | None, str]:
    if metrics.problem is not None:
        return None, metrics.problem
    if name in metrics.problems:
        return None, metrics.problems[name]
    if name not in metrics.values:
        return None, _missing(name, metrics.values, metrics.source)
    return metrics.values[name], ""


def _champion_value(
    wanted: MetricName, champion: ChampionMetrics, known: Mapping[str, float]
) -> tuple[float | None, str]:
    name = canonical(str(wanted))
    value = known.get(name)
    who = f"the champion (version {champion.version})"
    if value is None:
        return None, _missing(name, known, who)
    if not math.isfinite(value):
        return None, f"{name} of {who} is {'NaN' if math.isnan(value) else 'infinite'}"
    return value, ""


def _missing(name: str, known: Mapping[str, float], where: str) -> str:
    match = nearest(name, known)
    hint = f"; did you mean {match!r}?" if match else ""
    return f"{where} has no metric {name!r}{hint}"


def _failed(
    rule: Rule, name: str, *, reason: str, value: float | None = None, comparable: bool = True
) -> RuleResult:
    return RuleResult(
        rule=rule.text,
        passed=False,
        outcome="failed",
        metric=name,
        value=value,
        reason=reason,
        comparable=comparable,
    )


def _show(value: float) -> str:
    return f"{value:.6g}"
