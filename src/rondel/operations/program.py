"""Commands beside a stage's own, with DVC's data in place: to measure, and to log a model."""

from __future__ import annotations

import json
import shlex
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rondel.environment import WORK
from rondel.environment.data_container import fetch_plan, with_paths
from rondel.environment.shell import dagger_any
from rondel.errors import StageFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import dagger

    from rondel.data import DvcProject, DvcStage
    from rondel.operations.runtime import StageRuntime
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is done beside a stage's own commands.

    ``needs`` are paths that DVC puts in place, ``models`` take the place of
    those of the lock file. Then ``remove`` goes, ``commands`` run in ``wdir``,
    and ``measure`` prints a JSON object. ``collect`` are paths that are
    wanted, ``size`` one whose size is.
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
        """The commands as a shell script that ends with the first failure."""
        lines = ["exec 2>&1"]
        if self.remove:
            lines.append(f"rm -rf -- {shlex.join(self.remove)}")
        lines.append(f"cd {shlex.quote(self.wdir)} || exit")
        lines += [f"sh -c {shlex.quote(command)} || exit" for command in self.commands]
        return "\n".join([*lines, ""])


@dataclass(slots=True, kw_only=True)
class Done:
    """How far a program came: ``phase`` is the last that it began, ``code`` that of what failed."""

    phase: Literal["start", "model", "data", "command", "measure"] = "start"
    code: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    bytes: int | None = None


class ProgramRunner:
    """Runs programs beside a stage's own commands, to measure a model or to log it."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime

    def with_locks(
        self, container: dagger.Container, project: DvcProject, stage: DvcStage, params: Mapping[str, Any]
    ) -> dagger.Container:
        """The container with the lock files, and with these values in the parameter files of ``stage``."""
        from rondel.data.params import changed_text

        root = self.runtime.run.root
        for name, text in self.runtime.environment.lock_texts(project, self.runtime.locks()).items():
            container = container.with_new_file(f"{WORK}/{name}", text)
        for source in stage.params:
            text = (root / source.path).read_text(encoding="utf-8")
            container = container.with_new_file(
                f"{WORK}/{source.path}", changed_text(source.path, text, params)
            )
        return container

    async def run(
        self, container: dagger.Container, program: Program, kind: str, *, does: str = "measures"
    ) -> tuple[Path, Done]:
        """Carry out a program; its output is logged, what it collects comes to a folder of the run.

        Raises StageFailed where a container ends before it has told how.
        """
        import dagger

        folder = self.folder(kind)
        done = Done()
        try:
            container = await self._with_data(container, program, folder, done)
            if not done.code and program.commands:
                container = await self._commanded(container, program, done)
            if not done.code and program.measure:
                await self._measured(container, program.measure, done)
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
        self, container: dagger.Container, program: Program, folder: Path, done: Done
    ) -> dagger.Container:
        """The container with what DVC has to bring."""
        wanted = [*program.needs, *(model["path"] for model in program.models)]
        if not wanted and program.size is None:
            return container
        data = self.runtime.environment.data
        plan = fetch_plan(program.needs, models=program.models, size=program.size)
        moved = await data.result(
            data.planned(data.over(container.directory(WORK)), plan), folder / "fetched"
        )
        done.phase = "model" if moved.phase == "model" else "data"
        done.code, done.bytes = moved.code, moved.bytes
        if moved.code:
            self.runtime.recorder.output(moved.said)
        if moved.code or moved.container is None:
            return container
        return with_paths(container, moved.container.directory(WORK), wanted)

    async def _commanded(self, container: dagger.Container, program: Program, done: Done) -> dagger.Container:
        done.phase = "command"
        executed = container.with_exec(["sh", "-c", program.script()], expect=dagger_any())
        self.runtime.recorder.output(await executed.stdout())
        done.code = await executed.exit_code()
        return executed

    async def _measured(self, container: dagger.Container, command: str, done: Done) -> None:
        """Run the command, and read the JSON object on the last line of what it prints."""
        done.phase = "measure"
        executed = container.with_exec(["sh", "-c", command], expect=dagger_any())
        said = await executed.stdout()
        self.runtime.recorder.output(f"{await executed.stderr()}\n{said}".strip())
        done.code = await executed.exit_code()
        if done.code:
            return
        found = last_object(said)
        if found is None:
            self.runtime.recorder.output("the last line of what it printed is no JSON object")
            done.code = 1
        else:
            done.metrics = found


def last_object(said: str) -> dict[str, Any] | None:
    """The JSON object on the last line of a command's output; None if there is none."""
    lines = [line for line in said.splitlines() if line.strip()]
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
