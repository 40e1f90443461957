"""Puts a value's files into place on the machine and removes them again.

The engine records the content of each folder that it puts something into: what is new in it
afterwards belongs to the value. Files of the machine that are in the way are moved aside.
Everything is journalled first, so that a later session can clean up after a killed one.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.store.files import remove_tree, set_owner
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.engine.store import Draft, TreeEntry, View

_UNTOUCHED = ("/proc", "/sys", "/dev")


class PlacingError(EngineError):
    """A file cannot be put where a command expects it."""


def this_container() -> str:
    """Identifies this container among others that may share the store: its boot and its mounts."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/mnt')}"


@dataclass(eq=False)
class Placement:
    """What was put on the machine for one command."""

    journal: Path
    aside: Path
    watched: dict[str, set[str]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    appended: dict[str, int] = field(default_factory=dict)
    placed: list[str] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)  # mount points in folders that are read back
    own: dict[str, list[str]] = field(default_factory=dict)  # what was put into shared folders
    private: str = ""  # the client's working directory, where nothing may be put

    def _write_down(self) -> None:
        document = {
            "place": this_container(),
            "watched": {path: sorted(names) for path, names in self.watched.items()},
            "moved": self.moved,
            "appended": self.appended,
            "own": self.own,
        }
        temporary = self.journal.with_suffix(".new")
        temporary.write_text(json.dumps(document), encoding="utf-8")
        temporary.rename(self.journal)

    def _watch(self, folder: str) -> None:
        if self.private and _inside(folder, self.private):
            raise PlacingError(
                f"{folder} is in the working directory, where commands that run in place must not write",
                hint="check the project out elsewhere, allow user namespaces, or use a Dagger engine",
            )
        if folder not in self.watched:
            self.watched[folder] = set(os.listdir(folder))
            if os.stat(folder).st_mode & stat.S_ISVTX:  # other programs create files there at the same time
                self.own[folder] = []
            self._write_down()

    def _new(self, folder: str) -> list[str]:
        """What is new in a watched folder."""
        present = set(os.listdir(folder)) - self.watched[folder]
        return sorted(present & set(self.own[folder]) if folder in self.own else present)

    def _move_aside(self, path: str) -> None:
        kept = self.aside / str(len(self.moved))
        self.moved[path] = str(kept)
        self._write_down()
        try:
            shutil.move(path, kept)
        except OSError as error:
            raise PlacingError(f"{path} of this machine cannot be moved aside", why=error.strerror) from error

    def prepare(self, path: str) -> str:
        """Clear a path and make its folder; returns the path with the links in its folder resolved."""
        head, _, name = path.rstrip("/").rpartition("/")
        head = os.path.realpath(head or "/")
        if f"{head}/".startswith(tuple(f"{p}/" for p in _UNTOUCHED)):
            raise PlacingError(
                f"{path} cannot be replaced in place: it belongs to the machine's kernel file systems"
            )
        existing = head
        while not os.path.isdir(existing):
            if os.path.lexists(existing):
                raise PlacingError(f"{existing} of this machine is not a folder")
            existing = os.path.dirname(existing)
        self._watch(existing)
        os.makedirs(head, exist_ok=True)
        dest = f"{head.rstrip('/')}/{name}"
        if existing in self.own:
            self.own[existing].append(dest[len(existing) :].strip("/").partition("/")[0])
            self._write_down()
        self.placed.append(dest)
        if os.path.lexists(dest):
            if self._is_ours(dest):
                _remove(dest)
            else:
                self._move_aside(dest)
        return dest

    def _is_ours(self, dest: str) -> bool:
        """Whether the engine put it there, directly or as part of a tree."""
        folder, name = os.path.split(dest)
        if folder in self.watched:
            return name not in self.watched[folder]
        return folder not in {"/", ""} and self._is_ours(folder)

    def put(self, view: View, source: str, path: str) -> None:
        """Put a tree, file or link of a view into place."""
        entry = view.lookup(source, follow=False)
        if entry is None:
            return
        if entry.is_dir and os.path.isdir(path) and not os.path.islink(path):
            self._watch(os.path.realpath(path))
            for child in view.scandir(source):
                self.put(view, child.path, f"{path.rstrip('/')}/{child.name}")
            return
        _write(view, entry, self.prepare(path))

    def put_changes(self, view: View, changed: Iterable[str]) -> None:
        """Put into place what the layers above the machine's own files changed; returns the paths, sorted."""
        done = ""
        for path in changed:
            if done and path.startswith(f"{done}/"):
                continue
            entry = view.lookup(path, follow=False)
            if entry is None:
                if os.path.lexists(path):
                    self.prepare(path)
                continue
            if entry.is_dir and os.path.isdir(path):
                self._watch(os.path.realpath(path))
                continue
            self.put(view, path, path)
            if entry.is_dir:
                done = path

    def link(self, path: str, target: Path) -> None:
        """Put a link where a mount is expected."""
        dest = self.prepare(path)
        os.symlink(target, dest)
        self.foreign.add(dest)

    def empty(self, path: str, *, mode: int = 0o755) -> None:
        """Make an empty folder where a mount is expected."""
        dest = self.prepare(path)
        os.mkdir(dest, 0o755)
        self.foreign.add(dest)
        self._watch(dest)
        os.chmod(dest, mode)

    def append(self, path: str, text: str) -> None:
        """Append lines to a file of the machine until the command ends."""
        try:
            self.appended[path] = os.path.getsize(path)
            self._write_down()
            with open(path, "a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            self.appended.pop(path, None)
            raise PlacingError(
                f"{path} of this job's container is not writable, so services cannot be reached by name",
                why=error.strerror,
                hint="run the job as root, allow user namespaces, or use a Dagger engine (--engine dagger)",
            ) from error

    def take(self, draft: Draft, below: str = "/", onto: str = "/") -> None:
        """Copy what is there now into a draft: everything below one path onto another."""
        for path in [*self.placed, *self.moved]:
            if self._belongs(path, below) and not os.path.lexists(path):
                draft.remove(_moved(path, below, onto))
        for folder in sorted(self.watched):
            if not os.path.isdir(folder) or not self._belongs(folder, below):
                continue
            if folder != below and self._is_ours(folder):
                continue  # copied together with its folder
            for name in self._new(folder):
                path = f"{folder.rstrip('/')}/{name}"
                if path not in self.foreign:
                    target = _moved(path, below, onto)
                    draft.remove(target)
                    self._take_tree(draft, path, target)

    def _belongs(self, path: str, below: str) -> bool:
        """Whether a path is below another one, and not in a separate mount there."""
        mounts = (dest for dest in self.foreign if dest != below and _inside(dest, below))
        return _inside(path, below) and not any(_inside(path, dest) for dest in mounts)

    def _take_tree(self, draft: Draft, path: str, target: str) -> None:
        names = []
        if os.path.isdir(path) and not os.path.islink(path):
            for base, folders, files in os.walk(path):
                for name in list(folders):
                    if f"{base}/{name}" in self.foreign:
                        folders.remove(name)
                relative = os.path.relpath(base, os.path.dirname(path))
                names.append(relative)
                names += [
                    f"{relative}/{n}"
                    for n in [*files, *(f for f in folders if os.path.islink(f"{base}/{f}"))]
                    if f"{base}/{n}" not in self.foreign
                ]
        else:
            names.append(os.path.basename(path))
        draft.copy_host(
            Path(os.path.dirname(path)), names, os.path.dirname(target) or "/", uid=None, gid=None
        )

    def undo(self) -> None:
        """Remove what was put or made, and move back what was moved aside."""
        for folder in sorted(self.watched, reverse=True):
            with suppress(FileNotFoundError, NotADirectoryError):
                for name in self._new(folder):
                    _remove(f"{folder.rstrip('/')}/{name}")
        for path, kept in self.moved.items():
            if os.path.lexists(kept):
                if os.path.lexists(path):
                    _remove(path)
                shutil.move(kept, path)
        for path, size in self.appended.items():
            with suppress(OSError):
                os.truncate(path, size)
        self.journal.unlink(missing_ok=True)


def clear_up(journal: Path) -> None:
    """Undo what a killed session left on this machine; journals of other containers are ignored."""
    try:
        document = json.loads(journal.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if document.get("place") == this_container():
        left = Placement(journal, journal.parent)
        left.watched = {path: set(names) for path, names in document["watched"].items()}
        left.moved, left.appended, left.own = document["moved"], document["appended"], document["own"]
        left.undo()


def touched(layers: Iterable[Path]) -> list[str]:
    """The paths that layers on disk change, parents first."""
    found: set[str] = set()
    for layer in layers:
        root = str(layer)
        for base, folders, files in os.walk(root):
            inside = base[len(root) :]
            found.update(f"{inside}/{name}" for name in [*folders, *files])
    return sorted(found, key=lambda path: path.split("/"))


def _inside(path: str, below: str) -> bool:
    return below in ("/", path) or path.startswith(f"{below}/")


def _moved(path: str, below: str, onto: str) -> str:
    rest = path if below == "/" else path[len(below) :]
    return f"{onto.rstrip('/')}{rest}" or "/"


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(Path(path))
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _write(view: View, entry: TreeEntry, dest: str) -> None:
    if entry.link is not None:
        os.symlink(entry.link, dest)
    elif entry.is_dir:
        os.mkdir(dest, 0o755)
        for child in view.scandir(entry.path):
            _write(view, child, f"{dest}/{child.name}")
        os.chmod(dest, stat.S_IMODE(entry.mode))
    elif entry.is_file:
        shutil.copyfile(entry.real, dest)
        os.chmod(dest, stat.S_IMODE(entry.mode))
    else:
        return
    set_owner(dest, entry.uid, entry.gid)
    os.utime(dest, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
