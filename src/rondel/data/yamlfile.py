"""YAML files with mistakes that are told by file and line, and atomic writing."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from rondel.errors import ConfigurationError

# libyaml where it is there: dvc.lock is read on the path that has half a second in all.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str, shown: str) -> Any:
    """The value of a YAML text. ``shown`` is the file's name for messages.

    Raises ConfigurationError with ``file:line`` where the text is no YAML.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - both loaders are the safe ones
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{shown}:{mark.line + 1}" if mark else shown
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError("this is no valid YAML", why=problem, place=place) from None


def read_yaml(path: Path, shown: str) -> Any:
    """The value of a YAML file; None if it does not exist. Raises ConfigurationError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("the file can't be read", why=str(error), place=shown) from None
    return parse_yaml(text, shown)


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


def write_atomic(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace ``path`` by ``content`` so that no reader and no crash ever sees half of it.

    Keeps the mode of a file that was there; a new one gets ``mode`` or the
    usual one. Writes through a symbolic link instead of replacing it.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None:
        try:
            mode = path.stat().st_mode & 0o7777
        except OSError:
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
