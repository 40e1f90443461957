"""Finds the Python version that a project declares."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from rondel.scaffold.lenient import text_of, value_at

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PYTHON = "3.11"
_KNOWN = tuple(f"3.{minor}" for minor in range(7, 15))
_CLAUSE = re.compile(r"(?P<sign>\^|~=|==|>=|<=|!=|>|<|~|)\s*(?P<version>\d+(?:\.\d+)*(?:\.\*)?)")


def python_for(root: Path) -> str | None:
    """The version, such as ``3.10``; None if the project declares none."""
    for name in (".python-version", "runtime.txt"):
        found = re.search(r"\b3\.\d+", text_of(root / name))
        if found:
            return found[0]
    for name, keys in (
        ("pyproject.toml", (("project", "requires-python"), ("tool", "poetry", "dependencies", "python"))),
        ("Pipfile", (("requires", "python_version"), ("requires", "python_full_version"))),
    ):
        for path in keys:
            written = _at(root / name, path)
            if written:
                return best_version(written)
    return None


def best_version(written: str) -> str | None:
    """The best version in a range: the default one, else the next newer one, else the next older one."""
    allowed = [version for version in _KNOWN if _allows(written, version)]
    newer = [version for version in allowed if _KNOWN.index(version) >= _KNOWN.index(DEFAULT_PYTHON)]
    return newer[0] if newer else allowed[-1] if allowed else None


def _allows(written: str, version: str) -> bool:
    minor = int(version.partition(".")[2])
    return any(
        all(_holds(match["sign"], match["version"], minor) for match in _CLAUSE.finditer(alternative))
        for alternative in written.split("||")
    )


def _holds(sign: str, version: str, minor: int) -> bool:
    """Whether any patch version of 3.``minor`` fulfils a clause."""
    numbers = [int(part) for part in version.split(".") if part.isdigit()]
    if numbers[0] != 3 or len(numbers) == 1:
        # A clause such as `<4`, `>=3` or `^3`.
        return sign in {"<", "<="} if numbers[0] > 3 else sign not in {"<", "!="}
    bound, patch = numbers[1], numbers[2] if len(numbers) > 2 else 0
    if sign in {"==", "", "~"} or (sign == "~=" and len(numbers) > 2):
        return minor == bound
    if sign in {">=", "^", "~="}:
        return minor >= bound
    if sign == ">":
        return minor > bound or (minor == bound and len(numbers) > 2)
    if sign == "<":
        return minor < bound or (minor == bound and patch > 0)
    if sign == "<=":
        return minor <= bound
    return minor != bound or len(numbers) > 2


def _at(file: Path, keys: tuple[str, ...]) -> str:
    try:
        found = value_at(tomllib.loads(text_of(file)), *keys)
    except (tomllib.TOMLDecodeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""
