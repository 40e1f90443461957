"""Running a program of Rondel's own in a stage's container, with DVC's data in place."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from rondel.context.workbench import WORK
from rondel.errors import StageFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import dagger

    from rondel.context.evaluation import Evaluation
    from rondel.context.pending import Pending
    from rondel.data import DvcProject
    from rondel.pipeline import Stage
    from rondel.record import Run, StageRecorder
    from rondel.tracking import RunHandle, TrackingClient


END_SECONDS = 5.0
"""How long the end of a run may take to be told to the server once the stage is cancelled."""


@asynccontextmanager
async def run_of_its_own(
    client: TrackingClient, experiment: str, *, name: str, tags: Mapping[str, str], parent: str | None
) -> AsyncIterator[RunHandle]:
    """An MLflow run beside the stage's, that ends as the block does: also when that is cancelled."""
    import anyio

    handle = await client.create_run(experiment, name=name, tags=tags, parent=parent)
    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    try:
        yield handle
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        with anyio.move_on_after(END_SECONDS, shield=True):
            await client.end_run(handle.run_id, status)


class Programs:
    """The part of a stage's context that measures and logs models beside the stage's own commands."""

    stage: Stage
    run: Run
    pending: list[Pending]
    _recorder: StageRecorder

    def _locks(self) -> dict[str, str]:
        return {name: text for pending in self.pending for name, text in pending.locks().items()}

    def _with_locks(
        self, container: dagger.Container, project: DvcProject, evaluation: Evaluation
    ) -> dagger.Container:
        """The container with lock files and parameters as the evaluation had them."""
        from rondel.data.params import changed_text

        root, mine = self.run.root, self._locks()
        for name in {stage.file.removesuffix("dvc.yaml") + "dvc.lock" for stage in project.stages.values()}:
            if name not in mine and (root / name).is_file():
                container = container.with_new_file(
                    f"{WORK}/{name}", (root / name).read_text(encoding="utf-8")
                )
        for source in evaluation.stage.params:
            text = (root / source.path).read_text(encoding="utf-8")
            container = container.with_new_file(
                f"{WORK}/{source.path}", changed_text(source.path, text, evaluation.params)
            )
        return container

    async def _program(
        self, container: dagger.Container, plan: str, kind: str, *, does: str = "measures"
    ) -> tuple[Path, dict[str, Any]]:
        """Run the measuring program; its output is logged, its files come to a folder of the run."""
        import dagger

        from rondel.context.command import dvc_script
        from rondel.context.evaluation import OUT, PLAN, PROGRAM, program_text

        folder = self.run.folder / kind / self.stage.name
        number = 0
        while folder.exists():
            number += 1
            folder = folder.with_name(f"{self.stage.name}.{number}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        executed = (
            container.with_new_file(PROGRAM, program_text())
            .with_new_file(PLAN, plan)
            .with_exec(["sh", "-c", dvc_script(PROGRAM, PLAN)], expect=dagger.ReturnType.ANY)
        )
        try:
            self._recorder.output(await executed.stdout())
            await executed.directory(OUT).export(str(folder))
            result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except (dagger.ExecError, dagger.QueryError, OSError, ValueError) as error:
            raise StageFailed(
                f"the container that {does} a model ended before its program did", why=str(error)
            ) from error
        return folder, result
