"""The contents of DVC's files as values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

OutKind = Literal["out", "metric", "plot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Out:
    """An output of a DVC stage. ``path`` is relative to the project's root.

    ``cached``: it is in DVC's cache and git ignores it; otherwise it is an ordinary
    file of the working tree. ``persist``: the command finds the previous version.
    ``remote`` is the output's own remote.
    """

    path: str
    kind: OutKind = "out"
    cached: bool = True
    push: bool = True
    persist: bool = False
    remote: str | None = None

    @property
    def in_working_tree(self) -> bool:
        """Whether the file is written to the working tree after the stage succeeded."""
        return not self.cached or self.kind != "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSource:
    """A parameter file and the dotted keys that a stage uses; without keys, all of them."""

    path: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcStage:
    """One stage of a ``dvc.yaml``; all paths are relative to the project's root, POSIX style.

    ``reported`` are metrics and plots in its outputs that the top level of ``dvc.yaml`` names. If
    DVC tracks the folder that they are in, they go to the run's folder and not to the working tree.
    """

    name: str
    file: str
    cmd: tuple[str, ...]
    wdir: str = "."
    deps: tuple[str, ...] = ()
    params: tuple[ParamSource, ...] = ()
    outs: tuple[Out, ...] = ()
    reported: tuple[Out, ...] = ()
    always_changed: bool = False
    frozen: bool = False

    @property
    def lock_file(self) -> str:
        """The lock file with the stage's entry."""
        return self.file.removesuffix("dvc.yaml") + "dvc.lock"

    @property
    def address(self) -> str:
        """The stage as DVC addresses it from the root: ``train`` or ``sub/dvc.yaml:train``."""
        return self.name if self.file == "dvc.yaml" else f"{self.file}:{self.name}"

    @property
    def reads(self) -> tuple[str, ...]:
        """All paths that the stage depends on: dependencies, then parameter files."""
        return (*self.deps, *(source.path for source in self.params))

    @property
    def files_to_fetch(self) -> tuple[str, ...]:
        """The outputs to copy from the container: for the working tree, or for the run's record."""
        tree = [out.path for out in self.outs if out.in_working_tree]
        inside = [out.path for out in self.reported if not _is_in(out.path, tree)]
        return (*tree, *inside)

    @property
    def external(self) -> tuple[str, ...]:
        """Dependencies outside of the project; only DVC can tell whether they changed."""
        return tuple(dep for dep in self.deps if "://" in dep)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSource:
    """Where data was imported from: ``git`` (``dvc import``), ``url`` (``import-url``) or ``db`` (database).

    ``address`` has no credentials. ``path`` is the path in the git repository at
    ``rev``: the requested branch or tag, else the commit.
    """

    kind: Literal["git", "url", "db"]
    address: str
    path: str | None = None
    rev: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFile:
    """A file or folder that a ``.dvc`` file tracks.

    ``source`` is set if the data was imported, None if it was added here.
    ``remote`` is the remote that the ``.dvc`` file names.
    """

    path: str
    file: str
    hash: str | None
    cached: bool = True
    push: bool = True
    remote: str | None = None
    source: ImportSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcProject:
    """A DVC project as its files describe it; ``lock`` maps addresses to entries of ``dvc.lock``.

    The entries of the stages in ``unwritten`` are not in the working tree yet. Those in
    ``run_only`` never will be: they belong to a run with other parameters.
    """

    root: Path
    stages: Mapping[str, DvcStage]
    tracked: Mapping[str, TrackedFile] = field(default_factory=dict)
    lock: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unwritten: frozenset[str] = frozenset()
    run_only: frozenset[str] = frozenset()

    def with_entries(self, entries: Mapping[str, Mapping[str, Any]], *, run_only: bool = False) -> DvcProject:
        """The project with these entries instead of those in the lock files."""
        if not entries:
            return self
        return replace(
            self,
            lock={**self.lock, **entries},
            unwritten=self.unwritten | set(entries),
            run_only=self.run_only | set(entries) if run_only else self.run_only - set(entries),
        )

    def producer(self, path: str) -> DvcStage | None:
        """The stage that has ``path`` as an output."""
        for stage in self.stages.values():
            if any(out.path == path for out in stage.outs):
                return stage
        return None

    def owner_of(self, path: str) -> DvcStage | None:
        """The stage with an output that is or contains ``path``."""
        for stage in self.stages.values():
            if any(path == out.path or path.startswith(f"{out.path}/") for out in stage.outs):
                return stage
        return None

    def in_working_tree(self, path: str) -> bool:
        """Whether ``path`` is in an output that is written to the working tree."""
        stage = self.owner_of(path)
        return stage is not None and any(
            out.in_working_tree and (path == out.path or path.startswith(f"{out.path}/"))
            for out in stage.outs
        )

    def data_needed_for(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The data that DVC has to fetch for ``paths``: the tracked data at, in or around them."""
        found: dict[str, None] = {}
        for path in paths:
            for data in self.data_paths():
                if overlap(path, data):
                    found[path if path.startswith(f"{data}/") else data] = None
        return tuple(found)

    def uncached_outputs(self) -> tuple[str, ...]:
        """The outputs that DVC does not cache: ordinary files of the working tree."""
        outs = {out.path for stage in self.stages.values() for out in stage.outs if not out.cached}
        return tuple(sorted(outs))

    def data_paths(self) -> tuple[str, ...]:
        """The paths whose content DVC tracks: cached outputs of stages, and ``.dvc`` files' data."""
        outs = {out.path for stage in self.stages.values() for out in stage.outs if out.cached}
        return tuple(sorted(outs | {each.path for each in self.tracked.values() if each.cached}))

    def chain(self, address: str, own: Collection[str]) -> tuple[str, ...]:
        """The stages that run for ``address`` in one container, in order, ending with itself.

        They include the stages that it depends on, except those that the pipeline's ``own``
        stages run, and what only these depend on.
        """
        above = set(self.upstream(address))
        for name in set(own) & above:
            above -= {name, *self.upstream(name)}
        return (*(name for name in self.upstream(address) if name in above), address)

    def upstream(self, address: str) -> tuple[str, ...]:
        """The stages that ``address`` depends on, directly or indirectly, in order."""
        found: dict[str, None] = {}

        def visit(stage: DvcStage, above: tuple[str, ...]) -> None:
            for dep in stage.reads:
                for other in self.stages.values():
                    makes = any(overlap(dep, out.path) for out in other.outs)
                    if makes and other.address not in (*above, stage.address, *found):
                        visit(other, (*above, stage.address))
                        found[other.address] = None

        visit(self.stages[address], ())
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInputs:
    """What a DVC stage depends on.

    ``paths`` maps each dependency to its hash: ``md5:…`` as DVC computes it, ``dvc:…``
    if it combines several, ``missing`` if it is not known yet. ``params`` maps
    ``file:key`` to values. ``outs`` are the outputs' hashes in ``dvc.lock``.
    """

    paths: Mapping[str, str]
    params: Mapping[str, Any]
    cmd: str
    outs: Mapping[str, str]


def _is_in(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one is in the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
