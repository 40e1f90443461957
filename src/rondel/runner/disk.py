"""The project as it lies on disk, read with ``rondel.data`` and ``rondel.tracking``."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cache import host_parts, read_recipe
from rondel.record import Git
from rondel.runner.project import DvcInputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.cache import Recipe
    from rondel.data import DvcProject, HashCache, StageInputs
    from rondel.settings import Settings


class DiskProject:
    """Reads each thing once, until :meth:`changed` says that stages changed files.

    Safe to use from several threads: stages decide in worker threads, and the
    hash cache below is not shared well.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.root = settings.root
        self._environ = os.environ if environ is None else environ
        self._lock = threading.RLock()
        self._dvc: DvcProject | None = None
        self._hashes: HashCache | None = None
        self._inputs: dict[str, StageInputs] = {}
        self._recipe: Recipe | None = None
        self._workspace: Mapping[str, str] | None = None
        self._champions: dict[str, str | None] = {}

    def _project(self) -> DvcProject:
        from rondel.data import load_project

        if self._dvc is None:
            self._dvc = load_project(self.root)
        return self._dvc

    def _hash_cache(self) -> HashCache:
        from rondel.data import HashCache

        if self._hashes is None:
            self._hashes = HashCache(self.root)
        return self._hashes

    def dvc_stages(self) -> tuple[str, ...]:
        """The stages of ``dvc.yaml``."""
        with self._lock:
            return tuple(self._project().stages)

    def dvc_inputs(self, name: str, overrides: Mapping[str, Any]) -> DvcInputs:
        """What a dvc stage depends on; overrides that are not for it are left out."""
        with self._lock:
            found = self._stage_inputs(name, overrides)
            return DvcInputs(
                command=found.cmd, files=found.paths, params=_dotted(found.params), outs=found.outs
            )

    def _stage_inputs(self, name: str, overrides: Mapping[str, Any]) -> StageInputs:
        from rondel.data import stage_inputs
        from rondel.data.params import those_used

        given = those_used(overrides, self.dvc_parameters(name)) if overrides else {}
        memo = f"{name} {sorted(given.items())!r}"
        if memo not in self._inputs:
            project = self._project()
            self._inputs[memo] = stage_inputs(project, name, given, hashes=self._hash_cache())
        return self._inputs[memo]

    def check_dvc(
        self, name: str, overrides: Mapping[str, Any], given: Mapping[str, Any] | None = None
    ) -> None:
        """Raise ConfigurationError for a file or parameter that the dvc stage names and nothing makes.

        ``given`` are the call's own parameters, all of which have to be the stage's. Also raises
        DataError for tracked data that is not what its ``.dvc`` file says.
        """
        from rondel.data import find_stage
        from rondel.data.params import check_overrides

        with self._lock:
            project = self._project()
            stage = find_stage(project, name)
            if not any(project.producer(source.path) for source in stage.params):
                check_overrides(self.root, stage, given or {})
                self._stage_inputs(name, {**overrides, **(given or {})})

    def dvc_parameters(self, name: str) -> Mapping[str, Any]:
        """The parameters that ``-P`` may set for a dvc stage, with the values that the files have."""
        from rondel.data import find_stage, known_params

        with self._lock:
            return known_params(self.root, find_stage(self._project(), name))

    def dvc_in_place(self, name: str, overrides: Mapping[str, Any]) -> bool:
        """Whether what the dvc stage made from these inputs is still there."""
        from rondel.data import outputs_in_place

        with self._lock:
            found = self._stage_inputs(name, overrides)
            return outputs_in_place(self._project(), name, found, hashes=self._hash_cache())

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
        from rondel.data.mlproject import check_entry_point

        check_entry_point(self.root, name)

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

    def image(self) -> Mapping[str, str]:
        """The recipe of the stages' image."""
        with self._lock:
            if self._recipe is None:
                self._recipe = read_recipe(
                    self.root,
                    self.settings.containerfile,
                    target=self.settings.target,
                    build_args=self.settings.build_args,
                    hash_file=self._hash,
                )
            return self._recipe.parts

    def host(self) -> Mapping[str, str]:
        """The machine's part in a host image."""
        with self._lock:
            return host_parts(self._hash)

    def _hash(self, path: Path) -> str:
        return self._hash_cache().of(os.path.relpath(path, self.root)) or "missing"

    def champion(self, model: str) -> str | None:
        """The champion's version, asked once a run."""
        from rondel.tracking import champion_version

        with self._lock:
            if model not in self._champions:
                self._champions[model] = champion_version(
                    self.root, self._environ, model, uri=self.settings.tracking_uri
                )
            return self._champions[model]

    def commit(self) -> str | None:
        """The commit that the project is at; None if there is none."""
        from rondel.data.repository import head_commit

        return head_commit(self.root)

    def git(self) -> Git:
        """The repository's state. The diff itself is written beside the capsule."""
        from rondel.data import read_git

        state = read_git(self.root)
        return Git(
            commit=state.commit,
            branch=state.branch,
            dirty=state.dirty,
            diff=state.diff,
            untracked=dict(state.untracked),
            remote_url=state.remote_url,
            prefix=_prefix(self.root) if state.commit else "",
        )

    def changed(self) -> None:
        """Read files again when they are asked for next."""
        with self._lock:
            self._dvc = None
            self._inputs.clear()
            self._workspace = None
            self._recipe = None

    def save(self) -> None:
        """Keep the hashes that were computed."""
        with self._lock:
            if self._hashes is not None:
                self._hashes.save()


def _prefix(root: Path) -> str:
    """The project's folder in its repository; empty at the top."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)
    return "" if top == root else root.relative_to(top).as_posix()


def _dotted(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters one by one: ``params.yaml:train`` with a mapping becomes ``train.max_iter`` and so on.

    A group as one value would be changed as a whole, and nobody could see what in it was.
    """
    from rondel.data.params import leaves

    found: dict[str, Any] = {}
    for name, value in params.items():
        file, _, key = name.partition(":")
        prefix = "" if file == "params.yaml" else f"{file}:"
        found |= {f"{prefix}{leaf}": each for leaf, each in leaves(value, key)}
    return found
