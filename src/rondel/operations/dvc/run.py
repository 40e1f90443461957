"""Runs stages of ``dvc.yaml`` in a stage's container, or reuses their results."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rondel.environment import WORK
from rondel.environment.data_container import TransferResult, fetch_plan, path_patterns, with_paths
from rondel.environment.output_stream import TRACE
from rondel.environment.shell import shell_is_due
from rondel.operations.dvc.commands import (
    DvcOutcome,
    State,
    command_failed,
    command_script,
    fetch_failed,
    shown_command,
    unmade_input,
)
from rondel.operations.dvc.keep import PreparedStage, ResultKeeper
from rondel.operations.runtime import PendingResults

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import dagger

    from rondel.cache import DvcCacheEntry
    from rondel.cache.lookup import CachedResult
    from rondel.data import DvcStage
    from rondel.environment.output_stream import CommandOutput
    from rondel.operations.runtime import StageRuntime


class DvcRunner:
    """Brings stages of ``dvc.yaml`` up to date in a stage's container."""

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime
        self._keeper = ResultKeeper(runtime)

    async def bring_up_to_date(self, name: str, params: Mapping[str, Any]) -> DvcOutcome:
        """Bring the stage up to date, after those that it needs and the pipeline does not run itself.

        Raises StageFailed, DataError and ConfigurationError.
        """
        from anyio import to_thread

        overrides, chain = await to_thread.run_sync(self._stages_to_update, name, params)
        done = DvcOutcome(state="unchanged")
        for address in chain:
            done = await self._update_stage(address, overrides)
        return done

    def _stages_to_update(
        self, name: str, given: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The parameters that are set for the stage, and the stages to bring up to date, in order."""
        from rondel.data import find_stage, load_project
        from rondel.data.params import check_overrides, used_params
        from rondel.data.stage_checks import check_dvc_project

        root = self.runtime.run.root
        check_dvc_project(root)
        project = load_project(root)
        stage = find_stage(project, name, place=str(self.runtime.stage.place))
        check_overrides(root, stage, given)
        overrides = {**used_params(root, stage, self.runtime.params), **given}
        own = {find_stage(project, each).address for each in self.runtime.run.dvc_stages} - {stage.address}
        return overrides, project.chain(stage.address, own)

    def _prepare(self, address: str, overrides: Mapping[str, Any]) -> PreparedStage:
        """Look up the stage's inputs and earlier results before it runs."""
        from rondel.cache.lookup import look_up_stage
        from rondel.data.params import leaves
        from rondel.data.run_tree import is_run_only, run_tree, tree_hashes
        from rondel.data.workspace_sync import take_snapshot
        from rondel.files.hashes import HashCache
        from rondel.git.repository import head_commit

        root, settings = self.runtime.run.root, self.runtime.settings
        project = self.runtime.dvc_project(overrides)
        hashes = HashCache(root, tree_hashes(run_tree(self.runtime.run.folder)))
        shared_parts = self.runtime.environment.shared_parts
        if self.runtime.stage.git:
            shared_parts = shared_parts.with_commit(head_commit(root))
        if self.runtime.container_changed:
            shared_parts = shared_parts.after_shell(self.runtime.run.id)
        lookup = look_up_stage(project, address, overrides, shared_parts, hashes)
        if self.runtime.container_changed:
            lookup = replace(lookup, result=None, unconfirmed=None)
        hashes.save()
        stage, inputs = lookup.stage, lookup.inputs
        self.runtime.recorder.inputs(inputs.paths)
        self.runtime.recorder.parameters(
            {
                name: value
                for key, group in inputs.params.items()
                for name, value in leaves(group, key.partition(":")[2] or key)
            }
        )
        applied = dict(settings.params) if settings.apply else {}
        differing = {key: value for key, value in overrides.items() if key not in applied}
        paths = [out.path for out in stage.outs if out.in_working_tree]
        if settings.apply and overrides:
            paths += [source.path for source in stage.params]
        return PreparedStage(
            project=project,
            lookup=lookup,
            overrides=overrides,
            shared_parts=shared_parts,
            run_only=is_run_only(project, [stage], differing),
            before=take_snapshot(root, paths, {stage.lock_file: [stage.name]}),
            folder=self.runtime.results_folder(address),
            hashes=hashes,
        )

    async def _update_stage(self, address: str, overrides: Mapping[str, Any]) -> DvcOutcome:
        from anyio import to_thread

        prepared = await to_thread.run_sync(self._prepare, address, overrides)
        result = await self._find_result(prepared)
        if result is not None:
            done = await self._reuse(prepared, result)
            if done is not None:
                return done
        return await self._run_stage(prepared)

    async def _find_result(self, prepared: PreparedStage) -> CachedResult | None:
        """The valid earlier result, if any; DVC checks dependencies outside of the project."""
        lookup = prepared.lookup
        if not self.runtime.settings.cache or lookup.unconfirmed is None:
            return lookup.result if self.runtime.settings.cache else None
        plan = fetch_plan([], ask=lookup.stage.address)
        transfer = await self._transfer(prepared, self.runtime.container, plan, "asked")
        return None if transfer.code or transfer.changed else lookup.unconfirmed

    async def _reuse(self, prepared: PreparedStage, result: CachedResult) -> DvcOutcome | None:
        """Put an earlier result in place; None if neither the DVC cache nor the remote has it any more."""
        from anyio import to_thread

        stage, cache_entry = prepared.stage, result.cache_entry
        made = prepared.folder / "files"
        if result.location == "dvc":
            self.runtime.recorder.step(f"fetching the results of {stage.address}")
            plan = fetch_plan(
                prepared.project.data_needed_for(stage.files_to_fetch), collect=stage.files_to_fetch
            )
            transfer = await self._transfer(prepared, self.runtime.container, plan, "", locks={stage: result})
            if transfer.code:
                self.runtime.recorder.output(transfer.output)
                self.runtime.recorder.output(
                    f"the results of run {cache_entry.run} are lost, so {stage.address} runs again"
                )
                return None
            cache_entry = await to_thread.run_sync(self._keeper.keep_restored, prepared, cache_entry, made)
        elif result.location == "stage cache":
            from rondel.cache.objects import restore_files

            await to_thread.run_sync(restore_files, self.runtime.run.root, cache_entry.files, made)
        state: State = "unchanged" if result.location == "working tree" else "restored"
        self.runtime.recorder.command(
            [shown_command(stage)], exit_code=0, seconds=0.0, outcome=state, made_by=cache_entry.run or None
        )
        by = f", made by run {cache_entry.run}" if cache_entry.run else ""
        self.runtime.recorder.step(f"dvc stage {stage.address}: {state}{by}")
        await to_thread.run_sync(partial(self._record, prepared, cache_entry, result.entry, reused=True))
        self.runtime.container = self._with_results(
            prepared, made, in_working_tree=result.location == "working tree"
        )
        self.runtime.container = await to_thread.run_sync(self._with_gitignores)
        return DvcOutcome(state=state, made_by=cache_entry.run)

    def _record(
        self, prepared: PreparedStage, cache_entry: DvcCacheEntry, entry: Mapping[str, Any], *, reused: bool
    ) -> None:
        """Record a result of the stage, and queue it for the commit to the working tree."""
        from rondel.cache.provenance import Provenance
        from rondel.data.inputs import entry_outs
        from rondel.data.run_tree import reads_run_only
        from rondel.data.workspace_sync import format_lock
        from rondel.files.atomic import write_atomic
        from rondel.gates import stage_metrics

        stage, made = prepared.stage, prepared.folder / "files"
        self.runtime.recorder.outputs(entry_outs(stage, entry))
        self.runtime.recorder.metrics(
            cache_entry.metrics or stage_metrics(stage, made, self.runtime.run.root)
        )
        run_only = prepared.run_only or reads_run_only(prepared.project, cache_entry.files_read)
        text = cache_entry.entry or prepared.entry_text
        if reused and text:
            # `rondel reproduce` compares with the results in the run's folder, lock entries included.
            write_atomic(made / stage.lock_file, format_lock({stage.name: text}).encode())
            (prepared.folder / "result.json").touch()
        self.runtime.pending.append(
            PendingResults(
                files=made,
                before=prepared.before,
                made={stage.address: entry},
                entries={stage.lock_file: {stage.name: text}} if text else {},
                provenance={stage.address: Provenance.of(cache_entry, entry)}
                if cache_entry.key.digest
                else {},
                data=tuple(out.path for out in stage.outs if out.cached),
                run_only=run_only,
            )
        )
        before = [pending for pending in self.runtime.pending[:-1] if pending.made]
        known = self.runtime.recorder.record.undeclared
        read = (
            None if cache_entry.undeclared is None or (before and known is None) else cache_entry.undeclared
        )
        self.runtime.recorder.change(
            undeclared=None if read is None else sorted({*(known or ()), *read}),
            aside=self.runtime.recorder.record.aside or run_only,
            pushed=cache_entry.pushed and (self.runtime.recorder.record.pushed or not before),
        )

    def _with_results(
        self, prepared: PreparedStage, made: Path, *, in_working_tree: bool = False
    ) -> dagger.Container:
        """The stage's container with the DVC stage's outputs; data is fetched when something reads it."""
        stage, container = prepared.stage, self.runtime.container
        host = self.runtime.environment.client.host()
        if made.is_dir():
            container = container.with_directory(WORK, host.directory(str(made)))
        if in_working_tree and self.runtime.visibility is not None:
            # The container was made without the stage's own results.
            paths = path_patterns(out.path for out in stage.outs if out.in_working_tree)
            if paths:
                root = host.directory(str(self.runtime.run.root), include=paths, no_cache=True)
                container = container.with_directory(WORK, root)
        data = prepared.project.data_needed_for(out.path for out in stage.outs if out.cached)
        if not data:
            return container
        files = self.runtime.environment.lock_texts(prepared.project, self.runtime.own_locks())
        over = self.runtime.environment.data.with_workspace(self.runtime.container.directory(WORK), files)
        fetched = self.runtime.environment.data.with_plan(over, fetch_plan(data), must=True)
        return with_paths(container, fetched.directory(WORK), data)

    def _with_gitignores(self) -> dagger.Container:
        """The stage's container with the ``.gitignore`` entries that its results get in the working tree.

        DVC hashes ``.gitignore`` files, too, in a folder that a later stage depends on.
        """
        from rondel.data.gitignore import gitignore_updates

        container = self.runtime.container
        data = [path for pending in self.runtime.pending if not pending.run_only for path in pending.data]
        for file, text in gitignore_updates(self.runtime.run.root, data).items():
            container = container.with_new_file(f"{WORK}/{file}", text)
        return container

    async def _run_stage(self, prepared: PreparedStage) -> DvcOutcome:
        """Run the stage's command and save its outputs."""
        from anyio import to_thread

        stage = prepared.stage
        # Outputs that this context made are in its container, but not in the lock file yet.
        if not self.runtime.pending and (
            error := unmade_input(prepared.project, stage, prepared.lookup.inputs.paths)
        ):
            raise error
        seconds: dict[str, float] = {}
        container = await self._with_inputs(prepared, seconds)
        if shell_is_due(self.runtime.settings, "before", self.runtime.commands):
            await self.runtime.open_shell("before", of=container, command=shown_command(stage))
        self.runtime.recorder.step(f"dvc stage {stage.address}: {shown_command(stage)}"[:160])
        self.runtime.recorder.command([shown_command(stage)])
        began = time.monotonic()
        executed, code, lines, output = await self._execute(prepared, container)
        seconds["command"] = round(time.monotonic() - began, 3)
        self.runtime.recorder.command(
            [shown_command(stage)],
            exit_code=code,
            seconds=seconds["command"],
            outcome="" if code else "ran",
            made_by=None if code else self.runtime.run.id,
        )
        if code or executed is None:
            await self.runtime.open_shell("after")
            raise command_failed(stage, code, lines)
        await self.runtime.open_shell("after", of=executed)
        self.runtime.commands += 1
        self.runtime.container = executed
        cache_entry, entry = await self._keeper.keep(prepared, executed, lines, output, seconds)
        await to_thread.run_sync(partial(self._record, prepared, cache_entry, entry, reused=False))
        self.runtime.container = await to_thread.run_sync(self._with_gitignores)
        took = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
        self.runtime.recorder.step(f"dvc stage {stage.address}: ran ({took})")
        return DvcOutcome(state="ran", seconds=seconds, made_by=self.runtime.run.id)

    async def _with_inputs(self, prepared: PreparedStage, seconds: dict[str, float]) -> dagger.Container:
        """The stage's container with lock files, parameters and data in place for the command."""
        from rondel.data.import_sources import hint_for_missing
        from rondel.data.params import changed_text

        stage, root = prepared.stage, self.runtime.run.root
        container = self.runtime.container
        for lock, text in self.runtime.environment.lock_texts(
            prepared.project, self.runtime.own_locks()
        ).items():
            container = container.with_new_file(f"{WORK}/{lock}", text)
        for source in stage.params if prepared.overrides else ():
            text = (root / source.path).read_text(encoding="utf-8")
            changed = changed_text(source.path, text, prepared.overrides)
            if changed != text:
                container = container.with_new_file(f"{WORK}/{source.path}", changed)
        persisted = [out.path for out in stage.outs if out.persist and stage.address in prepared.project.lock]
        needs = prepared.project.data_needed_for([*stage.deps, *persisted])
        if not needs:
            return container
        self.runtime.recorder.step(f"fetching the inputs of {stage.address}")
        environment, began = self.runtime.environment, time.monotonic()
        metafiles = environment.dvc_metafiles(
            environment.lock_texts(prepared.project, self.runtime.own_locks())
        )
        if (found := await environment.data.from_cache(metafiles, needs)) is not None:
            seconds["fetch"] = round(time.monotonic() - began, 3)
            return with_paths(container, found, needs)
        transfer = await self._transfer(prepared, container, fetch_plan(needs), "fetched")
        seconds.update(transfer.seconds)
        if transfer.code:
            self.runtime.recorder.output(transfer.output)
            hint = hint_for_missing(
                prepared.project,
                needs,
                remote_defined=self.runtime.environment.remote_defined,
                own_folder=self.runtime.environment.remote_own,
            )
            raise fetch_failed(stage, transfer, self.runtime.environment.remote.shown, hint)
        assert transfer.container is not None  # noqa: S101 - it did not fail
        return with_paths(container, transfer.container.directory(WORK), needs)

    async def _transfer(
        self,
        prepared: PreparedStage,
        container: dagger.Container,
        plan: Mapping[str, Any],
        name: str,
        *,
        locks: Mapping[DvcStage, CachedResult] | None = None,
    ) -> TransferResult:
        """Run a plan in the data container, on the workspace of ``container``."""
        entries = self.runtime.own_locks()
        for stage, result in (locks or {}).items():
            if result.cache_entry.entry:
                from rondel.data.workspace_sync import format_lock

                entries[stage.lock_file] = format_lock({stage.name: result.cache_entry.entry})
        data = self.runtime.environment.data
        over = data.with_workspace(
            container.directory(WORK), self.runtime.environment.lock_texts(prepared.project, entries)
        )
        return await data.result(data.with_plan(over, plan), prepared.folder / name)

    async def _execute(
        self, prepared: PreparedStage, container: dagger.Container
    ) -> tuple[dagger.Container | None, int, list[str], CommandOutput]:
        """Run the command; returns the container after it, the exit code, the last lines and the output."""
        import dagger

        stage = prepared.stage
        output, container = self.runtime.with_output_stream(container)
        executed = (
            container.with_env_variable(TRACE, WORK)
            .with_env_variable("DVC_STAGE", stage.address)
            .with_env_variable("DVC_ROOT", WORK)
            .with_exec(["sh", "-c", command_script(stage)], expect=dagger.ReturnType.ANY)
        )
        try:
            log = await self.runtime.environment.output_stream.follow(output, executed.stdout)
            code = await executed.exit_code()
        except dagger.ExecError as error:  # killed by a signal: only its output remains
            output.log(stdout=error.stdout, stderr=error.stderr)
            return None, error.exit_code, list(self.runtime.recorder.tail), output
        output.log(stdout=log)
        self.runtime.last_container = executed
        return executed, code, self.runtime.recorder.redact(log).splitlines()[-30:], output
