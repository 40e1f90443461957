"""Validates capsules that come from elsewhere.

Anybody may have written a capsule. Before a command acts on one, each text in
it that would be used as a path, a revision or a word of a command line has to
match a narrow format. Otherwise the capsule is rejected.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from rondel.errors import RecordError
from rondel.record.folder import ID
from rondel.record.snapshot import DIFF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rondel.record.capsule import Capsule

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MAX_STAGES = 10_000
MAX_NUMBER = 1e12


def is_safe_path(path: str) -> bool:
    """Whether ``path`` is a plain relative path that stays in its folder and outside of ``.git``."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and not path.startswith(("/", "-"))
        and "\\" not in path
        and not _CONTROL.search(path)
        and ".." not in parts
        and not any(part.lower() in {".git", ".git."} or part.lower().startswith("git~") for part in parts)
        and len(path) <= 4096
        and all(len(part.encode("utf-8", "surrogatepass")) <= 255 for part in parts)
    )


def printable(text: str) -> str:
    """A line that is safe to print: control characters are escaped, and colours removed.

    Otherwise a capsule could overwrite what the terminal shows of it.
    """
    plain = _COLOUR.sub("", text)
    return "".join(
        each if each.isprintable() or each == "\t" else each.encode("unicode_escape").decode()
        for each in plain
    )


def validate(capsule: Capsule, place: str) -> Capsule:
    """Return the capsule, or raise RecordError with all problems if it must not be used."""
    problems = list(_problems(capsule))
    if problems:
        more = f"\nand {len(problems) - 10} more" if len(problems) > 10 else ""
        raise RecordError(
            "the capsule has values that no Rondel run writes",
            why="\n".join(problems[:10]) + more,
            hint="nothing of it was used; do not trust its source",
            place=place,
        )
    return capsule


def _problems(capsule: Capsule) -> Iterator[str]:
    git = capsule.git
    if not ID.fullmatch(capsule.id):
        yield f"id: {_shown(capsule.id)} is not a run ID"
    if not is_safe_path(capsule.file) or not capsule.file.endswith(".py"):
        yield f"file: {_shown(capsule.file)} is not a Python file of the project"
    if git.commit is not None and not _COMMIT.fullmatch(git.commit):
        yield f"git.commit: {_shown(git.commit)} is not a commit hash"
    if git.diff not in {"", DIFF}:
        yield f"git.diff: {_shown(git.diff)} is not {DIFF}"
    if git.prefix and not is_safe_path(git.prefix):
        yield f"git.prefix: {_shown(git.prefix)} leaves the repository"
    for path, digest in git.untracked.items():
        if not is_safe_path(path):
            yield f"git.untracked: {_shown(path)} leaves the project"
        if not _SHA256.fullmatch(digest):
            yield f"git.untracked: {_shown(digest)} is not a SHA-256"
    for kind, names in (("environment", capsule.environment), ("secrets", capsule.secrets)):
        for name in names:
            if not _NAME.fullmatch(name):
                yield f"{kind}: {_shown(name)} is not a variable name"
    for name, value in capsule.environment.items():
        if "\0" in value:
            yield f"environment: the value of {name} contains a NUL"
    for name in (*capsule.targets, *(record.name for record in capsule.stages)):
        if not name or name.startswith("-") or _CONTROL.search(name) or len(name) > 512:
            yield f"stages: {_shown(name)} is not a stage name"
    for name, value in capsule.overrides.items():
        if not name or name.startswith("-") or "=" in name or _CONTROL.search(name + value):
            yield f"overrides: {_shown(name)} is not a parameter name"
    yield from _stage_problems(capsule)


def _stage_problems(capsule: Capsule) -> Iterator[str]:
    names = [record.name for record in capsule.stages]
    if len(names) > MAX_STAGES:
        yield f"stages: there are {len(names)}, more than {MAX_STAGES}"
    if len(set(names)) != len(names):
        yield "stages: two have the same name"
    numbers = [("seconds", capsule.seconds)]
    for record in capsule.stages:
        where = f"stage {_shown(record.name)}"
        numbers += [(f"{where}.seconds", record.seconds), (f"{where}.attempts", record.attempts)]
        if record.log is not None and not (is_safe_path(record.log) and record.log.startswith("logs/")):
            yield f"{where}: log {_shown(record.log)} leaves the run's folder"
        for path in (*record.inputs, *record.outputs):
            if _CONTROL.search(path):
                yield f"{where}: {_shown(path)} is not a path"
    for place, number in numbers:
        if not math.isfinite(number) or not 0 <= number <= MAX_NUMBER:
            yield f"{place}: {number} is not a valid number"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")
