"""Rejects what can't work in a stage's container: files outside of the project, and local extra remotes."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from rondel.data.remote import dvc_config
from rondel.data.stage_graph import location_of
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.data.model import DvcProject, DvcStage


def check_dvc_project(root: Path) -> None:
    """Raise ConfigurationError if ``.dvc`` is missing or in a folder above."""
    check_not_nested(root)
    if not (root / ".dvc").is_dir():
        raise ConfigurationError(
            "this is not a DVC project", why=f"{root} has no .dvc", hint="run `dvc init`"
        )


def check_not_nested(root: Path) -> None:
    """Raise ConfigurationError if the folder belongs to a DVC project above it."""
    if (root / ".dvc").is_dir():
        return
    above = next((folder for folder in root.resolve().parents if (folder / ".dvc").is_dir()), None)
    if above is None:
        return
    folder = root.resolve().relative_to(above).as_posix()
    raise ConfigurationError(
        f"{folder}/ is part of the DVC project in {above}, and a pipeline belongs to the whole project",
        why="data, cache and remote belong to that folder, and stages here may depend on files there",
        hint=f"declare the pipeline there: `rondel init` in {above} includes the stages of {folder}/; "
        f"ctx.dvc calls them {folder}:NAME",
        place=str(root),
    )


def check_paths(project: DvcProject, stage: DvcStage, environ: Mapping[str, str]) -> None:
    """Raise ConfigurationError for paths that the container would not have, or that would be lost in it."""
    root = project.root
    for path in stage.reads:
        if _outside(path):
            key = "deps" if path in stage.deps else "params"
            raise ConfigurationError(
                f"stage {stage.address!r} depends on {path!r}, which is outside of the project",
                why=f"stages see only the project, {root}",
                hint="import it with `dvc import-url` (data) or copy it (code), or make a folder with both "
                "the DVC project",
                place=location_of(root, stage, key),
            )
    for out in stage.outs:
        if _outside(out.path) or "://" in out.path:
            raise ConfigurationError(
                f"stage {stage.address!r} makes {out.path!r}, which is outside of the project",
                why="only files in the project are copied from a stage's container",
                hint="write it in the project; use an effect stage to write elsewhere",
                place=location_of(root, stage, "outs"),
            )
        if out.remote and _is_folder(project, out.remote, environ):
            raise ConfigurationError(
                f"output {out.path!r} goes to the remote {out.remote!r}, which containers can't reach",
                why="it is a local folder, and Rondel serves only the default remote to containers",
                hint=f"remove `remote: {out.remote}`, or use a remote with a URL",
                place=location_of(root, stage, "outs"),
            )


def _outside(path: str) -> bool:
    return "://" not in path and (posixpath.isabs(path) or path.split("/", maxsplit=1)[0] == "..")


def _is_folder(project: DvcProject, remote: str, environ: Mapping[str, str]) -> bool:
    url = dvc_config(project.root, environ).get(f'remote "{remote}"', {}).get("url", "")
    return bool(url) and "://" not in url
