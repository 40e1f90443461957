"""Values that ``-P`` gives: read as what the parameter takes, or refused with what it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Parameter(Protocol):
    """A parameter that ``-P`` may set; ``own`` is the name that the stage knows it by."""

    @property
    def own(self) -> str:
        """The name within the stage."""

    def read(self, text: str, place: str) -> Any:
        """The value that ``text`` stands for. Raises ConfigurationError."""


@dataclass(frozen=True, slots=True)
class InFile:
    """A parameter of a dvc stage, with the value that its file has."""

    own: str
    value: Any

    def read(self, text: str, place: str) -> Any:
        """YAML, except where the file has a text: then ``text`` is one as it stands."""
        from rondel.data.param_types import fits, misfit, typed

        if not text.strip():
            if isinstance(self.value, str):
                return ""
            # `-P rate=$RATE` with a variable that is not set.
            raise ConfigurationError("the value is empty", hint="null stands for no value", place=place)
        value = typed(text, _yaml(text, place), self.value)
        if not fits(value, self.value):
            raise ConfigurationError(
                f"a value of the wrong kind for the parameter {self.own!r}",
                why=misfit(value, self.value, "the parameter file"),
                place=place,
            )
        return value


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter of an entry point, with what ``MLproject`` declares of it."""

    own: str
    declared: Mapping[str, Any]

    def read(self, text: str, place: str) -> Any:
        """The text itself, which is what MLflow passes on; a number where it is written as one."""
        from rondel.data.mlproject_check import value_problem

        if why := value_problem(self.declared, self.own, text):
            raise ConfigurationError(
                f"a value of the wrong type for the parameter {self.own!r}", why=why, place=place
            )
        for number in (int, float):
            try:
                value = number(text)
            except ValueError:
                continue
            if str(value) == text:
                return value
        return text


def _yaml(text: str, place: str) -> Any:
    from rondel.files.yaml_file import parse_yaml

    try:
        return parse_yaml(text, place)
    except ConfigurationError as error:
        raise ConfigurationError(
            "the value is not valid YAML", why=error.why, hint=error.hint, place=place
        ) from None
