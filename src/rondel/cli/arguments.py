"""Builds command line flags from the declared options."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from rondel.errors import ConfigurationError, RondelError, did_you_mean
from rondel.reports.terminal import coloured, paint
from rondel.settings.load import convert
from rondel.settings.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.settings import Option


@dataclass(frozen=True, slots=True)
class Arguments:
    """The targets and the options of a command line, without options that it does not set."""

    targets: tuple[str, ...]
    flags: dict[str, Any] = field(default_factory=dict)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises ConfigurationError."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigurationError instead of ending the process."""
        hint = f"`{self.prog} --help` lists the flags"
        words = message.split("unrecognized arguments: ")
        if len(words) == 2:
            known = [flag for action in self._actions for flag in action.option_strings]
            if not words[1].lstrip().startswith("-"):
                raise ConfigurationError(f"unexpected argument {words[1]!r}", hint=hint)
            unknown = words[1].split()[0].partition("=")[0]
            raise ConfigurationError(f"there is no flag {unknown}", hint=did_you_mean(unknown, known))
        raise ConfigurationError(message, hint=hint)


def make_parser(program: str) -> Parser:
    """The parser of a pipeline's command line."""
    parser = Parser(prog=program, description="Run stages of this pipeline.", allow_abbrev=False)
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="run these stages and what they need")
    add_options(parser, OPTIONS)
    return parser


def add_options(parser: Parser, options: Sequence[Option]) -> None:
    """Add the flags of declared options."""
    for option in options:
        if option.flags:
            _add(parser, option)


def given_options(arguments: argparse.Namespace, options: Sequence[Option]) -> dict[str, Any]:
    """The values of the options that the command line gave. Raises ConfigurationError for a wrong one."""
    given: dict[str, Any] = {}
    for option in options:
        value = getattr(arguments, option.name, None)
        if value is None or (option.kind == "count" and not value):
            continue
        try:
            given[option.name] = convert(option, value)
        except ValueError as error:
            what, *hint = error.args
            place = option.flags[-1]
            raise ConfigurationError(what, hint=hint[0] if hint else None, place=place) from None
    return given


def _add(parser: Parser, option: Option) -> None:
    help_ = (option.help + (f" [{option.env}]" if option.env else "")).replace("%", "%%")
    common: dict[str, Any] = {
        "dest": option.name,
        "default": argparse.SUPPRESS,
        "help": help_,
    }
    if option.kind == "flag":
        parser.add_argument(*option.flags, action="store_true", **common)
    elif option.kind == "switch":
        parser.add_argument(*option.flags, action=argparse.BooleanOptionalAction, **common)
    elif option.kind == "count":
        parser.add_argument(*option.flags, action="count", **{**common, "default": 0})
    elif option.kind in {"pairs", "list"}:
        parser.add_argument(*option.flags, action="append", metavar=option.metavar, **common)
    else:
        metavar = option.metavar or ("|".join(option.choices) if option.choices else None)
        if option.bare is not None:
            common |= {"nargs": "?", "const": option.bare}
        parser.add_argument(*option.flags, metavar=metavar, **common)


def parse(argv: Sequence[str], *, program: str) -> Arguments:
    """Read a command line. Raises ConfigurationError with the nearest flag for an unknown one."""
    found = make_parser(program).parse_intermixed_args(list(argv))
    return Arguments(tuple(found.targets), given_options(found, OPTIONS))


def show_error(error: RondelError) -> None:
    """Print an error on stderr; on a terminal, the first line is red."""
    first, newline, rest = error.render().partition("\n")
    print(f"{paint(first, '31;1', colour=coloured(sys.stderr))}{newline}{rest}", file=sys.stderr)
