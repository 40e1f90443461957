"""What an ``MLproject`` file of MLflow declares, read without importing MLflow."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.data.yamlfile import read_yaml
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "MLproject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of an entry point. Without a ``default`` a value has to be given."""

    name: str
    kind: str = "string"
    default: Any = None

    @property
    def required(self) -> bool:
        """Whether MLflow refuses to run without a value."""
        return self.default is None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """A command of the project, with its parameters."""

    name: str
    command: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def required(self) -> tuple[str, ...]:
        """The parameters that have no default."""
        return tuple(name for name, each in self.parameters.items() if each.required)


@dataclass(frozen=True, slots=True, kw_only=True)
class MLProject:
    """The project. At most one of the three environments is set: files below the root, or an image."""

    points: Mapping[str, EntryPoint] = field(default_factory=dict)
    name: str | None = None
    python_env: str | None = None
    conda_env: str | None = None
    image: str | None = None
    variables: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


def read_mlproject(root: Path) -> MLProject | None:
    """The project at ``root``; None where there is no ``MLproject``.

    Where the file names no environment, ``python_env.yaml`` and ``conda.yaml``
    beside it count, as they do for MLflow. Raises ConfigurationError for a
    file that MLflow would not take, either.
    """
    document = read_yaml(root / FILE, FILE)
    if document is None:
        return MLProject() if (root / FILE).is_file() else None
    if not isinstance(document, dict):
        raise ConfigurationError("this is no MLproject file: it has to hold keys and values", place=FILE)
    environments = [key for key in ("python_env", "conda_env", "docker_env") if document.get(key)]
    if len(environments) > 1:
        raise ConfigurationError(
            f"{' and '.join(environments)}: a project has one environment",
            place=FILE,
            hint="keep one of them",
        )
    docker = _table(document, "docker_env")
    if document.get("docker_env") and not docker.get("image"):
        raise ConfigurationError("`docker_env` names no `image`", place=FILE)
    image = str(docker.get("image") or "")
    if re.search(r"\s", image):
        raise ConfigurationError(f"{image!r} is no name of an image", place=FILE)
    python_env, conda_env = (_file(root, document, key) for key in ("python_env", "conda_env"))
    if not environments:
        python_env = "python_env.yaml" if (root / "python_env.yaml").is_file() else None
        conda_env = "conda.yaml" if python_env is None and (root / "conda.yaml").is_file() else None
    return MLProject(
        points={name: _point(name, body) for name, body in _table(document, "entry_points").items()},
        name=str(document["name"]) if document.get("name") else None,
        python_env=python_env,
        conda_env=conda_env,
        image=image or None,
        variables=tuple(_variable(each) for each in _list(docker, "environment")),
        volumes=tuple(str(each) for each in _list(docker, "volumes")),
    )


def _point(name: str, body: Any) -> EntryPoint:
    if body is not None and not isinstance(body, dict):
        raise ConfigurationError(f"entry point {name!r} has to be a mapping with a `command`", place=FILE)
    declared = (body or {}).get("parameters") or {}
    if not isinstance(declared, dict):
        raise ConfigurationError(f"`parameters` of entry point {name!r} have to be a mapping", place=FILE)
    parameters = {str(key): _parameter(name, str(key), value) for key, value in declared.items()}
    return EntryPoint(name=name, command=str((body or {}).get("command") or ""), parameters=parameters)


def _parameter(point: str, name: str, value: Any) -> Parameter:
    """``alpha: float`` or ``alpha: {type: float, default: 0.1}``; types unknown to MLflow are text."""
    if not isinstance(value, dict | str):
        raise ConfigurationError(
            f"parameter {name!r} of entry point {point!r} has to be a type, or a mapping",
            hint=f"{name}: {{type: float, default: {value if value is not None else 1}}}",
            place=FILE,
        )
    body = value if isinstance(value, dict) else {"type": value}
    return Parameter(name=name, kind=str(body.get("type") or "string"), default=body.get("default"))


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"`{key}` has to be a mapping", place=FILE)
    return {str(name): body for name, body in value.items()}


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key) or []
    if not isinstance(value, list):
        raise ConfigurationError(f"`{key}` of `docker_env` has to be a list", place=FILE)
    return value


def _file(root: Path, document: Mapping[str, Any], key: str) -> str | None:
    value = document.get(key)
    if not value:
        return None
    if not isinstance(value, str) or value.startswith("/") or ".." in value.split("/"):
        raise ConfigurationError(f"`{key}` has to be a file of the project, not {value!r}", place=FILE)
    if not (root / value).is_file():
        raise ConfigurationError(f"`{key}` names {value}, and there is no such file", place=FILE)
    return value.removeprefix("./")


def _variable(item: Any) -> str:
    """The name of a variable: ``NAME`` comes from the machine, ``[NAME, value]`` is set."""
    return str(item[0]) if isinstance(item, list) and item else str(item)
