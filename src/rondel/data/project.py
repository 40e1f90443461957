"""Reads ``dvc.yaml``, ``dvc.lock`` and ``.dvc`` files without importing DVC.

A run in which nothing changed takes half a second; importing DVC alone would take
most of it. DVC itself resolves templates (``${…}``, ``foreach``, ``matrix``) in
``rondel.data.templates``, and the result is cached.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.data import templates
from rondel.data.dvc_files import dvc_files
from rondel.data.import_sources import import_source_of
from rondel.data.model import DvcProject, DvcStage, Out, OutKind, ParamSource, TrackedFile
from rondel.data.stage_graph import check_graph
from rondel.data.top_level_outputs import TopLevelPath, top_level_paths, with_top_level
from rondel.errors import ConfigurationError, did_you_mean
from rondel.files.yaml_file import line_of, parse_yaml, read_text, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LONGEST_NAME = 255
"""The maximal length of a file's name in bytes on common file systems."""


def load_project(root: Path, overrides: Mapping[str, Any] | None = None) -> DvcProject:
    """Load the DVC project at ``root``; without ``dvc.yaml`` it has no stages.

    ``overrides`` are parameter values for templates. Raises ConfigurationError with
    ``file:line`` for files that DVC would not accept.
    """
    stages: dict[str, DvcStage] = {}
    tracked: dict[str, TrackedFile] = {}
    lock: dict[str, Mapping[str, Any]] = {}
    made: set[str] = set()
    named: list[TopLevelPath] = []
    for path in dvc_files(root).files:
        # DVC ignores files in outputs, such as dvclive/ with its own dvc.yaml.
        if not made.isdisjoint(_folders(path)):
            continue
        if path.endswith(".dvc"):
            found = list(_tracked(root, path))
            tracked.update((each.path, each) for each in found)
            made.update(each.path for each in found)
            continue
        here, reported = _read_file(root, path, overrides or {})
        named += reported
        stages.update((stage.address, stage) for stage in here)
        made.update(out.path for stage in here for out in stage.outs)
        entries = read_lock(root, posixpath.join(posixpath.dirname(path), "dvc.lock"))
        by_name = {stage.name: stage.address for stage in here}
        lock.update((by_name[name], entry) for name, entry in entries.items() if name in by_name)
    if named:
        stages = {address: with_top_level(stage, named) for address, stage in stages.items()}
    check_graph(root, stages, tracked.values())
    return DvcProject(root=root, stages=stages, tracked=tracked, lock=lock)


def find_stage(project: DvcProject, name: str, *, place: str | None = None) -> DvcStage:
    """The stage called ``name``. Raises ConfigurationError with the nearest match if there is none.

    ``sub:train`` and ``sub/dvc.yaml:train`` are the same stage.
    """
    file, _, stage = name.rpartition(":")
    candidates = (name, f"{file}/dvc.yaml:{stage}", stage if file in {"dvc.yaml", "."} else name)
    for candidate in candidates:
        if candidate in project.stages:
            return project.stages[candidate]
    if not project.stages:
        raise ConfigurationError(
            f"{no_stages(project.root)}, so there is no DVC stage {name!r}", hint=ADD_STAGE, place=place
        )
    ignored = dvc_files(project.root).ignored
    reason = next((ignored[each] for each in (file, f"{file}/dvc.yaml") if each in ignored), None)
    raise ConfigurationError(
        f"dvc.yaml has no stage {name!r}",
        why=f"{file} is not part of this project: {reason}" if reason else None,
        hint=did_you_mean(name, project.stages),
        place=place,
    )


ADD_STAGE = "`dvc stage add` writes one: dvc stage add -n train -d train.py -o model.pkl python train.py"


def no_stages(root: Path) -> str:
    """Why a project has no stages, for an error message."""
    return "dvc.yaml defines no stages" if (root / "dvc.yaml").exists() else "there is no dvc.yaml"


def read_lock(root: Path, path: str) -> Mapping[str, Mapping[str, Any]]:
    """The entries of a ``dvc.lock`` by stage name; empty if it does not exist."""
    value = read_yaml(root / path, path)
    if value is None:
        return {}
    stages = value.get("stages", {}) if isinstance(value, dict) else None
    if stages is None:
        stages = {}
    if not isinstance(value, dict) or not isinstance(stages, dict):
        raise ConfigurationError("this is not a DVC lock file", place=path, hint=_RESTORE)
    for name, entry in stages.items():
        if not _is_lock_entry(entry):
            raise ConfigurationError(
                f"the entry of {name!r} is not one that DVC writes", place=path, hint=_RESTORE
            )
    return {str(name): entry for name, entry in stages.items()}


_RESTORE = "restore it (`git checkout dvc.lock`), or remove the entry; its stage then runs again"


def _is_lock_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("params") or {}, dict):
        return False
    lists = [entry.get(key) or [] for key in ("deps", "outs")]
    return all(
        isinstance(each, list)
        and all(isinstance(item, dict) and isinstance(item.get("path"), str) for item in each)
        for each in lists
    )


def _read_file(
    root: Path, file: str, overrides: Mapping[str, Any]
) -> tuple[list[DvcStage], list[TopLevelPath]]:
    """The stages of a ``dvc.yaml``, and the metrics and plots at its top level."""
    text = read_text(root / file, file)
    value = parse_yaml(text, file)
    if value is None:
        return [], []
    if not isinstance(value, dict) or not isinstance(value.get("stages") or {}, dict):
        raise ConfigurationError("`stages` has to be a mapping of names to stages", place=file)
    raw: dict[str, Any] = value.get("stages") or {}
    if templates.uses_templates(text, value):
        value = templates.resolve_templates(root, file, text, overrides)
        raw = value.get("stages") or {}
    folder = posixpath.dirname(file)
    try:
        named = [replace(each, path=join(folder, each.path)) for each in top_level_paths(value)]
    except ValueError as error:
        raise ConfigurationError(str(error), place=file) from None
    found = []
    for name, body in raw.items():
        if not isinstance(body, dict) or not body.get("cmd"):
            line = line_of(text, "stages", str(name))
            raise ConfigurationError(f"stage {name!r} has no `cmd`", place=f"{file}:{line}" if line else file)
        try:
            found.append(_stage(file, str(name), body))
        except ValueError as error:
            line = line_of(text, "stages", str(name))
            raise ConfigurationError(
                f"DVC would not accept stage {name!r}",
                why=str(error),
                place=f"{file}:{line}" if line else file,
            ) from None
    return found, named


def _stage(file: str, name: str, body: Mapping[str, Any]) -> DvcStage:
    folder = posixpath.dirname(file)
    wdir = posixpath.normpath(posixpath.join(folder, _path(body.get("wdir") or ".", "wdir")))
    cmd = body["cmd"]
    if not all(isinstance(line, str | int | float) for line in (cmd if isinstance(cmd, list) else [cmd])):
        raise ValueError("`cmd` has to be a command, or a list of commands")
    outs: dict[str, Out] = {}
    kinds: tuple[tuple[str, OutKind], ...] = (("outs", "out"), ("metrics", "metric"), ("plots", "plot"))
    for key, kind in kinds:
        for out in _outs(_list(body, key), key, kind, wdir):
            outs[out.path] = out
    return DvcStage(
        name=name,
        file=file,
        cmd=tuple(str(line) for line in cmd) if isinstance(cmd, list) else (str(cmd),),
        wdir=wdir,
        deps=tuple(join(wdir, _path(dep, "deps")) for dep in _list(body, "deps")),
        params=_params(_list(body, "params"), wdir),
        outs=tuple(outs.values()),
        always_changed=bool(body.get("always_changed")),
        frozen=bool(body.get("frozen")),
    )


def _list(body: Mapping[str, Any], key: str) -> list[Any]:
    items = body.get(key) or []
    if not isinstance(items, list):
        raise ValueError(f"`{key}` has to be a list, not {_word(items)}")  # noqa: TRY004 - the file is wrong
    return items


def _path(value: Any, key: str) -> str:
    """Check that a value can be the path of a file."""
    if isinstance(value, dict | list) or value is None:
        raise ValueError(f"`{key}` has to be a list of paths, not {_word(value)}")
    path = str(value)
    if "\0" in path or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.split("/")):
        shown = f"{path[:60]}…" if len(path) > 60 else path
        raise ValueError(f"`{key}` names {shown!r}, which is not a valid path")
    return path


def _word(value: Any) -> str:
    """A value's type in YAML terms, or the value."""
    words = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return words.get(type(value)) or repr(value)[:60]


def _outs(items: list[Any], key: str, kind: OutKind, wdir: str) -> Iterator[Out]:
    for item in items:
        entries = item.items() if isinstance(item, dict) else [(item, None)]
        for path, options in entries:
            flags = options or {}
            if not isinstance(flags, dict):
                raise ValueError(f"options of {path!r} in `{key}` have to be a mapping, not {_word(flags)}")  # noqa: TRY004
            yield Out(
                path=join(wdir, _path(path, key)),
                kind=kind,
                cached=bool(flags.get("cache", True)),
                push=bool(flags.get("push", True)),
                persist=bool(flags.get("persist")),
                remote=str(flags["remote"]) if flags.get("remote") else None,
            )


def _params(items: list[Any], wdir: str) -> tuple[ParamSource, ...]:
    keys: dict[str, list[str] | None] = {}
    for item in items:
        for path, names in item.items() if isinstance(item, dict) else [("params.yaml", [item])]:
            where = join(wdir, _path(path, "params"))
            if not names:
                keys[where] = None
                continue
            if not isinstance(names, list) or any(isinstance(name, dict | list) for name in names):
                raise ValueError(f"`params` of {path!r} has to be a list of names")
            kept = keys.setdefault(where, [])
            if kept is not None:
                kept += [str(name) for name in names]
    return tuple(ParamSource(path=path, keys=tuple(names or ())) for path, names in keys.items())


def join(wdir: str, path: str) -> str:
    """A path in a stage with working folder ``wdir``, relative to the project's root; URLs stay."""
    return path if "://" in path else posixpath.normpath(posixpath.join(wdir, path))


def _tracked(root: Path, file: str) -> Iterator[TrackedFile]:
    value = read_yaml(root / file, file)
    outs = (value.get("outs") or []) if isinstance(value, dict) else None
    if not isinstance(outs, list):
        raise ConfigurationError("this is not a `.dvc` file", place=file)
    folder = posixpath.normpath(posixpath.join(posixpath.dirname(file), str(value.get("wdir") or ".")))
    source = import_source_of(value)
    for out in outs:
        if isinstance(out, dict) and "path" in out:
            yield TrackedFile(
                path=join(folder, str(out["path"])),
                file=file,
                hash=lock_hash(out),
                cached=bool(out.get("cache", True)),
                push=bool(out.get("push", True)),
                remote=str(out["remote"]) if out.get("remote") else None,
                source=source,
            )


def _folders(path: str) -> set[str]:
    """The folders that contain a path."""
    parts = path.split("/")[:-1]
    return {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}


def lock_hash(entry: Mapping[str, Any]) -> str | None:
    """``md5:…`` of an entry in a lock or ``.dvc`` file; None for hashes of DVC 2 and of cloud storage.

    DVC 2 normalized line ends before hashing, so its MD5 is different.
    """
    if entry.get("hash") == "md5" and isinstance(entry.get("md5"), str):
        return f"md5:{entry['md5']}"
    return None
