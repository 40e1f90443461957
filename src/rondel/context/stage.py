"""The context of a stage: what the team's function gets, and calls."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rondel.context.command import (
    DRIVER,
    OUT,
    PLAN,
    SCRIPT,
    DvcOutcome,
    driver_text,
    dvc_command,
    failure,
    never_made,
    outcome,
    read_result,
    upstream_here,
)
from rondel.context.gating import Gating
from rondel.context.live import TAG
from rondel.context.registering import Registering
from rondel.context.shell import dagger_any, keeps_failures, open_shell, wanted
from rondel.errors import ConfigurationError, DataError, StageFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import dagger

    from rondel.context.command import DvcCommand
    from rondel.context.ground import RunGround
    from rondel.context.live import Sink
    from rondel.data import DvcProject, DvcStage
    from rondel.data.returning import Before
    from rondel.pipeline import Stage
    from rondel.record import Run, StageRecorder
    from rondel.settings import Settings

WORK = "/work"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Results that go to the working tree when the stage has succeeded: they wait in ``files``."""

    files: Path
    before: Before
    lock_files: tuple[str, ...] = ()

    def locks(self) -> dict[str, str]:
        """The lock files as the container wrote them."""
        found = {}
        for name in self.lock_files:
            path = self.files / name
            if path.is_file():
                found[name] = path.read_text(encoding="utf-8")
        return found


class StageContext(Gating, Registering):
    """What a stage's function works with.

    ``run`` is the run that the stage is part of, ``params`` its matrix values
    and ``-P`` overrides, ``settings`` the options. Files that a stage made
    come back to the working tree when its function has returned.
    """

    def __init__(
        self,
        ground: RunGround,
        stage: Stage,
        *,
        params: Mapping[str, Any],
        recorder: StageRecorder,
        container: dagger.Container,
    ) -> None:
        self.stage = stage
        self.params = dict(params)
        self.run: Run = ground.run
        self.settings: Settings = ground.settings
        self.pending: list[Pending] = []
        self._ground = ground
        self._recorder = recorder
        self._container = container
        self._commands = 0
        self.left: dagger.Container | None = None
        """What the last command that failed left behind, where that is kept."""

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
        self._recorder.parameters(values)
        script = f'exec {shlex.join(args)} ${{MLFLOW_RUN_ID:+--run-id "$MLFLOW_RUN_ID"}}'
        await self._run(["sh", "-c", script], shown=args, outputs=())

    async def dvc(self, name: str, /, params: Mapping[str, Any] | None = None, **more: Any) -> DvcOutcome:
        """Bring a stage of ``dvc.yaml`` up to date in the container, and push what it made.

        Data comes from the DVC cache or remote, only what the stage needs.
        ``params`` are values for parameters of this call, by dotted key; they
        change the container's copy of the parameter file, never the working
        tree's. Metrics, plots, uncached outputs and the stage's entry in
        ``dvc.lock`` come back when the stage has succeeded.

        Raises StageFailed if the command fails, DataError if data can't be
        pulled or pushed, ConfigurationError for an unknown stage or parameter.
        """
        from anyio import to_thread

        given = {**(params or {}), **more}
        self._recorder.use("dvc", name, {"params": given} if given else {})
        prepared = await to_thread.run_sync(lambda: self._prepare_dvc(name, given))
        container = await self._with_parameters(prepared)
        command, folder = prepared.command, prepared.folder
        await self._shell("before", prepared=(prepared, container))
        self._recorder.step(f"dvc repro {command.stage}")
        shown = shlex.split(command.shown.replace(" && ", " \\&\\& "))
        self._recorder.command(shown)
        began = time.monotonic()
        lines = await self._exec_dvc(container, folder)
        seconds = round(time.monotonic() - began, 3)
        result = read_result(folder)
        if result is None or result.get("code"):
            code = (result or {}).get("command_code") or (result or {}).get("code") or 1
            self._recorder.command(shown, exit_code=int(code), seconds=seconds)
            await self._shell("after")
            raise failure(command, result, lines, self._ground.remote.shown)
        await self._shell("after", of=self._container)
        self._commands += 1
        done = outcome(command, result)
        self._recorder.command(
            shown, exit_code=0, seconds=seconds, outcome="ran" if result.get("ran") else done.state
        )
        self._finish_dvc(prepared)
        took = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in done.seconds.items())
        self._recorder.step(f"dvc stage {command.stage}: {done.state} ({took})")
        return done

    async def _run(self, args: list[str], *, shown: list[str], outputs: tuple[str, ...]) -> str:
        import dagger
        from anyio import to_thread

        from rondel.data.returning import look_before

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
            stdout = await self._ground.live.follow(sink, executed.stdout)
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
        self.pending.append(Pending(files=folder, before=before))

    async def _shell(
        self,
        when: str,
        *,
        of: dagger.Container | None = None,
        command: str = "",
        prepared: tuple[_DvcRun, dagger.Container] | None = None,
    ) -> None:
        """Open the shell that was asked for, if this is the place."""
        if not wanted(self.settings, when, self._commands):
            return
        name, observer = self.stage.name, self._ground.observer
        if when == "before":
            container = self._container
            if prepared is not None:
                container, command = await self._ready_to_run(*prepared)
            await open_shell(container, observer, f"{name}, just before its command:\n  {command}")
        elif (container := of or self.left) is not None:  # type: ignore[assignment]
            await open_shell(container, observer, f"{name}, as its command left it.")
        else:
            self._recorder.output("no shell: the command was killed, and nothing of it is left")

    async def _ready_to_run(
        self, prepared: _DvcRun, container: dagger.Container
    ) -> tuple[dagger.Container, str]:
        """The container with everything in place that the DVC stage's command needs, and that command."""
        self._recorder.step("getting what the command needs")
        ready = container.with_new_file(PLAN, prepared.command.plan(stop=True)).with_exec(
            ["sh", "-c", SCRIPT], expect=dagger_any()
        )
        self._recorder.output(await ready.stdout())
        where = f"cd {prepared.stage.wdir} && " if prepared.stage.wdir not in {"", "."} else ""
        return ready, where + "\n  ".join(prepared.stage.cmd)

    async def failed(self, error: BaseException) -> None:
        """See to it that a shell can be opened where a command of the plain Dagger API failed.

        Opens the one that was asked for; ``shell`` opens what the command left.
        """
        when = self.settings.shell
        if when is None and not self.settings.interactive:
            return
        from rondel.context.raw import container_of, exec_error, failed_exec

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
        await open_shell(container, self._ground.observer, text)

    async def shell(self) -> bool:
        """Open a shell in what the failed command left behind; False if nothing is there."""
        if self.left is None:
            return False
        await open_shell(self.left, self._ground.observer, f"{self.stage.name}, as its command left it.")
        return True

    def _listened(self, container: dagger.Container) -> tuple[Sink, dagger.Container]:
        """Where the next command's lines go, and the container to run it in."""
        live = self._ground.live
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

    def _prepare_dvc(self, name: str, given: Mapping[str, Any]) -> _DvcRun:
        from rondel.data import find_stage, known_params, load_project, stage_inputs
        from rondel.data.params import check_overrides, leaves
        from rondel.data.returning import look_before

        root = self.run.root
        if not (root / ".dvc").is_dir():
            raise ConfigurationError("this is no DVC project", why=f"{root} has no .dvc", hint="dvc init")
        plain = load_project(root)
        stage = find_stage(plain, name, place=str(self.stage.place))
        check_overrides(root, stage, given)
        known = known_params(root, stage) if self.params else ()
        overrides = {**{key: value for key, value in self.params.items() if key in known}, **given}
        project = load_project(root, overrides) if overrides else plain
        stage = find_stage(project, name)
        inputs = stage_inputs(project, name, overrides)
        self._recorder.inputs(inputs.paths)
        self._recorder.parameters(
            {
                name: value
                for key, group in inputs.params.items()
                for name, value in leaves(group, key.partition(":")[2] or key)
            }
        )
        own = frozenset(self.run.dvc_stages) - {stage.address, stage.name}
        command = dvc_command(
            project,
            stage,
            own=own,
            changed=_changed(project, (*upstream_here(project, stage, own), stage.address), overrides),
            push=self._ground.push,
            force=not self.settings.cache,
            scheme="webdav" if self._ground.remote.folder is not None else self._ground.remote.scheme,
        )
        # What this very context made lies in its container, and is in no lock file here yet.
        if not self.pending and (lacking := never_made(project, command, inputs.paths)):
            raise lacking
        made = [project.stages[address] for address in (*command.upstream, stage.address)]
        locks: dict[str, list[str]] = {}
        for each in made:
            locks.setdefault(each.file.removesuffix("dvc.yaml") + "dvc.lock", []).append(each.name)
        return _DvcRun(
            project=project,
            stage=stage,
            command=command,
            overrides=overrides,
            before=look_before(root, command.returns, locks),
            folder=self._folder(stage.name),
            made=tuple(made),
        )

    async def _with_parameters(self, prepared: _DvcRun) -> dagger.Container:
        from rondel.data.params import changed_text

        root = self.run.root
        container = self._container.with_new_file(DRIVER, driver_text()).with_new_file(
            PLAN, prepared.command.plan()
        )
        for lock in prepared.command.locks:
            if (root / lock).is_file():
                # Stages that ended meanwhile have put their entries in.
                text = (root / lock).read_text(encoding="utf-8")
                container = container.with_new_file(f"{WORK}/{lock}", text)
        for path in {source.path for stage in prepared.made for source in stage.params}:
            if not prepared.overrides or path.endswith(".py"):
                continue
            text = (root / path).read_text(encoding="utf-8")
            changed = changed_text(path, text, prepared.overrides)
            if changed != text:
                container = container.with_new_file(f"{WORK}/{path}", changed)
        return container

    async def _exec_dvc(self, container: dagger.Container, folder: Path) -> list[str]:
        """Run the driver; returns its last lines. Whether it succeeded, its result file says."""
        import dagger

        sink, container = self._listened(container)
        executed = container.with_exec(["sh", "-c", SCRIPT], expect=dagger.ReturnType.ANY)
        try:
            log = await self._ground.live.follow(sink, executed.stdout)
        except dagger.ExecError as error:  # killed by a signal: no result, but output
            sink.log(stdout=error.stdout, stderr=error.stderr)
            return list(self._recorder.tail)
        sink.log(stdout=log)
        try:
            await executed.directory(OUT).export(str(folder))
        except dagger.QueryError as error:
            if "no such file" not in str(error):
                raise
        self._container = self.left = executed
        return self._recorder.redact(log).splitlines()[-30:]

    def _finish_dvc(self, prepared: _DvcRun) -> None:
        from rondel.data.inputs import entry_outs
        from rondel.data.yamlfile import parse_yaml
        from rondel.gates import read_metrics

        files = prepared.folder / "files"
        files.mkdir(exist_ok=True)
        pending = Pending(files=files, before=prepared.before, lock_files=prepared.command.locks)
        self.pending.append(pending)
        for name, text in pending.locks().items():
            entries = (parse_yaml(text, name) or {}).get("stages") or {}
            for stage in prepared.made:
                if stage.file.removesuffix("dvc.yaml") + "dvc.lock" == name and stage.name in entries:
                    self._recorder.outputs(entry_outs(stage, entries[stage.name]))
        if not pending.locks() and prepared.stage.outs:
            raise DataError(f"DVC wrote no lock entry for stage {prepared.command.stage!r}")
        for stage in prepared.made:
            for out in stage.outs:
                if out.kind == "metric":
                    self._recorder.metrics(dict(read_metrics(files / out.path, shown=out.path).values))


@dataclass(frozen=True, slots=True, kw_only=True)
class _DvcRun:
    """Everything that is known about a run of a DVC stage before its container starts."""

    project: DvcProject
    stage: DvcStage
    command: DvcCommand
    overrides: Mapping[str, Any]
    before: Before
    folder: Path
    made: tuple[DvcStage, ...]


def _changed(project: DvcProject, addresses: Iterable[str], overrides: Mapping[str, Any]) -> set[str]:
    """Those of the stages whose inputs, as far as they are known, are not the ones in ``dvc.lock``."""
    from rondel.data import HashCache, known_params, stage_inputs
    from rondel.data.inputs import matches_lock

    hashes = HashCache(project.root)
    found = set()
    for address in addresses:
        stage = project.stages[address]
        known = known_params(project.root, stage) if overrides else ()
        mine = {key: value for key, value in overrides.items() if key in known}
        if not matches_lock(project, stage, stage_inputs(project, address, mine, hashes=hashes)):
            found.add(address)
    return found
