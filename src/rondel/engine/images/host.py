"""The host image: this machine's own system and Python, for use without a registry.

Its root is a copy of the harmless parts of /etc and of the package database, with empty
folders for the rest. /usr and the interpreter's prefix are not copied: they are grafts,
visible through overlays of their own. It contains no home directory, no /root, and no
password hashes, keys or credentials; of a home that contains the interpreter, it shows only
the interpreter.

The interpreter looks as in a fresh ``python`` image: with pip, setuptools and
wheel, and without other installed packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
from dataclasses import dataclass

import anyio.to_thread

from rondel.engine.images import platforms
from rondel.engine.images.host_python import Interpreter, fit_python, this_interpreter
from rondel.engine.images.host_tree import etc_files, make_folders, make_root, text_of
from rondel.engine.images.model import ImageConfig
from rondel.engine.store import Snapshot, Store
from rondel.engine.store.files import remove_tree

_VERSION = 2  # version of what is made below; part of the layer's key
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class HostImage:
    """The host image in a store. ``digest`` identifies distribution, packages and interpreter."""

    snapshot: Snapshot
    digest: str
    config: ImageConfig


async def host_image(store: Store) -> HostImage:
    """The host image; created when the machine's system has changed (a second or two without root)."""
    interpreter = this_interpreter()
    digest, key = await anyio.to_thread.run_sync(_identity, store, interpreter)
    # What pip installs goes beside the interpreter, so that folder must be on the PATH.
    path = f"{interpreter.prefix}/bin:{_PATH}" if interpreter.outside else _PATH
    config = ImageConfig(platform=platforms.default(), env=(f"PATH={path}",))
    known = _known(store, key)
    if known is None:
        async with store.lock(f"host-image {key}"):
            known = _known(store, key)
            if known is None:
                known = await _build(store, interpreter)
                store.index.put("host-image", key, list(known.layers))
    return HostImage(known, digest, config)


def _known(store: Store, key: str) -> Snapshot | None:
    layers = store.index.get("host-image", key)
    if layers is None:
        return None
    snapshot = Snapshot(tuple(layers))
    return snapshot if store.alive(snapshot) else None


# --- identity


def _identity(store: Store, interpreter: Interpreter) -> tuple[str, str]:
    """The image's digest, and the key of its layers, which also depends on this machine's /etc."""
    digest = hashlib.sha256()
    tools = [(item.name, _size(item)) for folder in ("bin", "sbin") for item in _listing(folder)]
    facts = {
        "version": _VERSION,
        "machine": platform.machine(),
        "release": text_of("/etc/os-release"),
        "packages": installed_packages(),
        "python": [sys.version, interpreter.prefix],
        "tools": sorted(tools),
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    identity = f"sha256:{digest.hexdigest()}"
    for path, status in etc_files():
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    digest.update(repr((_has_all_ids(), _hidden(store, interpreter))).encode())
    return identity, digest.hexdigest()


def installed_packages() -> list[str]:
    """The distribution's packages and versions, sorted; empty if their database is unknown."""
    found = []
    for block in text_of("/var/lib/dpkg/status").split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in block.splitlines()
            if line.startswith(("Package: ", "Version: ", "Arch"))
        )
        if "Package" in fields:
            found.append(" ".join(fields.get(name, "") for name in ("Package", "Version", "Architecture")))
    for path in ("/lib/apk/db/installed", "/usr/lib/apk/db/installed"):
        found += [
            " ".join(line[2:] for line in block.splitlines() if line[:2] in ("P:", "V:"))
            for block in text_of(path).split("\n\n")
        ]
    for path in ("/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite"):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    with contextlib.suppress(OSError):
        found += os.listdir("/var/lib/pacman/local")
    return sorted(filter(None, found))


def _listing(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(f"/usr/local/{folder}") as found:
            return [item for item in found if item.is_file()]
    except OSError:
        return []


def _size(item: os.DirEntry[str]) -> int:
    try:
        return item.stat().st_size
    except OSError:  # removed in the meantime
        return 0


def _has_all_ids() -> bool:
    """Whether the host's directories belong to IDs that exist here, so that containers can change them."""
    return os.stat("/usr").st_uid == os.geteuid()


# --- the root's own tree


async def _build(store: Store, interpreter: Interpreter) -> Snapshot:
    grafts = _grafts(interpreter)
    hidden = _hidden(store, interpreter)
    root, folders = store.new_path(), store.new_path()
    try:
        await anyio.to_thread.run_sync(make_root, root, grafts, interpreter)
        snapshot = Snapshot((await store.publish(root, grafts=grafts),))
        if not _has_all_ids():
            await anyio.to_thread.run_sync(make_folders, folders, grafts)
            snapshot = snapshot.over(await store.publish(folders))
    finally:
        for path in (root, folders):
            await anyio.to_thread.run_sync(remove_tree, path)
    async with store.draft(snapshot) as draft:
        await anyio.to_thread.run_sync(fit_python, draft, interpreter)
        for private in hidden:
            draft.remove(private)
        return await draft.commit()


def _grafts(interpreter: Interpreter) -> dict[str, str]:
    """The host directories that are visible unchanged, by their path in the container."""
    grafts = {"/usr": "/usr"}
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = f"/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            grafts[path] = path
    if interpreter.outside:
        grafts[interpreter.prefix] = interpreter.prefix
    return grafts


def _hidden(store: Store, interpreter: Interpreter) -> list[str]:
    """Private folders inside of grafts: the store, and the project."""
    private = {str(store.root), os.getcwd(), os.path.realpath(os.getcwd())}
    return sorted(
        path
        for path in private
        if any(path.startswith(f"{graft}/") for graft in _grafts(interpreter))
        and not interpreter.prefix.startswith(path)
    )


# --- Python
