"""Settings from the command line, the environment and ``pyproject.toml``, in this order of precedence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError, did_you_mean
from rondel.settings.options import COMMAND_LINE, OPTIONS, Option, Settings

if TYPE_CHECKING:
    from pathlib import Path

YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"", "0", "false", "no", "off"})


def find_root(start: Path) -> Path:
    """The folder that holds the project: the nearest one upwards with a ``pyproject.toml`` or ``.git``.

    Raises ConfigurationError if there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "pyproject.toml").is_file() or (folder / ".git").exists():
            return folder
    raise ConfigurationError(
        f"no project at {start}",
        why="neither this folder nor one above it has a pyproject.toml or a git repository",
        hint="run this in the project's folder",
    )


@dataclass(frozen=True, slots=True)
class _Found:
    value: Any
    source: str


def load_settings(
    root: Path, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Merge what is set where; ``flags`` holds only the options that the command line gave.

    Raises ConfigurationError that names every wrong value with its place.
    """
    mistakes: list[tuple[str, str, str | None]] = []
    found: dict[str, _Found] = {}
    project, table = read_project(root)
    found |= _from_table(table, mistakes)
    found |= _from_environment(environ or {}, mistakes)
    for name, value in (flags or {}).items():
        found[name] = _Found(value, COMMAND_LINE)
    _raise(mistakes)
    settings = Settings(root=root, sources={name: each.source for name, each in found.items()})
    settings = replace(settings, **{name: each.value for name, each in found.items()})
    if not settings.name:
        settings = replace(settings, name=project or root.name)
    return settings


def _raise(mistakes: list[tuple[str, str, str | None]]) -> None:
    if len(mistakes) == 1:
        place, what, hint = mistakes[0]
        raise ConfigurationError(what, place=place, hint=hint)
    if mistakes:
        lines = (f"{place}: {what}" + (f" ({hint})" if hint else "") for place, what, hint in mistakes)
        raise ConfigurationError(f"{len(mistakes)} settings are wrong", why="\n".join(lines))


def read_project(root: Path) -> tuple[str | None, Mapping[str, Any]]:
    """The name in ``[project]`` and the table ``[tool.rondel]`` of ``pyproject.toml``; empty without one.

    Raises ConfigurationError for a file that can't be read, or in which these are no tables.
    """
    import tomllib

    file = root / "pyproject.toml"
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, {}
    except ValueError as error:  # bad TOML, bytes that are no text, a number too long for Python
        raise ConfigurationError("this is not valid TOML", why=str(error), place=str(file)) from None
    except RecursionError:
        raise ConfigurationError("this is not valid TOML", why="it nests too deep", place=str(file)) from None
    except OSError as error:
        raise ConfigurationError("the file can't be read", why=error.strerror, place=str(file)) from None
    name = table_of(document, "project").get("name")
    table = table_of(table_of(document, "tool"), "rondel", place="tool.rondel")
    return name if isinstance(name, str) else None, table


def table_of(parent: Mapping[str, Any], key: str, *, place: str = "") -> Mapping[str, Any]:
    """A table of ``pyproject.toml``, empty if it is not there; ConfigurationError for another value."""
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise ConfigurationError(f"{value!r} is no table", place=f"pyproject.toml: {place or key}")
    return value


OTHERS = ("ci.",)
"""Tables that other parts of Rondel read for themselves."""


def _from_table(table: Mapping[str, Any], mistakes: list[tuple[str, str, str | None]]) -> dict[str, _Found]:
    by_key = {option.key: option for option in OPTIONS if option.key}
    found: dict[str, _Found] = {}
    for key, value in _flatten(table, frozenset(by_key)):
        if key.startswith(OTHERS):
            continue
        place = f"pyproject.toml [tool.rondel] {key}"
        option = by_key.get(key)
        if option is None:
            mistakes.append((place, "there is no such option", did_you_mean(key, [k for k in by_key if k])))
            continue
        try:
            found[option.name] = _Found(convert(option, value), place)
        except ValueError as error:
            mistakes.append((place, str(error), None))
    return found


def _flatten(table: Mapping[str, Any], known: frozenset[str], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in known:
            yield from _flatten(value, known, f"{name}.")
        else:
            yield name, value


def _from_environment(
    environ: Mapping[str, str], mistakes: list[tuple[str, str, str | None]]
) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for option in OPTIONS:
        text = environ.get(option.env) if option.env else None
        if not text or option.env is None:
            continue
        try:
            found[option.name] = _Found(convert(option, text), option.env)
        except ValueError as error:
            mistakes.append((option.env, str(error), None))
    return found


def convert(option: Option, value: Any) -> Any:
    """The value of ``option`` from text or from TOML; ValueError says what is wrong with it."""
    return _CONVERT[option.kind](option, value)


def _yes_no(option: Option, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in YES:
        return True
    if word in NO:
        return False
    # CI=woodpecker and the like: there the variable's presence is what counts.
    if option.name == "ci":
        return True
    raise ValueError(f"{value!r} is neither true nor false")


def _text(_option: Option, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")  # noqa: TRY004 - collected with the other mistakes
    return value


def _choice(option: Option, value: Any) -> str:
    if value not in option.choices:
        raise ValueError(f"{value!r} is none of {', '.join(option.choices)}")
    return str(value)


def _number(_option: Option, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a whole number") from None
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number


def _list(_option: Option, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(word for word in value.replace(",", " ").split() if word)
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError(f"{value!r} is not a list of texts")


def _pairs(_option: Option, value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, Mapping):
        return tuple((str(key), str(text)) for key, text in value.items())
    words = [value] if isinstance(value, str) else value
    pairs: list[tuple[str, str]] = []
    for word in words:
        key, equals, text = str(word).partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{word!r} does not have the form NAME=VALUE")
        pairs.append((key.strip(), text))
    return tuple(pairs)


_CONVERT: Mapping[str, Callable[[Option, Any], Any]] = {
    "flag": _yes_no,
    "switch": _yes_no,
    "text": _text,
    "choice": _choice,
    "number": _number,
    "count": _number,
    "list": _list,
    "pairs": _pairs,
}
