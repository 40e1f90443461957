"""The project as it lies on disk, read with ``rondel.data`` and ``rondel.tracking``."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cache import StageMemory, read_conditions
from rondel.cache.conditions import hashed_below
from rondel.data.yamlfile import read_yaml
from rondel.errors import ConfigurationError
from rondel.record import Git, UseRecord
from rondel.runner.project import DvcInputs, DvcResults

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.cache import Conditions
    from rondel.cache.served import Link, Served
    from rondel.data import DvcProject, DvcStage, HashCache
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
        self._expected: list[DvcResults] = []
        self._links: dict[str, tuple[Link, ...]] = {}
        self._conditions: Conditions | None = None
        self._workspace: Mapping[str, str] | None = None
        self._champions: dict[str, str | None] = {}

    def _project(self) -> DvcProject:
        if self._dvc is None:
            self._dvc = self._load({})
        return self._dvc

    def _load(self, overrides: Mapping[str, Any]) -> DvcProject:
        from rondel.data import load_project
        from rondel.data.runtree import with_run_tree

        project = with_run_tree(load_project(self.root, overrides), self.tree)
        for results in self._expected:
            entries = {each.memory.address: each.entry for each in results.served if each.place != "in place"}
            project = project.with_entries(entries, aside=results.aside)
        return project

    def _hash_cache(self) -> HashCache:
        from rondel.data import HashCache

        if self._hashes is None:
            self._hashes = HashCache(self.root)
        return self._hashes

    def dvc_stages(self) -> tuple[str, ...]:
        """The stages of ``dvc.yaml``."""
        with self._lock:
            return tuple(self._project().stages)

    def _follow(self, name: str, overrides: Mapping[str, Any]) -> tuple[Link, ...]:
        """What is known of the dvc stage and those that run with it; overrides for others are left out."""
        from rondel.cache.served import follow
        from rondel.data import find_stage

        memo = f"{name} {sorted(overrides.items())!r}"
        if memo not in self._links:
            # Templates see overridden values, too.
            project = self._load(overrides) if overrides else self._project()
            address = find_stage(project, name).address
            chain = project.chain(address, self._own_addresses(project) - {address})
            self._links[memo] = follow(project, chain, overrides, self.conditions(), self._hash_cache())
        return self._links[memo]

    def _own_addresses(self, project: DvcProject) -> set[str]:
        from rondel.data import find_stage

        found = set()
        for name in self._own:
            with suppress(ConfigurationError):  # told by check_uses, with its place
                found.add(find_stage(project, name).address)
        return found

    def dvc_inputs(self, name: str, overrides: Mapping[str, Any]) -> tuple[DvcInputs, ...]:
        """What a dvc stage depends on, after those that run with it."""
        from rondel.cache.served import dotted

        with self._lock:
            return tuple(
                DvcInputs(
                    command=link.inputs.cmd,
                    address=link.stage.address,
                    files=link.inputs.paths,
                    params=dotted(link.inputs.params),
                    outs=link.inputs.outs,
                )
                for link in self._follow(name, overrides)
            )

    def dvc_outputs(self, name: str) -> tuple[str, ...]:
        """The paths that a dvc stage and those that run with it make."""
        from rondel.data import find_stage

        with self._lock:
            project = self._project()
            address = find_stage(project, name).address
            chain = project.chain(address, self._own_addresses(project) - {address})
            return tuple(out.path for each in chain for out in project.stages[each].outs)

    def dvc_results(self, name: str, overrides: Mapping[str, Any]) -> DvcResults:
        """What serves a dvc stage and those that run with it."""
        with self._lock:
            links = self._follow(name, overrides)
        for link in links:
            if link.served is None:
                shown = "" if link is links[-1] else f"{link.stage.address}: "
                return DvcResults(reason=shown + link.reason)
        served = tuple(link.served for link in links if link.served)
        return DvcResults(served=served, aside=self._aside(links, overrides))

    def _aside(self, links: tuple[Link, ...], overrides: Mapping[str, Any]) -> bool:
        from rondel.data.runtree import lies_aside

        applied = dict(self.settings.params) if self.settings.apply else {}
        given = {name: value for name, value in overrides.items() if name not in applied}
        return lies_aside(self._project(), [link.stage for link in links], given)

    def dvc_stage(self, name: str) -> DvcStage:
        """The dvc stage of that name."""
        from rondel.data import find_stage

        with self._lock:
            return find_stage(self._project(), name)

    def memory_of(self, stage: Stage, results: tuple[DvcResults, ...], key: KeyRecord) -> StageMemory:
        """What is known of a stage's success by the results of its dvc stages."""
        from rondel.data.inputs import entry_outs

        served = [each for found in results for each in found.served]
        project = self._project()
        made: dict[str, str] = {}
        for each in served:
            made |= entry_outs(project.stages[each.memory.address], each.entry)
        return StageMemory(
            key=key,
            run=served[-1].memory.run,
            stage=stage.name,
            uses=tuple(
                UseRecord(kind=use.kind, name=use.name, details=dict(use.details)) for use in stage.uses
            ),
            image=served[-1].memory.image,
            made=made,
            metrics={name: value for each in served for name, value in self._metrics(each).items()},
        )

    def _metrics(self, served: Served) -> Mapping[str, float]:
        """A result's metrics: as they were kept, else as the files in the working tree say."""
        from rondel.gates import made_metrics

        if served.memory.metrics or served.place != "in place":
            return served.memory.metrics
        stage = self._project().stages[served.memory.address]
        return made_metrics(stage, None, self.root)

    def expect(self, results: Iterable[DvcResults]) -> None:
        """Take it that these results are put back, until :meth:`changed`."""
        with self._lock:
            self._expected += results
            self._dvc = None
            self._links.clear()

    def check_dvc(self, name: str, overrides: Mapping[str, Any]) -> None:
        """Raise ConfigurationError for a file or parameter that the dvc stage names and nothing makes.

        Also DataError for tracked data that is not what its ``.dvc`` file says.
        """
        from rondel.cache.served import inputs_of
        from rondel.data import find_stage
        from rondel.data.places import check_places, check_project

        with self._lock:
            project = self._project()
            stage = find_stage(project, name)
            check_project(self.root)
            for each in project.chain(stage.address, self._own_addresses(project) - {stage.address}):
                check_places(project, project.stages[each], self._environ)
            if not any(project.producer(source.path) for source in stage.params):
                inputs_of(project, stage.address, overrides, self._hash_cache())

    def dvc_parameters(self, name: str) -> tuple[str, ...]:
        """The parameters that ``-P`` may set for a dvc stage."""
        from rondel.data import find_stage, known_params

        with self._lock:
            return known_params(self.root, find_stage(self._project(), name))

    def entry_points(self) -> Mapping[str, Mapping[str, Any]]:
        """What ``MLproject`` declares."""
        document = read_yaml(self.root / "MLproject", "MLproject")
        points = document.get("entry_points") if isinstance(document, dict) else None
        if not isinstance(points, dict):
            return {}
        declared = {
            str(name): (body.get("parameters") or {}) if isinstance(body, dict) else {}
            for name, body in points.items()
        }
        for name, parameters in declared.items():
            if not isinstance(parameters, dict):
                raise ConfigurationError(
                    f"`parameters` of entry point {name!r} have to be a mapping", place="MLproject"
                )
        return declared

    def workspace(self) -> Mapping[str, str]:
        """Every file that stages see, by hash."""
        from rondel.data import workspace_files

        with self._lock:
            if self._workspace is None:
                hashes = self._hash_cache()
                listed = ((path, hashes.of(path)) for path in workspace_files(self._project()))
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
            stage = project.keeper(path)
            if stage is None:
                return self.file_hash(path) or "missing"
            made = locked_outs(project, stage)
            return (
                next((made[out] for out in made if path == out or path.startswith(f"{out}/")), None)
                or "missing"
            )

    def conditions(self) -> Conditions:
        """The recipe of the stages' image, the machine's part in it, and the stages' variables."""
        with self._lock:
            if self._conditions is None:
                hashed = hashed_below(self.root, self._hash_cache().of)
                self._conditions = read_conditions(self.settings, self._environ, hashed)
            return self._conditions

    def champion(self, model: str) -> str | None:
        """The champion's version, asked once a run."""
        from rondel.tracking import champion_version

        with self._lock:
            if model not in self._champions:
                self._champions[model] = champion_version(
                    self.root, self._environ, model, uri=self.settings.tracking_uri
                )
            return self._champions[model]

    def git(self) -> Git:
        """The repository's state. The diff itself is written beside the capsule."""
        from rondel.data import read_git
        from rondel.data.git import folder_of

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
            self._expected.clear()
            self._links.clear()
            self._workspace = None
            self._conditions = None

    def save(self) -> None:
        """Keep the hashes that were computed."""
        with self._lock:
            if self._hashes is not None:
                self._hashes.save()
