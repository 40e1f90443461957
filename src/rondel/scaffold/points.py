"""Which entry points of MLproject become stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.data.mlproject import MLProject

MAIN = "main"


def choose_points(
    mlproject: MLProject | None, values: Sequence[str], *, dvc: bool
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The entry points with the values that they get, and notes on those that are left out.

    ``main`` alone where there is one: it calls the others, or stands for the
    whole. Otherwise all that can run with what they are given. None where DVC
    stages are the pipeline. Raises ConfigurationError for values that are for
    nothing, and where no entry point can run.
    """
    given = _given(mlproject, values)
    if mlproject is None or not mlproject.points:
        return {}, []
    names = list(mlproject.points)
    if dvc:
        return {}, [
            f"DVC's stages are the pipeline; MLproject's {', '.join(names)}: declare with pipeline.mlflow(…)"
        ]
    wanted = [name for name in names if name in given or (name == MAIN or MAIN not in names)]
    lacking = {
        name: [each for each in mlproject.points[name].required if each not in given.get(name, {})]
        for name in wanted
    }
    ready = {name: given.get(name, {}) for name in wanted if not lacking[name]}
    if not ready or lacking.get(MAIN):
        raise _lacks(next(name for name in wanted if lacking[name]), lacking)
    notes = [_left_out(name, needs) for name, needs in lacking.items() if needs]
    beside = [name for name in names if name not in wanted]
    if beside:
        notes.append(
            f"main is the pipeline; MLproject's {', '.join(beside)}: declare with pipeline.mlflow(…)"
        )
    return ready, notes


def _left_out(name: str, needs: Sequence[str]) -> str:
    values = "".join(f", {each}=…" for each in needs)
    what = f"entry point {name} is left out, as {', '.join(needs)} has no default"
    return f'{what}: declare it with pipeline.mlflow("{name}"{values})'


def _lacks(name: str, lacking: Mapping[str, Sequence[str]]) -> ConfigurationError:
    values = " ".join(f"-P {name}.{each}=VALUE" for each in lacking[name])
    return ConfigurationError(
        f"entry point {name!r} needs {', '.join(lacking[name])}, which has no default",
        why="every run of its stage would fail",
        hint=f"rondel init {values}, or give a default in MLproject",
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
