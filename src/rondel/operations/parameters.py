"""Parameters that ``-P`` can set: each kind parses the text of a value and checks its type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


class SettableParameter(Protocol):
    """A parameter that ``-P`` can set; ``own`` is its name within the stage."""

    @property
    def own(self) -> str:
        """The name within the stage."""

    def read(self, text: str, place: str) -> Any:
        """Parse ``text``. Raises ConfigurationError."""


@dataclass(frozen=True, slots=True)
class FileParameter:
    """A parameter of a dvc stage, with its value in the parameter file."""

    own: str
    value: Any

    def read(self, text: str, place: str) -> Any:
        """Parse ``text`` as YAML, but keep it as it is if the file's value is a string."""
        from rondel.data.param_types import fits, misfit, typed

        if not text.strip():
            if isinstance(self.value, str):
                return ""
            # `-P rate=$RATE` with an unset variable.
            raise ConfigurationError("the value is empty", hint="null means no value", place=place)
        value = typed(text, _yaml(text, place), self.value)
        if not fits(value, self.value):
            raise ConfigurationError(
                f"wrong type of value for the parameter {self.own!r}",
                why=misfit(value, self.value, "the parameter file"),
                place=place,
            )
        return value


@dataclass(frozen=True, slots=True)
class EntryPointParameter:
    """A parameter of an entry point, with the entry point's parameters in ``MLproject``."""

    own: str
    declared: Mapping[str, Any]

    def read(self, text: str, place: str) -> Any:
        """Keep the text, which MLflow passes on, unless it is the usual form of a number."""
        from rondel.data.mlproject_check import value_problem

        if why := value_problem(self.declared, self.own, text):
            raise ConfigurationError(
                f"wrong type of value for the parameter {self.own!r}", why=why, place=place
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
