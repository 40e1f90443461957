"""What ARG, ENV and ONBUILD mean, for the plan of a stage and for the list of what it copies."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.containerfile.syntax import ContainerfileError, Instruction, Words, read

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_TRIGGER = re.compile(r"\s*onbuild\s+", re.IGNORECASE)


def declare(
    at: Instruction,
    scope: MutableMapping[str, str],
    given: Mapping[str, str],
    inherited: Mapping[str, str],
    words: Words,
) -> None:
    """ARG: put what it declares into ``scope``; a given argument wins over a default.

    ``words`` has to look into ``scope``, so that a default may name an argument of the same line.
    """
    if not at.args:
        raise at.error("ARG requires at least one argument")
    for word in at.args:
        raw, equals, default = word.partition("=")
        name = words.word(raw, at)
        if not name:
            raise at.error("ARG names can not be blank")
        if name in given:
            scope[name] = given[name]
        elif equals:
            scope[name] = words.word(default, at)
        elif name in inherited:
            scope[name] = inherited[name]


def pairs(at: Instruction, words: Words) -> dict[str, str]:
    """ENV and LABEL: the names and values of a line, all of which see what was before the line."""
    if not at.args:
        raise at.error(f"{at.name} requires at least one argument")
    found: dict[str, str] = {}
    for raw, value in zip(at.args[::2], at.args[1::2], strict=True):
        name = words.word(raw, at)
        if not name:
            raise at.error(f"{at.name} names can not be blank")
        found[name] = words.word(value, at)
    return found


def trigger_of(at: Instruction) -> str:
    """ONBUILD: the text of the trigger."""
    trigger = _TRIGGER.sub("", at.source, count=1).strip()
    name = trigger.split(maxsplit=1)[0].upper() if trigger else ""
    if not name or at.source.strip().upper() == "ONBUILD":
        raise at.error("ONBUILD requires at least one argument")
    if name == "ONBUILD":
        raise at.error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if name in ("MAINTAINER", "FROM"):
        raise at.error(f"{name} isn't allowed as an ONBUILD trigger")
    return trigger


def triggered(trigger: str, at: Instruction) -> Instruction:
    """The instruction that a base's trigger holds. Faults in it are reported at ``at``, the stage's FROM."""
    try:
        (instruction,) = read(trigger, at.file).instructions
    except (ContainerfileError, ValueError) as error:
        what = error.what if isinstance(error, ContainerfileError) else "it is not a single instruction"
        raise at.error(f"the base image's trigger ONBUILD {trigger}: {what}") from None
    if instruction.name in ("FROM", "ONBUILD", "MAINTAINER"):
        raise at.error(f"{instruction.name} isn't allowed as an ONBUILD trigger")
    return replace(instruction, line=at.line)
