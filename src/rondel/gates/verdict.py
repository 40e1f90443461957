"""The verdict of a gate: one value, which every surface renders."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

Outcome = Literal["passed", "failed", "no champion"]
Measured = Literal["", "recorded", "again", "same", "stale"]
"""Where the champion's metrics are from: its own evaluation, which was on the same data with the same
code (or nobody knows), one made beside the challenger's, the challenger's own because both are the same
model, or an evaluation on something else."""

MEASURED = {
    "recorded": "metrics as recorded when it was registered",
    "again": "evaluated again beside the challenger",
    "same": "the very same model",
    "stale": "metrics of another evaluation",
}
"""The same in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleResult:
    """What became of one rule.

    ``outcome`` is ``no champion`` for a rule that could not be evaluated and
    counts as the policy says, which ``passed`` tells. ``value`` and ``bound``
    are None where there is no number; ``reason`` says why in words.
    """

    rule: str
    passed: bool
    outcome: Outcome
    metric: str
    value: float | None = None
    bound: float | None = None
    champion: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a model may go on, rule by rule. ``champion_version`` is None when there is none yet."""

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
        """The champion in words: its version and where its metrics are from."""
        if self.champion_version is None:
            return "there is no champion yet"
        words = [MEASURED.get(self.champion_measured, ""), self.champion_note]
        told = "; ".join(word for word in words if word)
        return f"champion: version {self.champion_version}" + (f" ({told})" if told else "")

    def summary(self) -> str:
        """One sentence: how many rules hold, and which do not."""
        total = len(self.results)
        if self.passed:
            waiting = sum(result.outcome == "no champion" for result in self.results)
            note = f", {waiting} of them because there is no champion yet" if waiting else ""
            return f"the gate is passed: {total} of {total} rules hold{note}"
        held = total - len(self.failures)
        lines = "".join(f"\n{result.rule}: {result.reason}" for result in self.failures)
        return f"the gate is not passed: {held} of {total} rules hold{lines}"

    def advice(self) -> str | None:
        """How to go on where rules failed only because the champion cannot be compared with; else None."""
        distrusted = any("not comparable" in each.reason for each in self.failures)
        if self.champion_measured != "stale" or not distrusted:
            return None
        return (
            "bring the champion's file back (`dvc push` where it still is); or take a champion that can be "
            f"measured (`rondel rollback {self.model}`); or compare with its recorded metrics all the same: "
            "the rule 'stale champion: compare'"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for the record and for tags."""
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
        """The verdict that :meth:`to_dict` wrote. KeyError or TypeError when it is something else."""
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
        """MLflow tags that tell the verdict."""
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
