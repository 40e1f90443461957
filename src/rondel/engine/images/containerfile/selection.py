"""Which files a COPY takes and where they go: BuildKit's rules, over a read-only view."""

from __future__ import annotations

import errno
import itertools
import posixpath
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rondel.engine.images.containerfile.ignore import Ignore
from rondel.engine.store import PathError, TreeEntry, View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rondel.engine.images.containerfile.steps import CopyStep

_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Item:
    """One source file or directory; ``target`` is its path below the destination ("" is the destination).

    ``explicit`` items are what the instruction named; a directory's content follows it.
    """

    entry: TreeEntry
    target: str
    explicit: bool = False


def select(view: View, root: str, step: CopyStep, ignore: Ignore) -> Iterator[Item]:
    """What a step copies from below ``root``, parents before children.

    An explicit file has the target "" when it may take the destination's own name.
    PathError, in Go's words, for a source that is missing or ignored.
    """
    base = view.resolve(root).path
    sources = [match for source in step.sources for match in _matches(view, base, source, ignore)]
    one = len(sources) + len(step.files) == 1
    exclude = Ignore.of(step.exclude)
    for relative in sources:
        yield from _items(view, base, relative, step, ignore, exclude, one=one)


def _items(  # noqa: PLR0917 - one walk
    view: View, base: str, relative: str, step: CopyStep, ignore: Ignore, exclude: Ignore, *, one: bool
) -> Iterator[Item]:
    kept = _pivoted(relative)[1] if step.parents else ""
    clean = posixpath.normpath("/" + relative).lstrip("/")
    entry = view.resolve(posixpath.join(base, clean) if clean else base)
    top = posixpath.normpath(kept) if kept.strip("/.") else ""
    if not entry.is_dir:
        name = posixpath.basename(clean)
        if not exclude(name, directory=False):
            target = top if step.parents else name if step.into_directory or not one else ""
            yield Item(entry, target, explicit=True)
        return
    yield Item(entry, top, explicit=True)
    yield from _below(view, entry, "", top, _Filter(ignore, clean, exclude))


def _pivoted(source: str) -> tuple[str, str]:
    """The two parts of a source: before ``/./``, which --parents drops, and after it. Often all is after."""
    source = source.lstrip("/")
    while source.startswith("./"):
        source = source[2:].lstrip("/")
    before, pivot, after = source.partition("/./")
    return (before, after) if pivot else ("", source)


@dataclass(frozen=True, slots=True)
class _Filter:
    ignore: Ignore
    prefix: str
    exclude: Ignore

    def drops(self, inner: str, *, directory: bool) -> bool:
        path = f"{self.prefix}/{inner}" if self.prefix else inner
        return self.ignore(path, directory=directory) or self.exclude(inner, directory=directory)

    def only_for_content(self, inner: str) -> bool:
        """Whether a directory is ignored itself, and there only for what comes back in it."""
        return self.ignore.matches(f"{self.prefix}/{inner}" if self.prefix else inner)


def _below(view: View, folder: TreeEntry, inner: str, target: str, filters: _Filter) -> Iterator[Item]:
    for child in view.scandir(folder.path):
        name = f"{inner}/{child.name}" if inner else child.name
        if filters.drops(name, directory=child.is_dir):
            continue
        item = Item(child, posixpath.join(target, child.name))
        content = _below(view, child, name, item.target, filters) if child.is_dir else iter(())
        if child.is_dir and filters.only_for_content(name):
            first = next(content, None)
            if first is None:
                continue
            content = itertools.chain((first,), content)
        yield item
        yield from content


def _matches(view: View, base: str, source: str, ignore: Ignore) -> list[str]:
    """The paths below ``base`` that a source names; one that has wildcards may name none."""
    # What lies above the context does not exist: "../x" is "x", as Docker has it.
    clean = posixpath.normpath("/" + source).lstrip("/")
    if not _WILDCARDS & set(clean):
        entry = view.lookup(posixpath.join(base, clean) if clean else base)
        if entry is None or (clean and ignore(clean, directory=entry.is_dir)):
            raise PathError(errno.ENOENT, f"/{clean}")
        return [source]
    before = len([part for part in _pivoted(source)[0].split("/") if part not in ("", ".")])
    found = [""]
    for part in clean.split("/"):
        pattern = _pattern(part)
        found = [
            posixpath.join(holder, child.name)
            for holder in found
            if (entry := view.lookup(posixpath.join(base, holder))) is not None and entry.is_dir
            for child in view.scandir(entry.path)
            if pattern.fullmatch(child.name)
        ]
    kept = []
    for path in found:
        entry = view.lookup(posixpath.join(base, path), follow=False)
        if entry is not None and not ignore(path, directory=entry.is_dir):
            parts = path.split("/")
            kept.append("/".join([*parts[:before], ".", *parts[before:]]) if before else path)
    return kept


@cache
def _pattern(part: str) -> re.Pattern[str]:
    """One part of a path in the syntax of Go's filepath.Match."""
    out, position = [], 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and (end := part.find("]", position + 1)) > 0:
            body = part[position:end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[{body}]")
            position = end + 1
        elif char == "\\" and position < len(part):
            out.append(re.escape(part[position]))
            position += 1
        else:
            out.append(re.escape(char))
    try:
        return re.compile("".join(out))
    except re.error:
        return re.compile(re.escape(part))


def symbolic_mode(text: str, mode: int, *, directory: bool) -> int:
    """The permission bits that ``u=rwX,go=rX`` makes of ``mode``; octal texts replace all of them."""
    if text.isdecimal():
        return int(text, 8)
    bits = mode & 0o7777
    for clause in text.split(","):
        match = re.match(r"[ugoa]*", clause)
        who = match[0] if match else ""
        for operator, letters in re.findall(r"([-+=])([ugo](?![a-zA-Z])|[rwxXst]*)", clause[len(who) :]):
            bits = _apply(bits, who or "a", operator, letters, directory=directory)
    return bits


def _apply(bits: int, who: str, operator: str, letters: str, *, directory: bool) -> int:
    executable = directory or bool(bits & 0o111)
    for kind, shift, special in (("u", 6, 0o4000), ("g", 3, 0o2000), ("o", 0, 0o1000)):
        if kind not in who and "a" not in who:
            continue
        if letters in ("u", "g", "o"):
            wanted = bits >> {"u": 6, "g": 3, "o": 0}[letters] & 7
        else:
            wanted = sum({"r": 4, "w": 2, "x": 1}.get(letter, 0) for letter in set(letters))
            if "X" in letters and executable:
                wanted |= 1
        mask = wanted << shift | (special if ("t" if kind == "o" else "s") in letters else 0)
        if operator == "=":
            bits = bits & ~(7 << shift | special) | mask
        elif operator == "+":
            bits |= mask
        else:
            bits &= ~mask
    return bits
