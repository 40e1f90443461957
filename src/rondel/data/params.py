"""Parameter files: values by dotted key, and a copy with other values."""

from __future__ import annotations

import codecs
import contextlib
import copy
import json
import math
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rondel.data.param_text import assign, write_params
from rondel.data.param_types import fits, misfit
from rondel.data.python_params import parse_python, python_line
from rondel.errors import ConfigurationError, did_you_mean
from rondel.files.atomic import write_atomic
from rondel.files.yaml_file import check_conflict, line_of, parse_yaml, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.data.model import DvcStage


def parse_params(path: str, text: str) -> Any:
    """The values of a parameter file: YAML, JSON, TOML or Python, by its ending, as DVC reads it."""
    check_conflict(text, path)
    try:
        if path.endswith(".py"):
            return parse_python(text, path)
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


def get_dotted(values: Any, key: str) -> Any:
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
                found[f"{source.path}:{key}"] = get_dotted(values, key)
            except KeyError:
                raise ConfigurationError(
                    f"there is no parameter {key!r}, which stage {stage.name!r} uses",
                    place=source.path,
                    hint=did_you_mean(key, [name for name, _ in leaves(values)]),
                ) from None
        if not source.keys:
            found[f"{source.path}:"] = values
    return found


def known_params(root: Path, stage: DvcStage) -> dict[str, Any]:
    """What can be overridden for ``stage``: the dotted keys of all that it uses, each with its value."""
    found: dict[str, Any] = {}
    for source in stage.params:
        for key, value in _settable(read_params(root, source.path)):
            if not source.keys or any(key == each or key.startswith(f"{each}.") for each in source.keys):
                found.setdefault(key, value)
    return found


def _settable(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf, and what lists hold."""
    for key, value in leaves(values, prefix):
        yield key, value
        if isinstance(value, list):
            for number, each in enumerate(value):
                yield from _settable(each, f"{key}.{number}")


def used_params(root: Path, stage: DvcStage, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that are for parameters of ``stage``, or for a group of them."""
    if not values:
        return {}
    known = known_params(root, stage)
    return {key: value for key, value in values.items() if _is_used(key, known)}


def _is_used(key: str, known: Collection[str]) -> bool:
    return key in known or any(name.startswith(f"{key}.") for name in known)


def check_overrides(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> None:
    """Check that ``stage`` uses the overridden parameters, and that the values are of their kind.

    Raises ConfigurationError.
    """
    if not overrides:
        return
    known = known_params(root, stage)
    for key in overrides:
        if not _is_used(key, known):
            raise ConfigurationError(
                f"stage {stage.name!r} uses no parameter {key!r}", hint=did_you_mean(key, known)
            )
    for path in dict.fromkeys(source.path for source in stage.params):
        values = read_params(root, path)
        for key, value in overrides.items():
            with contextlib.suppress(KeyError):
                if not fits(value, old := get_dotted(values, key)):
                    raise ConfigurationError(
                        f"stage {stage.name!r}: a value of the wrong kind for the parameter {key!r}",
                        why=misfit(value, old, path),
                        place=param_place(root, path, key),
                    )


def param_place(root: Path, path: str, key: str) -> str:
    """``path:line`` of a dotted key; without the line where only a parser of its own could tell."""
    try:
        text = read_text(root / path, path)
        line = python_line(text, path, key) if path.endswith(".py") else line_of(text, *key.split("."))
    except (ConfigurationError, OSError):
        line = None
    return f"{path}:{line}" if line else path


def with_overrides(values: Any, overrides: Mapping[str, Any]) -> Any:
    """A copy of ``values`` in which those overridden keys that it has are replaced."""
    changed = copy.deepcopy(values)
    assign(changed, overrides)
    return changed


def changed_text(path: str, text: str, overrides: Mapping[str, Any]) -> str:
    """The text of a parameter file with other values; comments and style of the rest stay.

    Raises ConfigurationError for a value that can't be written into such a file.
    """
    values = parse_params(path, text) or {}
    changed = with_overrides(values, overrides)
    if changed == values:
        return text
    written = write_params(path, text, {key: value for key, value in overrides.items() if _has(values, key)})
    if comparable(parse_params(path, written)) != comparable(changed):
        keys = ", ".join(overrides)
        raise ConfigurationError(
            f"{keys} can't be written into this file", why="it would be read as something else", place=path
        )
    return written


def apply_params(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """Write those ``overrides`` that are for ``stage`` into its parameter files; returns the changed paths.

    All is checked before the first file is replaced. Raises ConfigurationError.
    """
    overrides = used_params(root, stage, overrides)
    check_overrides(root, stage, overrides)
    written: dict[str, bytes] = {}
    for path in dict.fromkeys(source.path for source in stage.params):
        before = (root / path).read_bytes()
        text = read_text(root / path, path)
        changed = changed_text(path, text, overrides)
        if changed != text:
            # Read as text, every kind of line end has become the one.
            changed = changed.replace("\n", "\r\n") if b"\r\n" in before else changed
            mark = codecs.BOM_UTF8 if before.startswith(codecs.BOM_UTF8) else b""
            written[path] = mark + changed.encode()
    for path, content in written.items():
        write_atomic(root / path, content)
    return tuple(written)


def comparable(value: Any) -> Any:
    """A value so that equal ones compare equal, wherever they were read: tuples, sets, not-a-numbers."""
    if isinstance(value, Mapping):
        return {str(key): comparable(each) for key, each in value.items()}
    if isinstance(value, set):
        return sorted(map(comparable, value), key=repr)
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def _has(values: Any, key: str) -> bool:
    try:
        get_dotted(values, key)
    except KeyError:
        return False
    return True
