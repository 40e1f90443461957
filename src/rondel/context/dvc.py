"""Stages of ``dvc.yaml`` in a stage's container: what they are given, and what comes of them."""

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
from rondel.context.pending import Pending
from rondel.context.shell import dagger_any, wanted
from rondel.context.workbench import WORK, Workbench
from rondel.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import dagger

    from rondel.context.command import DvcCommand
    from rondel.data import DvcProject, DvcStage
    from rondel.data.returning import Before


class DvcStages(Workbench):
    """The part of a stage's context that runs stages of ``dvc.yaml``."""

    params: dict[str, Any]

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
        if wanted(self.settings, "before", self._commands):
            ready, text = await self._ready_to_run(prepared, container)
            await self._shell("before", of=ready, command=text)
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
            if not prepared.overrides:
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
