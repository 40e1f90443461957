"""The lineage of a model from what is on disk: DVC's files and git, as they are after the run's stages."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from rondel.data import load_project
from rondel.data.inputs import entry_outs
from rondel.data.run_tree import with_run_tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def data_lineage(
    root: Path, tree: Path | None = None
) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """Inputs, outputs and parameters by ``dvc.lock``: path to ``md5:…``, dotted name to value.

    Inputs are files that were added to DVC; outputs what its stages made and
    its cache keeps. Code and metrics are git's and are not listed. ``tree`` is
    the run's own, whose entries come first.
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


def commit_known(root: Path, commit: str) -> bool | None:
    """Whether the repository here has the commit; None where there is no repository."""
    if _git(root, "rev-parse", "--git-dir") is None:
        return None
    return _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def whoami(root: Path, environ: Mapping[str, str]) -> str:
    """Who acts: in CI the person whom the CI names, else git's user, else the login."""
    for variable in ("GITLAB_USER_LOGIN", "BUILD_USER_ID", "CHANGE_AUTHOR", "GITHUB_ACTOR"):
        if environ.get(variable):
            return environ[variable]
    if address := (_git(root, "config", "user.email") or "").strip():
        return address
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _git(root: Path, *words: str) -> str | None:
    """What git prints; None where it fails, or is not installed."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


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
