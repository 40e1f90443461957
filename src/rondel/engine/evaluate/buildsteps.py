"""The file operations of a build's steps: WORKDIR, COPY, ADD."""

from __future__ import annotations

import contextlib
import errno
import posixpath
import stat
from typing import IO, TYPE_CHECKING

import anyio
import anyio.to_thread

from rondel.containerfile import ContainerfileError, CopyStep, FetchStep, Item, select
from rondel.containerfile.copying import symbolic_mode
from rondel.engine.evaluate.download import file_name
from rondel.engine.evaluate.operations import edit
from rondel.engine.evaluate.owners import owner_in, user_in
from rondel.engine.images.compression import decompressed
from rondel.engine.images.unpack import unpack
from rondel.engine.store import Draft, PathError, TreeEntry, View
from rondel.engine.store.files import remove_tree
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rondel.engine.evaluate.session import Session
    from rondel.engine.values import Node
    from rondel.files.patterns import Patterns


@edit("build.nothing")
async def _nothing(session: Session, draft: Draft, node: Node) -> None:
    """An empty source."""


@edit("build.workdir")
async def _workdir(session: Session, draft: Draft, node: Node) -> None:
    """Make a working directory. Params: path, user."""
    path, user = node.params
    there = draft.view.lookup(path)
    if there is not None:
        if not there.is_dir:
            raise PathError(errno.ENOTDIR, path, operation="mkdir")
        return
    uid, gid = user_in(draft.view, user)
    _make_directories(draft, path, uid, gid)


def _make_directories(draft: Draft, path: str, uid: int, gid: int) -> None:
    """Make a directory and its missing parents, all with one owner."""
    missing = []
    while path != "/" and draft.view.lookup(path) is None:
        missing.append(path)
        path = posixpath.dirname(path)
    for name in reversed(missing):
        draft.mkdir(name, uid=uid, gid=gid)


@edit("build.copy")
async def _copy(session: Session, draft: Draft, node: Node) -> None:
    """Copy files. Params: the step, the source's root, the ignore rules, the Containerfile's name."""
    step, root, ignore, file = node.params
    source = await session.view(node.inputs[1])
    with _placed(file, step):
        await anyio.to_thread.run_sync(lambda: _Copier(session, draft, step).copy(source, root, ignore))


@contextlib.contextmanager
def _placed(file: str, step: CopyStep | FetchStep) -> Iterator[None]:
    """Add the line of the step to an error: it runs long after the Containerfile was parsed."""
    try:
        yield
    except ContainerfileError:
        raise
    except EngineError as error:
        raise ContainerfileError(
            f"{step.text}: {error.what}", file=file, line=step.line, hint=error.hint or error.why
        ) from error


class _Copier:
    """Performs one COPY or ADD in a draft."""

    def __init__(self, session: Session, draft: Draft, step: CopyStep | FetchStep) -> None:
        self.session = session
        self.draft = draft
        self.step = step
        self.override = owner_in(draft.view, _owner_of(step.chown)) if step.chown else None
        self.folders: list[tuple[str, int]] = []

    def copy(self, source: View, root: str, ignore: Patterns) -> None:
        step = self.step
        assert isinstance(step, CopyStep)  # noqa: S101 - the other kind has no source
        several = self._several(step)
        for item in select(source, root, step, ignore):
            entry = item.entry
            if step.unpack and item.explicit and entry.is_file and self._unpack(entry.real):
                continue
            path = self._place(item, several)
            if entry.is_dir:
                self._directory(entry, path, explicit=item.explicit)
            elif entry.link is not None:
                uid, gid = self._owner(entry)
                self._parents(path)
                self.draft.symlink(entry.link, path, uid=uid, gid=gid, mtime_ns=entry.mtime_ns)
            elif entry.is_file:
                self.write(
                    path, entry.real, mode=entry.mode, mtime_ns=entry.mtime_ns, owner=self._owner(entry)
                )
        for file in step.files:
            name = file.name if several or len(step.files) > 1 else ""
            path = posixpath.join(self._root(), name) if name else self.named(file.name)
            self.write(path, file.text.encode(), mode=0o644, mtime_ns=None)
        for path, mtime_ns in reversed(self.folders):
            self.draft.set_meta(path, mtime_ns=mtime_ns)

    def _several(self, step: CopyStep) -> bool:
        """Whether files go into the destination. Raises EngineError if several would overwrite one file."""
        if step.into_directory or len(step.sources) + len(step.files) == 1:
            return step.into_directory
        there = self.draft.view.lookup(step.destination)
        if there is None or not there.is_dir:
            raise EngineError(
                "when using COPY or ADD with more than one source file, the destination must be a directory "
                "and end with a /"
            )
        return True

    def write(
        self,
        path: str,
        data: bytes | Path,
        *,
        mode: int,
        mtime_ns: int | None,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """Write one file, with the instruction's owner and mode if it sets them."""
        self._parents(path)
        uid, gid = owner or self.override or (0, 0)
        self.draft.write(
            path,
            data,
            mode=self._mode(mode, directory=False),
            uid=uid,
            gid=gid,
            mtime_ns=mtime_ns,
            link_ok=True,
        )

    def unpack(self, archive: Path) -> bool:
        """Unpack an archive at the destination; False if the file is not an archive."""
        return self._unpack(archive)

    def _place(self, item: Item[TreeEntry], several: bool) -> str:
        if item.target:
            return posixpath.join(self._root(), item.target)
        if item.entry.is_dir:
            return self._root()
        return posixpath.join(self._root(), item.entry.name) if several else self.named(item.entry.name)

    def _root(self) -> str:
        """The destination, with links to directories followed."""
        there = self.draft.view.lookup(self.step.destination)
        return there.path if there is not None and there.is_dir else self.step.destination

    def named(self, name: str) -> str:
        """The path of a single file: inside the destination if that is a directory, else the destination."""
        there = self.draft.view.lookup(self.step.destination)
        if there is not None and there.is_dir:
            return posixpath.join(there.path, name)
        return self.step.destination

    def _directory(self, entry: TreeEntry, path: str, *, explicit: bool) -> None:
        """Make a directory, or set the source's metadata on an existing one other than the destination."""
        there = self.draft.view.lookup(path)
        if there is not None and there.is_dir:
            if explicit:
                return
            path = there.path
        self._parents(path)
        uid, gid = self._owner(entry)
        self.draft.mkdir(path, mode=self._mode(entry.mode, directory=True), uid=uid, gid=gid, merge=True)
        self.folders.append((path, entry.mtime_ns))

    def _parents(self, path: str) -> None:
        """A new parent directory gets the instruction's owner, those above it belong to root."""
        parent = posixpath.dirname(path)
        _make_directories(self.draft, posixpath.dirname(parent), 0, 0)
        owner = self.override if parent == self.step.destination and self.override else (0, 0)
        _make_directories(self.draft, parent, *owner)

    def _owner(self, entry: TreeEntry) -> tuple[int, int]:
        return self.override or (entry.uid, entry.gid)

    def _mode(self, mode: int, *, directory: bool) -> int:
        bits = stat.S_IMODE(mode)
        return symbolic_mode(self.step.chmod, bits, directory=directory) if self.step.chmod else bits

    def _unpack(self, archive: Path) -> bool:
        target = self.session.store.new_path()
        try:
            with archive.open("rb") as raw:
                if not _is_archive(raw):
                    return False
                target.mkdir(mode=0o755)
                with decompressed(raw) as stream:
                    unpack(stream, target, whiteouts=False)
            names = [str(path.relative_to(target)) for path in sorted(target.rglob("*"))]
            uid, gid = self.override if self.step.chown and self.override else (None, None)
            self.draft.copy_host(target, names, self._root(), uid=uid, gid=gid)
        finally:
            remove_tree(target)
        return True


def _owner_of(chown: str) -> str:
    """The owner of a step; ``--chown=:group`` leaves the user at root."""
    return f"0{chown}" if chown.startswith(":") else chown


def _is_archive(raw: IO[bytes]) -> bool:
    """Whether a file is a tar, plain or compressed; rewinds it. An empty file is not a tar."""
    import tarfile

    try:
        head = decompressed(raw).read(512)
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except Exception:  # noqa: BLE001 - any error of a decompressor means that the file is no archive
        return False
    finally:
        raw.seek(0)
    return True


@edit("build.fetch")
async def _fetched(session: Session, draft: Draft, node: Node) -> None:
    """Write a download. Params: the step, its blob, its modification time, the Containerfile's name."""
    step, digest, modified, file = node.params
    path = session.store.blobs.path(digest)

    def put() -> None:
        copier = _Copier(session, draft, step)
        if step.unpack and copier.unpack(path):
            return
        name = file_name(step.url)
        target = posixpath.join(step.destination, name) if step.into_directory else copier.named(name)
        copier.write(target, path, mode=0o600, mtime_ns=modified or 0)

    with _placed(file, step):
        await anyio.to_thread.run_sync(put)
