"""The project as it lies on disk, read with ``rondel.data`` and ``rondel.tracking``."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cache import StageCacheEntry, code_parts, load_entries, read_shared_parts
from rondel.cache.shared_parts import relative_hasher
from rondel.context.registry import operations_of
from rondel.errors import ConfigurationError
from rondel.operations.project import DvcInputs, DvcResults
from rondel.record import CallRecord, Git

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.cache import SharedParts
    from rondel.cache.lookup import CachedResult, StageLookup
    from rondel.data import DvcProject, DvcStage
    from rondel.files.hashes import HashCache
    from rondel.pipeline import Stage
    from rondel.record import KeyRecord
    from rondel.settings import Settings


class DiskProject:
    """Reads each thing once, until :meth:`changed` says that stages changed files.

    Safe to use from several threads: stages decide in worker threads, and the
    hash cache below is not shared well.
    """

    def __init__(
        self, settings: Settings, environ: Mapping[str, str] | None = None, *, own: Iterable[str] = ()
    ) -> None:
        """``own`` are the stages of ``dvc.yaml`` that stages of the pipeline run."""
        self.settings = settings
        self.root = settings.root
        self.tree: Path | None = None
        """The run's own tree, once there is one: its lock entries come before the working tree's."""
        self._environ = os.environ if environ is None else environ
        self._own = tuple(own)
        self._lock = threading.RLock()
        self._dvc: DvcProject | None = None
        self._hashes: HashCache | None = None
        self._overlaid = False
        self._expected: list[DvcResults] = []
        self._links: dict[str, tuple[StageLookup, ...]] = {}
        self._shared_parts: SharedParts | None = None
        self._workspace: Mapping[str, str] | None = None
        self._champions: dict[str, str | None] = {}

    def _project(self) -> DvcProject:
        if self._dvc is None:
            self._dvc = self._load({})
        return self._dvc

    def _load(self, overrides: Mapping[str, Any]) -> DvcProject:
        from rondel.data import load_project
        from rondel.data.run_tree import with_run_tree

        project = with_run_tree(load_project(self.root, overrides), self.tree)
        for results in self._expected:
            entries = {
                each.cache_entry.address: each.entry
                for each in results.cached
                if each.location != "working tree"
            }
            project = project.with_entries(entries, run_only=results.run_only)
        return project

    def _hash_cache(self) -> HashCache:
        from rondel.files.hashes import HashCache

        if self._hashes is None:
            self._hashes = HashCache(self.root)
        if not self._overlaid:
            self._hashes.over = self._seen()
            self._overlaid = True
        return self._hashes

    def _seen(self) -> dict[str, str]:
        """The files that stages see in place of the working tree's: the run's own, and what is put back."""
        from rondel.cache.lookup import file_hashes
        from rondel.data.run_tree import lock_text, tree_hashes
        from rondel.data.workspace_sync import merge_entries

        seen = tree_hashes(self.tree)
        texts: dict[str, str] = {}
        for results in self._expected:
            for each in results.cached:
                if each.location == "working tree":
                    continue
                seen |= file_hashes(each)
                lock = each.stage.lock_file
                base = texts.get(lock) or lock_text(self.root, self.tree, lock)
                texts[lock] = merge_entries(base, {each.stage.name: each.cache_entry.entry})
        for lock, text in texts.items():
            seen[lock] = f"md5:{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"
        return seen

    def dvc_stages(self) -> tuple[str, ...]:
        """The stages of ``dvc.yaml``."""
        with self._lock:
            return tuple(self._project().stages)

    def _follow(
        self,
        name: str,
        overrides: Mapping[str, Any],
        commit: str | None = None,
        shell_run: str | None = None,
    ) -> tuple[StageLookup, ...]:
        """What is known of the dvc stage and those that run with it; overrides for others are left out."""
        from rondel.cache.lookup import look_up_stages
        from rondel.data import find_stage
        from rondel.data.params import used_params

        # Values of a matrix may be of the stage's parameters, or of its function alone.
        overrides = used_params(self.root, find_stage(self._project(), name), overrides)
        memo = f"{name} {sorted(overrides.items())!r} {commit} {shell_run}"
        if memo not in self._links:
            # Templates see overridden values, too.
            project = self._load(overrides) if overrides else self._project()
            address = find_stage(project, name).address
            chain = project.chain(address, self._own_addresses(project) - {address})
            shared_parts = self.shared_parts().with_commit(commit).after_shell(shell_run)
            self._links[memo] = look_up_stages(project, chain, overrides, shared_parts, self._hash_cache())
        return self._links[memo]

    def _own_addresses(self, project: DvcProject) -> set[str]:
        from rondel.data import find_stage

        found = set()
        for name in self._own:
            with suppress(ConfigurationError):  # check_calls names them, with its place
                found.add(find_stage(project, name).address)
        return found

    def dvc_inputs(self, name: str, overrides: Mapping[str, Any]) -> tuple[DvcInputs, ...]:
        """What a dvc stage depends on, after those that run with it."""
        from rondel.cache.lookup import flatten_params

        with self._lock:
            return tuple(
                DvcInputs(
                    command=lookup.inputs.cmd,
                    address=lookup.stage.address,
                    files=lookup.inputs.paths,
                    params=flatten_params(lookup.inputs.params),
                    outs=lookup.inputs.outs,
                )
                for lookup in self._follow(name, overrides)
            )

    def dvc_outputs(self, name: str) -> tuple[str, ...]:
        """The paths that a dvc stage and those that run with it make."""
        from rondel.data import find_stage

        with self._lock:
            project = self._project()
            address = find_stage(project, name).address
            chain = project.chain(address, self._own_addresses(project) - {address})
            return tuple(out.path for each in chain for out in project.stages[each].outs)

    def dvc_results(
        self, name: str, overrides: Mapping[str, Any], *, git: bool = False, shell_run: str | None = None
    ) -> DvcResults:
        """What serves a dvc stage and those that run with it."""
        with self._lock:
            lookups = self._follow(name, overrides, self.commit() if git else None, shell_run)
        for lookup in lookups:
            if lookup.result is None:
                shown = "" if lookup is lookups[-1] else f"{lookup.stage.address}: "
                return DvcResults(reason=shown + lookup.reason)
        cached = tuple(lookup.result for lookup in lookups if lookup.result)
        return DvcResults(cached=cached, run_only=self._is_run_only(lookups, overrides))

    def _is_run_only(self, lookups: tuple[StageLookup, ...], overrides: Mapping[str, Any]) -> bool:
        from rondel.data.run_tree import is_run_only

        applied = dict(self.settings.params) if self.settings.apply else {}
        given = {name: value for name, value in overrides.items() if name not in applied}
        cache_entries = [lookup.result.cache_entry for lookup in lookups if lookup.result]
        read = [path for cache_entry in cache_entries for path in cache_entry.files_read]
        return is_run_only(self._project(), [lookup.stage for lookup in lookups], given, read)

    def dvc_stage(self, name: str) -> DvcStage:
        """The dvc stage of that name."""
        from rondel.data import find_stage

        with self._lock:
            return find_stage(self._project(), name)

    def entry_of(self, stage: Stage, results: tuple[DvcResults, ...], key: KeyRecord) -> StageCacheEntry:
        """What is known of a stage's success by the results of its dvc stages."""
        from rondel.data.inputs import entry_outs

        cached = [each for found in results for each in found.cached]
        project = self._project()
        made: dict[str, str] = {}
        for each in cached:
            made |= entry_outs(project.stages[each.cache_entry.address], each.entry)
        return StageCacheEntry(
            key=key,
            run=cached[-1].cache_entry.run,
            stage=stage.name,
            uses=tuple(
                CallRecord(kind=use.kind, name=use.name, details=dict(use.details))
                for use in operations_of(stage.calls)
            ),
            image=cached[-1].cache_entry.image,
            made=made,
            metrics={name: value for each in cached for name, value in self._metrics(each).items()},
        )

    def _metrics(self, result: CachedResult) -> Mapping[str, float]:
        """A result's metrics: as they were kept, else as the files in the working tree say."""
        from rondel.gates import stage_metrics

        if result.cache_entry.metrics or result.location != "working tree":
            return result.cache_entry.metrics
        stage = self._project().stages[result.cache_entry.address]
        return stage_metrics(stage, None, self.root)

    def expect(self, results: Iterable[DvcResults]) -> None:
        """Take it that these results are put back, until :meth:`changed`."""
        with self._lock:
            self._expected += results
            self._overlaid = False
            self._workspace = None
            self._dvc = None
            self._links.clear()

    def check_dvc(
        self, name: str, overrides: Mapping[str, Any], given: Mapping[str, Any] | None = None
    ) -> None:
        """Raise ConfigurationError for a file or parameter that the dvc stage names and nothing makes.

        ``given`` are the call's own parameters, all of which have to be the stage's. Also raises
        DataError for tracked data that is not what its ``.dvc`` file says.
        """
        from rondel.cache.lookup import stage_inputs_of
        from rondel.data import find_stage
        from rondel.data.params import check_overrides
        from rondel.data.stage_checks import check_dvc_project, check_paths

        with self._lock:
            project = self._project()
            stage = find_stage(project, name)
            check_dvc_project(self.root)
            for each in project.chain(stage.address, self._own_addresses(project) - {stage.address}):
                check_paths(project, project.stages[each], self._environ)
            if not any(project.producer(source.path) for source in stage.params):
                check_overrides(self.root, stage, given or {})
                stage_inputs_of(project, stage.address, {**overrides, **(given or {})}, self._hash_cache())

    def dvc_parameters(self, name: str) -> Mapping[str, Any]:
        """The parameters that ``-P`` may set for a dvc stage, with the values that the files have."""
        from rondel.data import find_stage, known_params

        with self._lock:
            return known_params(self.root, find_stage(self._project(), name))

    def succeeded_before(self, stage: Stage) -> bool:
        """Whether the very code of the stage's function has succeeded here before."""
        code = code_parts(stage.body, self.root)
        return any(entry.key.parts.get("code") == code for entry in load_entries(self.root, stage.name))

    def entry_points(self) -> Mapping[str, Mapping[str, Any]]:
        """What ``MLproject`` declares."""
        from rondel.data.mlproject import entry_points

        return entry_points(self.root)

    def runs_script(self, name: str) -> bool:
        """Whether MLflow takes ``name`` for a script to run, in place of an entry point."""
        from rondel.data.mlproject import is_script

        return is_script(self.root, name)

    def check_entry_point(self, name: str) -> None:
        """Raise ConfigurationError for what keeps MLflow from running ``name``, whatever its values are."""
        from rondel.data.mlproject_check import check_entry_point

        check_entry_point(self.root, name)

    def workspace(self) -> Mapping[str, str]:
        """Every file that stages see, by hash."""
        from rondel.data import workspace_files
        from rondel.data.model import overlap

        with self._lock:
            if self._workspace is None:
                hashes = self._hash_cache()
                project = self._project()
                # Of what is seen in place of the working tree's, the same as of that: nothing that DVC keeps.
                made = [
                    path
                    for path in hashes.over
                    if any(overlap(path, out) for out in project.uncached_outputs())
                ]
                paths = sorted({*workspace_files(project), *made})
                listed = ((path, hashes.of(path)) for path in paths)
                self._workspace = {path: digest for path, digest in listed if digest}
            return self._workspace

    def file_hash(self, path: str) -> str | None:
        """The hash of a file or folder; None if there is nothing, or if it lies outside of the project."""
        if Path(path).is_absolute() or ".." in Path(path).parts:
            return None
        with self._lock:
            return self._hash_cache().of(path)

    def metrics_hash(self, path: str) -> str:
        """The hash of a file that a gate reads: of what a dvc stage made, as the lock has it."""
        from rondel.data.inputs import locked_outs

        with self._lock:
            project = self._project()
            stage = project.owner_of(path)
            if stage is None:
                return self.file_hash(path) or "missing"
            made = locked_outs(project, stage)
            return (
                next((made[out] for out in made if path == out or path.startswith(f"{out}/")), None)
                or "missing"
            )

    def shared_parts(self) -> SharedParts:
        """The recipe of the stages' image, the machine's part in it, and the stages' variables."""
        with self._lock:
            if self._shared_parts is None:
                hashed = relative_hasher(self.root, self._hash_cache().of)
                self._shared_parts = read_shared_parts(self.settings, self._environ, hashed)
            return self._shared_parts

    def champion(self, model: str) -> str | None:
        """The champion's version, asked once a run."""
        from rondel.registry.champion import champion_version

        with self._lock:
            if model not in self._champions:
                self._champions[model] = champion_version(
                    self.root, self._environ, model, uri=self.settings.tracking_uri
                )
            return self._champions[model]

    def commit(self) -> str | None:
        """The commit that the project is at; None if there is none."""
        from rondel.git.repository import head_commit

        return head_commit(self.root)

    def git(self) -> Git:
        """The repository's state. The diff itself is written beside the capsule."""
        from rondel.git.state import folder_of, read_git

        state = read_git(self.root)
        return Git(
            commit=state.commit,
            branch=state.branch,
            dirty=state.dirty,
            diff=state.diff,
            untracked=dict(state.untracked),
            remote_url=state.remote_url,
            prefix=folder_of(self.root) if state.commit else "",
        )

    def changed(self) -> None:
        """Read files again when they are asked for next."""
        with self._lock:
            self._dvc = None
            self._overlaid = False
            self._expected.clear()
            self._links.clear()
            self._workspace = None
            self._shared_parts = None

    def save(self) -> None:
        """Keep the hashes that were computed."""
        with self._lock:
            if self._hashes is not None:
                self._hashes.save()
