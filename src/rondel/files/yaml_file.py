"""YAML files with mistakes that are told by file and line, and atomic writing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from rondel.errors import ConfigurationError
from rondel.files.yaml12 import read_as_1_2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# libyaml where it is there: dvc.lock is read on the path that has half a second in all.
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Fast):  # type: ignore[misc] # which of the two is known only when this runs
    """Takes a key that is there twice for the mistake that it is, as DVC does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping; what is merged by ``<<`` may be set again."""
        written = list(node.value) if isinstance(node, yaml.MappingNode) else []
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(written) and not any(key.value == "<<" for key, _ in written):
            seen: set[str] = set()
            for key, _ in written:
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return mapping


read_as_1_2(_Loader)

DEEPEST = 200
"""Levels of nesting that a file may have. libyaml's composer calls itself for each, without a limit."""

LARGEST = 1_000_000
"""Values that a file may stand for when its aliases are written out."""

_DEEP_LINE = re.compile(rf"^[ \t?:-]{{{DEEPEST}}}", re.MULTILINE)


def parse_yaml(text: str, shown: str) -> Any:
    """The value of a YAML text: a tree, of a size that can be walked. ``shown`` names the file in messages.

    Raises ConfigurationError with ``file:line`` where the text is no YAML, or
    none that can be worked with.
    """
    check_conflict(text, shown)
    try:
        check_depth(text)
        value = yaml.load(text, _Loader)  # noqa: S506 - both loaders are the safe ones
    except yaml.YAMLError as error:
        line = problem_line(error, text)
        place = f"{shown}:{line}" if line else shown
        raise ConfigurationError("this is no valid YAML", why=problem(error), place=place) from None
    except (ValueError, TypeError, AttributeError, OverflowError, LookupError) as error:
        # A scalar that looks like a date or number and is none: PyYAML passes on what its conversion raises.
        line, scalar = _unreadable(text)
        raise ConfigurationError(
            "this value can't be read",
            why=f"{scalar[:80]}: {error}" if scalar else str(error),
            hint="put it in quotes if it is a text",
            place=f"{shown}:{line}" if line else shown,
        ) from None
    if "*" in text and "&" in text:
        _check_aliases(value, shown)
    return value


_MARKER = re.compile(r"^(?:<{7}|>{7}|\|{7})(?: |$)", re.MULTILINE)
"""The lines that git puts around the two sides of a conflict."""


def check_conflict(text: str, shown: str) -> None:
    """Raise ConfigurationError, with the line, where git left a merge conflict in a file."""
    found = _MARKER.search(text) if "<<<<<<<" in text or ">>>>>>>" in text else None
    if found is None:
        return
    hint = f"edit it, remove the markers, then `git add {shown}`"
    if shown.rpartition("/")[2] == "dvc.lock":
        hint = (
            f"take one side (`git checkout --ours {shown}` or `--theirs`), then `git add {shown}`; "
            "stages that the other side ran run again"
        )
    raise ConfigurationError(
        "this file has a merge conflict",
        why="git left both sides in it, between <<<<<<< and >>>>>>>",
        hint=hint,
        place=f"{shown}:{text.count(chr(10), 0, found.start()) + 1}",
    )


def problem(error: yaml.YAMLError) -> str:
    """What is wrong, without the place."""
    if isinstance(error, yaml.reader.ReaderError):
        # libyaml's is a number, PyYAML's own a character.
        found = error.character
        return f"the character U+{found if isinstance(found, int) else ord(found):04X} may not stand in it"
    return str(getattr(error, "problem", None) or error)


def problem_line(error: yaml.YAMLError, text: str) -> int | None:
    """The line that the error is about, counted from 1."""
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else None


def check_depth(text: str) -> None:
    """Raise YAMLError for a text that nests deeper than any real one: composing it would end the process."""
    # The quick way for every real file: levels need brackets, or indentation.
    if text.count("[") + text.count("{") < DEEPEST and not _DEEP_LINE.search(text):
        return
    depth = 0
    for event in yaml.parse(text, _Fast):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(
                    problem=f"it nests more than {DEEPEST} levels deep", problem_mark=mark
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unreadable(text: str) -> tuple[int | None, str]:
    """Line and text of the first scalar that does not convert."""
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

    if size(value) > LARGEST:
        raise ConfigurationError(
            f"this file stands for more than {LARGEST:,} values".replace(",", " "),
            why="its aliases repeat one another",
            place=shown,
        )


def read_yaml(path: Path, shown: str) -> Any:
    """The value of a YAML file; None if it does not exist. Raises ConfigurationError."""
    try:
        text = read_text(path, shown)
    except FileNotFoundError:
        return None
    return parse_yaml(text, shown)


def read_text(path: Path, shown: str) -> str:
    """The text of a file that a person wrote. ``shown`` is its name for messages.

    Raises FileNotFoundError, and ConfigurationError for what can't be read for another reason.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            "the file can't be read",
            why=f"byte {error.start} is no UTF-8: is this a text file?",
            hint="save it as UTF-8",
            place=shown,
        ) from None
    except OSError as error:
        raise ConfigurationError("the file can't be read", why=error.strerror, place=shown) from None


def line_of(text: str, *keys: str) -> int | None:
    """The line on which the nested key stands, counted from 1; None where there is none."""
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
