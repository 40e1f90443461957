"""Reads metrics from nested JSON, YAML or TOML files.

A value that is not a finite number is no error here: a rule that needs it fails
and names the value and its line. Names of nested values are joined by dots.
There are three ways to write a metric of a slice of the data:

- ``{"slices": {"origin": {"JFK": {"roc_auc": 0.61}}}}``
- ``{"slices": {"origin=JFK": {"roc_auc": 0.61}}}``
- ``{"roc_auc[origin=JFK]": 0.61}``

Each of them is ``roc_auc[origin=JFK]``.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.files.yaml_file import check_depth

if TYPE_CHECKING:
    from pathlib import Path

    import yaml

    from rondel.data import DvcStage

SLICES = "slices"
_SLICED_NAME = re.compile(r"^(?P<name>.+?)\[(?P<slice>[^\]]+)\]$")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_NOT_FINITE = frozenset({"nan", ".nan", "inf", ".inf", "infinity", "-inf", "-.inf", "-infinity", "+.inf"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Metrics by name. ``problems`` explains the names whose value is not a finite number.

    ``problem`` is set if the file could not be read at all.
    """

    source: str
    values: Mapping[str, float] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None

    def merged(self, measured: Metrics) -> Metrics:
        """Add metrics measured elsewhere (``model_mb``, ``latency_ms``); the file's take precedence."""
        own = {*self.values, *self.problems}
        return Metrics(
            source=self.source,
            values={
                **{name: value for name, value in measured.values.items() if name not in own},
                **self.values,
            },
            problems={**measured.problems, **self.problems},
            problem=self.problem,
        )


def canonical(name: str) -> str:
    """A metric's name with the columns of its slice sorted."""
    match = _SLICED_NAME.match(name)
    if match is None:
        return name
    parts = sorted(part.strip() for part in match["slice"].split(","))
    return f"{match['name']}[{','.join(parts)}]"


def read_metrics(path: Path, *, shown: str | None = None) -> Metrics:
    """Read the metrics in a file; never raises. ``shown`` is the file's name in messages."""
    source = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Metrics(source=source, problem=f"{source} does not exist")
    except (OSError, UnicodeDecodeError) as error:
        return Metrics(source=source, problem=f"{source}: {error}")
    if path.suffix.lower() == ".toml":
        return _toml(text, source)
    return parse_metrics(text, source=source, is_json=path.suffix.lower() == ".json")


def parse_metrics(text: str, *, source: str, is_json: bool) -> Metrics:
    """Parse metrics as :func:`read_metrics` does, from a text."""
    import yaml

    if is_json:
        try:
            json.loads(text, parse_int=float)
        except RecursionError:
            return Metrics(source=source, problem=f"{source}: the JSON nests too deep")
        except ValueError as error:
            return Metrics(source=source, problem=f"{source}: not valid JSON: {error}")
        text = text.expandtabs(1)  # YAML allows no tabs between tokens; columns stay as they are
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        check_depth(text)
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        return Metrics(source=source, problem=f"{source}: not valid YAML: {error}")
    if not isinstance(node, yaml.MappingNode):
        return Metrics(source=source, problem=f"{source}: expected a mapping of names to numbers")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=loader)):
        return Metrics(source=source, problem=f"{source}: YAML aliases are not supported in metrics")
    return _collect(source, _walk(node, ()))


def _toml(text: str, source: str) -> Metrics:
    import tomllib

    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return Metrics(source=source, problem=f"{source}: not valid TOML: {error}")
    return metrics_from_mapping(values, source=source)


def metrics_from_mapping(values: Mapping[str, Any], *, source: str) -> Metrics:
    """Make metrics from values in memory."""
    return _collect(source, _flat(values, (), source))


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: tuple[str, ...]
    value: float | None
    problem: str
    line: str


def _collect(source: str, leaves: Iterator[_Leaf]) -> Metrics:
    values: dict[str, float] = {}
    problems: dict[str, str] = {}
    seen: dict[str, str] = {}
    for leaf in leaves:
        name = _name(leaf.path)
        place = f"{source}:{leaf.line}" if leaf.line else source
        if name in seen:
            problems[name] = f"{place}: {name} appears twice; first at {seen[name]}"
            values.pop(name, None)
            continue
        seen[name] = place
        if leaf.value is None:
            problems[name] = f"{place}: {name} is {leaf.problem}, not a number"
        else:
            values[name] = leaf.value
    return Metrics(source=source, values=values, problems=problems)


def _walk(node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[_Leaf]:
    import yaml

    for key, value in node.value:
        line = f"{key.start_mark.line + 1}"
        here = (*path, str(key.value))
        if isinstance(value, yaml.MappingNode):
            yield from _walk(value, here)
        elif isinstance(value, yaml.SequenceNode):
            yield _Leaf(here, None, "a list", line)
        else:
            number, problem = _scalar(value.value, plain=not value.style)  # "" or None, by loader
            yield _Leaf(here, number, problem, line)


def _scalar(text: str, *, plain: bool) -> tuple[float | None, str]:
    if not plain:
        return None, f"the text {text!r}"
    if _NUMBER.fullmatch(text):
        number = float(text)
        return (number, "") if math.isfinite(number) else (None, "infinite")
    lower = text.lower()
    if lower in _NOT_FINITE:
        return None, "NaN" if "nan" in lower else "infinite"
    if lower in {"true", "false", "yes", "no", "on", "off"}:
        return None, f"{lower}, a boolean"
    if lower in {"", "null", "~"}:
        return None, "empty"
    return None, f"the text {text!r}"


def _flat(values: Mapping[str, Any], path: tuple[str, ...], source: str) -> Iterator[_Leaf]:
    for key, value in values.items():
        here = (*path, str(key))
        if isinstance(value, Mapping):
            yield from _flat(value, here, source)
        elif isinstance(value, bool):
            yield _Leaf(here, None, f"{str(value).lower()}, a boolean", "")
        elif isinstance(value, int | float):
            number = float(value)
            good = math.isfinite(number)
            problem = "NaN" if math.isnan(number) else "infinite"
            yield _Leaf(here, number if good else None, problem, "")
        else:
            shown = "empty" if value is None else f"{type(value).__name__} {value!r}"[:80]
            yield _Leaf(here, None, shown, "")


def _name(path: tuple[str, ...]) -> str:
    if len(path) < 3 or path[0] != SLICES:
        return canonical(".".join(path))
    if "=" in path[1]:
        part, rest = path[1], path[2:]
    elif len(path) > 3:
        part, rest = f"{path[1]}={path[2]}", path[3:]
    else:
        return canonical(".".join(path))
    return canonical(f"{'.'.join(rest)}[{part}]")


def stage_metrics(stage: DvcStage, made: Path | None, tree: Path | None = None) -> dict[str, float]:
    """The metrics of a stage of ``dvc.yaml``: from its files in ``made``, else in ``tree``, the working tree.

    Files in a folder that DVC tracks are not read from the working tree, because it may have any
    version of them. If several files have the same name, the file is part of it, as in ``dvc metrics``.
    """
    found: dict[str, Mapping[str, float]] = {}
    for out in (*stage.outs, *stage.reported):
        if out.kind != "metric":
            continue
        in_tree = out.in_working_tree if out in stage.outs else not out.cached
        for folder in (made, tree if in_tree else None):
            if folder is not None and (folder / out.path).exists():
                for path in _files(folder, out.path):
                    found[path] = read_metrics(folder / path, shown=path).values
                break
    times = Counter(name for values in found.values() for name in values)
    return {
        name if times[name] == 1 else f"{path}:{name}": value
        for path, values in found.items()
        for name, value in values.items()
    }


def _files(folder: Path, path: str) -> Iterator[str]:
    if (folder / path).is_dir():
        for file in sorted((folder / path).rglob("*")):
            if file.is_file():
                yield file.relative_to(folder).as_posix()
    else:
        yield path
