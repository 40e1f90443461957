"""Finds what would prevent MLflow from running an entry point, before anything starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rondel.data.mlproject import DOCKER, ENVIRONMENTS, FILE, parameters, read_document
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def missing_parameters(declared: Mapping[str, Any], given: Collection[str]) -> tuple[str, ...]:
    """The parameters that have neither a default nor a given value."""
    return tuple(each.name for each in parameters(declared) if each.required and each.name not in given)


def value_problem(declared: Mapping[str, Any], name: str, value: Any) -> str | None:
    """Why ``value`` does not match the declared type of a parameter; None if it does.

    MLflow checks only ``path`` and ``uri``, and does so in the container.
    """
    each = next((each for each in parameters(declared) if each.name == name), None)
    if each is None:
        return None
    text = str(value)
    if isinstance(value, Mapping | list | tuple):
        return f"{each.name} takes one value, declared as {each.type}"
    if each.type == "float" and not _is_number(value):
        return f"{FILE} declares {name} as float, and {text!r} is not a number"
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


def check_entry_point(root: Path, name: str) -> None:
    """Raise ConfigurationError if MLflow can't run ``name``, whatever the parameters' values."""
    document = read_document(root)
    if "databricks_spark_job" in document:
        raise ConfigurationError(
            "`databricks_spark_job` runs on Databricks only",
            hint="remove it, so that the pipeline runs everywhere",
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
            hint="write {{ and }} for literal braces",
            place=FILE,
        ) from None
    unknown = sorted({re.split(r"[.\[]", field)[0] for field in fields} - {str(each) for each in declared})
    if unknown:
        raise ConfigurationError(
            f"the command of entry point {name!r} uses {{{unknown[0]}}}, which is not one of its parameters",
            hint="declare it below `parameters`, or write {{ and }} for literal braces",
            place=FILE,
        )


def _check_environment(root: Path, document: Mapping[str, Any]) -> None:
    named = [key for key in ENVIRONMENTS if key in document]
    if len(named) > 1:
        raise ConfigurationError(
            f"{' and '.join(named)}: a project can have only one environment",
            hint="keep one of them",
            place=FILE,
        )
    for key in named:
        value = document[key]
        if key == DOCKER and not (isinstance(value, dict) and value.get("image")):
            raise ConfigurationError("`docker_env` names no `image`", place=FILE)
        if key != DOCKER and value and not (root / str(value)).is_file():
            # MLflow requires the file, although it uses the container's packages.
            raise ConfigurationError(f"`{key}` names {value}, which does not exist", place=FILE)
