"""The files of metrics that gates read: those of the working tree, of the run, and in what DVC keeps."""

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
    """Finds the metrics that a gate judges, and what they were measured with."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime
        self._brought: dict[str, Metrics] = {}

    async def bring(self, metrics: str | Mapping[str, Any]) -> None:
        """Have DVC bring a file of metrics that only it has: what lies in the working tree may be old."""
        from anyio import to_thread

        from rondel.gates import Metrics, read_metrics

        if not isinstance(metrics, str) or not (self.runtime.run.root / ".dvc").is_dir():
            return
        if any((pending.files / metrics).is_file() for pending in self.runtime.pending):
            return
        project = await to_thread.run_sync(self.runtime.view, {})
        if not project.data_needed_for([metrics]) or project.in_working_tree(metrics):
            return
        self.runtime.recorder.step(f"the gate: getting {metrics}")
        texts = self.runtime.environment.lock_texts(project, self.runtime.locks())
        data = self.runtime.environment.data
        moved = await data.result(
            data.planned(
                data.over(self.runtime.container.directory(WORK), texts),
                fetch_plan([metrics], collect=[metrics]),
            ),
            ProgramRunner(self.runtime).folder("metrics"),
        )
        if moved.code:
            self.runtime.recorder.output(moved.said)
            said = [line for line in moved.said.splitlines() if line.strip()]
            problem = f"{metrics}: DVC can't bring it{f': {said[-1]}' if said else ''}"
            self._brought[metrics] = Metrics(source=metrics, problem=problem)
        elif moved.files is not None:
            self._brought[metrics] = read_metrics(moved.files / metrics, shown=metrics)

    def read(self, metrics: str | Mapping[str, Any]) -> Metrics:
        """The metrics of a file as the stage sees it, or of a mapping."""
        from rondel.gates import metrics_from_mapping, read_metrics

        if not isinstance(metrics, str):
            return metrics_from_mapping(metrics, source="the stage")
        if metrics in self._brought:
            return self._brought[metrics]
        for pending in reversed(self.runtime.pending):
            if (pending.files / metrics).is_file():
                return read_metrics(pending.files / metrics, shown=metrics)
        aside = run_tree(self.runtime.run.folder) / metrics
        return read_metrics(aside if aside.is_file() else self.runtime.run.root / metrics, shown=metrics)

    def evaluation(self, metrics: str | Mapping[str, Any], model_file: str | None) -> Evaluation | None:
        """The evaluation that made the file of metrics; None if it was no stage of ``dvc.yaml``."""
        from rondel.operations.evaluation import read_evaluation

        if not isinstance(metrics, str) or not (self.runtime.run.root / ".dvc").is_dir():
            return None
        project = self.runtime.view({})
        stage = project.owner_of(metrics)
        entry = None if stage is None else project.lock.get(stage.address)
        if stage is None or entry is None:
            return None
        return read_evaluation(project, stage, entry, metrics=metrics, model=model_file, image=self._recipe())

    def _recipe(self) -> dict[str, str]:
        """What the stages' image is made from; two machines never build the same digest."""
        from rondel.cache import may_be_host_image

        shared_parts = self.runtime.environment.shared_parts
        image = self.runtime.recorder.record.image
        on_host = may_be_host_image(image.source if image else None)
        return {**shared_parts.image, **(shared_parts.host if on_host else {})}
