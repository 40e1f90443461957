"""A run as one file: a plain tar archive, with the same bytes for the same run.

The first member, ``rondel-capsule.json``, names the format and lists every
other member with its SHA-256. Nothing is compressed, because compressors don't
guarantee the same bytes in their next version. Reading an archive trusts
nothing: it accepts only listed members that are regular files with plain
relative names, within size limits. It unpacks into a separate folder, which
gets its final name only if everything is valid.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tarfile
from typing import IO, TYPE_CHECKING, Any

from rondel.errors import RecordError
from rondel.files.atomic import write_atomic
from rondel.record.codec import LIMIT, decode, encode
from rondel.record.folder import LOCK, RunFolder
from rondel.record.redact import reason_to_omit
from rondel.record.validation import is_safe_path, validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rondel.record.capsule import Capsule
    from rondel.secrets.masker import Masker

FORMAT = 1
ARTIFACT = "run.capsule"
"""The archive's name in the artifacts of an MLflow run."""

MANIFEST = "rondel-capsule.json"
CAPSULE = "capsule.json"
MOST_FILES = 20_000
LARGEST = 4 << 30
_MANIFEST_LIMIT = 8 << 20
_LEFT_OUT = frozenset({LOCK})
RESULTS = "results/"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def secret_results(folder: RunFolder, masker: Masker) -> dict[str, str]:
    """The results in ``folder`` that must not leave this machine: path to the reason."""
    results = ((name, path) for name, path in _files(folder) if name.startswith(RESULTS))
    return {name: reason for name, path in results if (reason := reason_to_omit(name, path, masker))}


def pack(
    folder: RunFolder, out: IO[bytes], capsule: Capsule | None = None, *, omitted: Iterable[str] = ()
) -> str:
    """Write the run in ``folder`` to ``out``; returns the archive's digest, ``sha256:…``.

    ``capsule`` replaces the one in the folder (for a run that is about to end),
    ``omitted`` are files that stay out.
    Raises RecordError if the folder's own cannot be read.
    """
    data = encode(capsule) if capsule is not None else _read_capsule(folder)
    validate(decode(data, str(folder.capsule)), str(folder.capsule))
    without = {CAPSULE, *omitted}
    files = {name: path for name, path in _files(folder) if name not in without}
    hashes = {CAPSULE: hashlib.sha256(data).hexdigest()}
    hashes |= {name: _sha256(path) for name, path in files.items()}
    manifest = (
        json.dumps({"format": FORMAT, "files": dict(sorted(hashes.items()))}, indent=1).encode() + b"\n"
    )
    digest = hashlib.sha256()
    tee: Any = _Tee(out, digest)
    with tarfile.open(fileobj=tee, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        _add(archive, MANIFEST, io.BytesIO(manifest), len(manifest), 0o644)
        _add(archive, CAPSULE, io.BytesIO(data), len(data), 0o644)
        for name, path in sorted(files.items()):
            status = path.stat()
            with path.open("rb") as file:
                _add(archive, name, file, status.st_size, 0o755 if status.st_mode & 0o100 else 0o644)
    return f"sha256:{digest.hexdigest()}"


def export(folder: RunFolder, target: Path, *, omitted: Iterable[str] = ()) -> str:
    """Write the run in ``folder`` to the file ``target``, completely or not at all; its digest, ``sha256:…``.

    ``omitted`` are files that stay out.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(3)}")
    if not target.parent.is_dir():
        raise RecordError("the capsule can't be written", why=f"there is no folder {target.parent}")
    try:
        with draft.open("wb") as file:
            digest = pack(folder, file, omitted=omitted)
        draft.replace(target)
    except OSError as error:
        raise RecordError("the capsule can't be written", why=error.strerror, place=str(target)) from None
    finally:
        draft.unlink(missing_ok=True)
    return digest


def unpack(file: Path, into: Path) -> RunFolder:
    """Unpack an archive into a folder below ``into`` that is named by its digest.

    Raises RecordError if it is not a capsule, or is damaged, malicious or of
    another version; then it leaves nothing behind.
    """
    place = str(file)
    into.mkdir(parents=True, exist_ok=True)
    draft = into / f".{os.getpid()}.{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        with file.open("rb") as raw:
            digest = hashlib.sha256()
            _extract(raw, draft, place)
            raw.seek(0)
            while block := raw.read(1 << 20):
                digest.update(block)
        _verify(draft, place)
        return _publish(draft, into / digest.hexdigest()[:24])
    except OSError as error:
        raise RecordError("the capsule can't be read", why=str(error), place=place) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def unpack_members(members: Iterable[tuple[str, bytes]], into: Path, place: str) -> RunFolder:
    """Make a run's folder from the ``(name, content)`` of its files, such as the artifacts of a CI job.

    Applies the same rules as for an archive, but without a list of hashes. Raises RecordError.
    """
    into.mkdir(parents=True, exist_ok=True)
    draft = into / f".{os.getpid()}.{secrets.token_hex(4)}"
    draft.mkdir()
    digest = hashlib.sha256()
    try:
        for name, content in members:
            if name.rpartition("/")[2] in _LEFT_OUT:
                continue
            _check_name(name, place)
            digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogatepass") + content)
            write_atomic(draft / name, content, sync=False, follow_links=False)
        _check_capsule(draft, place)
        return _publish(draft, into / digest.hexdigest()[:24])
    except OSError as error:
        raise RecordError("the capsule can't be read", why=str(error), place=place) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, target: Path) -> RunFolder:
    if not target.is_dir():
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():  # else another process has just unpacked the same archive
                raise
    return RunFolder(target)


def _extract(raw: IO[bytes], draft: Path, place: str) -> None:
    total = count = 0
    seen: set[str] = set()
    try:
        # Plain tar only: a compressed one could expand to a thousand times its size.
        with tarfile.open(fileobj=raw, mode="r:", encoding="utf-8", errors="strict") as archive:
            for member in archive:
                count += 1
                total += member.size
                if not member.isreg() or member.issparse():
                    raise _refused(f"{member.name!r} is not a plain file", place)
                _check_name(member.name, place)
                if member.name.casefold() in seen:
                    raise _refused(f"{member.name!r} appears twice", place)
                if member.size < 0 or total > LARGEST or count > MOST_FILES:
                    raise _refused(f"it has more than {MOST_FILES} files or {LARGEST >> 30} GiB", place)
                seen.add(member.name.casefold())
                source = archive.extractfile(member)
                if source is None:
                    raise _refused(f"{member.name!r} has no content", place)
                target = draft / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                target.chmod(0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError, FileExistsError) as error:
        raise _refused(str(error) or type(error).__name__, place, what="this is not a capsule") from None


def _verify(draft: Path, place: str) -> None:
    listed = _manifest(draft, place)
    (draft / MANIFEST).unlink()
    there = dict(_files(RunFolder(draft)))
    for name in sorted({*listed, *there}):
        if name not in there:
            raise _refused(f"{name} is missing", place, what="the capsule is damaged")
        if name not in listed:
            raise _refused(f"{name} is not in its manifest", place, what="the capsule is damaged")
        if _sha256(there[name]) != listed[name]:
            raise _refused(f"{name} was changed", place, what="the capsule is damaged")
    _check_capsule(draft, place)


def _manifest(draft: Path, place: str) -> dict[str, str]:
    file = draft / MANIFEST
    if not file.is_file() or file.stat().st_size > _MANIFEST_LIMIT:
        raise _refused(f"it has no {MANIFEST}", place, what="this is not a capsule")
    try:
        value: Any = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _refused(f"{MANIFEST}: {error}", place, what="the capsule is damaged") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else value
        raise RecordError(
            f"the archive has format {str(found)[:40]!r}, but this Rondel reads format {FORMAT}",
            hint="read it with the Rondel version that wrote it",
            place=place,
        )
    files = value.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(each, str) and _SHA256.fullmatch(each) for each in files.values()
    ):
        raise _refused(f"{MANIFEST} lists no files", place, what="the capsule is damaged")
    return files


def _check_capsule(draft: Path, place: str) -> None:
    file = draft / CAPSULE
    if not file.is_file():
        raise _refused(f"it has no {CAPSULE}", place, what="this is not a capsule")
    if file.stat().st_size > LIMIT:
        raise _refused(f"{CAPSULE} is larger than {LIMIT >> 20} MiB", place)
    validate(decode(file.read_bytes(), place), place)


def _check_name(name: str, place: str) -> None:
    if not is_safe_path(name) or name.startswith("./") or "//" in name:
        raise _refused(f"{name[:80]!r} leaves the capsule's folder", place)


def _refused(why: str, place: str, *, what: str = "the capsule was rejected") -> RecordError:
    return RecordError(what, why=why, hint="nothing of it was used", place=place)


def _files(folder: RunFolder) -> Iterator[tuple[str, Path]]:
    for parent, folders, names in os.walk(folder.path):
        folders.sort()
        for name in sorted(names):
            path = folder.path.__class__(parent, name)
            relative = path.relative_to(folder.path).as_posix()
            if (
                not path.is_symlink()
                and path.is_file()
                and relative not in _LEFT_OUT
                and is_safe_path(relative)
            ):
                yield relative, path


def _read_capsule(folder: RunFolder) -> bytes:
    try:
        return folder.capsule.read_bytes()
    except OSError as error:
        raise RecordError("the capsule can't be read", why=str(error), place=str(folder.capsule)) from None


def _add(archive: tarfile.TarFile, name: str, file: IO[bytes], size: int, mode: int) -> None:
    member = tarfile.TarInfo(name)  # its defaults for owner, group and time are zero
    member.size, member.mode = size, mode
    archive.addfile(member, file)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Tee:
    """Writes data and hashes it."""

    def __init__(self, out: IO[bytes], digest: Any) -> None:
        self._out, self._digest = out, digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._out.write(data)
