"""Putting files of a value in their place on the machine, and taking them away again.

A folder into which something is put is watched: what is in it afterwards and was not in
it before belongs to the value. Files of the machine that have to make way are moved
aside. All of it is written down first, so that a later session can clear up after a
killed one.
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
    """Something cannot be put where a command expects it."""


def this_place() -> str:
    """What tells this container from others that may share the store: its boot and its mounts."""
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
    foreign: set[str] = field(default_factory=set)  # mount points in what is taken back
    own: dict[str, list[str]] = field(default_factory=dict)  # what was put into folders of everybody
    private: str = ""  # the client's own folder, where nothing may be put

    def _write_down(self) -> None:
        document = {
            "place": this_place(),
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
                f"{folder} is in the working directory: in place, nothing is put there",
                hint="check the project out elsewhere, allow user namespaces, or use a Dagger engine",
            )
        if folder not in self.watched:
            self.watched[folder] = set(os.listdir(folder))
            if os.stat(folder).st_mode & stat.S_ISVTX:  # others make files there meanwhile
                self.own[folder] = []
            self._write_down()

    def _new(self, folder: str) -> list[str]:
        """What is in a watched folder and was not in it before."""
        present = set(os.listdir(folder)) - self.watched[folder]
        return sorted(present & set(self.own[folder]) if folder in self.own else present)

    def _move_aside(self, path: str) -> None:
        kept = self.aside / str(len(self.moved))
        self.moved[path] = str(kept)
        self._write_down()
        try:
            shutil.move(path, kept)
        except OSError as error:
            raise PlacingError(f"{path} of this machine cannot make way", why=error.strerror) from error

    def prepare(self, path: str) -> str:
        """Have nothing at a path, and its folder there; the path, links in its folder resolved."""
        head, _, name = path.rstrip("/").rpartition("/")
        head = os.path.realpath(head or "/")
        if f"{head}/".startswith(tuple(f"{p}/" for p in _UNTOUCHED)):
            raise PlacingError(f"{path} cannot be had in place: the kernel's folders are the machine's own")
        existing = head
        while not os.path.isdir(existing):
            if os.path.lexists(existing):
                raise PlacingError(f"{existing} of this machine is not a folder")
            existing = os.path.dirname(existing)
        self._watch(existing)
        os.makedirs(head, exist_ok=True)
        place = f"{head.rstrip('/')}/{name}"
        if existing in self.own:
            self.own[existing].append(place[len(existing) :].strip("/").partition("/")[0])
            self._write_down()
        self.placed.append(place)
        if os.path.lexists(place):
            if self._is_ours(place):
                _remove(place)
            else:
                self._move_aside(place)
        return place

    def _is_ours(self, place: str) -> bool:
        """Whether we put it there, itself or as part of a tree."""
        folder, name = os.path.split(place)
        if folder in self.watched:
            return name not in self.watched[folder]
        return folder not in {"/", ""} and self._is_ours(folder)

    def put(self, view: View, source: str, path: str) -> None:
        """Put a tree, file or link of a view in its place."""
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
        """Put what layers above the machine's own files changed: the paths they touch, sorted."""
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
        """A link in place of a mount."""
        place = self.prepare(path)
        os.symlink(target, place)
        self.foreign.add(place)

    def empty(self, path: str, *, mode: int = 0o755) -> None:
        """An empty folder in place of a mount."""
        place = self.prepare(path)
        os.mkdir(place, 0o755)
        self.foreign.add(place)
        self._watch(place)
        os.chmod(place, mode)

    def append(self, path: str, text: str) -> None:
        """Add lines to a file of the machine until the end."""
        try:
            self.appended[path] = os.path.getsize(path)
            self._write_down()
            with open(path, "a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            self.appended.pop(path, None)
            raise PlacingError(
                f"{path} of this job's container cannot be changed, so services have no names",
                why=error.strerror,
                hint="run the job as root, allow user namespaces, or use a Dagger engine (--engine dagger)",
            ) from error

    def take(self, draft: Draft, below: str = "/", onto: str = "/") -> None:
        """Bring what is there now into a draft: of everything below a path, onto another."""
        for path in [*self.placed, *self.moved]:
            if self._belongs(path, below) and not os.path.lexists(path):
                draft.remove(_moved(path, below, onto))
        for folder in sorted(self.watched):
            if not os.path.isdir(folder) or not self._belongs(folder, below):
                continue
            if folder != below and self._is_ours(folder):
                continue  # it comes with the folder that it is in
            for name in self._new(folder):
                path = f"{folder.rstrip('/')}/{name}"
                if path not in self.foreign:
                    target = _moved(path, below, onto)
                    draft.remove(target)
                    self._take_tree(draft, path, target)

    def _belongs(self, path: str, below: str) -> bool:
        """Whether a path is below another one, and not in a mount of its own there."""
        mounts = (place for place in self.foreign if place != below and _inside(place, below))
        return _inside(path, below) and not any(_inside(path, place) for place in mounts)

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
        """Take away what was put or made, and put back what made way."""
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
    """Undo what a killed session left on this machine; journals of other containers say nothing here."""
    try:
        document = json.loads(journal.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if document.get("place") == this_place():
        left = Placement(journal, journal.parent)
        left.watched = {path: set(names) for path, names in document["watched"].items()}
        left.moved, left.appended, left.own = document["moved"], document["appended"], document["own"]
        left.undo()


def touched(layers: Iterable[Path]) -> list[str]:
    """The paths that layers on disk say something about, parents before what is in them."""
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


def _write(view: View, entry: TreeEntry, place: str) -> None:
    if entry.link is not None:
        os.symlink(entry.link, place)
    elif entry.is_dir:
        os.mkdir(place, 0o755)
        for child in view.scandir(entry.path):
            _write(view, child, f"{place}/{child.name}")
        os.chmod(place, stat.S_IMODE(entry.mode))
    elif entry.is_file:
        shutil.copyfile(entry.real, place)
        os.chmod(place, stat.S_IMODE(entry.mode))
    else:
        return
    set_owner(place, entry.uid, entry.gid)
    os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
