"""What DVC's files say, as values."""

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

    ``cached``: DVC keeps it in its cache (git ignores it); otherwise it is
    an ordinary file of the working tree. ``persist``: the command finds the
    last one in place. ``remote`` is one of its own.
    """

    path: str
    kind: OutKind = "out"
    cached: bool = True
    push: bool = True
    persist: bool = False
    remote: str | None = None

    @property
    def in_working_tree(self) -> bool:
        """Whether the file comes back to the working tree after the stage succeeded."""
        return not self.cached or self.kind != "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSource:
    """A parameter file and which of its dotted keys a stage uses; no keys: the whole file."""

    path: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcStage:
    """One stage of a ``dvc.yaml``; all paths are relative to the project's root, POSIX style.

    ``reported`` are files in its outputs that are named as metrics or plots at top level. Where
    DVC keeps the folder that they lie in, they come to the run's folder and not to the working tree.
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
        """The lock file that has the stage's entry."""
        return self.file.removesuffix("dvc.yaml") + "dvc.lock"

    @property
    def address(self) -> str:
        """The stage as DVC addresses it from the root: ``train`` or ``sub/dvc.yaml:train``."""
        return self.name if self.file == "dvc.yaml" else f"{self.file}:{self.name}"

    @property
    def reads(self) -> tuple[str, ...]:
        """All paths whose content the stage depends on: dependencies, then parameter files."""
        return (*self.deps, *(source.path for source in self.params))

    @property
    def files_to_fetch(self) -> tuple[str, ...]:
        """What comes here from the container: for the working tree, or for the record of the run."""
        back = [out.path for out in self.outs if out.in_working_tree]
        inside = [out.path for out in self.reported if not _lies_in(out.path, back)]
        return (*back, *inside)

    @property
    def external(self) -> tuple[str, ...]:
        """Dependencies outside of the project: only DVC itself can tell whether they changed."""
        return tuple(dep for dep in self.deps if "://" in dep)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSource:
    """Where DVC took data from: ``git`` (``dvc import``), ``url`` (``import-url``) or ``db`` (``import-db``).

    ``address`` is free of credentials; ``path`` lies in the git repository, at
    ``rev``: the branch or tag that was asked for, else the commit.
    """

    kind: Literal["git", "url", "db"]
    address: str
    path: str | None = None
    rev: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedFile:
    """A file or folder that a ``.dvc`` file tracks.

    ``source`` is set for what was imported; data that was added here has none.
    ``remote`` is the one that the ``.dvc`` file itself names.
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

    Those of the stages in ``unwritten`` are not in the working tree yet; those in ``run_only`` never will
    be: they are a run's own.
    """

    root: Path
    stages: Mapping[str, DvcStage]
    tracked: Mapping[str, TrackedFile] = field(default_factory=dict)
    lock: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unwritten: frozenset[str] = frozenset()
    run_only: frozenset[str] = frozenset()

    def with_entries(self, entries: Mapping[str, Mapping[str, Any]], *, run_only: bool = False) -> DvcProject:
        """The project with these entries in place of those of the lock files."""
        if not entries:
            return self
        return replace(
            self,
            lock={**self.lock, **entries},
            unwritten=self.unwritten | set(entries),
            run_only=self.run_only | set(entries) if run_only else self.run_only - set(entries),
        )

    def producer(self, path: str) -> DvcStage | None:
        """The stage that makes exactly ``path``."""
        for stage in self.stages.values():
            if any(out.path == path for out in stage.outs):
                return stage
        return None

    def owner_of(self, path: str) -> DvcStage | None:
        """The stage that makes ``path``, or a folder that it lies in."""
        for stage in self.stages.values():
            if any(path == out.path or path.startswith(f"{out.path}/") for out in stage.outs):
                return stage
        return None

    def in_working_tree(self, path: str) -> bool:
        """Whether ``path`` is, or lies in, an output that comes back to the working tree."""
        stage = self.owner_of(path)
        return stage is not None and any(
            out.in_working_tree and (path == out.path or path.startswith(f"{out.path}/"))
            for out in stage.outs
        )

    def data_needed_for(self, paths: Iterable[str]) -> tuple[str, ...]:
        """What DVC has to bring so that ``paths`` are whole: data that it keeps at, in or around them."""
        found: dict[str, None] = {}
        for path in paths:
            for data_paths in self.data_paths():
                if overlap(path, data_paths):
                    found[path if path.startswith(f"{data_paths}/") else data_paths] = None
        return tuple(found)

    def uncached_outputs(self) -> tuple[str, ...]:
        """The outputs of stages that DVC does not keep: ordinary files of the working tree."""
        outs = {out.path for stage in self.stages.values() for out in stage.outs if not out.cached}
        return tuple(sorted(outs))

    def data_paths(self) -> tuple[str, ...]:
        """The paths whose content DVC keeps: cached outputs of stages, and tracked files."""
        outs = {out.path for stage in self.stages.values() for out in stage.outs if out.cached}
        return tuple(sorted(outs | {each.path for each in self.tracked.values() if each.cached}))

    def chain(self, address: str, own: Collection[str]) -> tuple[str, ...]:
        """The stages that run for ``address`` in one container, in order, itself last.

        Those that it depends on run with it, unless the pipeline has stages of its ``own``
        for them; stages above one of those are its business, too.
        """
        above = set(self.upstream(address))
        for name in set(own) & above:
            above -= {name, *self.upstream(name)}
        return (*(name for name in self.upstream(address) if name in above), address)

    def upstream(self, address: str) -> tuple[str, ...]:
        """The stages that ``address`` depends on, directly or not, each after what it needs."""
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

    ``paths``: each dependency with its hash, ``md5:…`` as DVC computes it,
    ``dvc:…`` where it is a mixture, ``missing`` where nothing is known yet.
    ``params``: ``file:key`` with its value. ``outs``: what ``dvc.lock`` says
    of the outputs.
    """

    paths: Mapping[str, str]
    params: Mapping[str, Any]
    cmd: str
    outs: Mapping[str, str]


def _lies_in(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
