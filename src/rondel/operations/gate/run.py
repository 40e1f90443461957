"""Judges a model: reads its metrics, evaluates the champion again if needed, and records the verdict."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError, DataError, GateFailed, StageFailed
from rondel.operations.gate.metric_files import MetricFiles
from rondel.operations.program import ProgramRunner, nested_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.gates import ChampionMetrics, Metrics, Rule, Verdict
    from rondel.operations.evaluation import Evaluation
    from rondel.operations.program import ProgramResult
    from rondel.operations.runtime import StageRuntime
    from rondel.registry.champion import Champion

CHAMPION_FOLDER = "champion"
"""The folder of a run with the files of the champion's evaluation, by stage."""

_PARTS_SHOWN = 3


class GateRunner:
    """Judges a model by the rules of a gate, in a stage's container."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime
        self._files = MetricFiles(runtime)
        self._programs = ProgramRunner(runtime)

    async def judge(
        self,
        rules: Sequence[str],
        metrics: str | Mapping[str, Any],
        *,
        model: str | None,
        model_file: str | None,
        measure: str | None,
    ) -> Verdict:
        """Judge the model and record the verdict. Raises GateFailed, ConfigurationError, StageFailed."""
        from anyio import to_thread

        from rondel.gates import evaluate, metrics_from_mapping, parse_rules

        parsed = parse_rules(rules, place=str(self.runtime.stage.place))
        await self._files.fetch(metrics)
        evaluation = await to_thread.run_sync(self._files.evaluation, metrics, model_file)
        extra: dict[str, Any] = {} if evaluation is None else dict(evaluation.size_metric())
        if measure is not None:
            extra |= await self._measure(evaluation, measure)
        found = self._files.read(metrics).merged(
            metrics_from_mapping(extra, source=measure or "the model's file")
        )
        self.runtime.recorder.metrics({name: found.values[name] for name in extra if name in found.values})
        champion = None
        if model and self.runtime.environment.tracking is not None:
            champion = await self._champion_metrics(model, evaluation, found, parsed, measure)
        elif model and any(rule.needs_champion for rule in parsed):
            # An unknown champion is not "no champion yet", which would pass.
            raise ConfigurationError(f"the champion of {model} is unknown: the run has no MLflow server")
        verdict = evaluate(parsed, found, champion, model=model)
        self._record(verdict, evaluation)
        if not verdict.passed:
            raise GateFailed(verdict.summary(), hint=verdict.advice())
        return verdict

    def _record(self, verdict: Verdict, evaluation: Evaluation | None) -> None:
        from rondel.record import VerdictRecord

        self.runtime.recorder.verdict(
            VerdictRecord(
                passed=verdict.passed,
                model=verdict.model,
                champion_version=verdict.champion_version,
                source=verdict.source,
                rules=[asdict(result) for result in verdict.results],
                metrics=dict(verdict.metrics),
                champion_metrics=dict(verdict.champion_metrics),
                champion_measured=verdict.champion_measured,
                champion_note=verdict.champion_note,
                evaluation=dict(evaluation.parts) if evaluation else {},
            )
        )
        if verdict.model:
            self.runtime.recorder.output(verdict.champion())
        self.runtime.recorder.output(verdict.summary())

    async def _champion_metrics(
        self,
        model: str,
        evaluation: Evaluation | None,
        challenger: Metrics,
        rules: Sequence[Rule],
        measure: str | None,
    ) -> ChampionMetrics | None:
        """The champion with metrics that are comparable with the challenger's, or a note why they are not."""
        from rondel.gates import ChampionMetrics
        from rondel.registry.champion import fetch_champion
        from rondel.registry.lineage import Lineage
        from rondel.tracking import TrackingClient

        assert self.runtime.environment.tracking is not None  # noqa: S101 - the caller looked
        self.runtime.recorder.step(f"the gate: the champion of {model}")
        async with TrackingClient(self.runtime.environment.tracking.endpoint) as client:
            found = await fetch_champion(client, model)
        if found is None:
            return None
        recorded = ChampionMetrics(version=found.version, metrics=found.metrics)
        if evaluation is None:
            return recorded
        lineage = Lineage.from_tags(found.tags)
        if evaluation.model_hash and lineage.outputs.get(evaluation.model or "") == evaluation.model_hash:
            return ChampionMetrics(version=found.version, metrics=challenger.values, measured="same")
        changed = evaluation.differences(lineage.evaluation) if lineage.evaluation else None
        measured_now = bool(measure) and _needs_measured_champion(
            rules, challenger, self._files.read(challenger.source)
        )
        if changed == [] and not measured_now:
            return recorded
        return await self._comparable_metrics(
            model, found, lineage.outputs, evaluation, changed=changed, measure=measure
        )

    async def _comparable_metrics(
        self,
        model: str,
        found: Champion,
        outputs: Mapping[str, str],
        evaluation: Evaluation,
        *,
        changed: list[str] | None,
        measure: str | None,
    ) -> ChampionMetrics:
        """The champion after a new evaluation; if that is impossible, its recorded metrics and the reason.

        ``changed`` is None if the champion's version does not record its
        evaluation: then its recorded metrics count, for want of others. If
        something is known to have changed, they are stale.
        """
        from rondel.gates import ChampionMetrics
        from rondel.operations.evaluation import champion_model

        reason = _reason(changed)
        digest, problem = champion_model(outputs, evaluation)
        metrics: dict[str, float] = {}
        if digest is not None:
            self.runtime.recorder.step(f"the gate: evaluating version {found.version} of {model} again")
            try:
                metrics = await self._evaluate_champion(
                    model, found, evaluation, digest, whole=changed != [], measure=measure
                )
            except (StageFailed, DataError) as error:
                prefix = f"can't evaluate {_version(found.version, model)}: "
                digest, problem = None, error.what.removeprefix(prefix)
        if digest is not None:
            return ChampionMetrics(
                version=found.version,
                metrics={**(found.metrics if changed == [] else {}), **metrics},
                measured="recorded" if changed == [] else "again",
                note=reason,
            )
        return ChampionMetrics(
            version=found.version,
            metrics=found.metrics,
            measured="stale" if changed else "recorded",
            note=f"{reason}; it can't be evaluated again: {problem}",
        )

    async def _evaluate_champion(
        self,
        model: str,
        found: Champion,
        evaluation: Evaluation,
        digest: str,
        *,
        whole: bool,
        measure: str | None,
    ) -> dict[str, float]:
        """Evaluate the champion like the challenger, logging to a separate MLflow run.

        Raises StageFailed or DataError with what went wrong.
        """
        from anyio import to_thread

        from rondel.gates import metrics_from_mapping, read_metrics, stage_metrics
        from rondel.operations.evaluation import MEGABYTE, MODEL_SIZE, evaluation_program
        from rondel.tracking import TrackingClient

        project = await to_thread.run_sync(self.runtime.dvc_project, {})
        wanted = tuple(dict.fromkeys([*evaluation.stage.files_to_fetch, evaluation.metrics])) if whole else ()
        program = evaluation_program(
            evaluation, project, swap=digest, evaluate=whole, measure=measure, collect=wanted
        )
        assert self.runtime.environment.tracking is not None  # noqa: S101 - there is a champion
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                TrackingClient(self.runtime.environment.tracking.endpoint)
            )
            container, mine = self.runtime.container, self.runtime.recorder.record.mlflow
            if mine is not None:
                experiment = (await client.get_run(mine.run_id)).handle.experiment_id
                name = f"champion: {model} version {found.version}"
                tags = {"rondel.run": self.runtime.run.id, "rondel.champion": found.version}
                made = await stack.enter_async_context(
                    nested_run(client, experiment, name=name, tags=tags, parent=mine.run_id)
                )
                container = container.with_env_variable("MLFLOW_RUN_ID", made.run_id)
            folder, done = await self._programs.run(
                self._programs.with_locks(container, project, evaluation.stage, evaluation.params),
                program,
                CHAMPION_FOLDER,
            )
            if done.code:
                raise _failed(done, _version(found.version, model))
        values: dict[str, float] = {}
        if whole:
            values |= stage_metrics(evaluation.stage, folder / "files")
            values |= read_metrics(folder / "files" / evaluation.metrics, shown=evaluation.metrics).values
        values |= metrics_from_mapping(done.metrics, source="measure").values
        if done.bytes is not None:
            values[MODEL_SIZE] = round(done.bytes / MEGABYTE, 6)
        return values

    async def _measure(self, evaluation: Evaluation | None, command: str) -> dict[str, Any]:
        """The metrics of the challenger that ``command`` prints on its last line."""
        from anyio import to_thread

        from rondel.operations.evaluation import evaluation_program

        if evaluation is None:
            raise ConfigurationError(
                "measure= needs a metrics file that a stage of dvc.yaml makes",
                why="the command runs with the dependencies of that stage in place",
                hint="without DVC, run the command with ctx.sh and pass its numbers to ctx.gate",
                place=str(self.runtime.stage.place),
            )
        self.runtime.recorder.step(f"the gate: {command}")
        project = await to_thread.run_sync(self.runtime.dvc_project, {})
        program = evaluation_program(evaluation, project, measure=command)
        container = self._programs.with_locks(
            self.runtime.container, project, evaluation.stage, evaluation.params
        )
        _, done = await self._programs.run(container, program, "measured")
        if done.code:
            raise _failed(done, f"the model ({command})")
        return dict(done.metrics)


def _needs_measured_champion(rules: Sequence[Rule], challenger: Metrics, of_file: Metrics) -> bool:
    """Whether a rule needs a champion's metric that only ``measure`` prints."""
    from rondel.gates.metrics import canonical

    wanted = {canonical(str(rule.bound.champion)) for rule in rules if rule.bound.champion is not None}
    return any(name in challenger.values and name not in of_file.values for name in wanted)


def _reason(changed: list[str] | None) -> str:
    if changed is None:
        return "its version does not record its evaluation"
    if not changed:
        return "evaluated together with the challenger"
    more = f" and {len(changed) - _PARTS_SHOWN} more" if len(changed) > _PARTS_SHOWN else ""
    return f"changed since its evaluation: {', '.join(changed[:_PARTS_SHOWN])}{more}"


_PHASES = {
    "model": "can't pull its file from the DVC remote",
    "data": "can't pull the data from the DVC remote",
    "command": "the command that evaluates it ended with exit code {code}",
    "measure": "the measure= command ended with exit code {code}",
}


def _version(version: str, model: str) -> str:
    return f"version {version} of {model}"


def _failed(done: ProgramResult, what: str) -> StageFailed:
    reason = _PHASES.get(done.phase, "the program ended early").format(code=done.code)
    return StageFailed(f"can't evaluate {what}: {reason}")
