"""The state that the operations of a stage share: container, recorder, pending results, shells."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.data.run_tree import run_tree, with_run_tree
from rondel.environment import shell
from rondel.environment.output_stream import TAG
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import dagger

    from rondel.cache.provenance import Provenance
    from rondel.data import DvcProject
    from rondel.data.visibility import Visibility
    from rondel.data.workspace_sync import WorkspaceSnapshot
    from rondel.environment.output_stream import CommandOutput
    from rondel.environment.run_environment import RunEnvironment
    from rondel.pipeline import Stage
    from rondel.record import Run, StageRecorder
    from rondel.settings import Settings
    from rondel.tracking import TrackingConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingResults:
    """Results that are committed to the working tree after the stage succeeded; ``files`` is their folder.

    ``made`` maps addresses of DVC stages to lock entries, ``entries`` maps lock files to the texts of
    these entries by stage, ``provenance`` maps addresses to what made them. ``data`` are outputs that
    DVC caches, which git must ignore. ``run_only``: the results go to the run's own tree only.
    """

    files: Path
    before: WorkspaceSnapshot
    made: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    entries: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    run_only: bool = False

    def locks(self) -> dict[str, str]:
        """Lock files with only these entries."""
        from rondel.data.workspace_sync import format_lock

        return {name: format_lock(entries) for name, entries in self.entries.items()}


class StageRuntime:
    """The state that the operations of one attempt at a stage share.

    ``container`` is the stage's container after the last operation. ``last_container`` is
    the container after the last command, even if that failed, if the engine
    keeps it. ``pending`` are results that are committed after the stage succeeded.
    ``container_changed`` is set after an operation that may have changed the container.
    ``given`` are the stage's ``-P`` values; ``params`` are these and its matrix values.
    """

    def __init__(
        self,
        environment: RunEnvironment,
        stage: Stage,
        *,
        given: Mapping[str, Any],
        recorder: StageRecorder,
        container: dagger.Container,
        visibility: Visibility | None,
    ) -> None:
        self.environment = environment
        self.stage = stage
        self.given = dict(given)
        self.params = {**stage.variant, **given}
        self.run: Run = environment.run
        self.settings: Settings = environment.settings
        self.recorder = recorder
        self.container = container
        self.visibility = visibility
        self.pending: list[PendingResults] = []
        self.commands = 0
        self.container_changed = False
        self.last_container: dagger.Container | None = None

    def own_locks(self) -> dict[str, str]:
        """Lock files with only the entries that this context made."""
        from rondel.data.workspace_sync import format_lock

        entries: dict[str, dict[str, str]] = {}
        for pending in self.pending:
            for lock, found in pending.entries.items():
                entries.setdefault(lock, {}).update(found)
        return {lock: format_lock(found) for lock, found in entries.items()}

    def dvc_project(self, overrides: Mapping[str, Any]) -> DvcProject:
        """The DVC project as this stage sees it, with the results of the run and of this context."""
        from rondel.data import load_project

        project = with_run_tree(load_project(self.run.root, overrides), run_tree(self.run.folder))
        for pending in self.pending:
            project = project.with_entries(pending.made, run_only=pending.run_only)
        return project

    def sees_run_only(self) -> bool:
        """Whether this stage sees results that are not for the working tree."""
        return bool(self.dvc_project({}).run_only)

    def tracking(self, method: str) -> TrackingConnection:
        """The MLflow server that the operation ``method`` needs. Raises ConfigurationError without one."""
        tracking = self.environment.tracking
        if tracking is None:
            raise ConfigurationError(f"ctx.{method} needs an MLflow server", place=str(self.stage.place))
        return tracking

    async def failed(self, error: BaseException) -> None:
        """After a command of the plain Dagger API failed: find its container, for a shell.

        Opens a shell if ``--shell`` asks for one.
        """
        when = self.settings.shell
        if when is None and not self.settings.interactive:
            return
        from rondel.operations.failed_command import container_of, exec_error, find_command

        raw = exec_error(error)
        if raw is None:
            return
        command = shlex.join(str(word) for word in raw.command)
        place = find_command(raw.query, [str(word) for word in raw.command])
        if place is None:
            self.recorder.output(
                f"can't open a shell: can't tell which container `{command}` ran in; await it separately "
                "with `.sync()`, so that its result is not an input of another query"
            )
            return
        self.last_container = await container_of(place, self.container, "after")
        if when is None:
            return
        if when == "before":
            container = await container_of(place, self.container, "before")
            text = f"{self.stage.name}, before its command:\n  {command}"
        else:
            container, text = self.last_container, f"{self.stage.name}, after its command."
        await shell.open_shell(container, self.environment.observer, text)

    async def open_shell_after_failure(self) -> bool:
        """Open a shell in the container after the failed command; False if there is none."""
        if self.last_container is None:
            return False
        await shell.open_shell(
            self.last_container, self.environment.observer, f"{self.stage.name}, after its command."
        )
        return True

    async def open_shell(self, when: str, *, of: dagger.Container | None = None, command: str = "") -> None:
        """Open a shell if ``--shell`` asks for one at this point.

        ``of`` overrides the container: the stage's before a command, ``last_container`` after it.
        """
        if not shell.shell_is_due(self.settings, when, self.commands):
            return
        name, observer = self.stage.name, self.environment.observer
        if when == "before":
            text = f"{name}, before its command:\n  {command}"
            await shell.open_shell(of or self.container, observer, text)
        elif (container := of or self.last_container) is not None:
            await shell.open_shell(container, observer, f"{name}, after its command.")
        else:
            self.recorder.output(
                "can't open a shell: the command was killed, and the engine kept no container"
            )

    def with_output_stream(self, container: dagger.Container) -> tuple[CommandOutput, dagger.Container]:
        """The output of the next command, and the container to run it in."""
        output_stream = self.environment.output_stream
        output = output_stream.command_output(self.recorder.output)
        if not output_stream.active:
            return output, container
        # Python buffers what it prints to a pipe; unbuffered, lines appear while it runs.
        return output, container.with_env_variable(TAG, output.tag).with_env_variable("PYTHONUNBUFFERED", "1")

    def results_folder(self, name: str) -> Path:
        """A new folder of the run for results of that name."""
        # A new one for each attempt: Dagger reads a host folder only once in a session.
        attempt = self.recorder.record.attempts or 1
        folder = self.run.folder / "results" / self.stage.name / f"{name.replace('/', '_')}-{attempt}"
        number = 0
        while folder.exists():
            number += 1
            folder = folder.with_name(f"{name.replace('/', '_')}-{attempt}.{number}")
        folder.mkdir(parents=True)
        return folder
