"""What ``MLproject`` declares, read as MLflow reads it: entry points, and their parameters' types."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rondel.data.yamlfile import read_text, read_yaml
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

FILE = "MLproject"

DOCKER = "docker_env"

ENVIRONMENTS = (DOCKER, "python_env", "conda_env")

SCRIPTS = (".py", ".sh", ".R")
"""What MLflow runs as an entry point of its own, without a declaration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of an entry point. A ``default`` of None means that a value has to be given."""

    name: str
    type: str = "string"
    default: Any = None

    @property
    def required(self) -> bool:
        """Whether the entry point can't run without a value for it."""
        return self.default is None


def parameters(declared: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters of an entry point, from either form: ``alpha: float``, or with type and default."""
    found = []
    for name, body in declared.items():
        if isinstance(body, Mapping):
            kind = str(body.get("type") or "string")
            found.append(Parameter(name=str(name), type=kind, default=body.get("default")))
        else:
            found.append(Parameter(name=str(name), type=str(body or "string")))
    return tuple(found)


def missing(declared: Mapping[str, Any], given: Collection[str]) -> tuple[str, ...]:
    """The parameters without default for which no value is given."""
    return tuple(each.name for each in parameters(declared) if each.required and each.name not in given)


def problem(declared: Mapping[str, Any], name: str, value: Any) -> str | None:
    """Why ``value`` is none for that parameter, by its declared type; None if it is one.

    MLflow checks ``path`` and ``uri`` itself, in the container; ``float`` it only documents.
    """
    each = next((each for each in parameters(declared) if each.name == name), None)
    if each is None:
        return None
    text = str(value)
    if isinstance(value, Mapping | list | tuple):
        return f"{each.name} takes one value, declared as {each.type}"
    if each.type == "float" and not _is_number(value):
        return f"{FILE} declares {name} as float, and {text!r} is no number"
    if each.type == "uri" and not urlsplit(text).scheme:
        return f"{FILE} declares {name} as uri, and {text!r} has no scheme (s3://…, https://…)"
    if each.type == "path" and not text:
        return f"{FILE} declares {name} as path, and this is empty"
    return None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def find_mlproject(root: Path) -> Path | None:
    """The project's ``MLproject`` file; like MLflow in whichever case its name is written."""
    exact = root / FILE
    if exact.is_file():
        return exact
    try:
        names = sorted(each for each in root.iterdir() if each.name.lower() == FILE.lower())
    except OSError:
        return None
    return next((each for each in names if each.is_file()), None)


def read_mlproject(root: Path) -> Mapping[str, Any]:
    """The file's content; empty where there is none. Raises ConfigurationError."""
    path = find_mlproject(root)
    document = read_yaml(path, path.name) if path is not None else None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError("this has to be a mapping", place=FILE)
    return document


def entry_points(root: Path) -> dict[str, Mapping[str, Any]]:
    """The declared entry points, each with its parameters as they are declared.

    Raises ConfigurationError for what MLflow could not read either.
    """
    points = read_mlproject(root).get("entry_points") or {}
    if not isinstance(points, dict):
        raise ConfigurationError("`entry_points` have to be a mapping", place=FILE)
    found: dict[str, Mapping[str, Any]] = {}
    for name, body in points.items():
        declared = (body.get("parameters") or {}) if isinstance(body, dict) else {}
        if not isinstance(declared, dict):
            raise ConfigurationError(
                f"`parameters` of entry point {str(name)!r} have to be a mapping", place=FILE
            )
        found[str(name)] = declared
    return found


def is_script(root: Path, name: str) -> bool:
    """Whether MLflow takes ``name`` for a script of the project to run."""
    return name.endswith(SCRIPTS) and (root / name).is_file()


def check_entry_point(root: Path, name: str) -> None:
    """Raise ConfigurationError for what would keep MLflow from running ``name``, however its values are."""
    document = read_mlproject(root)
    if "databricks_spark_job" in document:
        raise ConfigurationError(
            "`databricks_spark_job` runs on Databricks only",
            hint="take it out for a pipeline that runs everywhere",
            place=FILE,
        )
    _check_environment(root, document)
    body = (document.get("entry_points") or {}).get(name)
    if body is None:
        return
    command = body.get("command") if isinstance(body, dict) else None
    if not isinstance(command, str):
        raise ConfigurationError(f"entry point {name!r} has no `command`", place=FILE)
    declared = body.get("parameters") or {}
    try:
        fields = [field for _, field, _, _ in Formatter().parse(command) if field is not None]
    except ValueError as error:
        raise ConfigurationError(
            f"the command of entry point {name!r} can't be read",
            why=str(error),
            hint="a brace that stands for itself is written twice: {{ and }}",
            place=FILE,
        ) from None
    unknown = sorted({re.split(r"[.\[]", field)[0] for field in fields} - {str(each) for each in declared})
    if unknown:
        raise ConfigurationError(
            f"the command of entry point {name!r} uses {{{unknown[0]}}}, which is none of its parameters",
            hint="declare it below `parameters`, or write {{ and }} for braces that stand for themselves",
            place=FILE,
        )


def _check_environment(root: Path, document: Mapping[str, Any]) -> None:
    named = [key for key in ENVIRONMENTS if key in document]
    if len(named) > 1:
        raise ConfigurationError(
            f"there is more than one environment: {', '.join(named)}", hint="keep one of them", place=FILE
        )
    for key in named:
        value = document[key]
        if key == DOCKER and not (isinstance(value, dict) and value.get("image")):
            raise ConfigurationError("`docker_env` names no `image`", place=FILE)
        if key != DOCKER and value and not (root / str(value)).is_file():
            # MLflow looks for it, though it takes the container's own packages.
            raise ConfigurationError(f"`{key}` names {value}, which does not exist", place=FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class InContainer:
    """``MLproject`` as a stage's container gets it where it names a Docker image.

    The stage's own image stands for that one: there is no Docker in a container. ``environment``
    are the variables that ``docker_env`` defines, ``from_host`` those that it would copy.
    """

    name: str
    text: str
    before: str
    environment: Mapping[str, str]
    from_host: tuple[str, ...]
    ignores_volumes: bool


def in_container(root: Path) -> InContainer | None:
    """What the container's copy has to say; None if the file can stay as it is."""
    path = find_mlproject(root)
    document = read_mlproject(root)
    docker = document.get(DOCKER)
    if path is None or not isinstance(docker, dict):
        return None
    entries = docker.get("environment") or []
    pairs = [each for each in entries if isinstance(each, list) and len(each) == 2]
    rest = {key: value for key, value in document.items() if key != DOCKER}
    return InContainer(
        name=path.name,
        # JSON is YAML, and says dates and other scalars as the texts that MLflow makes of them.
        text=json.dumps(rest, default=str, indent=1) + "\n",
        before=read_text(path, path.name),
        environment={str(name): str(value) for name, value in pairs},
        from_host=tuple(each for each in entries if isinstance(each, str)),
        ignores_volumes=bool(docker.get("volumes")),
    )
