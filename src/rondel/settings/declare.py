"""How an option is declared: once, as a field of the dataclass that holds its value."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["flag", "switch", "text", "choice", "number", "list", "pairs", "count"]
Concern = Literal["result", "run", "machine", "command"]
"""What an option concerns, which decides where it applies.

``result``: what is computed. Recorded, and repeated with the run on any machine.
``run``: what to run, and what to do with results. Recorded; ``--resume`` repeats it.
``machine``: where and with what to run. Recorded for information, and not applied elsewhere.
``command``: this command only. Not recorded.
"""


COMMAND_LINE = "the command line"
"""The source of a setting from a flag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option, and how to write it in each place that can set it.

    ``flags`` are command line flags; ``env`` is the environment variable; ``key``
    is the dotted key in ``[tool.rondel]``. Without one of them, the option can't
    be set there. ``concerns`` says where it applies. A *flag* turns something on; a
    *switch* also has a ``--no-`` form. ``check`` raises ValueError for a wrong value
    of the right type; the second argument of the error is a hint.
    """

    name: str
    kind: Kind
    help: str
    default: Any
    flags: tuple[str, ...] = ()
    env: str | None = None
    key: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    concerns: Concern
    bare: str | None = None
    """The value of the flag without one; None if the flag needs a value."""
    check: Callable[[Any], None] | None = None


def declare(
    kind: Kind,
    help_: str,
    default: Any,
    *,
    concerns: Concern,
    flags: tuple[str, ...] = (),
    env: str | None = None,
    key: str | None = None,
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    bare: str | None = None,
    check: Callable[[Any], None] | None = None,
) -> Any:
    """A dataclass field that is an option."""
    option = {
        "kind": kind,
        "help": help_,
        "flags": flags,
        "env": env,
        "key": key,
        "metavar": metavar,
        "choices": choices,
        "concerns": concerns,
        "bare": bare,
        "check": check,
    }
    return field(default=default, metadata={"option": option})


def declared(group: type[Any]) -> tuple[Option, ...]:
    """The options that the fields of a dataclass declare, in their order."""
    return tuple(
        Option(name=each.name, default=each.default, **each.metadata["option"])
        for each in fields(group)
        if "option" in each.metadata
    )


def flag_words(option: Option, value: Any) -> list[str]:
    """The words on a command line that set ``option`` to ``value``."""
    flag = next((flag for flag in option.flags if flag.startswith("--")), option.flags[0])
    if option.kind == "flag":
        return [flag] if value else []
    if option.kind == "switch":
        return [flag] if value else [f"--no-{flag.removeprefix('--')}"]
    if option.kind == "count":
        return [flag] * int(value)
    if option.kind == "pairs":
        return [word for key, text in value for word in (option.flags[0], f"{key}={text}")]
    if option.kind == "list":
        return [word for text in value for word in (flag, text)]
    text = str(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]
