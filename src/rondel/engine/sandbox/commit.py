"""Turns what a finished container wrote into layers."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.store.errors import translated
from rondel.engine.store.files import open_beneath, set_owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.engine.sandbox.overlays import ContainerOverlay, CopiedFile
    from rondel.engine.sandbox.prepared import Prepared, Redirect
    from rondel.engine.store import Output, Snapshot, Store


def commit_outputs(
    store: Store, prepared: Prepared, outputs: Mapping[str, Output]
) -> tuple[Snapshot, dict[str, Snapshot]]:
    """The root and the mounts after the command. ``outputs`` by stream name. Runs in a thread."""
    user = prepared.plan.user
    with translated(store.root):
        written: dict[tuple[str | None, str], bytes] = {}
        for redirect in prepared.redirects:
            # Two streams in one file have separate offsets, so the later one overwrites the earlier one.
            key = (redirect.over.path if redirect.over else redirect.root, redirect.relative)
            data = store.read(outputs[redirect.stream])
            data += written.get(key, b"")[len(data) :]
            written[key] = data
            with contextlib.suppress(OSError):  # the command replaced the file by something else
                _write_redirect(redirect, data, user.uid, user.gid)
        root = prepared.overlays[0]
        for over in prepared.overlays[1:]:
            if over.graft and over.changed():
                root.take_in(over)
        mounts = {
            over.name: _published(store, over)
            for over in prepared.overlays[1:]
            if not over.graft and not over.readonly
        }
        mounts |= {file.name: _published(store, file) for file in prepared.files}
        return _published(store, root), mounts


def _published(store: Store, written: ContainerOverlay | CopiedFile) -> Snapshot:
    if not written.changed():
        return written.snapshot
    return written.snapshot.over(store.layers.publish(written.as_layer()))


def _write_redirect(redirect: Redirect, data: bytes, uid: int, gid: int) -> None:
    head, _, name = redirect.relative.rpartition("/")
    if redirect.over is not None:
        redirect.over.materialise(head)
        root = redirect.over.upper
    else:
        root = redirect.root or ""
        if not name:  # a mounted file
            Path(root).write_bytes(data)
            return
    folder = open_beneath(root, head)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=folder)  # a whiteout, or a link that the command made
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=folder)
        with os.fdopen(file, "wb") as target:
            target.write(data)
            set_owner(file, uid, gid)
            os.fchmod(file, 0o600)
    finally:
        os.close(folder)
