"""Computes file hashes as DVC does, and caches them by what ``stat`` returns.

A file's hash is its MD5. A folder's hash is the MD5 of DVC's manifest, a JSON
list of ``{"md5", "relpath"}`` sorted by path, with ``.dir`` appended. Files that
``.dvcignore`` excludes are left out. The cache is ``.rondel/cache/hashes.json``;
losing it only costs time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.files.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Two changes within one tick of the filesystem's clock leave the same times, so
# hashes of files that were just changed are not cached.
_TOO_NEW_NS = 50_000_000
_ALWAYS_IGNORED = frozenset({".git", ".hg", ".dvc"})


class HashCache:
    """md5 hashes of a project's files. Not shared between threads; ``save`` when done."""

    def __init__(self, root: Path, over: Mapping[str, str] | None = None) -> None:
        """``over`` has hashes that replace those of the files at ``root``."""
        self.root = root
        self.over: Mapping[str, str] = over or {}
        self._file = root / ".rondel" / "cache" / "hashes.json"
        self._known: dict[str, list[Any]] = self._load()
        self._dirty = False
        self._ignores: Any = None

    def _load(self) -> dict[str, list[Any]]:
        try:
            value = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def save(self) -> None:
        """Write the cache if it changed. Ignores OSError."""
        if self._dirty:
            try:
                write_atomic(self._file, json.dumps(self._known, separators=(",", ":")).encode())
            except OSError:
                return
            self._dirty = False

    def of(self, path: str) -> str | None:
        """``md5:…`` of a file or folder relative to the root; None if it does not exist."""
        full = self.root / path
        if path not in self.over and (full.is_dir() or self._over(path)):
            return f"md5:{self._folder(path)}"
        digest = self._file_md5(path)
        return None if digest is None else f"md5:{digest}"

    def files(self, path: str) -> dict[str, str]:
        """The MD5 of each file in a folder, by its path in the folder, without files that DVC ignores."""
        found = {}
        for name in self._walk(path):
            digest = self._file_md5(f"{path}/{name}")
            if digest is not None:
                found[name] = digest
        return found | {name: value.removeprefix("md5:") for name, value in self._over(path).items()}

    def _over(self, path: str) -> dict[str, str]:
        """The replaced hashes of files in a folder, by their path in it."""
        prefix = f"{path}/"
        names = [name for name in self.over if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.over[name] for name in names}

    def _folder(self, path: str) -> str:
        return manifest_digest(self.files(path))

    def _file_md5(self, path: str) -> str | None:
        if path in self.over:
            return self.over[path].removeprefix("md5:")
        full = self.root / path
        try:
            stat = full.stat()
        except OSError:
            return None
        fingerprint = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self._known.get(path)
        if known is not None and known[:4] == fingerprint:
            return str(known[4])
        now = time.time_ns()
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with full.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError:
            return None
        if now - stat.st_mtime_ns > _TOO_NEW_NS and now - stat.st_ctime_ns > _TOO_NEW_NS:
            self._known[path] = [*fingerprint, digest.hexdigest()]
            self._dirty = True
        return digest.hexdigest()

    def _walk(self, path: str) -> Iterator[str]:
        ignored = self._ignored()
        top = self.root / path
        for folder, folders, files in os.walk(top, followlinks=True):
            relative = Path(folder).relative_to(top).as_posix()
            prefix = "" if relative == "." else f"{relative}/"
            folders[:] = [
                name
                for name in folders
                if name not in _ALWAYS_IGNORED and not (ignored and ignored(f"{path}/{prefix}{name}/"))
            ]
            for name in files:
                if not (ignored and ignored(f"{path}/{prefix}{name}")):
                    yield f"{prefix}{name}"

    def _ignored(self) -> Any:
        if self._ignores is None:
            self._ignores = _dvcignore(self.root) or False
        return self._ignores


def manifest_digest(files: dict[str, str]) -> str:
    """DVC's digest of a folder with these files: the MD5 of its manifest, with ``.dir`` appended."""
    manifest = [{"md5": files[name], "relpath": name} for name in sorted(files, key=lambda n: n.split("/"))]
    return hashlib.md5(json.dumps(manifest).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _dvcignore(root: Path) -> Any:
    """A function that tests paths against ``.dvcignore``; None if it has no rules, which saves an import."""
    try:
        lines = (root / ".dvcignore").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    rules = [line for line in lines if line.strip() and not line.startswith("#")]
    if not rules:
        return None
    import pathspec

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # for unusual patterns such as `[[a]`
        return pathspec.PathSpec.from_lines("gitignore", rules, backend="simple").match_file
