"""Refuses what a stage can't have where it runs: files outside of the project, and remotes of one's own."""

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
    """Raise ConfigurationError where stages of ``dvc.yaml`` can't run: without ``.dvc``, or with it above."""
    check_not_nested(root)
    if not (root / ".dvc").is_dir():
        raise ConfigurationError("this is no DVC project", why=f"{root} has no .dvc", hint="dvc init")


def check_not_nested(root: Path) -> None:
    """Raise ConfigurationError for a folder that belongs to a DVC project above it."""
    if (root / ".dvc").is_dir():
        return
    above = next((folder for folder in root.resolve().parents if (folder / ".dvc").is_dir()), None)
    if above is None:
        return
    folder = root.resolve().relative_to(above).as_posix()
    raise ConfigurationError(
        f"{folder}/ is part of the DVC project in {above}, and a pipeline is one for the whole project",
        why="its data, cache and remote belong to that folder, and stages here may depend on files there",
        hint=f"declare the pipeline there: `rondel init` in {above} takes over the stages of {folder}/, too; "
        f"ctx.dvc calls them {folder}:NAME",
        place=str(root),
    )


def check_paths(project: DvcProject, stage: DvcStage, environ: Mapping[str, str]) -> None:
    """Raise ConfigurationError, with its place, for what would be missing in the container or lost in it."""
    root = project.root
    for path in stage.reads:
        if _outside(path):
            key = "deps" if path in stage.deps else "params"
            raise ConfigurationError(
                f"stage {stage.address!r} depends on {path!r}, which lies outside of the project",
                why=f"the project is {root}, and its stages see nothing else",
                hint="bring it in: `dvc import-url` (data), a copy (code); or have the DVC project in the "
                "folder that holds both",
                place=location_of(root, stage, key),
            )
    for out in stage.outs:
        if _outside(out.path) or "://" in out.path:
            raise ConfigurationError(
                f"stage {stage.address!r} makes {out.path!r}, which lies outside of the project",
                why="nothing but the project's own folder comes back from a stage's container",
                hint="make it in the project; what is written elsewhere is the business of an effect stage",
                place=location_of(root, stage, "outs"),
            )
        if out.remote and _is_folder(project, out.remote, environ):
            raise ConfigurationError(
                f"output {out.path!r} goes to the remote {out.remote!r}, a folder that no container sees",
                why="Rondel serves a folder to containers only as the project's default remote",
                hint=f"take `remote: {out.remote}` away, or give that remote an address",
                place=location_of(root, stage, "outs"),
            )


def _outside(path: str) -> bool:
    return "://" not in path and (posixpath.isabs(path) or path.split("/", maxsplit=1)[0] == "..")


def _is_folder(project: DvcProject, remote: str, environ: Mapping[str, str]) -> bool:
    url = dvc_config(project.root, environ).get(f'remote "{remote}"', {}).get("url", "")
    return bool(url) and "://" not in url
