"""Reads ``MLproject`` as MLflow does, without importing MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError
from rondel.files.yaml_file import read_text, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

FILE = "MLproject"

DOCKER = "docker_env"

ENVIRONMENTS = (DOCKER, "python_env", "conda_env")

SCRIPTS = (".py", ".sh", ".R")
"""Scripts that MLflow runs as entry points without a declaration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredParameter:
    """A parameter of an entry point. Without a ``default``, it needs a value."""

    name: str
    type: str = "string"
    default: Any = None

    @property
    def required(self) -> bool:
        """Whether the entry point needs a value for it."""
        return self.default is None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredEntryPoint:
    """An entry point: a command with parameters."""

    name: str
    command: str = ""
    parameters: Mapping[str, DeclaredParameter] = field(default_factory=dict)

    @property
    def required(self) -> tuple[str, ...]:
        """The parameters without a default."""
        return tuple(name for name, each in self.parameters.items() if each.required)


@dataclass(frozen=True, slots=True, kw_only=True)
class MLProject:
    """The project. At most one of ``python_env``, ``conda_env`` (files) and ``image`` is set."""

    points: Mapping[str, DeclaredEntryPoint] = field(default_factory=dict)
    name: str | None = None
    python_env: str | None = None
    conda_env: str | None = None
    image: str | None = None
    variables: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


def find_mlproject(root: Path) -> Path | None:
    """The project's ``MLproject`` file; like MLflow, ignores the case of its name."""
    exact = root / FILE
    if exact.is_file():
        return exact
    try:
        names = sorted(each for each in root.iterdir() if each.name.lower() == FILE.lower())
    except OSError:
        return None
    return next((each for each in names if each.is_file()), None)


def read_document(root: Path) -> Mapping[str, Any]:
    """The file's content; empty if there is no file. Raises ConfigurationError."""
    path = find_mlproject(root)
    document = read_yaml(path, path.name) if path is not None else None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError("this is not an MLproject file: it has to be a mapping", place=FILE)
    return document


def read_mlproject(root: Path) -> MLProject | None:
    """Read the ``MLproject`` at ``root``; None if there is none.

    If the file names no environment, uses ``python_env.yaml`` or ``conda.yaml`` beside
    it, as MLflow does. Raises ConfigurationError if MLflow would not accept the file.
    """
    if find_mlproject(root) is None:
        return None
    document = read_document(root)
    environments = [key for key in ("python_env", "conda_env", "docker_env") if document.get(key)]
    if len(environments) > 1:
        raise ConfigurationError(
            f"{' and '.join(environments)}: a project can have only one environment",
            place=FILE,
            hint="keep one of them",
        )
    docker = _table(document, "docker_env")
    if document.get("docker_env") and not docker.get("image"):
        raise ConfigurationError("`docker_env` names no `image`", place=FILE)
    image = str(docker.get("image") or "")
    if re.search(r"\s", image):
        raise ConfigurationError(f"{image!r} is not the name of an image", place=FILE)
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


def _point(name: str, body: Any) -> DeclaredEntryPoint:
    if body is not None and not isinstance(body, dict):
        raise ConfigurationError(f"entry point {name!r} has to be a mapping with a `command`", place=FILE)
    declared = (body or {}).get("parameters") or {}
    if not isinstance(declared, dict):
        raise ConfigurationError(f"`parameters` of entry point {name!r} have to be a mapping", place=FILE)
    found = {str(key): _parameter(name, str(key), value) for key, value in declared.items()}
    return DeclaredEntryPoint(name=name, command=str((body or {}).get("command") or ""), parameters=found)


def _parameter(point: str, name: str, value: Any) -> DeclaredParameter:
    """``alpha: float`` or ``alpha: {type: float, default: 0.1}``; types unknown to MLflow are text."""
    if not isinstance(value, dict | str):
        raise ConfigurationError(
            f"parameter {name!r} of entry point {point!r} has to be a type, or a mapping",
            hint=f"{name}: {{type: float, default: {value if value is not None else 1}}}",
            place=FILE,
        )
    return parameters({name: value})[0]


def parameters(declared: Mapping[str, Any]) -> tuple[DeclaredParameter, ...]:
    """The parameters of an entry point, in short form (``alpha: float``) or with type and default."""
    found = []
    for name, body in declared.items():
        if isinstance(body, Mapping):
            kind = str(body.get("type") or "string")
            found.append(DeclaredParameter(name=str(name), type=kind, default=body.get("default")))
        else:
            found.append(DeclaredParameter(name=str(name), type=str(body or "string")))
    return tuple(found)


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
        raise ConfigurationError(f"`{key}` names {value}, which does not exist", place=FILE)
    return value.removeprefix("./")


def _variable(item: Any) -> str:
    """The name of a variable: ``NAME`` is copied from the machine, ``[NAME, value]`` is set."""
    return str(item[0]) if isinstance(item, list) and item else str(item)


def entry_points(root: Path) -> dict[str, Mapping[str, Any]]:
    """The declared entry points with their parameters as declared.

    Raises ConfigurationError if MLflow could not read them, either.
    """
    points = read_document(root).get("entry_points") or {}
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
    """Whether MLflow runs ``name`` as a script of the project."""
    return name.endswith(SCRIPTS) and (root / name).is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerMlproject:
    """``MLproject`` as a stage's container gets it if it names a Docker image.

    The stage's own image replaces that one, because there is no Docker in a container.
    ``environment`` are the variables that ``docker_env`` sets, ``from_host`` those that it copies.
    """

    name: str
    text: str
    before: str
    environment: Mapping[str, str]
    from_host: tuple[str, ...]
    ignores_volumes: bool


def mlproject_for_container(root: Path) -> ContainerMlproject | None:
    """The file for the container; None if it can stay as it is."""
    path = find_mlproject(root)
    document = read_document(root)
    docker = document.get(DOCKER)
    if path is None or not isinstance(docker, dict):
        return None
    entries = docker.get("environment") or []
    pairs = [each for each in entries if isinstance(each, list) and len(each) == 2]
    rest = {key: value for key, value in document.items() if key != DOCKER}
    return ContainerMlproject(
        name=path.name,
        # JSON is YAML, and has dates and other scalars as strings, as MLflow passes them.
        text=json.dumps(rest, default=str, indent=1) + "\n",
        before=read_text(path, path.name),
        environment={str(name): str(value) for name, value in pairs},
        from_host=tuple(each for each in entries if isinstance(each, str)),
        ignores_volumes=bool(docker.get("volumes")),
    )
