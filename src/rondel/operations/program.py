"""Runs commands besides a stage's own, with DVC's data in place: to evaluate or to log a model."""

from __future__ import annotations

import json
import shlex
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rondel.environment import WORK
from rondel.environment.data_container import fetch_plan, with_paths
from rondel.errors import StageFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import dagger

    from rondel.data import DvcProject, DvcStage
    from rondel.operations.runtime import StageRuntime
    from rondel.tracking import RunHandle, TrackingClient


END_SECONDS = 5.0
"""Seconds to report the end of an MLflow run to the server after the stage was cancelled."""


@asynccontextmanager
async def nested_run(
    client: TrackingClient, experiment: str, *, name: str, tags: Mapping[str, str], parent: str | None
) -> AsyncIterator[RunHandle]:
    """A nested MLflow run that ends with the block, also if the block is cancelled."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Steps to run besides a stage's own commands.

    DVC puts the paths ``needs`` in place, and ``models`` instead of those in
    the lock file. Then the paths ``remove`` are removed, ``commands`` run in
    ``wdir``, and ``measure`` prints a JSON object. The paths ``collect`` are
    exported to the run's folder; ``size`` is a path to report the size of.
    """

    needs: tuple[str, ...] = ()
    models: tuple[Mapping[str, str], ...] = ()
    commands: tuple[str, ...] = ()
    wdir: str = "."
    remove: tuple[str, ...] = ()
    measure: str | None = None
    collect: tuple[str, ...] = ()
    size: str | None = None

    def script(self) -> str:
        """A shell script of the commands that stops at the first failure."""
        lines = ["exec 2>&1"]
        if self.remove:
            lines.append(f"rm -rf -- {shlex.join(self.remove)}")
        lines.append(f"cd {shlex.quote(self.wdir)} || exit")
        lines += [f"sh -c {shlex.quote(command)} || exit" for command in self.commands]
        return "\n".join([*lines, ""])


@dataclass(slots=True, kw_only=True)
class ProgramResult:
    """The result of a program: ``phase`` is the last one that began, ``code`` its exit code."""

    phase: Literal["start", "model", "data", "command", "measure"] = "start"
    code: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    bytes: int | None = None


class ProgramRunner:
    """Runs programs besides a stage's own commands, to evaluate a model or to log it."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime

    def with_locks(
        self, container: dagger.Container, project: DvcProject, stage: DvcStage, params: Mapping[str, Any]
    ) -> dagger.Container:
        """The container with lock files, and with these values in the parameter files of ``stage``."""
        from rondel.data.params import changed_text

        root = self.runtime.run.root
        for name, text in self.runtime.environment.lock_texts(project, self.runtime.own_locks()).items():
            container = container.with_new_file(f"{WORK}/{name}", text)
        for source in stage.params:
            text = (root / source.path).read_text(encoding="utf-8")
            container = container.with_new_file(
                f"{WORK}/{source.path}", changed_text(source.path, text, params)
            )
        return container

    async def run(
        self, container: dagger.Container, program: Program, kind: str, *, does: str = "evaluates"
    ) -> tuple[Path, ProgramResult]:
        """Run a program: log its output, and export the collected paths to a folder of the run.

        Raises StageFailed if a container ends without an exit code.
        """
        import dagger

        folder = self.folder(kind)
        done = ProgramResult()
        try:
            container = await self._with_data(container, program, folder, done)
            if not done.code and program.commands:
                container = await self._run_commands(container, program, done)
            if not done.code and program.measure:
                await self._measure(container, program.measure, done)
            if not done.code and program.collect:
                collected = with_paths(
                    self.runtime.environment.client.container(), container.directory(WORK), program.collect
                )
                await collected.directory(WORK).export(str(folder / "files"))
        except (dagger.ExecError, dagger.QueryError, OSError) as error:
            raise StageFailed(
                f"the container that {does} a model ended before its command did", why=str(error)
            ) from error
        return folder, done

    def folder(self, kind: str) -> Path:
        """A new folder of the run for results of that kind."""
        folder = self.runtime.run.folder / kind / self.runtime.stage.name
        number = 0
        while folder.exists():
            number += 1
            folder = folder.with_name(f"{self.runtime.stage.name}.{number}")
        folder.mkdir(parents=True)
        return folder

    async def _with_data(
        self, container: dagger.Container, program: Program, folder: Path, done: ProgramResult
    ) -> dagger.Container:
        """The container with the data that DVC fetches."""
        wanted = [*program.needs, *(model["path"] for model in program.models)]
        if not wanted and program.size is None:
            return container
        data = self.runtime.environment.data
        plan = fetch_plan(program.needs, models=program.models, size=program.size)
        transfer = await data.result(
            data.with_plan(data.with_workspace(container.directory(WORK)), plan), folder / "fetched"
        )
        done.phase = "model" if transfer.phase == "model" else "data"
        done.code, done.bytes = transfer.code, transfer.bytes
        if transfer.code:
            self.runtime.recorder.output(transfer.output)
        if transfer.code or transfer.container is None:
            return container
        return with_paths(container, transfer.container.directory(WORK), wanted)

    async def _run_commands(
        self, container: dagger.Container, program: Program, done: ProgramResult
    ) -> dagger.Container:
        import dagger

        done.phase = "command"
        executed = container.with_exec(["sh", "-c", program.script()], expect=dagger.ReturnType.ANY)
        self.runtime.recorder.output(await executed.stdout())
        done.code = await executed.exit_code()
        return executed

    async def _measure(self, container: dagger.Container, command: str, done: ProgramResult) -> None:
        """Run the command, and read the JSON object on the last line of its output."""
        import dagger

        done.phase = "measure"
        executed = container.with_exec(["sh", "-c", command], expect=dagger.ReturnType.ANY)
        output = await executed.stdout()
        self.runtime.recorder.output(f"{await executed.stderr()}\n{output}".strip())
        done.code = await executed.exit_code()
        if done.code:
            return
        metrics = last_object(output)
        if metrics is None:
            self.runtime.recorder.output("the last line of its output is not a JSON object")
            done.code = 1
        else:
            done.metrics = metrics


def last_object(output: str) -> dict[str, Any] | None:
    """The JSON object on the last line of a command's output; None if there is none."""
    lines = [line for line in output.splitlines() if line.strip()]
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
