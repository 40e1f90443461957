"""Finds the metrics files that gates read: in the working tree, in the run's tree, and in DVC's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.data.run_tree import run_tree
from rondel.environment import WORK
from rondel.environment.data_container import fetch_plan
from rondel.operations.program import ProgramRunner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.gates import Metrics
    from rondel.operations.evaluation import Evaluation
    from rondel.operations.runtime import StageRuntime


class MetricFiles:
    """Finds the metrics that a gate judges, and the evaluation that made them."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime
        self._fetched: dict[str, Metrics] = {}

    async def fetch(self, metrics: str | Mapping[str, Any]) -> None:
        """Fetch a metrics file that DVC caches: the copy in the working tree may be old."""
        from anyio import to_thread

        from rondel.gates import Metrics, read_metrics

        if not isinstance(metrics, str) or not (self.runtime.run.root / ".dvc").is_dir():
            return
        if any((pending.files / metrics).is_file() for pending in self.runtime.pending):
            return
        project = await to_thread.run_sync(self.runtime.dvc_project, {})
        if not project.data_needed_for([metrics]) or project.in_working_tree(metrics):
            return
        self.runtime.recorder.step(f"the gate: fetching {metrics}")
        texts = self.runtime.environment.lock_texts(project, self.runtime.own_locks())
        data = self.runtime.environment.data
        transfer = await data.result(
            data.with_plan(
                data.with_workspace(self.runtime.container.directory(WORK), texts),
                fetch_plan([metrics], collect=[metrics]),
            ),
            ProgramRunner(self.runtime).folder("metrics"),
        )
        if transfer.code:
            self.runtime.recorder.output(transfer.output)
            lines = [line for line in transfer.output.splitlines() if line.strip()]
            problem = f"{metrics}: DVC can't fetch it{f': {lines[-1]}' if lines else ''}"
            self._fetched[metrics] = Metrics(source=metrics, problem=problem)
        elif transfer.files is not None:
            self._fetched[metrics] = read_metrics(transfer.files / metrics, shown=metrics)

    def read(self, metrics: str | Mapping[str, Any]) -> Metrics:
        """The metrics of a file as the stage sees it, or of a mapping."""
        from rondel.gates import metrics_from_mapping, read_metrics

        if not isinstance(metrics, str):
            return metrics_from_mapping(metrics, source="the stage")
        if metrics in self._fetched:
            return self._fetched[metrics]
        for pending in reversed(self.runtime.pending):
            if (pending.files / metrics).is_file():
                return read_metrics(pending.files / metrics, shown=metrics)
        aside = run_tree(self.runtime.run.folder) / metrics
        return read_metrics(aside if aside.is_file() else self.runtime.run.root / metrics, shown=metrics)

    def evaluation(self, metrics: str | Mapping[str, Any], model_file: str | None) -> Evaluation | None:
        """The evaluation that made the metrics file; None if no stage of ``dvc.yaml`` made it."""
        from rondel.operations.evaluation import read_evaluation

        if not isinstance(metrics, str) or not (self.runtime.run.root / ".dvc").is_dir():
            return None
        project = self.runtime.dvc_project({})
        stage = project.owner_of(metrics)
        entry = None if stage is None else project.lock.get(stage.address)
        if stage is None or entry is None:
            return None
        return read_evaluation(project, stage, entry, metrics=metrics, model=model_file, image=self._recipe())

    def _recipe(self) -> dict[str, str]:
        """The recipe of the stages' image, not its digest: no two machines build the same one."""
        from rondel.cache import may_be_host_image

        shared_parts = self.runtime.environment.shared_parts
        image = self.runtime.recorder.record.image
        on_host = may_be_host_image(image.source if image else None)
        return {**shared_parts.image, **(shared_parts.host if on_host else {})}
