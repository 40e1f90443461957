"""File hashes as DVC computes them, remembered by what ``stat`` says.

A file is its md5; a folder is the md5 of DVC's manifest: a JSON list of
``{"md5", "relpath"}`` sorted by path, with ``.dir`` behind the digest. What
``.dvcignore`` excludes takes no part. The cache lies in
``.rondel/cache/hashes.json``; a lost or damaged one only costs time.
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

# A file changed twice within one tick of the filesystem's clock can't be told
# apart by its times; hashes of files that young are not remembered.
_RACY_NS = 50_000_000
_ALWAYS = frozenset({".git", ".hg", ".dvc"})


class HashCache:
    """md5 hashes of a project's files. Not shared between threads; ``save`` when done."""

    def __init__(self, root: Path, over: Mapping[str, str] | None = None) -> None:
        """``over`` has the hashes of files that are seen in place of those at ``root``."""
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
        """Write the cache if it changed. A disk that can't be written to is no reason to fail."""
        if self._dirty:
            try:
                write_atomic(self._file, json.dumps(self._known, separators=(",", ":")).encode())
            except OSError:
                return
            self._dirty = False

    def of(self, path: str) -> str | None:
        """``md5:…`` of a file or folder relative to the root; None if there is nothing."""
        full = self.root / path
        if path not in self.over and (full.is_dir() or self._over(path)):
            return f"md5:{self._folder(path)}"
        digest = self._file_md5(path)
        return None if digest is None else f"md5:{digest}"

    def files(self, path: str) -> dict[str, str]:
        """The md5 of each file in a folder, by its path in the folder; DVC's ignore rules apply."""
        found = {}
        for name in self._walk(path):
            digest = self._file_md5(f"{path}/{name}")
            if digest is not None:
                found[name] = digest
        return found | {name: value.removeprefix("md5:") for name, value in self._over(path).items()}

    def _over(self, path: str) -> dict[str, str]:
        """The files in a folder that are seen in place of those at the root, by their path in it."""
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
        seal = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self._known.get(path)
        if known is not None and known[:4] == seal:
            return str(known[4])
        now = time.time_ns()
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with full.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError:
            return None
        if now - stat.st_mtime_ns > _RACY_NS and now - stat.st_ctime_ns > _RACY_NS:
            self._known[path] = [*seal, digest.hexdigest()]
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
                if name not in _ALWAYS and not (ignored and ignored(f"{path}/{prefix}{name}/"))
            ]
            for name in files:
                if not (ignored and ignored(f"{path}/{prefix}{name}")):
                    yield f"{prefix}{name}"

    def _ignored(self) -> Any:
        if self._ignores is None:
            self._ignores = _dvcignore(self.root) or False
        return self._ignores


def manifest_digest(files: dict[str, str]) -> str:
    """DVC's digest of a folder with these files: the md5 of its manifest and ``.dir``."""
    manifest = [{"md5": files[name], "relpath": name} for name in sorted(files, key=lambda n: n.split("/"))]
    return hashlib.md5(json.dumps(manifest).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _dvcignore(root: Path) -> Any:
    """A test of ``.dvcignore``; None where it holds no rule, which spares an import."""
    try:
        lines = (root / ".dvcignore").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    rules = [line for line in lines if line.strip() and not line.startswith("#")]
    if not rules:
        return None
    import pathspec

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of an odd pattern, such as `[[a]`
        return pathspec.PathSpec.from_lines("gitignore", rules).match_file
