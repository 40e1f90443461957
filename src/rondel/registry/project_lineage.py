"""A model's lineage from the project: DVC's files and git, as they are after the run's stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.data import load_project
from rondel.data.inputs import entry_outs
from rondel.data.run_tree import with_run_tree
from rondel.git.command import git_output, run_git

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def data_lineage(
    root: Path, tree: Path | None = None
) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """Inputs and outputs (path to ``md5:…``) and parameters (dotted name to value) from ``dvc.lock``.

    Inputs are files that were added with ``dvc add``. Outputs are what stages made
    and DVC caches. Git tracks code and metrics, so they are not listed. Entries of
    ``tree``, the run's own files, come first.
    """
    project = with_run_tree(load_project(root), tree)
    inputs = {path: _prefixed(each.hash) for path, each in project.tracked.items() if each.hash}
    outputs: dict[str, str] = {}
    params: dict[str, Any] = {}
    for address, stage in project.stages.items():
        entry = project.lock.get(address) or project.lock.get(stage.name)
        if entry is None:
            continue
        hashes = entry_outs(stage, entry)
        for out in stage.outs:
            if out.cached and out.push and hashes.get(out.path):
                outputs[out.path] = _prefixed(hashes[out.path])
        for values in (entry.get("params") or {}).values():
            params |= _dotted(values)
    return inputs, outputs, params


def commit_problem(root: Path, commit: str) -> str:
    """Why the repository at ``root`` does not have a commit, or can't tell; empty if it has the commit."""
    named = f"its commit {commit[:12]}"
    try:
        if run_git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0:
            return ""
        asked = run_git(root, "rev-parse", "--git-dir")
    except OSError:
        return f"{named} can't be checked: git is not installed here"
    if asked.returncode:
        said = asked.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
        return f"{named} can't be checked in {root}: {said or 'git failed'}"
    return f"{named} is not in this repository: fetch it first"


def whoami(root: Path, started_by: str | None = None) -> str:
    """The acting person: the one who started the CI job, else git's user, else the login."""
    if started_by:
        return started_by
    if address := (git_output(root, "config", "user.email") or "").strip():
        return address
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters under dotted names; a stage may depend on a whole section."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _dotted(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _prefixed(digest: str) -> str:
    return digest if ":" in digest else f"md5:{digest}"
