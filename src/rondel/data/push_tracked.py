"""Data that was added here, handed to a remote that is a folder of this machine.

`dvc add` puts data into the clone's own cache. Containers read the remote, so
without `dvc push` they would not find it. Where the remote is a folder of this
machine there is nothing to ask for and nothing to pay: what it lacks is linked
or copied there.
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
    """Put the tracked data that the remote lacks and the clone's cache has into it; the paths.

    Data that was imported from another repository is left to its source, as `dvc push` does.
    """
    cache = cache_folder(project.root, environ)
    handed = []
    for path, tracked in project.tracked.items():
        foreign = tracked.source is not None and tracked.source.kind == "git"
        if tracked.hash is None or not tracked.cached or not tracked.push or foreign:
            continue
        if object_path(remote, tracked.hash).exists():
            continue
        missing = [each for each in _objects(cache, tracked.hash) if not object_path(remote, each).exists()]
        # A folder's list goes last: it says that all of its files are there.
        if missing and all(object_path(cache, each).exists() for each in missing):
            try:
                for each in reversed(missing):
                    link_or_copy(object_path(cache, each), object_path(remote, each))
            except OSError:
                break  # a remote that takes nothing is told by the stage that needs it
            handed.append(path)
    return tuple(handed)


def cache_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """The clone's own DVC cache."""
    configured = dvc_config(root, environ).get("cache", {}).get("dir")
    return (root / ".dvc" / configured).resolve() if configured else root / ".dvc" / "cache"


def _objects(cache: Path, digest: str) -> Iterator[str]:
    """The object itself, and of a folder's list those that it names."""
    yield digest
    if digest.endswith(".dir"):
        try:
            listed = json.loads(object_path(cache, digest).read_bytes())
            yield from (f"md5:{each['md5']}" for each in listed)
        except (OSError, ValueError, KeyError, TypeError):
            return
