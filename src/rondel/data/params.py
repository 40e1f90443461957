"""Reads parameter files, and changes values by dotted key."""

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
    """Parse a parameter file as DVC does: YAML, JSON, TOML or Python, depending on its suffix."""
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
            "the parameter file can't be read", why="it nests too deeply", place=path
        ) from None
    except ValueError as error:
        raise ConfigurationError("the parameter file can't be read", why=str(error), place=path) from None
    return parse_yaml(text, path)


def read_params(root: Path, path: str) -> Any:
    """Read the parameter file ``path``. Raises ConfigurationError if it does not exist."""
    try:
        values = parse_params(path, read_text(root / path, path))
    except FileNotFoundError:
        raise ConfigurationError("the parameter file does not exist", place=path) from None
    if values is not None and not isinstance(values, dict):
        raise ConfigurationError("a parameter file has to be a mapping of names to values", place=path)
    return values or {}


def get_dotted(values: Any, key: str) -> Any:
    """The value of a dotted key; numbers are indexes of lists. Raises KeyError if there is none."""
    for part in key.split("."):
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            raise KeyError(key)
    return values


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each dotted key whose value is not a mapping, with its value."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values


def stage_params(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that ``stage`` uses, with ``overrides``, by ``file:key``.

    Raises ConfigurationError if a key is not in its file, or if the stage does not
    use an overridden parameter.
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
    """The parameters of ``stage`` that can be overridden, by dotted key."""
    found: dict[str, Any] = {}
    for source in stage.params:
        for key, value in _settable(read_params(root, source.path)):
            if not source.keys or any(key == each or key.startswith(f"{each}.") for each in source.keys):
                found.setdefault(key, value)
    return found


def _settable(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf, and each item of a list."""
    for key, value in leaves(values, prefix):
        yield key, value
        if isinstance(value, list):
            for number, each in enumerate(value):
                yield from _settable(each, f"{key}.{number}")


def used_params(root: Path, stage: DvcStage, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that belong to parameters of ``stage``, or to groups of them."""
    if not values:
        return {}
    known = known_params(root, stage)
    return {key: value for key, value in values.items() if _is_used(key, known)}


def _is_used(key: str, known: Collection[str]) -> bool:
    return key in known or any(name.startswith(f"{key}.") for name in known)


def check_overrides(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if ``stage`` does not use a parameter, or a value has the wrong type."""
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
                        f"stage {stage.name!r}: the value for the parameter {key!r} has the wrong type",
                        why=misfit(value, old, path),
                        place=param_place(root, path, key),
                    )


def param_place(root: Path, path: str, key: str) -> str:
    """``path:line`` of a dotted key; without the line if it can't be found."""
    try:
        text = read_text(root / path, path)
        line = python_line(text, path, key) if path.endswith(".py") else line_of(text, *key.split("."))
    except (ConfigurationError, OSError):
        line = None
    return f"{path}:{line}" if line else path


def with_overrides(values: Any, overrides: Mapping[str, Any]) -> Any:
    """A copy of ``values`` with the overrides whose keys it has."""
    changed = copy.deepcopy(values)
    assign(changed, overrides)
    return changed


def changed_text(path: str, text: str, overrides: Mapping[str, Any]) -> str:
    """Change values in the text of a parameter file; keeps comments and style.

    Raises ConfigurationError for a value that can't be represented in the file.
    """
    values = parse_params(path, text) or {}
    changed = with_overrides(values, overrides)
    if changed == values:
        return text
    written = write_params(path, text, {key: value for key, value in overrides.items() if _has(values, key)})
    if comparable(parse_params(path, written)) != comparable(changed):
        keys = ", ".join(overrides)
        raise ConfigurationError(
            f"{keys} can't be written to this file", why="DVC would read another value", place=path
        )
    return written


def apply_params(root: Path, stage: DvcStage, overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """Write those ``overrides`` that belong to ``stage`` to its parameter files; return the changed paths.

    Checks everything before it replaces the first file. Raises ConfigurationError.
    """
    overrides = used_params(root, stage, overrides)
    check_overrides(root, stage, overrides)
    written: dict[str, bytes] = {}
    for path in dict.fromkeys(source.path for source in stage.params):
        before = (root / path).read_bytes()
        text = read_text(root / path, path)
        changed = changed_text(path, text, overrides)
        if changed != text:
            # Reading as text has converted the line ends.
            changed = changed.replace("\n", "\r\n") if b"\r\n" in before else changed
            mark = codecs.BOM_UTF8 if before.startswith(codecs.BOM_UTF8) else b""
            written[path] = mark + changed.encode()
    for path, content in written.items():
        write_atomic(root / path, content)
    return tuple(written)


def comparable(value: Any) -> Any:
    """Normalize a value for comparison across file formats: tuples, sets, NaN."""
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
