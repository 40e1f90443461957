"""The context of a stage: what the team's function gets, and calls."""

from __future__ import annotations

import shlex
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rondel.environment import WORK
from rondel.environment.pending import PendingResults
from rondel.environment.shell import keeps_failures
from rondel.errors import RondelError, StageFailed
from rondel.operations.dvc.run import DvcStages
from rondel.operations.gate.run import Gating
from rondel.operations.register.run import Registering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    import dagger

    from rondel.data.workspace_sync import Before
    from rondel.environment.run_environment import RunEnvironment
    from rondel.pipeline import Stage
    from rondel.record import CallRecord, Run, StageRecorder
    from rondel.settings import Settings


class StageContext(DvcStages, Gating, Registering):
    """What a stage's function works with.

    ``run`` is the run that the stage is part of, ``params`` its matrix values
    and ``-P`` overrides, ``settings`` the options. Files that a stage made
    come back to the working tree when its function has returned.
    """

    def __init__(
        self,
        environment: RunEnvironment,
        stage: Stage,
        *,
        params: Mapping[str, Any],
        recorder: StageRecorder,
        container: dagger.Container,
    ) -> None:
        self.stage = stage
        self.params = dict(params)
        self.run: Run = environment.run
        self.settings: Settings = environment.settings
        self.pending: list[PendingResults] = []
        self._brought = {}
        self._environment = environment
        self._recorder = recorder
        self._container = container
        self._commands = 0
        self.left: dagger.Container | None = None
        """What the last command that failed left behind, where that is kept."""

    @property
    def uses(self) -> tuple[CallRecord, ...]:
        """The calls of this context so far."""
        return tuple(self._recorder.record.uses)

    def container(self) -> dagger.Container:
        """The stage's container as it is now, after what ``dvc`` and ``sh`` did in it.

        The image with the workspace at ``/work``, the DVC cache, the MLflow
        environment, secrets, proxies and certificates: the rest of the Dagger
        API starts here.
        """
        self._recorder.use("container")
        return self._container

    async def sh(self, command: str, *, outputs: Iterable[str] = ()) -> str:
        """Run a shell command in the workspace and return its standard output.

        ``outputs`` are files that it makes for the working tree (a folder ends
        in ``/``); they come back when the stage has succeeded. A command that
        fails fails the stage.
        """
        outputs = tuple(outputs)
        self._recorder.use("sh", command, {"outputs": list(outputs)} if outputs else {})
        return await self._run(["sh", "-c", command], shown=["sh", "-c", command], outputs=outputs)

    async def mlflow(self, entry_point: str, /, **parameters: Any) -> None:
        """Run an entry point of the ``MLproject`` file, logging to the stage's MLflow run.

        ``-P STAGE.PARAMETER=VALUE`` of the command line wins over ``parameters``.
        """
        self._recorder.use("mlflow", entry_point, parameters)
        values = {**parameters, **self.params}
        args = ["mlflow", "run", ".", "--entry-point", entry_point, "--env-manager", "local"]
        for name, value in sorted(values.items()):
            args += ["-P", f"{name}={value}"]
        await self._log_arguments(entry_point, values)
        script = f'exec {shlex.join(args)} ${{MLFLOW_RUN_ID:+--run-id "$MLFLOW_RUN_ID"}}'
        async with self._as_project():
            await self._run(["sh", "-c", script], shown=args, outputs=())

    async def _log_arguments(self, entry_point: str, values: Mapping[str, Any]) -> None:
        """Log the entry point and its parameters, defaults included: MLflow does so for its own runs only."""
        from anyio import to_thread

        from rondel.data.mlproject import entry_points, parameters
        from rondel.tracking import TrackingClient

        declared = (await to_thread.run_sync(entry_points, self.run.root)).get(entry_point, {})
        defaults = {each.name: each.default for each in parameters(declared) if not each.required}
        used = {**defaults, **values}
        self._recorder.parameters(used)
        run, tracking = self._recorder.record.mlflow, self._environment.tracking
        if run is None or tracking is None:
            return
        try:
            async with TrackingClient(tracking.endpoint) as client:
                await client.log(run.run_id, params=used, tags={"mlflow.project.entryPoint": entry_point})
        except RondelError as error:
            # A run has one value for each name; a stage may run an entry point twice.
            self._recorder.output(f"MLflow did not take the parameters: {error.what}")

    @asynccontextmanager
    async def _as_project(self) -> AsyncIterator[None]:
        """For as long as MLflow runs: its file without the Docker image that this container stands for."""
        from anyio import to_thread

        from rondel.data.mlproject import in_container

        copy = await to_thread.run_sync(in_container, self.run.root)
        if copy is None:
            yield
            return
        for name, value in copy.environment.items():
            self._container = self._container.with_env_variable(name, value)
        passed = {*self.settings.environment, *self.settings.secrets}
        if lacking := [name for name in copy.from_host if name not in passed]:
            names = ", ".join(lacking)
            self._recorder.output(
                f"MLproject's docker_env copies {names} from the host; a stage gets that by "
                "`environment` or `secrets` in [tool.rondel]"
            )
        if copy.ignores_volumes:
            self._recorder.output("the volumes of MLproject's docker_env are not mounted")
        self._container = self._container.with_new_file(f"{WORK}/{copy.name}", copy.text)
        yield
        self._container = self._container.with_new_file(f"{WORK}/{copy.name}", copy.before)

    async def _run(self, args: list[str], *, shown: list[str], outputs: tuple[str, ...]) -> str:
        import dagger
        from anyio import to_thread

        from rondel.data.workspace_sync import look_before

        names = [name.rstrip("/") for name in outputs]
        before = await to_thread.run_sync(look_before, self.run.root, names, {})
        await self._shell("before", command=shlex.join(shown))
        self._recorder.step(shlex.join(shown)[:120])
        self._recorder.command(shown)
        began = time.monotonic()
        keep = keeps_failures(self.settings)
        # Expecting success an engine drops what a failed command wrote.
        expect = dagger.ReturnType.ANY if keep else dagger.ReturnType.SUCCESS
        sink, container = self._listened(self._container)
        executed = container.with_exec(args, expect=expect)
        try:
            stdout = await self._environment.live.follow(sink, executed.stdout)
            stderr, code = await executed.stderr(), await executed.exit_code() if keep else 0
            self.left = executed
        except dagger.ExecError as error:
            stdout, stderr, code = error.stdout, error.stderr, error.exit_code
        seconds = round(time.monotonic() - began, 3)
        sink.log(stdout=stdout, stderr=stderr)
        self._recorder.command(shown, exit_code=code, seconds=seconds)
        await self._shell("after", of=self.left)
        if code:
            tail = [f"│ {line}" for line in list(self._recorder.tail)[-20:]]
            raise StageFailed(
                f"the command ended with exit code {code}",
                why="\n".join([f"command: {shlex.join(shown)}", *tail]),
            )
        self._commands += 1
        self._container = executed
        if outputs:
            await self._export(executed, outputs, before)
        return stdout

    async def _export(self, container: dagger.Container, outputs: tuple[str, ...], before: Before) -> None:
        import dagger
        from anyio import to_thread

        from rondel.files.hashes import HashCache

        folder = self._folder(f"sh-{len(self.pending)}")
        for name in outputs:
            target = folder / name.rstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            place = f"{WORK}/{name.rstrip('/')}"
            try:
                if name.endswith("/"):
                    await container.directory(place).export(str(target))
                else:
                    await container.file(place).export(str(target))
            except dagger.QueryError as error:
                raise StageFailed(f"the command did not make {name}", why=str(error)) from error
        hashes = HashCache(folder)
        made = {name.rstrip("/"): hashes.of(name.rstrip("/")) for name in outputs}
        self._recorder.outputs({name: digest for name, digest in made.items() if digest})
        given = {name for name in self.params if name not in self.stage.variant}
        aside = bool(given and not self.settings.apply) or await to_thread.run_sync(self._sees_aside)
        self.pending.append(PendingResults(files=folder, before=before, aside=aside))
