"""``params.yaml`` as frozen values, checked before anything is computed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import yaml

from workload.errors import ParameterInvalid

if TYPE_CHECKING:
    from types import UnionType

PARAMS_FILE = Path("params.yaml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingest:
    """Which release of the data package is the source."""

    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepare:
    """How months (1 to 12) are divided, and when an arrival counts as late (minutes)."""

    train_months: tuple[int, ...]
    test_months: tuple[int, ...]
    later_months: tuple[int, ...]
    late_after_minutes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """The columns that the model sees, by how they are treated."""

    categorical: tuple[str, ...]
    numeric: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """The settings of the gradient-boosted trees."""

    max_iter: int
    learning_rate: float
    max_leaf_nodes: int
    min_samples_leaf: int
    l2_regularization: float
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate:
    """From which probability on a flight is called late, and how finely calibration is shown."""

    threshold: float
    calibration_bins: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Params:
    """All of ``params.yaml``."""

    ingest: Ingest
    prepare: Prepare
    features: Features
    train: Train
    evaluate: Evaluate

    def with_train(self, **changes: Any) -> Params:
        """These parameters with some of the model's replaced; raises :class:`ParameterInvalid`."""
        changed = replace(self, train=replace(self.train, **changes))
        _refuse(_range_mistakes(changed), "command line")
        return changed


def load(path: Path = PARAMS_FILE) -> Params:
    """Read and check a parameter file; all mistakes are reported in one :class:`ParameterInvalid`."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterInvalid(f"{path} is missing: run this from the project's top folder") from None
    except yaml.YAMLError as error:
        raise ParameterInvalid(f"{path} is not valid YAML: {error}") from None
    return parse(document, str(path))


def parse(document: object, source: str) -> Params:
    """Check a parsed parameter document; ``source`` names it in messages."""
    if not isinstance(document, Mapping):
        raise ParameterInvalid(f"{source} must hold sections, not {type(document).__name__}")
    sections: dict[str, Any] = {}
    mistakes: list[str] = []
    for name, kind in get_type_hints(Params).items():
        section = document.get(name)
        if not isinstance(section, Mapping):
            mistakes.append(f"section {name!r} is missing")
            continue
        values, found = _section(name, kind, section)
        mistakes += found
        if not found:
            sections[name] = kind(**values)
    _refuse(mistakes, source)
    params = Params(**sections)
    _refuse(_range_mistakes(params), source)
    return params


def _section(name: str, kind: Any, section: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    hints = get_type_hints(kind)
    required = {field.name for field in fields(kind) if field.default is MISSING}
    mistakes = [f"{name}.{key} is unknown{_nearest(key, hints)}" for key in section if key not in hints]
    mistakes += [f"{name}.{key} is missing" for key in sorted(required - section.keys())]
    values: dict[str, Any] = {}
    for key, value in section.items():
        if key in hints:
            try:
                values[key] = _convert(value, hints[key])
            except TypeError as error:
                mistakes.append(f"{name}.{key}: {error}")
    return values, mistakes


def _convert(value: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, found {value!r}")
        return tuple(_convert(item, get_args(kind)[0]) for item in value)
    wanted: type | UnionType = int | float if kind is float else kind
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise TypeError(f"expected {kind.__name__}, found {value!r}")
    return float(value) if isinstance(value, int) and kind is float else value


def _range_mistakes(params: Params) -> list[str]:
    mistakes = []
    groups = {name: getattr(params.prepare, name) for name in ("train_months", "test_months", "later_months")}
    seen: dict[int, str] = {}
    for name, months in groups.items():
        for month in months:
            if not 1 <= month <= 12:
                mistakes.append(f"prepare.{name}: {month} is not a month")
            if month in seen:
                mistakes.append(f"prepare.{name}: month {month} is already in {seen[month]}")
            seen[month] = name
    mistakes += [f"prepare.{name} is empty" for name in ("train_months", "test_months") if not groups[name]]
    if not params.features.categorical + params.features.numeric:
        mistakes.append("features: there are none")
    for name in ("max_iter", "max_leaf_nodes", "min_samples_leaf", "learning_rate"):
        value = getattr(params.train, name)
        least = 2 if name == "max_leaf_nodes" else 1
        if value <= 0 or (name != "learning_rate" and value < least):
            mistakes.append(f"train.{name}: {value} is too small")
    if params.train.l2_regularization < 0:
        mistakes.append(f"train.l2_regularization: {params.train.l2_regularization} is negative")
    if not 0 < params.evaluate.threshold < 1:
        mistakes.append(f"evaluate.threshold: {params.evaluate.threshold} is not between 0 and 1")
    if params.evaluate.calibration_bins < 2:
        mistakes.append("evaluate.calibration_bins must be 2 or more")
    return mistakes


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    match = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _refuse(mistakes: list[str], source: str) -> None:
    if mistakes:
        raise ParameterInvalid(f"{source}: " + "; ".join(mistakes))
