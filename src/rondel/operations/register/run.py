"""Registers a model version with the lineage from a run's record."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from rondel.environment.image import installed_packages
from rondel.errors import RecordError
from rondel.operations.register.restore import ModelRestorer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import Stage
    from rondel.record import Capsule, Run, StageRecord
    from rondel.registry.lineage import Lineage
    from rondel.registry.register import ModelSource
    from rondel.registry.versions import ModelVersion
    from rondel.tracking import RunHandle, TrackingClient


class Registrar:
    """Makes a version of a registered model from what the run's stages logged."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime

    async def register(
        self,
        model: str,
        alias: str | None,
        *,
        artifact: str | None,
        log: str | None,
        model_file: str | None,
    ) -> ModelVersion:
        """Register the model. Raises DataError, StageFailed and TrackingUnavailable."""
        from anyio import to_thread

        from rondel.registry import attestations
        from rondel.registry.backends import registry_of
        from rondel.registry.project_lineage import whoami
        from rondel.registry.register import register
        from rondel.registry.verify import store_files
        from rondel.tracking import TrackingClient

        tracking = self.runtime.tracking("register")
        self.runtime.recorder.step(f"registering {model}")
        capsule = await to_thread.run_sync(_capsule, self.runtime.run.folder)
        records = await to_thread.run_sync(source_records, self.runtime.run.root, capsule, self.runtime.stage)
        lineage = await to_thread.run_sync(lineage_of, self.runtime.run, capsule, records, model)
        packages = next((dict(each.image.packages) for each in records if each.image), {})
        async with TrackingClient(tracking.endpoint) as client:
            store = registry_of(client)
            source = await self._find_model(client, records, model, artifact, log=log, model_file=model_file)
            who = await to_thread.run_sync(whoami, self.runtime.run.root, self.runtime.run.started_by)
            version = await register(store, model, source, lineage, who=who, alias=alias)
            stored = False
            if attestations.libraries_installed():
                packages = packages or await installed_packages(self.runtime.container)
                stored = await store_files(store, version, lineage, packages=packages, environ=os.environ)
        suffix = f", {alias}" if alias else ""
        first = version.tags.get("rondel.run", self.runtime.run.id)
        if first != self.runtime.run.id:
            suffix += f" (registered before by run {first})"
        self.runtime.recorder.output(f"registered {model} version {version.version}{suffix}")
        if not stored:
            why = (
                "the server stores no files for runs"
                if attestations.libraries_installed()
                else "install rondel[provenance]"
            )
            self.runtime.recorder.output(f"SBOM and provenance were not stored: {why}")
        return version

    async def _find_model(
        self,
        client: TrackingClient,
        records: list[StageRecord],
        name: str,
        artifact: str | None,
        *,
        log: str | None,
        model_file: str | None,
    ) -> ModelSource:
        """The model that the stages logged.

        For a restored stage: the model that an earlier run on this server logged with the same
        outputs, or else one that is logged again from DVC's file.
        """
        from rondel.errors import DataError
        from rondel.registry.register import find_model, twin_runs

        handles = _handles(records)
        try:
            return await find_model(client, handles, artifact=artifact)
        except DataError as nothing:
            experiment = await self._experiment(client, handles)
            if experiment is not None:
                mine = {handle.run_id for handle in handles}
                twins: list[RunHandle] = []
                for record in records:
                    found = await twin_runs(client, experiment, record.name, record.outputs)
                    twins += [each for each in found if each.run_id not in mine]
                with suppress(DataError):
                    return await find_model(client, twins, artifact=artifact)
            again = await ModelRestorer(self.runtime).log_again(
                client, records, name, experiment, log=log, model_file=model_file
            )
            if again is None:
                raise
            try:
                return await find_model(client, [again], artifact=artifact)
            except DataError:
                raise DataError(
                    "there is no model to register",
                    why=f"`{log}` succeeded, but logged no model"
                    + (f" {artifact!r}" if artifact else "")
                    + f" to the run {again.url}",
                    hint="it must log to the run in MLFLOW_RUN_ID, for example with "
                    "mlflow.sklearn.log_model(model, name='model')",
                ) from nothing

    async def _experiment(self, client: TrackingClient, handles: list[RunHandle]) -> str | None:
        """The experiment of this run on this server."""
        from rondel.tracking import RunHandle, TrackingRefused

        mine = self.runtime.recorder.record.mlflow
        for handle in [*([RunHandle(run_id=mine.run_id, url="")] if mine else []), *handles]:
            try:
                return (await client.get_run(handle.run_id)).handle.experiment_id
            except TrackingRefused as refusal:
                if not refusal.missing:
                    raise
        return None


def source_records(root: Path, capsule: Capsule, stage: Stage) -> list[StageRecord]:
    """The records of all stages before ``stage``, in order.

    For a cached one, the record in the run that made its result.
    """
    upstream = _upstream(capsule, stage.needs)
    return [
        _original(root, record) if record.state == "cached" else record
        for record in capsule.stages
        if record.name in upstream
    ]


def _original(root: Path, record: StageRecord) -> StageRecord:
    from rondel.cache import load_entry
    from rondel.record import load

    cache_entry = load_entry(root, record.name, record.key.digest) if record.key else None
    if cache_entry is None:
        return record
    try:
        return load(root, cache_entry.run)[1].stage(record.name)
    except (RecordError, KeyError):
        return record  # that run's folder was removed


def lineage_of(run: Run, capsule: Capsule, records: list[StageRecord], model: str) -> Lineage:
    """The lineage of a model from the records of the stages that made it."""
    from rondel.data.run_tree import run_tree
    from rondel.gates import Verdict
    from rondel.registry.lineage import Lineage
    from rondel.registry.project_lineage import data_lineage

    inputs, outputs, params = data_lineage(run.root, run_tree(run.folder))
    verdicts = [each for record in records for each in record.verdicts if each.model in {model, None}]
    images = [record.image for record in records if record.image]
    image = images[-1] if images else None
    metrics = {key: value for record in records for key, value in record.metrics.items()}
    for each in verdicts:
        metrics |= each.metrics
    rules: list[str] = []
    for each in verdicts:
        found = Verdict.from_dict({"passed": each.passed, "rules": each.rules, "model": each.model})
        rules += [
            f"{'passed' if result.passed else 'failed'}: {result.rule} ({result.reason})"
            for result in found.results
        ]
    gate = "none" if not verdicts else "passed" if all(each.passed for each in verdicts) else "failed"
    return Lineage(
        run=run.id,
        pipeline=capsule.pipeline,
        git_commit=capsule.git.commit or "",
        git_dirty=capsule.git.dirty,
        git_remote=capsule.git.remote_url or "",
        image=(image.digest or image.reference) if image else "",
        capsule=str(run.folder.relative_to(run.root)) if run.folder.is_relative_to(run.root) else "",
        ci_job=(capsule.ci.url or "") if capsule.ci else "",
        inputs=inputs,
        outputs=outputs,
        params=params,
        overrides=dict(capsule.overrides),
        metrics=metrics,
        evaluation=next((each.evaluation for each in reversed(verdicts) if each.evaluation), {}),
        gate=gate,
        gate_rules=tuple(rules),
    )


def _upstream(capsule: Capsule, needs: Iterable[str]) -> set[str]:
    known = {record.name: record for record in capsule.stages}
    found: set[str] = set()
    waiting = list(needs)
    while waiting:
        name = waiting.pop()
        if name not in found and name in known:
            found.add(name)
            waiting += known[name].needs
    return found


def _handles(records: Iterable[StageRecord]) -> list[RunHandle]:
    from rondel.tracking import RunHandle

    return [
        RunHandle(run_id=record.mlflow.run_id, url=record.mlflow.url or "")
        for record in records
        if record.mlflow is not None
    ]


def _capsule(folder: Path) -> Capsule:
    from rondel.record import load

    return load(folder, str(folder))[1]
