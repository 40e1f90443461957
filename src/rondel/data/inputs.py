"""What a DVC stage depends on, and whether its outputs are still there."""

from __future__ import annotations

import hashlib
import os
import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.data.model import DvcProject, DvcStage, Out, StageInputs, overlap
from rondel.data.params import comparable, stage_params
from rondel.data.project import find_stage, join, lock_hash
from rondel.errors import ConfigurationError, DataError, did_you_mean
from rondel.files.hashes import HashCache
from rondel.files.yaml_file import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def stage_inputs(
    project: DvcProject,
    name: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    hashes: HashCache | None = None,
) -> StageInputs:
    """Everything that the result of the DVC stage ``name`` depends on.

    Tracked data (outputs of other stages, ``.dvc`` files) counts with the hash in
    ``dvc.lock`` or the ``.dvc`` file, because the container pulls that version,
    whatever is in the working tree. ``overrides`` are parameters by dotted key. Raises
    ConfigurationError if a dependency or parameter does not exist, and DataError if
    tracked data was changed without ``dvc add``.
    """
    stage = find_stage(project, name)
    own = hashes or HashCache(project.root)
    paths = {dep: _dep_hash(project, stage, dep, own) for dep in sorted(stage.deps)}
    if hashes is None:
        own.save()
    return StageInputs(
        paths=paths,
        params=stage_params(project.root, stage, overrides or {}),
        cmd="\n".join(stage.cmd),
        outs=locked_outs(project, stage),
    )


def locked_outs(project: DvcProject, stage: DvcStage) -> dict[str, str]:
    """The hashes (``md5:…``) of a stage's outputs in ``dvc.lock``, by path relative to the root."""
    return entry_outs(stage, project.lock.get(stage.address, {}))


def entry_outs(stage: DvcStage, entry: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of a stage's outputs in a lock entry, as in :func:`locked_outs`."""
    found: dict[str, str] = {}
    for item in entry.get("outs") or ():
        digest = lock_hash(item)
        if digest is not None:
            found[_from_wdir(stage, str(item["path"]))] = digest
    return found


def outdated_outputs(
    project: DvcProject, stage: DvcStage, outs: Mapping[str, str], hashes: HashCache
) -> tuple[Out, ...]:
    """The outputs in the working tree whose hashes differ from ``outs``.

    Empty for a stage whose entry is not written yet: its outputs are in the run's folder.
    """
    if stage.address in project.unwritten:
        return ()
    return tuple(
        out
        for out in stage.outs
        if out.in_working_tree and (out.path not in outs or hashes.of(out.path) != outs[out.path])
    )


def remote_has_data(project: DvcProject, stage: DvcStage, outs: Mapping[str, str]) -> bool:
    """Whether the DVC remote still has the stage's data, as far as this machine can tell.

    Checks only a default remote that is a local folder; assumes that other remotes
    and the cache volume have the data.
    """
    from rondel.data.remote import local_remote

    folder = local_remote(project.root)
    if folder is None or not (folder / "files").is_dir():
        return True
    wanted = [outs[out.path] for out in stage.outs if out.cached and out.push and out.path in outs]
    return all(object_path(folder, digest).exists() for digest in wanted)


def matches_lock(project: DvcProject, stage: DvcStage, inputs: StageInputs) -> bool:
    """Whether the stage's entry in ``dvc.lock`` has this command, these dependencies and these parameters."""
    entry = project.lock.get(stage.address)
    if entry is None:
        return False
    cmd = entry.get("cmd")
    locked_cmd = "\n".join(cmd) if isinstance(cmd, list) else str(cmd)
    if locked_cmd != inputs.cmd or set(inputs.outs) != {out.path for out in stage.outs}:
        return False
    locked = {_from_wdir(stage, str(dep["path"])): lock_hash(dep) for dep in entry.get("deps") or ()}
    if set(locked) != set(inputs.paths):
        return False
    if any(value.startswith("md5:") and locked[path] != value for path, value in inputs.paths.items()):
        return False
    if "missing" in inputs.paths.values():
        return False
    return bool(comparable(_locked_params(stage, entry)) == comparable(inputs.params))


def as_locked(stage: DvcStage, inputs: StageInputs, entry: Mapping[str, Any]) -> StageInputs:
    """``inputs`` as the container had them: files may have been edited here since."""
    locked = {_from_wdir(stage, str(dep["path"])): lock_hash(dep) for dep in entry.get("deps") or ()}
    paths = {
        path: (locked.get(path) or value) if value.startswith("md5:") or value == "missing" else value
        for path, value in inputs.paths.items()
    }
    params = _locked_params(stage, entry)
    return replace(
        inputs, paths=paths, params={key: params.get(key, value) for key, value in inputs.params.items()}
    )


def _locked_params(stage: DvcStage, entry: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file, values in (entry.get("params") or {}).items():
        path = _from_wdir(stage, str(file))
        whole = next((not source.keys for source in stage.params if source.path == path), False)
        if whole:
            found[f"{path}:"] = values
        else:
            found.update((f"{path}:{key}", value) for key, value in (values or {}).items())
    return found


def object_path(store: Path, digest: str) -> Path:
    """The path of the object ``md5:…`` in a DVC cache or remote."""
    name = digest.partition(":")[2]
    return store / "files" / "md5" / name[:2] / name[2:]


def _from_wdir(stage: DvcStage, path: str) -> str:
    # In lock entries, as in dvc.yaml, paths are relative to the stage's working folder.
    return join(stage.wdir, path)


def _dep_hash(project: DvcProject, stage: DvcStage, dep: str, hashes: HashCache) -> str:
    if "://" in dep:
        return _external(project, stage, dep)
    parts: dict[str, str] = {}
    for other in project.stages.values():
        for out in other.outs:
            if (out.cached or other.address in project.unwritten) and overlap(dep, out.path):
                parts[out.path] = locked_outs(project, other).get(out.path, "missing")
    for tracked in project.tracked.values():
        if tracked.cached and overlap(dep, tracked.path):
            _check_added(tracked.path, tracked.file, tracked.hash, hashes)
            parts[tracked.path] = tracked.hash or "missing"
    if not parts:
        found = hashes.of(dep)
        if found is None:
            if any(overlap(dep, out.path) for other in project.stages.values() for out in other.outs):
                return "missing"
            raise _no_such_dep(project, stage, dep)
        return found
    if dep in parts:
        return parts[dep]
    if "missing" in parts.values():
        return "missing"
    # The folder combines data of several owners, or is a part of one. DVC computes its hash
    # once everything is pulled; here it only has to change when one of them does.
    lines = [f"{path} {digest}" for path, digest in sorted(parts.items())]
    if (project.root / dep).is_dir():
        own = hashes.files(dep)
        lines += [
            f"{name} {digest}"
            for name, digest in sorted(own.items())
            if not any(overlap(f"{dep}/{name}", path) for path in parts)
            # Running stages add .gitignore files beside the data.
            and posixpath.basename(name) != ".gitignore"
        ]
    return "dvc:" + hashlib.sha256("\n".join([dep, *lines]).encode()).hexdigest()


def _external(project: DvcProject, stage: DvcStage, dep: str) -> str:
    for item in project.lock.get(stage.address, {}).get("deps") or ():
        if item.get("path") == dep:
            known = {key: value for key, value in item.items() if key != "path"}
            return "dvc:" + hashlib.sha256(repr(sorted(known.items())).encode()).hexdigest()
    return "missing"


def _check_added(path: str, file: str, digest: str | None, hashes: HashCache) -> None:
    here = hashes.of(path)
    if here is not None and digest is not None and here != digest:
        raise DataError(
            f"{path} does not match {file}",
            why="it was changed after `dvc add`, and stages read the version that was added",
            hint=f"dvc add {path} && dvc push {path}",
            place=file,
        )


def _no_such_dep(project: DvcProject, stage: DvcStage, dep: str) -> ConfigurationError:
    root = project.root
    try:
        line = line_of((root / stage.file).read_text(encoding="utf-8"), "stages", stage.name, "deps")
    except OSError:
        line = None
    return ConfigurationError(
        f"stage {stage.name!r} depends on {dep!r}, which does not exist",
        hint=did_you_mean(dep, [*_beside(root, dep), *project.data_paths()]),
        place=f"{stage.file}:{line}" if line else stage.file,
    )


def _beside(root: Path, dep: str) -> list[str]:
    folder = posixpath.dirname(dep)
    try:
        return [posixpath.join(folder, name) for name in os.listdir(root / folder)]  # noqa: PTH208 - only names are needed
    except OSError:
        return []
