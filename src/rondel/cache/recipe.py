"""The image part of a key: what the stages' image is made from.

Two machines never build the same image digest, so not the digest but the
recipe is keyed: the Containerfile, the files that it copies by hash, build
arguments, platform. Where the image stands on this machine's own system (the
embedded engine's host image), its distribution, interpreter and packages are
a part of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.files.yaml_file import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PYTHON_ARGUMENT = "PYTHON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an image is made from. ``copies`` are the sources of COPY and ADD, as they are written."""

    file: str
    parts: Mapping[str, str] = field(default_factory=dict)
    copies: tuple[str, ...] = ()


_CONTINUED = re.compile(r"\\[ \t]*\n")
_COPY = re.compile(r"^\s*(?:COPY|ADD)\s+(.*)$", re.IGNORECASE | re.MULTILINE)
_MOUNT = re.compile(r"--mount=(\S+)")


_FROM = re.compile(
    r"^\s*FROM\s+(?:--\S+\s+)*(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?\s*$", re.IGNORECASE | re.MULTILINE
)
_USED = re.compile(r"(?:--from=|[,=]from=)([^\s,]+)", re.IGNORECASE)


def needed_text(text: str, target: str) -> str:
    """The part of a Containerfile that building ``target`` needs: its stages, and what precedes them.

    An unknown target (the last stage, with an empty name) means all of it.
    """
    starts = list(_FROM.finditer(text))
    if not starts:
        return text  # the engine says what is wrong with it
    ends = [match.start() for match in starts[1:]] + [len(text)]
    blocks = [text[match.start() : end] for match, end in zip(starts, ends, strict=True)]
    names = {(match["name"] or "").lower(): number for number, match in enumerate(starts) if match["name"]}
    if target.lower() not in names:
        return text
    wanted: set[int] = set()
    queue = [names[target.lower()]]
    while queue:
        number = queue.pop()
        if number in wanted:
            continue
        wanted.add(number)
        for name in [starts[number]["base"], *_USED.findall(blocks[number])]:
            if name.lower() in names:
                queue.append(names[name.lower()])
            elif name.isdigit() and int(name) < len(blocks):
                queue.append(int(name))
    return text[: starts[0].start()] + "".join(blocks[number] for number in sorted(wanted))


def copied_sources(text: str) -> tuple[str, ...]:
    """The context paths that a Containerfile's COPY, ADD and bind mounts name; no URLs, no other stages.

    Enough of the format to know what to hash; building it is the engine's business.
    """
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = _CONTINUED.sub(" ", lines)
    sources: list[str] = []
    for match in _COPY.finditer(joined):
        sources += _copy_sources(match.group(1))
    for match in _MOUNT.finditer(joined):
        options = dict(option.partition("=")[::2] for option in match.group(1).split(","))
        if options.get("type", "bind") == "bind" and "from" not in options:
            sources.append(options.get("source") or options.get("src") or ".")
    # What a variable names may be anything in the context.
    named = ("." if "$" in source else source.strip("/") or "." for source in sources if "://" not in source)
    return tuple(dict.fromkeys(named))


def _copy_sources(rest: str) -> list[str]:
    rest = rest.strip()
    words: list[str]
    if "[" in rest:
        flags, bracket, array = rest.partition("[")
        try:
            words = [*flags.split(), *map(str, json.loads(bracket + array))]
        except (ValueError, RecursionError):
            return []
    else:
        try:
            words = shlex.split(rest)
        except ValueError:
            words = rest.split()
    if any(word.startswith("--from=") for word in words):
        return []
    paths = [word for word in words if not word.startswith("--")]
    return [path for path in paths[:-1] if not path.startswith("<<")]


def read_recipe(
    root: Path,
    containerfile: str,
    *,
    target: str,
    build_args: Iterable[tuple[str, str]],
    hash_file: Callable[[Path], str],
) -> Recipe:
    """The recipe of the image; ``hash_file`` gives a file's hash, and may answer from a stat cache.

    Raises ConfigurationError if the Containerfile or something that it copies does not exist.
    """
    file = root / containerfile
    try:
        text = read_text(file, containerfile)
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no {containerfile}",
            why="every stage runs in the image that it describes",
            hint="write one, or name another with containerfile in [tool.rondel]",
            place=str(file),
        ) from None
    text = needed_text(text, target)
    copies = copied_sources(text)
    parts = {
        "containerfile": hashlib.sha256(text.encode()).hexdigest(),
        "target": target,
        "platform": f"{sys.platform}/{platform.machine()}",
        **{f"arg {name}": value for name, value in build_args},
    }
    for source in copies:
        for path in sorted(_files(root, source, file)):
            parts[f"file {path.relative_to(root).as_posix()}"] = hash_file(path)
    return Recipe(file=containerfile, parts=parts, copies=copies)


def _files(root: Path, source: str, containerfile: Path) -> Iterable[Path]:
    try:
        matches = list(root.glob(source)) if any(mark in source for mark in "*?[") else [root / source]
    except (ValueError, NotImplementedError, OSError) as error:
        raise ConfigurationError(
            f"{source} is no pattern of files", why=str(error), place=str(containerfile)
        ) from None
    for match in matches:
        # os.path: a name that no file can have is none, not an error.
        if os.path.isfile(match):  # noqa: PTH113
            yield match
        elif os.path.isdir(match):  # noqa: PTH112
            yield from _walk(match)
        else:
            raise ConfigurationError(
                f"{source} does not exist", why="the image's recipe copies it", place=str(containerfile)
            )


_SKIPPED = frozenset({".git", ".rondel", ".venv", "__pycache__", ".dvc", "node_modules"})


def _walk(folder: Path) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        # Bytecode counts where there is nothing else of the module.
        yield from (
            Path(parent) / name
            for name in names
            if not (name.endswith(".pyc") and name.removesuffix("c") in names)
        )


def host_parts(hash_file: Callable[[Path], str]) -> dict[str, str]:
    """What this machine puts into a host image: distribution, packages, interpreter."""
    parts = {
        "python": platform.python_version(),
        "prefix": sys.base_prefix,
        "libc": " ".join(platform.libc_ver()),
    }
    for name, path in (("distribution", "/etc/os-release"), ("packages", "/var/lib/dpkg/status")):
        file = Path(path)
        if file.is_file():
            parts[name] = hash_file(file)
    return parts
