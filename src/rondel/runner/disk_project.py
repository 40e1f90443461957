"""The project on disk, for keys, checks and decisions."""

from __future__ import annotations

import hashlib
import os
import posixpath
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cache import StageCacheEntry, code_parts, load_entries, read_shared_parts
from rondel.cache.shared_parts import relative_hasher
from rondel.context.registry import operations_of
from rondel.errors import ConfigurationError
from rondel.operations.dvc.operation import dvc_stage_names
from rondel.operations.project import DvcInputs, DvcResults
from rondel.pipeline.graph import closure
from rondel.record import CallRecord, Git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rondel.cache import SharedParts
    from rondel.cache.lookup import CachedResult, StageLookup
    from rondel.data import DvcProject, DvcStage
    from rondel.data.visibility import Visibility
    from rondel.files.hashes import HashCache
    from rondel.operations.operation import Operation
    from rondel.pipeline import Stage
    from rondel.record import KeyRecord, StageRecord
    from rondel.settings import Settings


class DiskProject:
    """Reads each file once, until :meth:`invalidate`.

    Thread-safe: stages decide in worker threads, and the hash cache below is
    not safe to share between them.
    """

    def __init__(
        self, settings: Settings, environ: Mapping[str, str] | None = None, *, stages: Iterable[Stage] = ()
    ) -> None:
        """``stages`` are those of the pipeline, with their matrices expanded."""
        self.settings = settings
        self.root = settings.root
        self.tree: Path | None = None
        """The run's own tree, once there is one: its lock entries override the working tree's."""
        self._records: Callable[[], Sequence[StageRecord]] = tuple
        self._environ = os.environ if environ is None else environ
        self._stages = {stage.name: stage for stage in stages}
        self._own = dvc_stage_names(
            operation for stage in self._stages.values() for operation in operations_of(stage.calls)
        )
        self._lock = threading.RLock()
        self._dvc: DvcProject | None = None
        self._hashes: HashCache | None = None
        self._overlay_current = False
        self._assumed: list[DvcResults] = []
        self._lookups: dict[str, tuple[StageLookup, ...]] = {}
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
        for results in self._assumed:
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
        if not self._overlay_current:
            self._hashes.over = self._overlay()
            self._overlay_current = True
        return self._hashes

    def _overlay(self) -> dict[str, str]:
        """The files that stages see instead of the working tree's: the run's own, and restored results."""
        from rondel.cache.lookup import file_hashes
        from rondel.data.run_tree import tree_hashes

        overlay = tree_hashes(self.tree)
        texts: dict[str, str] = {}
        for each in self._assumed_results():
            overlay |= file_hashes(each)
            lock = each.stage.lock_file
            texts[lock] = texts.get(lock) or self._lock_text(lock) or ""
        for lock, text in texts.items():
            overlay[lock] = f"md5:{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"
        return overlay

    def _assumed_results(self) -> Iterator[CachedResult]:
        """The results that are assumed to be restored, and are not in the working tree yet."""
        for results in self._assumed:
            yield from (each for each in results.cached if each.location != "working tree")

    def _lock_text(self, lock: str) -> str | None:
        """The text of a lock file as stages see it; None if there is none."""
        from rondel.data.run_tree import lock_text
        from rondel.data.workspace_sync import merge_entries

        text = lock_text(self.root, self.tree, lock)
        for each in self._assumed_results():
            if each.stage.lock_file == lock:
                text = merge_entries(text, {each.stage.name: each.cache_entry.entry})
        return text

    def dvc_stages(self) -> tuple[str, ...]:
        """The stages of ``dvc.yaml``."""
        with self._lock:
            return tuple(self._project().stages)

    def _look_up(
        self,
        name: str,
        overrides: Mapping[str, Any],
        commit: str | None = None,
        shell_run: str | None = None,
    ) -> tuple[StageLookup, ...]:
        """The lookups of the dvc stage and those that run with it, with the overrides that they use."""
        from rondel.cache.lookup import look_up_stages
        from rondel.data import find_stage
        from rondel.data.params import used_params

        # Only some values of a matrix are parameters of the dvc stage.
        overrides = used_params(self.root, find_stage(self._project(), name), overrides)
        memo = f"{name} {sorted(overrides.items())!r} {commit} {shell_run}"
        if memo not in self._lookups:
            # DVC's templates see overridden values, too.
            project = self._load(overrides) if overrides else self._project()
            chain = self._chain(project, find_stage(project, name).address)
            shared_parts = self.shared_parts().with_commit(commit).after_shell(shell_run)
            self._lookups[memo] = look_up_stages(project, chain, overrides, shared_parts, self._hash_cache())
        return self._lookups[memo]

    def _chain(self, project: DvcProject, address: str) -> tuple[str, ...]:
        """The dvc stage and those that run with it: what it needs and the pipeline does not run itself."""
        from rondel.data import find_stage

        own = set()
        for name in self._own:
            with suppress(ConfigurationError):  # check_calls reports it, with its location
                own.add(find_stage(project, name).address)
        return project.chain(address, own - {address})

    def dvc_inputs(self, name: str, overrides: Mapping[str, Any]) -> tuple[DvcInputs, ...]:
        """What a dvc stage and those that run with it depend on; the stage itself comes last."""
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
                for lookup in self._look_up(name, overrides)
            )

    def dvc_outputs(self, name: str) -> tuple[str, ...]:
        """The paths that a dvc stage and those that run with it make."""
        from rondel.data import find_stage

        with self._lock:
            project = self._project()
            chain = self._chain(project, find_stage(project, name).address)
            return tuple(out.path for each in chain for out in project.stages[each].outs)

    def dvc_results(
        self, name: str, overrides: Mapping[str, Any], *, git: bool = False, shell_run: str | None = None
    ) -> DvcResults:
        """The earlier results of a dvc stage and those that run with it."""
        with self._lock:
            lookups = self._look_up(name, overrides, self.commit() if git else None, shell_run)
        for lookup in lookups:
            if lookup.result is None:
                prefix = "" if lookup is lookups[-1] else f"{lookup.stage.address}: "
                return DvcResults(reason=prefix + lookup.reason)
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
        """The cache entry of a pipeline stage, made from the results of its dvc stages."""
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
        """A result's metrics: the recorded ones, else those of the files in the working tree."""
        from rondel.gates import stage_metrics

        if result.cache_entry.metrics or result.location != "working tree":
            return result.cache_entry.metrics
        stage = self._project().stages[result.cache_entry.address]
        return stage_metrics(stage, None, self.root)

    def assume_restored(self, results: Iterable[DvcResults]) -> None:
        """Read the project as if these results were restored, until :meth:`invalidate`."""
        with self._lock:
            self._assumed += results
            self._overlay_current = False
            self._workspace = None
            self._dvc = None
            self._lookups.clear()

    def check_dvc(
        self, name: str, overrides: Mapping[str, Any], given: Mapping[str, Any] | None = None
    ) -> None:
        """Raise ConfigurationError for a missing file or parameter that no stage makes.

        ``given`` are the call's own parameters; the dvc stage must have them all. Also raises
        DataError for tracked data that differs from its ``.dvc`` file.
        """
        from rondel.cache.lookup import stage_inputs_of
        from rondel.data import find_stage
        from rondel.data.params import check_overrides
        from rondel.data.stage_checks import check_dvc_project, check_paths

        with self._lock:
            project = self._project()
            stage = find_stage(project, name)
            check_dvc_project(self.root)
            for each in self._chain(project, stage.address):
                check_paths(project, project.stages[each], self._environ)
            if not any(project.producer(source.path) for source in stage.params):
                check_overrides(self.root, stage, given or {})
                stage_inputs_of(project, stage.address, {**overrides, **(given or {})}, self._hash_cache())

    def dvc_parameters(self, name: str) -> Mapping[str, Any]:
        """The parameters that ``-P`` can set for a dvc stage, with their values in the files."""
        from rondel.data import find_stage, known_params

        with self._lock:
            return known_params(self.root, find_stage(self._project(), name))

    def succeeded_before(self, stage: Stage) -> bool:
        """Whether the stage's function succeeded here before, with exactly its code of now."""
        code = code_parts(stage.body, self.root)
        return any(entry.key.parts.get("code") == code for entry in load_entries(self.root, stage.name))

    def entry_points(self) -> Mapping[str, Mapping[str, Any]]:
        """The entry points of ``MLproject`` with their parameters."""
        from rondel.data.mlproject import entry_points

        return entry_points(self.root)

    def runs_script(self, name: str) -> bool:
        """Whether MLflow takes ``name`` as a script to run, not as an entry point."""
        from rondel.data.mlproject import is_script

        return is_script(self.root, name)

    def check_entry_point(self, name: str) -> None:
        """Raise ConfigurationError if MLflow can't run ``name`` with any parameters."""
        from rondel.data.mlproject_check import check_entry_point

        check_entry_point(self.root, name)

    def follow(self, records: Callable[[], Sequence[StageRecord]]) -> None:
        """Take what the run's stages made so far from their records."""
        self._records = records

    def visibility(self, stage: Stage) -> Visibility:
        """The results of the pipeline's stages that ``stage`` sees in its workspace."""
        from rondel.data.visibility import Visibility

        if stage.name not in self._stages:
            return Visibility()
        with self._lock:
            needed = closure(self._stages, stage.needs)
            hidden, shown = self._makes(stage), set[str]()
            unseen, seen = set[str](), set[str]()
            for name, other in self._stages.items():
                if name in needed:
                    shown |= self._makes(other)
                    seen |= self._dvc_addresses(other)
                elif name != stage.name:
                    hidden |= self._makes(other)
                    unseen |= self._dvc_addresses(other)
            project, own = self._project(), self._dvc_addresses(stage)
            # What DVC needs for the stage's own calls, even if the pipeline does not say so.
            above = {each for address in own for each in project.upstream(address)} - own
            shown |= {out.path for address in above for out in project.stages[address].outs}
            shown |= {out.path for address in own for out in project.stages[address].outs if out.persist}
            locks = self._visible_locks((unseen | own) - seen - above)
            return Visibility(
                hidden=frozenset(hidden - shown).union(lock for lock, text in locks.items() if text is None),
                shown=frozenset(shown),
                locks={lock: text for lock, text in locks.items() if text is not None},
            )

    def _visible_locks(self, addresses: set[str]) -> dict[str, str | None]:
        """The lock files with entries of these dvc stages, without them; None if no entry is left."""
        from rondel.data.dvc_lock import remove_entries

        by_lock: dict[str, list[str]] = {}
        for address in addresses:
            dvc_stage = self._project().stages[address]
            by_lock.setdefault(dvc_stage.lock_file, []).append(dvc_stage.name)
        texts = {lock: self._lock_text(lock) for lock in by_lock}
        return {lock: remove_entries(text, by_lock[lock]) for lock, text in texts.items() if text is not None}

    def _calls(self, stage: Stage) -> Iterator[Operation[Any]]:
        """The operations of a stage: in its source, in its latest success, and in this run."""
        yield from operations_of(stage.calls)
        for entry in load_entries(self.root, stage.name)[:1]:
            yield from operations_of(entry.uses)
        for record in self._records():
            if record.name == stage.name:
                yield from operations_of(record.uses)

    def _makes(self, stage: Stage) -> set[str]:
        """The paths that a stage makes."""
        found: set[str] = set()
        for operation in self._calls(stage):
            with suppress(ConfigurationError):  # a name that is no literal, or that check_calls reports
                found.update(map(posixpath.normpath, operation.outputs(self)))
        return found

    def _dvc_addresses(self, stage: Stage) -> set[str]:
        """The stages of ``dvc.yaml`` that run in a stage."""
        from rondel.data import find_stage

        found: set[str] = set()
        for name in dvc_stage_names(self._calls(stage)):
            with suppress(ConfigurationError):
                found.update(self._chain(self._project(), find_stage(self._project(), name).address))
        return found

    def workspace(self, stage: Stage) -> Mapping[str, str]:
        """Every file that ``stage`` sees, with its hash."""
        return self.visibility(stage).files(self._whole_workspace())

    def _whole_workspace(self) -> Mapping[str, str]:
        from rondel.data import workspace_files
        from rondel.data.model import overlap

        with self._lock:
            if self._workspace is None:
                hashes = self._hash_cache()
                project = self._project()
                # The workspace has no outputs that DVC caches, so none of those of the overlay, either.
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
        """The hash of a file or folder; None if it is missing or outside of the project."""
        if Path(path).is_absolute() or ".." in Path(path).parts:
            return None
        with self._lock:
            return self._hash_cache().of(path)

    def metrics_hash(self, path: str) -> str:
        """The hash of a file that a gate reads; for the output of a dvc stage, the hash in its lock file."""
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
        """The key parts that all stages share: image recipe, host, and variables."""
        with self._lock:
            if self._shared_parts is None:
                hashed = relative_hasher(self.root, self._hash_cache().of)
                self._shared_parts = read_shared_parts(self.settings, self._environ, hashed)
            return self._shared_parts

    def champion(self, model: str) -> str | None:
        """The champion's version, looked up once in a run."""
        from rondel.registry.champion import champion_version

        with self._lock:
            if model not in self._champions:
                self._champions[model] = champion_version(
                    self.root, self._environ, model, uri=self.settings.tracking_uri
                )
            return self._champions[model]

    def commit(self) -> str | None:
        """The commit that is checked out; None if there is none."""
        from rondel.git.repository import head_commit

        return head_commit(self.root)

    def git(self) -> Git:
        """The repository's state. The diff itself is kept in a file beside the capsule."""
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

    def invalidate(self) -> None:
        """Forget what was read, because files changed."""
        with self._lock:
            self._dvc = None
            self._overlay_current = False
            self._assumed.clear()
            self._lookups.clear()
            self._workspace = None
            self._shared_parts = None

    def save(self) -> None:
        """Save the computed hashes for the next run."""
        with self._lock:
            if self._hashes is not None:
                self._hashes.save()
