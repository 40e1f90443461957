"""Pushes tracked data to the DVC remote if that is a folder on this machine.

`dvc add` stores data in the clone's own cache. Containers read the remote, so
without `dvc push` they would not find it. For a local folder, nobody needs to do
that: Rondel links or copies what the remote lacks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rondel.data.inputs import object_path
from rondel.data.remote import dvc_config
from rondel.files.atomic import link_or_copy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rondel.data.model import DvcProject


def push_tracked_data(project: DvcProject, remote: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Push tracked data that the clone's cache has and the remote lacks; return its paths.

    Data imported from another repository stays at its source, as with `dvc push`.
    """
    cache = cache_folder(project.root, environ)
    pushed = []
    for path, tracked in project.tracked.items():
        foreign = tracked.source is not None and tracked.source.kind == "git"
        if tracked.hash is None or not tracked.cached or not tracked.push or foreign:
            continue
        if object_path(remote, tracked.hash).exists():
            continue
        missing = [each for each in _objects(cache, tracked.hash) if not object_path(remote, each).exists()]
        # The folder's manifest goes last: if it exists, all of its files do.
        if missing and all(object_path(cache, each).exists() for each in missing):
            try:
                for each in reversed(missing):
                    link_or_copy(object_path(cache, each), object_path(remote, each))
            except OSError:
                break  # the stage that needs the data reports that the remote can't be written
            pushed.append(path)
    return tuple(pushed)


def cache_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """The clone's own DVC cache."""
    configured = dvc_config(root, environ).get("cache", {}).get("dir")
    return (root / ".dvc" / configured).resolve() if configured else root / ".dvc" / "cache"


def _objects(cache: Path, digest: str) -> Iterator[str]:
    """The object itself, and the objects that a folder's manifest lists."""
    yield digest
    if digest.endswith(".dir"):
        try:
            listed = json.loads(object_path(cache, digest).read_bytes())
            yield from (f"md5:{each['md5']}" for each in listed)
        except (OSError, ValueError, KeyError, TypeError):
            return
