"""Reads YAML files; errors name the file and the line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from rondel.errors import ConfigurationError
from rondel.files.yaml12 import use_yaml12_scalars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# libyaml if available: a run with nothing to do reads dvc.lock, and must stay under half a second.
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Fast):  # type: ignore[misc] # which of the two is known only when this runs
    """Rejects duplicate keys, as DVC does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping. Keys that ``<<`` merges may be set again."""
        written = list(node.value) if isinstance(node, yaml.MappingNode) else []
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(written) and not any(key.value == "<<" for key, _ in written):
            seen: set[str] = set()
            for key, _ in written:
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} appears twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return mapping


use_yaml12_scalars(_Loader)

MAX_DEPTH = 200
"""The maximal nesting of a file. libyaml's composer recurses without a limit."""

MAX_VALUES = 1_000_000
"""The maximal number of values when all aliases are expanded."""

_DEEP_LINE = re.compile(rf"^[ \t?:-]{{{MAX_DEPTH}}}", re.MULTILINE)


def parse_yaml(text: str, shown: str) -> Any:
    """Parse YAML into a tree of limited size. ``shown`` is the file's name in messages.

    Raises ConfigurationError with ``file:line`` if the text is not valid YAML or exceeds the limits.
    """
    check_conflict(text, shown)
    try:
        check_depth(text)
        value = yaml.load(text, _Loader)  # noqa: S506 - both loaders are the safe ones
    except yaml.YAMLError as error:
        line = problem_line(error, text)
        place = f"{shown}:{line}" if line else shown
        raise ConfigurationError("this is not valid YAML", why=problem(error), place=place) from None
    except (ValueError, TypeError, AttributeError, OverflowError, LookupError) as error:
        # A scalar that only looks like a date or a number: PyYAML does not catch the conversion error.
        line, scalar = _unreadable(text)
        raise ConfigurationError(
            "this value can't be read",
            why=f"{scalar[:80]}: {error}" if scalar else str(error),
            hint="quote it if it is a string",
            place=f"{shown}:{line}" if line else shown,
        ) from None
    if "*" in text and "&" in text:
        _check_aliases(value, shown)
    return value


_MARKER = re.compile(r"^(?:<{7}|>{7}|\|{7})(?: |$)", re.MULTILINE)
"""The lines that git writes around the two sides of a conflict."""


def check_conflict(text: str, shown: str) -> None:
    """Raise ConfigurationError with the line of a merge conflict, if the file has one."""
    found = _MARKER.search(text) if "<<<<<<<" in text or ">>>>>>>" in text else None
    if found is None:
        return
    hint = f"resolve it, then `git add {shown}`"
    if shown.rpartition("/")[2] == "dvc.lock":
        hint = (
            f"take one side (`git checkout --ours {shown}` or `--theirs`), then `git add {shown}`; "
            "the stages of the other side then run again"
        )
    raise ConfigurationError(
        "this file has a merge conflict",
        why="it has both sides, between <<<<<<< and >>>>>>>",
        hint=hint,
        place=f"{shown}:{text.count(chr(10), 0, found.start()) + 1}",
    )


def problem(error: yaml.YAMLError) -> str:
    """The error's message without the position."""
    if isinstance(error, yaml.reader.ReaderError):
        # From libyaml it is a number, from PyYAML a character.
        found = error.character
        return f"the character U+{found if isinstance(found, int) else ord(found):04X} is not allowed"
    return str(getattr(error, "problem", None) or error)


def problem_line(error: yaml.YAMLError, text: str) -> int | None:
    """The line of the error, counted from 1."""
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else None


def check_depth(text: str) -> None:
    """Raise YAMLError if the text nests too deep: composing it would overflow the stack."""
    # Fast path for every real file: nesting needs brackets or indentation.
    if text.count("[") + text.count("{") < MAX_DEPTH and not _DEEP_LINE.search(text):
        return
    depth = 0
    for event in yaml.parse(text, _Fast):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(
                    problem=f"it nests more than {MAX_DEPTH} levels deep", problem_mark=mark
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unreadable(text: str) -> tuple[int | None, str]:
    """The line and text of the first scalar that can't be converted."""
    loader = _Loader("")
    for event in _nodes(yaml.compose(text, _Loader)):
        try:
            loader.construct_object(event)
        except (ValueError, TypeError, AttributeError, OverflowError, LookupError, yaml.YAMLError):
            return event.start_mark.line + 1, event.value
    return None, ""


def _nodes(root: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.CollectionNode) and id(node) not in seen:
            seen.add(id(node))
            pairs = isinstance(node, yaml.MappingNode)
            children = [each for pair in node.value for each in pair] if pairs else node.value
            stack.extend(reversed(children))


def _check_aliases(value: Any, shown: str) -> None:
    """Refuse a value that contains itself, or that is huge once its aliases are written out."""
    sizes: dict[int, int] = {}

    def size(each: Any) -> int:
        if not isinstance(each, dict | list | tuple | set):
            return 1
        known = sizes.get(id(each))
        if known == 0:
            raise ConfigurationError(
                "an alias stands inside of what it is the alias of",
                why="such a value has no end",
                hint="remove the `*alias`, or the `&anchor` around it",
                place=shown,
            )
        if known is None:
            sizes[id(each)] = 0
            items = [*each.keys(), *each.values()] if isinstance(each, dict) else list(each)
            known = sizes[id(each)] = 1 + sum(map(size, items))
        return known

    if size(value) > MAX_VALUES:
        raise ConfigurationError(
            f"this file expands to more than {MAX_VALUES:,} values".replace(",", " "),
            why="its aliases repeat one another",
            place=shown,
        )


def read_yaml(path: Path, shown: str) -> Any:
    """Parse a YAML file; None if it does not exist. Raises ConfigurationError."""
    try:
        text = read_text(path, shown)
    except FileNotFoundError:
        return None
    return parse_yaml(text, shown)


def read_text(path: Path, shown: str) -> str:
    """Read a text file. ``shown`` is its name in messages.

    Raises FileNotFoundError, or ConfigurationError if it can't be read for another reason.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            "the file can't be read",
            why=f"byte {error.start} is not UTF-8; is this a text file?",
            hint="save it as UTF-8",
            place=shown,
        ) from None
    except OSError as error:
        raise ConfigurationError("the file can't be read", why=error.strerror, place=shown) from None


def line_of(text: str, *keys: str) -> int | None:
    """The line of a nested key, counted from 1, or of its innermost existing parent."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    line: int | None = None
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return line
        for name, value in node.value:
            if name.value == key:
                line, node = name.start_mark.line + 1, value
                break
        else:
            return line
    return line
