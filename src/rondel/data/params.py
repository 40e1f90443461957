"""Parameter files: values by dotted key, and a copy with other values."""

from __future__ import annotations

import copy
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from rondel.data.yamlfile import check_conflict, parse_yaml, read_text
from rondel.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.data.model import DvcStage


def parse_params(path: str, text: str) -> Any:
    """The values of a parameter file: YAML, JSON or TOML by its ending; of a Python file its hash."""
    check_conflict(text, path)
    if path.endswith(".py"):
        # DVC evaluates assignments in it; any change of the file counts as a change here.
        return {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    try:
        if path.endswith(".json"):
            return json.loads(text)
        if path.endswith(".toml"):
            return tomllib.loads(text)
    except RecursionError:
        raise ConfigurationError(
            "the parameter file can't be read", why="it nests too deep", place=path
        ) from None
    except ValueError as error:
        raise ConfigurationError("the parameter file can't be read", why=str(error), place=path) from None
    return parse_yaml(text, path)


def read_params(root: Path, path: str) -> Any:
    """The values of the parameter file ``path``. Raises ConfigurationError if there is none."""
    try:
        values = parse_params(path, read_text(root / path, path))
    except FileNotFoundError:
        raise ConfigurationError("the parameter file does not exist", place=path) from None
    if values is not None and not isinstance(values, dict):
        raise ConfigurationError("a parameter file has to hold names and values", place=path)
    return values or {}


def lookup(values: Any, key: str) -> Any:
    """The value of a dotted key; KeyError if there is none. Digits reach into lists."""
    for part in key.split("."):
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            raise KeyError(key)
    return values


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key that holds no further mapping, with its value."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values


def stage_params(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``file:key`` → value of every parameter that ``stage`` uses, ``overrides`` applied.

    Raises ConfigurationError if a key is not in its file, or if an override
    is for a parameter that the stage does not use.
    """
    check_overrides(root, stage, overrides)
    found: dict[str, Any] = {}
    for source in stage.params:
        values = with_overrides(read_params(root, source.path), overrides)
        for key in source.keys:
            try:
                found[f"{source.path}:{key}"] = values if source.path.endswith(".py") else lookup(values, key)
            except KeyError:
                raise ConfigurationError(
                    f"there is no parameter {key!r}, which stage {stage.name!r} uses",
                    place=source.path,
                    hint=did_you_mean(key, [name for name, _ in leaves(values)]),
                ) from None
        if not source.keys:
            found[f"{source.path}:"] = values
    return found


def known_params(root: Path, stage: DvcStage) -> tuple[str, ...]:
    """The dotted keys that can be overridden for ``stage``: the leaves of what it uses."""
    found: dict[str, None] = {}
    for source in stage.params:
        if source.path.endswith(".py"):
            continue
        values = read_params(root, source.path)
        for key, _ in leaves(values):
            if not source.keys or any(key == each or key.startswith(f"{each}.") for each in source.keys):
                found[key] = None
    return tuple(found)


def check_overrides(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if ``stage`` does not use one of the overridden parameters."""
    if not overrides:
        return
    known = known_params(root, stage)
    for key in overrides:
        if key not in known and not any(name.startswith(f"{key}.") for name in known):
            raise ConfigurationError(
                f"stage {stage.name!r} uses no parameter {key!r}", hint=did_you_mean(key, known)
            )


def with_overrides(values: Any, overrides: Mapping[str, Any]) -> Any:
    """A copy of ``values`` in which those overridden keys that it has are replaced."""
    changed = copy.deepcopy(values)
    for key, value in overrides.items():
        *parents, last = key.split(".")
        try:
            holder = lookup(changed, ".".join(parents)) if parents else changed
        except KeyError:
            continue
        if isinstance(holder, dict) and last in holder:
            holder[last] = value
        elif isinstance(holder, list) and last.isdigit() and int(last) < len(holder):
            holder[int(last)] = value
    return changed


def changed_text(path: str, text: str, overrides: Mapping[str, Any], *, partial: bool = False) -> str:
    """The text of a parameter file with other values.

    Raises ConfigurationError for a file that can't be written back; with
    ``partial`` it is then returned as it is.
    """
    values = parse_params(path, text) or {}
    changed = with_overrides(values, overrides)
    if changed == values:
        return text
    if path.endswith(".json"):
        return json.dumps(changed, indent=2) + "\n"
    if path.endswith((".yaml", ".yml")):
        return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)
    if partial:
        return text
    raise ConfigurationError("parameters in this file can't be overridden", place=path)
