"""Chooses the entry points of MLproject that become stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.data.mlproject import MLProject

MAIN = "main"


def choose_entry_points(
    mlproject: MLProject | None, values: Sequence[str], *, dvc: bool
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The chosen entry points with their parameters, and notes on those that are left out.

    If there is a ``main``, it is the only one: it calls the others, or is the whole
    program. Otherwise all entry points that have values for their required
    parameters. None if DVC stages are the pipeline. Raises ConfigurationError for
    values of unknown parameters, and if no entry point can run.
    """
    given = _given(mlproject, values)
    if mlproject is None or not mlproject.points:
        return {}, []
    names = list(mlproject.points)
    if dvc:
        return {}, [
            f"DVC's stages are the pipeline; to add MLproject's {', '.join(names)}, use pipeline.mlflow(…)"
        ]
    wanted = [name for name in names if name in given or (name == MAIN or MAIN not in names)]
    missing = {
        name: [each for each in mlproject.points[name].required if each not in given.get(name, {})]
        for name in wanted
    }
    ready = {name: given.get(name, {}) for name in wanted if not missing[name]}
    if not ready or missing.get(MAIN):
        raise _missing_parameters(next(name for name in wanted if missing[name]), missing)
    notes = [_left_out(name, parameters) for name, parameters in missing.items() if parameters]
    others = [name for name in names if name not in wanted]
    if others:
        notes.append(f"main is the pipeline; to add MLproject's {', '.join(others)}, use pipeline.mlflow(…)")
    return ready, notes


def _left_out(name: str, parameters: Sequence[str]) -> str:
    values = "".join(f", {each}=…" for each in parameters)
    what = f"entry point {name} is left out because {', '.join(parameters)} has no default"
    return f'{what}; to add it, use pipeline.mlflow("{name}"{values})'


def _missing_parameters(name: str, missing: Mapping[str, Sequence[str]]) -> ConfigurationError:
    values = " ".join(f"-P {name}.{each}=VALUE" for each in missing[name])
    return ConfigurationError(
        f"entry point {name!r} needs {', '.join(missing[name])}, which has no default",
        why="every run of its stage would fail",
        hint=f"run `rondel init {values}`, or add a default to MLproject",
        place="MLproject",
    )


def _given(mlproject: MLProject | None, values: Sequence[str]) -> dict[str, dict[str, Any]]:
    from rondel.files.yaml_file import parse_yaml

    found: dict[str, dict[str, Any]] = {}
    points = mlproject.points if mlproject is not None else {}
    known = [f"{name}.{each}" for name, point in points.items() for each in point.parameters]
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise ConfigurationError(
                f"MLproject has no parameter {key!r}" if equals else f"{text!r} is not POINT.PARAMETER=VALUE",
                hint=did_you_mean(key, known),
                place=f"-P {text}",
            )
        point = next(
            name
            for name in points
            if key.startswith(f"{name}.") and key[len(name) + 1 :] in points[name].parameters
        )
        found.setdefault(point, {})[key[len(point) + 1 :]] = parse_yaml(value, f"-P {key}")
    return found
