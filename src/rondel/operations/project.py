"""What the runner reads from the project to make keys, behind one small interface.

:class:`Project` is what keys and checks need; :class:`DiskProject` reads it
with ``rondel.data`` and ``rondel.tracking``; tests use a fake of
``rondel.testing``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rondel.cache import SharedParts, StageCacheEntry
    from rondel.cache.lookup import CachedResult
    from rondel.data import DvcStage
    from rondel.pipeline import Stage
    from rondel.record import Git, KeyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcInputs:
    """What a stage of ``dvc.yaml`` depends on, as files and parameters are now."""

    command: str
    address: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    outs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcResults:
    """What serves a call of ``ctx.dvc``: the results of the stage and of those that run with it, in order.

    ``reason`` says why it has to run; it is empty where results serve all of them.
    ``aside``: they are not for the working tree, whose parameters are others.
    """

    cached: tuple[CachedResult, ...] = ()
    reason: str = ""
    aside: bool = False

    @property
    def undeclared(self) -> tuple[str, ...]:
        """The files that their commands are known to have read beside what they declare."""
        return tuple(path for each in self.cached for path in each.cache_entry.undeclared or ())


class Project(Protocol):
    """The project's files, as far as decisions depend on them."""

    tree: Path | None
    """The run's own tree, once there is one."""

    @property
    def root(self) -> Path:
        """The project's folder."""

    def dvc_stages(self) -> tuple[str, ...]:
        """The names of the stages in ``dvc.yaml``."""

    def dvc_inputs(self, name: str, overrides: Mapping[str, Any]) -> tuple[DvcInputs, ...]:
        """What that dvc stage depends on, after those that run with it; DataError if a file is missing."""

    def check_dvc(
        self, name: str, overrides: Mapping[str, Any], given: Mapping[str, Any] | None = None
    ) -> None:
        """Raise ConfigurationError for a file or parameter that the dvc stage names and nothing makes.

        ``given`` are parameters of the call itself, which all have to be the stage's.
        """

    def dvc_parameters(self, name: str) -> Mapping[str, Any]:
        """The parameters that the dvc stage uses, by dotted name, with their values."""

    def dvc_stage(self, name: str) -> DvcStage:
        """The dvc stage itself."""

    def dvc_outputs(self, name: str) -> tuple[str, ...]:
        """The outputs of the dvc stage and of those that run with it."""

    def dvc_results(
        self, name: str, overrides: Mapping[str, Any], *, git: bool = False, shell_run: str | None = None
    ) -> DvcResults:
        """What serves the dvc stage as things are now, or why it has to run.

        With ``git`` its results depend on the commit, too. Behind shell commands only those count
        that the run ``shell_run`` made.
        """

    def entry_of(self, stage: Stage, results: tuple[DvcResults, ...], key: KeyRecord) -> StageCacheEntry:
        """The success of a stage of which only the results of its dvc stages are known."""

    def succeeded_before(self, stage: Stage) -> bool:
        """Whether the very code of the stage's function has succeeded here before."""

    def entry_points(self) -> Mapping[str, Mapping[str, Any]]:
        """The entry points of ``MLproject`` with their parameters as they are declared."""

    def runs_script(self, name: str) -> bool:
        """Whether MLflow takes ``name`` for a script to run, in place of an entry point."""

    def check_entry_point(self, name: str) -> None:
        """Raise ConfigurationError for what keeps MLflow from running ``name``, whatever its values are."""

    def workspace(self) -> Mapping[str, str]:
        """All files of the workspace that stages get to see, with their hashes."""

    def file_hash(self, path: str) -> str | None:
        """The hash of one file of the workspace as ``md5:…``; None if it is no file."""

    def metrics_hash(self, path: str) -> str:
        """The hash of a file that a gate reads, as the run sees it; ``missing`` where there is none yet."""

    def shared_parts(self) -> SharedParts:
        """What all results depend on: the image's recipe, this machine, variables."""

    def assume_restored(self, results: Iterable[DvcResults]) -> None:
        """Take it that these results are put back, until :meth:`invalidate`."""

    def champion(self, model: str) -> str | None:
        """The champion's version; TrackingUnavailable if a remote server does not answer."""

    def commit(self) -> str | None:
        """The commit that the project is at; None if there is none."""

    def git(self) -> Git:
        """The state of the git repository."""

    def invalidate(self) -> None:
        """Files of the workspace changed: forget what was read of them."""

    def save(self) -> None:
        """Keep what was computed for the next run."""
