"""The verdict of a gate: one value, which every report renders."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

Outcome = Literal["passed", "failed", "no champion"]
Measured = Literal["", "recorded", "again", "same", "stale"]
"""Where the champion's metrics come from.

- ``recorded``: its own evaluation, which used the same data and code, or it is unknown what it used
- ``again``: an evaluation that was repeated together with the challenger's
- ``same``: the challenger's metrics, because both are the same model
- ``stale``: an evaluation with something else
"""

MEASURED = {
    "recorded": "metrics as recorded when it was registered",
    "again": "evaluated again together with the challenger",
    "same": "the same model",
    "stale": "metrics of another evaluation",
}
"""The same, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult:
    """The result of one rule.

    ``outcome`` is ``no champion`` if there is none to compare with; ``passed`` is then
    what the policy says. ``value`` and ``bound`` are None if there is no number;
    ``reason`` says why. ``comparable`` is False if the rule failed because the
    champion's metrics are stale.
    """

    rule: str
    passed: bool
    outcome: Outcome
    metric: str
    value: float | None = None
    bound: float | None = None
    champion: float | None = None
    reason: str = ""
    comparable: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a model passes, rule by rule. ``champion_version`` is None if there is no champion yet."""

    passed: bool
    results: tuple[RuleResult, ...]
    model: str | None = None
    champion_version: str | None = None
    source: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    champion_metrics: Mapping[str, float] = field(default_factory=dict)
    champion_measured: Measured = ""
    champion_note: str = ""

    @property
    def failures(self) -> tuple[RuleResult, ...]:
        """The rules that do not hold."""
        return tuple(result for result in self.results if not result.passed)

    def champion(self) -> str:
        """The champion in words: its version and where its metrics come from."""
        if self.champion_version is None:
            return "there is no champion yet"
        words = [MEASURED.get(self.champion_measured, ""), self.champion_note]
        details = "; ".join(word for word in words if word)
        return f"champion: version {self.champion_version}" + (f" ({details})" if details else "")

    def summary(self) -> str:
        """How many rules hold, and which do not."""
        total = len(self.results)
        if self.passed:
            waiting = sum(result.outcome == "no champion" for result in self.results)
            note = f", {waiting} of them because there is no champion yet" if waiting else ""
            return f"the gate is passed: {total} of {total} rules hold{note}"
        holding = total - len(self.failures)
        lines = "".join(f"\n{result.rule}: {result.reason}" for result in self.failures)
        return f"the gate is not passed: {holding} of {total} rules hold{lines}"

    def advice(self) -> str | None:
        """What to do if rules failed only because the champion's metrics are stale; else None."""
        if self.champion_measured != "stale" or all(each.comparable for each in self.failures):
            return None
        return (
            "restore the champion's file (`dvc push` where it still exists), or switch to a champion that "
            f"can be evaluated (`rondel rollback {self.model}`), or compare with its recorded metrics "
            "anyway: add the rule 'stale champion: compare'"
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "passed": self.passed,
            "model": self.model,
            "champion_version": self.champion_version,
            "source": self.source,
            "rules": [asdict(result) for result in self.results],
            "metrics": dict(self.metrics),
            "champion_metrics": dict(self.champion_metrics),
            "champion_measured": self.champion_measured,
            "champion_note": self.champion_note,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote. Raises KeyError or TypeError for anything else."""
        return cls(
            passed=bool(data["passed"]),
            results=tuple(RuleResult(**rule) for rule in data["rules"]),
            model=data.get("model"),
            champion_version=data.get("champion_version"),
            source=str(data.get("source", "")),
            metrics=dict(data.get("metrics", {})),
            champion_metrics=dict(data.get("champion_metrics", {})),
            champion_measured=data.get("champion_measured", ""),
            champion_note=str(data.get("champion_note", "")),
        )

    def tags(self) -> dict[str, str]:
        """The verdict as MLflow tags."""
        tags = {"rondel.gate": "passed" if self.passed else "failed"}
        if self.model:
            tags["rondel.gate.model"] = self.model
        tags["rondel.gate.champion"] = self.champion_version or "none"
        if self.champion_measured:
            tags["rondel.gate.champion.measured"] = self.champion_measured
        for number, result in enumerate(self.results, start=1):
            state = "passed" if result.passed else "failed"
            tags[f"rondel.gate.rule.{number}"] = f"{state}: {result.rule} ({result.reason})"
        return tags
