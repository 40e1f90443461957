"""Metrics as files hold them: nested JSON or YAML, with every bad value and its place.

A bad value is no reason to stop: it fails the rules that need it, and they say
why. Names of nested values are joined by dots. Slices of the data are

- ``{"slices": {"origin": {"JFK": {"roc_auc": 0.61}}}}``,
- ``{"slices": {"origin=JFK": {"roc_auc": 0.61}}}``, or
- a name that says it: ``{"roc_auc[origin=JFK]": 0.61}``;

all three are ``roc_auc[origin=JFK]``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.files.yaml_file import check_depth

if TYPE_CHECKING:
    from pathlib import Path

    import yaml

SLICES = "slices"
_SLICED_NAME = re.compile(r"^(?P<name>.+?)\[(?P<slice>[^\]]+)\]$")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_NOT_FINITE = frozenset({"nan", ".nan", "inf", ".inf", "infinity", "-inf", "-.inf", "-infinity", "+.inf"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Numbers by name; ``problems`` says of other names why they have no number.

    ``problem`` is set when nothing could be read at all.
    """

    source: str
    values: Mapping[str, float] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None

    def merged(self, measured: Metrics) -> Metrics:
        """With what was measured elsewhere (``model_mb``, ``latency_ms``); the file's own values win."""
        mine = {*self.values, *self.problems}
        return Metrics(
            source=self.source,
            values={
                **{name: value for name, value in measured.values.items() if name not in mine},
                **self.values,
            },
            problems={**measured.problems, **self.problems},
            problem=self.problem,
        )


def canonical(name: str) -> str:
    """A metric's name with its slice's columns in order."""
    match = _SLICED_NAME.match(name)
    if match is None:
        return name
    parts = sorted(part.strip() for part in match["slice"].split(","))
    return f"{match['name']}[{','.join(parts)}]"


def read_metrics(path: Path, *, shown: str | None = None) -> Metrics:
    """The metrics in a file; never raises for what the file says or that it is missing.

    ``shown`` is the name used in messages.
    """
    source = shown or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Metrics(source=source, problem=f"{source}: there is no such file")
    except (OSError, UnicodeDecodeError) as error:
        return Metrics(source=source, problem=f"{source}: {error}")
    if path.suffix.lower() == ".toml":
        return _toml(text, source)
    return parse_metrics(text, source=source, is_json=path.suffix.lower() == ".json")


def parse_metrics(text: str, *, source: str, is_json: bool) -> Metrics:
    """As :func:`read_metrics`, for text."""
    import yaml

    if is_json:
        try:
            json.loads(text, parse_int=float)
        except RecursionError:
            return Metrics(source=source, problem=f"{source}: it nests too deep")
        except ValueError as error:
            return Metrics(source=source, problem=f"{source}: not valid JSON: {error}")
        text = text.expandtabs(1)  # YAML takes no tabs between tokens; columns stay as they are
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        check_depth(text)
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        return Metrics(source=source, problem=f"{source}: not valid YAML: {error}")
    if not isinstance(node, yaml.MappingNode):
        return Metrics(source=source, problem=f"{source}: it should hold names and numbers")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=loader)):
        return Metrics(source=source, problem=f"{source}: metrics with YAML aliases are not read")
    return _collect(source, _walk(node, ()))


def _toml(text: str, source: str) -> Metrics:
    import tomllib

    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return Metrics(source=source, problem=f"{source}: not valid TOML: {error}")
    return metrics_from_mapping(values, source=source)


def metrics_from_mapping(values: Mapping[str, Any], *, source: str) -> Metrics:
    """Metrics from values that are in memory."""
    return _collect(source, _flat(values, (), source))


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: tuple[str, ...]
    value: float | None
    problem: str
    place: str


def _collect(source: str, leaves: Iterator[_Leaf]) -> Metrics:
    values: dict[str, float] = {}
    problems: dict[str, str] = {}
    seen: dict[str, str] = {}
    for leaf in leaves:
        name = _name(leaf.path)
        place = f"{source}:{leaf.place}" if leaf.place else source
        if name in seen:
            problems[name] = f"{place}: {name} is there twice; first at {seen[name]}"
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
        place = f"{key.start_mark.line + 1}"
        here = (*path, str(key.value))
        if isinstance(value, yaml.MappingNode):
            yield from _walk(value, here)
        elif isinstance(value, yaml.SequenceNode):
            yield _Leaf(here, None, "a list", place)
        else:
            number, problem = _scalar(value.value, plain=not value.style)  # "" or None, by loader
            yield _Leaf(here, number, problem, place)


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
