"""A model that this MLflow server does not have, because DVC had its file: logged again from there.

A stage whose result DVC restores, or whose key says that it need not run, logs
nothing. If the model was made with another server (in CI, or before the local
one was deleted), there is nothing to register, though the model itself is at
hand. So it is logged once more: by the team's own command, or as it is where
the output is a folder in MLflow's format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.container_scripts import script
from rondel.operations.program import ProgramRunner, run_of_its_own

if TYPE_CHECKING:
    from rondel.data import DvcProject
    from rondel.operations.register.restorable import Restorable
    from rondel.operations.runtime import StageRuntime
    from rondel.record import StageRecord
    from rondel.tracking import RunHandle, TrackingClient


class ModelRestorer:
    """Logs a model again, from the file that DVC has."""

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
        """Log the model that DVC has to a run of its own, with what is known of the stage that made it.

        None where the stages made nothing with DVC.
        """
        from anyio import to_thread

        from rondel.operations.register import restorable as found
        from rondel.tracking import StageFacts
        from rondel.tracking.runs import stage_tags

        if experiment is None or not (self.runtime.run.root / ".dvc").is_dir():
            return None
        project = await to_thread.run_sync(self.runtime.view, {})
        model = found.restorable(project, records, model=name, model_file=model_file)
        if model is None:
            return None
        gitlab = client.endpoint.kind == "gitlab"
        # GitLab has no logged models: its versions are runs that name the file's hash.
        command = log if gitlab else found.logging_command(model, name, log)
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
            found.RESTORED_TAG: f"{model.path} {model.digest}",
        }
        self.runtime.recorder.step(f"logging {model.path} again: this server never saw it")
        async with run_of_its_own(
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
            f"{model.path} ({model.digest}) was logged again, to {handle.url}: "
            f"stage {record.name} did not run, because DVC had its result"
        )
        return handle

    async def _run_logging(
        self, project: DvcProject, model: Restorable, handle: RunHandle, command: str
    ) -> None:
        """Run the command that logs the model in the stage's container. Raises DataError or StageFailed."""
        from rondel.operations.register import restorable as found

        container = self.runtime.container.with_env_variable("MLFLOW_RUN_ID", handle.run_id)
        container = self._programs.with_locks(container, project, model.made.stage, model.made.params)
        container = container.with_new_file(found.LOG_PROGRAM, script("log_model"))
        program = found.logging(project, model, command)
        _, done = await self._programs.run(container, program, "restored", does="logs")
        if done.code:
            raise found.logging_failure(model, done, command)
