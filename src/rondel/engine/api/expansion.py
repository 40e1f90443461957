"""``expand``: variables of the container in arguments and paths.

The rules are those of Go's ``os.Expand``, as in the recorded engine: ``$NAME``, ``${NAME}``,
one-character names such as ``$$``. An unknown name is empty; an invalid name is removed
together with its dollar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.errors import EngineError

if TYPE_CHECKING:
    from rondel.engine.values import Container

_SPECIAL = "*#$@!?-0123456789"


def expanded(container: Container, text: str) -> str:
    """The text with the container's plain variables expanded. Raises EngineError for other variables."""
    secret = {name for name, _ in container.secret_env}
    volatile = {name for name, _ in container.volatile_env}
    values = dict(container.config.env)

    def value(name: str) -> str:
        if name in secret:
            raise EngineError(f'expand cannot be used with secret env variable "{name}"')
        if name in volatile:
            raise EngineError(f'expand cannot be used with volatile env variable "{name}"')
        return values.get(name, "")

    parts: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
        parts.append(text[at:dollar])
        name, width = _name(text[dollar + 1 :])
        if name:
            parts.append(value(name))
        elif not width:
            parts.append("$")  # a dollar stays if no name can follow
        at = dollar + 1 + width
    parts.append(text[at:])
    return "".join(parts)


def expand_path(container: Container, path: str, expand: bool = True) -> str:
    """A path argument, expanded if the caller requested it."""
    return expanded(container, path) if expand else path


def _name(text: str) -> tuple[str, int]:
    """The name at the beginning of a text that follows a dollar, and its length with braces."""
    if text[0] == "{":
        if len(text) > 2 and text[1] in _SPECIAL and text[2] == "}":
            return text[1], 3
        end = text.find("}", 1)
        if end < 0:
            return "", 1  # an open brace is removed
        return ("", 2) if end == 1 else (text[1:end], end + 1)
    if text[0] in _SPECIAL:
        return text[0], 1
    width = 0
    while width < len(text) and (text[width].isascii() and (text[width].isalnum() or text[width] == "_")):
        width += 1
    return text[:width], width
