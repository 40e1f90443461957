"""From rules and metrics to a verdict; pure."""

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
    """The champion as far as rules need it: its version and its metrics by name.

    ``measured`` says where the metrics are from, ``note`` why. ``stale`` ones
    are of other data or code, and could not be taken again.
    """

    version: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    measured: Measured = "recorded"
    note: str = ""

    @property
    def stale(self) -> bool:
        """Whether the metrics are known not to be comparable."""
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
    """Evaluate the rules. Never raises for what metrics hold: a rule without its number fails.

    ``no_champion`` is what rules that need a champion count as while there is
    none, ``stale_champion`` while its metrics are not comparable; policies among
    ``rules`` say otherwise.
    """
    rules = tuple(rules)
    for rule in rules:
        no_champion = rule.no_champion or no_champion
        stale_champion = rule.stale_champion or stale_champion
    distrusted = champion is not None and champion.stale and stale_champion == "fail"
    known = {canonical(name): value for name, value in champion.metrics.items()} if champion else {}
    results = tuple(
        _result(rule, metrics, champion, known, no_champion, distrusted=distrusted)
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
    distrusted: bool,
) -> RuleResult:
    assert rule.metric is not None  # noqa: S101 (policies were left out)
    name = canonical(str(rule.metric))
    value, problem = _look_up(name, metrics)
    if value is None:
        return _failed(rule, name, reason=problem)
    bound = rule.bound.value(None)
    theirs: float | None = None
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
        if distrusted:
            reason = f"not comparable with the champion (version {champion.version}): {champion.note}"
            return _failed(rule, name, value=value, reason=reason)
        theirs, problem = _champion_value(rule.bound.champion, champion, known)
        if theirs is None:
            return _failed(rule, name, value=value, reason=problem)
        bound = rule.bound.value(theirs)
    holds = rule.holds(value, bound)
    return RuleResult(
        rule=rule.text,
        passed=holds,
        outcome="passed" if holds else "failed",
        metric=name,
        value=value,
        bound=bound,
        champion=theirs,
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


def _failed(rule: Rule, name: str, *, reason: str, value: float | None = None) -> RuleResult:
    return RuleResult(rule=rule.text, passed=False, outcome="failed", metric=name, value=value, reason=reason)


def _show(value: float) -> str:
    return f"{value:.6g}"
