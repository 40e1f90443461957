"""Options from the command line, the environment and ``pyproject.toml``, in this order of precedence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError, did_you_mean
from rondel.settings.ci import CI_OPTIONS, CiOptions
from rondel.settings.declare import COMMAND_LINE
from rondel.settings.options import OPTIONS, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.settings.declare import Option

_ALL = (*OPTIONS, *CI_OPTIONS)

YES = frozenset({"1", "true", "yes", "on"})
NO = frozenset({"", "0", "false", "no", "off"})


def find_root(start: Path) -> Path:
    """The project's folder: ``start`` or its closest parent with a ``pyproject.toml`` or ``.git``.

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
class _Setting:
    value: Any
    source: str


def load_settings(
    root: Path, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """The options of a run; ``flags`` has only those that the command line gave.

    Raises ConfigurationError that names every wrong value with its place, also
    those of ``[tool.rondel.ci]``.
    """
    project, table = read_project(root)
    values, sources = _load(OPTIONS, table, flags, environ)
    settings = replace(Settings(root=root, sources=sources), **values)
    return settings if settings.name else replace(settings, name=project or root.name)


def load_ci_options(
    root: Path, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> CiOptions:
    """The options of ``[tool.rondel.ci]``. Raises as :func:`load_settings` does."""
    values, sources = _load(CI_OPTIONS, read_project(root)[1], flags, environ)
    return CiOptions(sources=sources, **values)


def _load(
    group: Sequence[Option],
    table: Mapping[str, Any],
    flags: Mapping[str, Any] | None,
    environ: Mapping[str, str] | None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and sources of a group's options by name; the options of all groups are checked."""
    mistakes: list[ConfigurationError] = []
    found = _from_table(table, mistakes) | _from_environment(environ or {}, mistakes)
    _raise(mistakes)
    given = {option.name: found[option] for option in group if option in found}
    given |= {name: _Setting(value, COMMAND_LINE) for name, value in (flags or {}).items()}
    values = {name: each.value for name, each in given.items()}
    return values, {name: each.source for name, each in given.items()}


def _raise(mistakes: list[ConfigurationError]) -> None:
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        lines = (f"{each.place}: {each.what}" + (f" ({each.hint})" if each.hint else "") for each in mistakes)
        raise ConfigurationError(f"{len(mistakes)} settings are wrong", why="\n".join(lines))


def read_project(root: Path) -> tuple[str | None, Mapping[str, Any]]:
    """The name in ``[project]`` and the table ``[tool.rondel]`` of ``pyproject.toml``; empty without one.

    Raises ConfigurationError if the file can't be read, or if these are not tables.
    """
    import tomllib

    file = root / "pyproject.toml"
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, {}
    except ValueError as error:  # invalid TOML, bytes that are not text, a number too long for Python
        raise ConfigurationError("this is not valid TOML", why=str(error), place=str(file)) from None
    except RecursionError:
        raise ConfigurationError(
            "this is not valid TOML", why="it is nested too deeply", place=str(file)
        ) from None
    except OSError as error:
        raise ConfigurationError("the file can't be read", why=error.strerror, place=str(file)) from None
    name = _table_of(document, "project").get("name")
    table = _table_of(_table_of(document, "tool"), "rondel", place="tool.rondel")
    return name if isinstance(name, str) else None, table


def _table_of(parent: Mapping[str, Any], key: str, *, place: str = "") -> Mapping[str, Any]:
    value = parent.get(key, {})
    if not isinstance(value, dict):
        raise ConfigurationError(f"{value!r} is not a table", place=f"pyproject.toml: {place or key}")
    return value


def _from_table(table: Mapping[str, Any], mistakes: list[ConfigurationError]) -> dict[Option, _Setting]:
    by_key = {option.key: option for option in _ALL if option.key}
    found: dict[Option, _Setting] = {}
    for key, value in _flatten(table, frozenset(by_key)):
        place = f"pyproject.toml [tool.rondel] {key}"
        option = by_key.get(key)
        if option is not None:
            _convert(option, value, place, found, mistakes)
        elif any(known.startswith(f"{key}.") for known in by_key):
            mistakes.append(ConfigurationError(f"{value!r} is not a table", place=place))
        else:
            hint = did_you_mean(key, by_key)
            mistakes.append(ConfigurationError("there is no such option", hint=hint, place=place))
    return found


def _flatten(table: Mapping[str, Any], known: frozenset[str], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in known:
            yield from _flatten(value, known, f"{name}.")
        else:
            yield name, value


def _from_environment(
    environ: Mapping[str, str], mistakes: list[ConfigurationError]
) -> dict[Option, _Setting]:
    found: dict[Option, _Setting] = {}
    for option in _ALL:
        if option.env and (text := environ.get(option.env)):
            _convert(option, text, option.env, found, mistakes)
    return found


def _convert(
    option: Option,
    value: Any,
    place: str,
    found: dict[Option, _Setting],
    mistakes: list[ConfigurationError],
) -> None:
    try:
        found[option] = _Setting(convert(option, value), place)
    except ValueError as error:
        what, *hint = error.args
        mistakes.append(ConfigurationError(what, hint=hint[0] if hint else None, place=place))


def convert(option: Option, value: Any) -> Any:
    """The value of ``option`` from text or from TOML.

    Raises ValueError that says what is wrong, with a hint as its second argument if there is one.
    """
    converted = _CONVERT[option.kind](option, value)
    if option.check is not None:
        option.check(converted)
    return converted


def _yes_no(_option: Option, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise ValueError(f"{value!r} is neither true nor false")


def _text(_option: Option, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")  # noqa: TRY004 - collected with the other mistakes
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
