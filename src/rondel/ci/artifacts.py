"""Finds the capsule in the artifacts of a CI job, a zip archive with an exported file or a run's folder."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

from rondel.errors import RecordError
from rondel.record.archive import LARGEST, MOST_FILES, unpack, unpack_members
from rondel.record.download import temporary
from rondel.record.folder import ID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rondel.record import RunFolder

_FOLDER = re.compile(rf"(?:^|/)\.rondel/runs/(?P<run>{ID.pattern})/(?P<file>.+)$")


def capsule_in(archive: Path, into: Path, place: str) -> RunFolder:
    """The run in the zip file; of several, the newest.

    Raises RecordError if there is none, or if the archive is not safe to unpack.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            infos = [info for info in zipped.infolist() if not info.is_dir()]
            if len(infos) > MOST_FILES * 10:
                raise RecordError(f"the job's artifacts are {len(infos)} files", place=place)
            exported = [info for info in infos if info.filename.endswith(".capsule")]
            if exported:
                return _exported(zipped, exported[-1], into, place)
            runs: dict[str, list[tuple[str, zipfile.ZipInfo]]] = {}
            for info in infos:
                match = _FOLDER.search(info.filename)
                if match:
                    runs.setdefault(match["run"], []).append((match["file"], info))
            if not runs:
                raise RecordError(
                    "the job's artifacts contain no capsule",
                    why=f"none of its {len(infos)} files is one",
                    hint="keep `.rondel/runs/` as an artifact, also of failed jobs, "
                    "as `rondel ci generate` sets it up",
                    place=place,
                )
            return unpack_members(_members(zipped, runs[max(runs)], place), into, place)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError) as error:
        raise RecordError("the job's artifacts cannot be read", why=str(error), place=place) from None


def _exported(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, into: Path, place: str) -> RunFolder:
    if info.file_size > LARGEST:
        raise RecordError(f"the capsule is larger than {LARGEST >> 30} GiB", place=place)
    with temporary(into) as file:
        with zipped.open(info) as source, file.open("wb") as out:
            left = info.file_size
            while left > 0 and (block := source.read(min(left, 1 << 20))):
                left -= len(block)
                out.write(block)
        return unpack(file, into)


def _members(
    zipped: zipfile.ZipFile, members: list[tuple[str, zipfile.ZipInfo]], place: str
) -> Iterator[tuple[str, bytes]]:
    if len(members) > MOST_FILES or sum(info.file_size for _, info in members) > LARGEST:
        raise RecordError("the run's folder is too large", place=place)
    for name, info in sorted(members):
        with zipped.open(info) as source:
            # Read one byte more than the header says, so that the checksum finds a wrong size.
            yield name, source.read(info.file_size + 1)
