"""What every command of a stage stands on: the container, its log, a folder for results, and shells."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rondel.data.runtree import run_tree, with_run_tree
from rondel.environment.output_stream import TAG
from rondel.environment.shell import open_shell, wanted

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


class CommandRunner:
    """The part of a stage's context that commands share."""

    stage: Stage
    run: Run
    settings: Settings
    pending: list[PendingResults]
    left: dagger.Container | None
    _environment: RunEnvironment
    _recorder: StageRecorder
    _container: dagger.Container
    _commands: int

    def _locks(self) -> dict[str, str]:
        """The lock entries that this context made, by lock file."""
        from rondel.data.workspace_sync import lock_of

        entries: dict[str, dict[str, str]] = {}
        for pending in self.pending:
            for lock, found in pending.entries.items():
                entries.setdefault(lock, {}).update(found)
        return {lock: lock_of(found) for lock, found in entries.items()}

    def _view(self, overrides: Mapping[str, Any]) -> DvcProject:
        """The project as this stage sees it: with what the run and this very context made."""
        from rondel.data import load_project

        project = with_run_tree(load_project(self.run.root, overrides), run_tree(self.run.folder))
        for pending in self.pending:
            project = project.with_entries(pending.made, aside=pending.aside)
        return project

    def _sees_aside(self) -> bool:
        """Whether results are in sight that are not the working tree's."""
        return bool(self._view({}).aside)

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
            self._recorder.output(
                f"no shell: it cannot be told which container `{command}` ran in, because its result was "
                "an input of the query that failed; await it by itself (`.sync()`)"
            )
            return
        self.left = await container_of(place, self._container, "after")
        if when is None:
            return
        if when == "before":
            container = await container_of(place, self._container, "before")
            text = f"{self.stage.name}, just before its command:\n  {command}"
        else:
            container, text = self.left, f"{self.stage.name}, as its command left it."
        await open_shell(container, self._environment.observer, text)

    async def shell(self) -> bool:
        """Open a shell in what the failed command left behind; False if nothing is there."""
        if self.left is None:
            return False
        await open_shell(self.left, self._environment.observer, f"{self.stage.name}, as its command left it.")
        return True

    async def _shell(self, when: str, *, of: dagger.Container | None = None, command: str = "") -> None:
        """Open the shell that was asked for, if this is the place.

        ``of`` is the container to open it in, if not the stage's own or what is left of its command.
        """
        if not wanted(self.settings, when, self._commands):
            return
        name, observer = self.stage.name, self._environment.observer
        if when == "before":
            text = f"{name}, just before its command:\n  {command}"
            await open_shell(of or self._container, observer, text)
        elif (container := of or self.left) is not None:
            await open_shell(container, observer, f"{name}, as its command left it.")
        else:
            self._recorder.output("no shell: the command was killed, and nothing of it is left")

    def _listened(self, container: dagger.Container) -> tuple[Sink, dagger.Container]:
        """Where the next command's lines go, and the container to run it in."""
        live = self._environment.live
        sink = live.sink(self._recorder.output)
        if not live.on:
            return sink, container
        # Python holds back what it prints to a pipe: then nothing would come before the end.
        return sink, container.with_env_variable(TAG, sink.tag).with_env_variable("PYTHONUNBUFFERED", "1")

    def _folder(self, name: str) -> Path:
        # Each attempt has one of its own: an engine reads a folder of the host once in a session.
        attempt = self._recorder.record.attempts or 1
        folder = self.run.folder / "results" / self.stage.name / f"{name.replace('/', '_')}-{attempt}"
        number = 0
        while folder.exists():
            number += 1
            folder = folder.with_name(f"{name.replace('/', '_')}-{attempt}.{number}")
        folder.mkdir(parents=True)
        return folder
