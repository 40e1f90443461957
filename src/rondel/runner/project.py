"""What the runner reads from the project to make keys, behind one small interface.

:class:`Project` is what keys and checks need; :class:`DiskProject` reads it
with ``rondel.data`` and ``rondel.tracking``; tests use a fake of
``rondel.testing``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.record import Git


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcInputs:
    """What a stage of ``dvc.yaml`` depends on, as files and parameters are now."""

    command: str
    files: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    outs: Mapping[str, str] = field(default_factory=dict)


class Project(Protocol):
    """The project's files, as far as decisions depend on them."""

    @property
    def root(self) -> Path:
        """The project's folder."""

    def dvc_stages(self) -> tuple[str, ...]:
        """The names of the stages in ``dvc.yaml``."""

    def dvc_inputs(self, name: str, overrides: Mapping[str, Any]) -> DvcInputs:
        """What that dvc stage depends on; DataError if it is unknown or a file is missing."""

    def check_dvc(
        self, name: str, overrides: Mapping[str, Any], given: Mapping[str, Any] | None = None
    ) -> None:
        """Raise ConfigurationError for a file or parameter that the dvc stage names and nothing makes.

        ``given`` are parameters of the call itself, which all have to be the stage's.
        """

    def dvc_parameters(self, name: str) -> Mapping[str, Any]:
        """The parameters that the dvc stage uses, by dotted name, with their values."""

    def dvc_in_place(self, name: str, overrides: Mapping[str, Any]) -> bool:
        """Whether what the dvc stage made from its inputs as they are now is still there."""

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

    def image(self) -> Mapping[str, str]:
        """The parts of the image's recipe."""

    def host(self) -> Mapping[str, str]:
        """What this machine would put into a host image."""

    def champion(self, model: str) -> str | None:
        """The champion's version; TrackingUnavailable if a remote server does not answer."""

    def commit(self) -> str | None:
        """The commit that the project is at; None if there is none."""

    def git(self) -> Git:
        """The state of the git repository."""

    def changed(self) -> None:
        """Files of the workspace changed: forget what was read of them."""

    def save(self) -> None:
        """Keep what was computed for the next run."""
