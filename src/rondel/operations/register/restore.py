"""Logs a model to this MLflow server again, from the file that DVC keeps.

A stage that is restored or cached logs nothing. If it ran with another server
(in CI, or before the local one was deleted), this server has no model to
register, although DVC has its file. Then the team's own command logs it again;
a folder in MLflow's format needs no command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.container_scripts import script
from rondel.operations.program import ProgramRunner, nested_run

if TYPE_CHECKING:
    from rondel.data import DvcProject
    from rondel.operations.register.dvc_model import DvcModel
    from rondel.operations.runtime import StageRuntime
    from rondel.record import StageRecord
    from rondel.tracking import RunHandle, TrackingClient


class ModelRestorer:
    """Logs a model again, from the file that DVC keeps."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime
        self._programs = ProgramRunner(runtime)

    async def log_again(
        self,
        client: TrackingClient,
        records: list[StageRecord],
        name: str,
        experiment: str | None,
        *,
        log: str | None,
        model_file: str | None,
    ) -> RunHandle | None:
        """Log the model to a new MLflow run, with the metrics and parameters of the stage that made it.

        Returns None if the stages made no model with DVC.
        """
        from anyio import to_thread

        from rondel.operations.register import dvc_model
        from rondel.tracking import StageFacts
        from rondel.tracking.runs import stage_tags

        if experiment is None or not (self.runtime.run.root / ".dvc").is_dir():
            return None
        project = await to_thread.run_sync(self.runtime.dvc_project, {})
        model = dvc_model.find_dvc_model(project, records, model=name, model_file=model_file)
        if model is None:
            return None
        gitlab = client.endpoint.kind == "gitlab"
        # GitLab's MLflow API has no logged models: its versions are runs with the file's hash.
        command = log if gitlab else dvc_model.logging_command(model, name, log)
        record, mine = model.record, self.runtime.recorder.record.mlflow
        facts = StageFacts(
            name=record.name,
            image=(record.image.digest or record.image.reference) if record.image else "",
            inputs=record.inputs,
            outputs=record.outputs,
        )
        tags = {
            **stage_tags(facts),
            "rondel.run": self.runtime.run.id,
            dvc_model.RESTORED_TAG: f"{model.path} {model.digest}",
        }
        self.runtime.recorder.step(f"logging {model.path} again: this server does not have it")
        async with nested_run(
            client,
            experiment,
            name=f"restored: {record.name}",
            tags=tags,
            parent=mine.run_id if mine else None,
        ) as handle:
            if command is not None:
                await self._run_logging(project, model, handle, command)
            known = await client.get_run(handle.run_id)
            await client.log(
                handle.run_id,
                metrics={key: value for key, value in record.metrics.items() if key not in known.metrics},
                params={key: value for key, value in record.parameters.items() if key not in known.params},
            )
        self.runtime.recorder.output(
            f"logged {model.path} ({model.digest}) again, to {handle.url}: "
            f"stage {record.name} did not run, because DVC had its result"
        )
        return handle

    async def _run_logging(
        self, project: DvcProject, model: DvcModel, handle: RunHandle, command: str
    ) -> None:
        """Run the command that logs the model in the stage's container. Raises DataError or StageFailed."""
        from rondel.operations.register import dvc_model

        container = self.runtime.container.with_env_variable("MLFLOW_RUN_ID", handle.run_id)
        container = self._programs.with_locks(container, project, model.made.stage, model.made.params)
        container = container.with_new_file(dvc_model.LOG_PROGRAM, script("log_model"))
        program = dvc_model.logging_program(project, model, command)
        _, done = await self._programs.run(container, program, "restored", does="logs")
        if done.code:
            raise dvc_model.logging_failure(model, done, command)
