"""What the operations of a stage share: the container, its log, results to come, shells."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rondel.data.run_tree import run_tree, with_run_tree
from rondel.environment import shell
from rondel.environment.output_stream import TAG
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import dagger

    from rondel.data import DvcProject
    from rondel.environment.output_stream import Sink
    from rondel.environment.pending import PendingResults
    from rondel.environment.run_environment import RunEnvironment
    from rondel.pipeline import Stage
    from rondel.record import Run, StageRecorder
    from rondel.settings import Settings
    from rondel.tracking import TrackingConnection


class StageRuntime:
    """What the operations of one attempt at a stage share.

    ``container`` is the stage's container as the last operation left it, and
    ``left`` what the last command that failed left behind, where that is kept.
    ``pending`` are results that come back when the stage has succeeded.
    ``container_changed`` says that an operation left the container another one for those
    after it. ``given`` are the stage's ``-P`` values, ``params`` these and its matrix values.
    """

    def __init__(
        self,
        environment: RunEnvironment,
        stage: Stage,
        *,
        given: Mapping[str, Any],
        recorder: StageRecorder,
        container: dagger.Container,
    ) -> None:
        self.environment = environment
        self.stage = stage
        self.given = dict(given)
        self.params = {**stage.variant, **given}
        self.run: Run = environment.run
        self.settings: Settings = environment.settings
        self.recorder = recorder
        self.container = container
        self.pending: list[PendingResults] = []
        self.commands = 0
        self.container_changed = False
        self.left: dagger.Container | None = None

    def locks(self) -> dict[str, str]:
        """The lock entries that this context made, by lock file."""
        from rondel.data.workspace_sync import format_lock

        entries: dict[str, dict[str, str]] = {}
        for pending in self.pending:
            for lock, found in pending.entries.items():
                entries.setdefault(lock, {}).update(found)
        return {lock: format_lock(found) for lock, found in entries.items()}

    def view(self, overrides: Mapping[str, Any]) -> DvcProject:
        """The project as this stage sees it: with what the run and this very context made."""
        from rondel.data import load_project

        project = with_run_tree(load_project(self.run.root, overrides), run_tree(self.run.folder))
        for pending in self.pending:
            project = project.with_entries(pending.made, run_only=pending.run_only)
        return project

    def sees_run_only(self) -> bool:
        """Whether results are in sight that are not the working tree's."""
        return bool(self.view({}).run_only)

    def tracking(self, method: str) -> TrackingConnection:
        """The MLflow server that the operation ``method`` needs. Raises ConfigurationError without one."""
        tracking = self.environment.tracking
        if tracking is None:
            raise ConfigurationError(f"ctx.{method} needs an MLflow server", place=str(self.stage.place))
        return tracking

    async def failed(self, error: BaseException) -> None:
        """See to it that a shell can be opened where a command of the plain Dagger API failed.

        Opens the one that was asked for; ``shell`` opens what the command left.
        """
        when = self.settings.shell
        if when is None and not self.settings.interactive:
            return
        from rondel.operations.failed_exec import container_of, exec_error, failed_exec

        raw = exec_error(error)
        if raw is None:
            return
        command = shlex.join(str(word) for word in raw.command)
        place = failed_exec(raw.query, [str(word) for word in raw.command])
        if place is None:
            self.recorder.output(
                f"no shell: it cannot be told which container `{command}` ran in, because its result was "
                "an input of the query that failed; await it by itself (`.sync()`)"
            )
            return
        self.left = await container_of(place, self.container, "after")
        if when is None:
            return
        if when == "before":
            container = await container_of(place, self.container, "before")
            text = f"{self.stage.name}, just before its command:\n  {command}"
        else:
            container, text = self.left, f"{self.stage.name}, as its command left it."
        await shell.open_shell(container, self.environment.observer, text)

    async def show_left(self) -> bool:
        """Open a shell in what the failed command left behind; False if nothing is there."""
        if self.left is None:
            return False
        await shell.open_shell(
            self.left, self.environment.observer, f"{self.stage.name}, as its command left it."
        )
        return True

    async def open_shell(self, when: str, *, of: dagger.Container | None = None, command: str = "") -> None:
        """Open the shell that was asked for, if this is the place.

        ``of`` is the container to open it in, if not the stage's own or what is left of its command.
        """
        if not shell.wanted(self.settings, when, self.commands):
            return
        name, observer = self.stage.name, self.environment.observer
        if when == "before":
            text = f"{name}, just before its command:\n  {command}"
            await shell.open_shell(of or self.container, observer, text)
        elif (container := of or self.left) is not None:
            await shell.open_shell(container, observer, f"{name}, as its command left it.")
        else:
            self.recorder.output("no shell: the command was killed, and nothing of it is left")

    def listened(self, container: dagger.Container) -> tuple[Sink, dagger.Container]:
        """Where the next command's lines go, and the container to run it in."""
        live = self.environment.live
        sink = live.sink(self.recorder.output)
        if not live.on:
            return sink, container
        # Python holds back what it prints to a pipe: then nothing would come before the end.
        return sink, container.with_env_variable(TAG, sink.tag).with_env_variable("PYTHONUNBUFFERED", "1")

    def results_folder(self, name: str) -> Path:
        """A new folder of the run for results of that name."""
        # Each attempt gets a new one: an engine reads a folder of the host once in a session.
        attempt = self.recorder.record.attempts or 1
        folder = self.run.folder / "results" / self.stage.name / f"{name.replace('/', '_')}-{attempt}"
        number = 0
        while folder.exists():
            number += 1
            folder = folder.with_name(f"{name.replace('/', '_')}-{attempt}.{number}")
        folder.mkdir(parents=True)
        return folder
