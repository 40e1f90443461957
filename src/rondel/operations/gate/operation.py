"""``ctx.gate``: rules that a model must pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from rondel.errors import ConfigurationError
from rondel.operations.operation import Call, KeyParts, Operation
from rondel.pipeline import StageCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rondel.gates import Verdict
    from rondel.operations.project import Project
    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import Stage


@dataclass(frozen=True, kw_only=True)
class Gate(Operation["Verdict"]):
    """Rules over the metrics of a file or a mapping, compared with the champion of ``model``."""

    kind = "gate"

    rules: tuple[str, ...] = ()
    metrics: str | Mapping[str, Any] | None = "metrics.json"
    model: str | None = None
    model_file: str | None = None
    measure: str | None = None

    @classmethod
    def call(
        cls,
        *rules: str,
        metrics: str | Mapping[str, Any] = "metrics.json",
        model: str | None = None,
        model_file: str | None = None,
        measure: str | None = None,
    ) -> Self:
        """Fail the stage unless every rule passes; the verdict is recorded in any case.

        ``metrics`` is a file that the stage made (or a file of the working
        tree), or a mapping. The rules compare with the champion of ``model``.
        If a stage of ``dvc.yaml`` makes the file, and its data, code,
        parameters or image differ from those of the champion's evaluation, the
        same command evaluates the champion again. ``model_file`` names the
        dependency of that stage that is the model, if this is unclear.
        ``measure`` is a command that prints a JSON object with more metrics,
        such as latency. It runs in the container and, if a rule needs that,
        once more with the champion's model in place.

        Raises GateFailed with every rule that fails, ConfigurationError for a
        rule that can't be parsed, StageFailed if ``measure`` fails.
        """
        return cls(rules=rules, metrics=metrics, model=model, model_file=model_file, measure=measure)

    @classmethod
    def from_call(cls, call: Call) -> Self:
        """The gate of a call: the rules are arguments in the source, and details in a record."""
        details = call.details
        rules, model, metrics = details.get("rules", ()), call.name or None, details.get("metrics")
        if isinstance(call, StageCall):
            rules, model = call.args, details.get("model")
            metrics = details.get("metrics", "metrics.json" if call.literal else None)
        return cls(
            rules=tuple(rule for rule in rules if isinstance(rule, str)),
            metrics=metrics,
            model=model,
            model_file=details.get("model_file"),
            measure=details.get("measure"),
        )

    @property
    def name(self) -> str:
        """The model; empty for a gate without a champion."""
        return self.model or ""

    @property
    def details(self) -> Mapping[str, Any]:
        """The rules, and the other arguments that are strings."""
        given = {"metrics": self.metrics, "model_file": self.model_file, "measure": self.measure}
        return {
            "rules": list(self.rules),
            **{name: value for name, value in given.items() if isinstance(value, str)},
        }

    async def run(self, runtime: StageRuntime) -> Verdict:
        """Judge the model. Raises GateFailed."""
        from rondel.operations.gate.run import GateRunner

        return await GateRunner(runtime).judge(
            self.rules,
            self.metrics or "metrics.json",
            model=self.model,
            model_file=self.model_file,
            measure=self.measure,
        )

    def check(self, stage: Stage, project: Project) -> Iterator[ConfigurationError]:
        """Check that every rule parses, unless this code succeeded before: the parser is slow to import."""
        if not self.rules or project.succeeded_before(stage):
            return
        from rondel.gates import parse_rules

        try:
            parse_rules(self.rules, place=str(self.place or stage.place))
        except ConfigurationError as error:
            yield error

    def add_to_key(
        self, key: KeyParts, number: int, stage: Stage, project: Project, given: Mapping[str, Any]
    ) -> None:
        """The rules, the champion's version, and the metrics file if the stage does not make it itself."""
        key.command[f"gate {number}"] = self.name
        # Separate entries, so that `rondel why` can name the rule that changed.
        key.command |= {f"gate {number} {name}": value for name, value in self.details.items()}
        if self.model:
            key.champion[self.model] = project.champion(self.model)
        if isinstance(self.metrics, str) and not any(_holds(out, self.metrics) for out in key.made):
            key.inputs[self.metrics] = project.metrics_hash(self.metrics)

    def describe(self, project: Project, given: Mapping[str, Any]) -> Sequence[str]:
        """The rules."""
        return [f"gate{f' of {self.model}' if self.model else ''}:", *(f"  {rule}" for rule in self.rules)]


def _holds(out: str, path: str) -> bool:
    return path == out or path.startswith(f"{out}/")
