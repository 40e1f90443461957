"""The interface to the project that keys, checks and decisions use.

``rondel.runner.disk_project`` implements :class:`Project` for the files on disk,
``rondel.testing`` with a fake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from rondel.cache import SharedParts, StageCacheEntry
    from rondel.cache.lookup import CachedResult
    from rondel.data import DvcStage
    from rondel.data.visibility import Visibility
    from rondel.pipeline import Stage
    from rondel.record import Git, KeyRecord, StageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcInputs:
    """The inputs of a stage of ``dvc.yaml``, with the hashes of files and the values of parameters now."""

    command: str
    address: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    outs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcResults:
    """The earlier results for a call of ``ctx.dvc``: of the stage and those that run with it, in order.

    ``reason`` says why the stage has to run; it is empty if all of them have results.
    ``run_only``: the results go to the run's own tree, because the parameters in the working tree differ.
    """

    cached: tuple[CachedResult, ...] = ()
    reason: str = ""
    run_only: bool = False

    @property
    def undeclared(self) -> tuple[str, ...]:
        """The files that the commands read without declaring them, as far as known."""
        return tuple(path for each in self.cached for path in each.cache_entry.undeclared or ())


class Project(Protocol):
    """The project, as keys, checks and decisions see it."""

    tree: Path | None
    """The run's own tree, once there is one."""

    @property
    def root(self) -> Path:
        """The project's folder."""

    def dvc_stages(self) -> tuple[str, ...]:
        """The names of the stages in ``dvc.yaml``."""

    def dvc_inputs(self, name: str, overrides: Mapping[str, Any]) -> tuple[DvcInputs, ...]:
        """The inputs of a dvc stage and those that run before it; DataError if a file is missing."""

    def check_dvc(
        self, name: str, overrides: Mapping[str, Any], given: Mapping[str, Any] | None = None
    ) -> None:
        """Raise ConfigurationError for a missing file or parameter that no stage makes.

        ``given`` are the call's own parameters; the dvc stage must have them all.
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
        """The valid earlier results of the dvc stage, or why it has to run.

        With ``git`` they depend on the commit, too. After shell commands, only results of the run
        ``shell_run`` are valid.
        """

    def entry_of(self, stage: Stage, results: tuple[DvcResults, ...], key: KeyRecord) -> StageCacheEntry:
        """The cache entry of a pipeline stage, made from the results of its dvc stages."""

    def succeeded_before(self, stage: Stage) -> bool:
        """Whether the stage's function succeeded here before, with exactly its code of now."""

    def entry_points(self) -> Mapping[str, Mapping[str, Any]]:
        """The entry points of ``MLproject`` with their parameters."""

    def runs_script(self, name: str) -> bool:
        """Whether MLflow takes ``name`` as a script to run, not as an entry point."""

    def check_entry_point(self, name: str) -> None:
        """Raise ConfigurationError if MLflow can't run ``name`` with any parameters."""

    def follow(self, records: Callable[[], Sequence[StageRecord]]) -> None:
        """Take what the run's stages made so far from their records."""

    def visibility(self, stage: Stage) -> Visibility:
        """The results of the pipeline's stages that ``stage`` sees in its workspace."""

    def workspace(self, stage: Stage) -> Mapping[str, str]:
        """Every file that ``stage`` sees, with its hash."""

    def file_hash(self, path: str) -> str | None:
        """The hash of a file or folder as ``md5:…``; None if it is missing or outside of the project."""

    def metrics_hash(self, path: str) -> str:
        """The hash of a file that a gate reads; ``missing`` if there is none yet."""

    def shared_parts(self) -> SharedParts:
        """The key parts that all stages share: image recipe, host, and variables."""

    def assume_restored(self, results: Iterable[DvcResults]) -> None:
        """Read the project as if these results were restored, until :meth:`invalidate`."""

    def champion(self, model: str) -> str | None:
        """The champion's version; TrackingUnavailable if a remote server does not answer."""

    def commit(self) -> str | None:
        """The commit that is checked out; None if there is none."""

    def git(self) -> Git:
        """The state of the git repository."""

    def invalidate(self) -> None:
        """Forget what was read, because files changed."""

    def save(self) -> None:
        """Save computed hashes for the next run."""
