"""The folders of runs: ``.rondel/runs/ID/`` with ``capsule.json`` and ``logs/``."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rondel.errors import RecordError, did_you_mean
from rondel.files.atomic import private_folder, write_atomic
from rondel.record.codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rondel.record.capsule import Capsule

LOCK = "lock"

ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


def new_id(now: float | None = None) -> str:
    """A run's ID, ``20261123-194742-a1b2c3``, in UTC.

    IDs sort by time: of the last six digits the first three are the fraction
    of the second (in 4096ths), the others are random.
    """
    now = time.time() if now is None else now
    tail = (int(now % 1 * 4096) << 12) | secrets.randbelow(4096)
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{tail:06x}"


def short_path(path: Path) -> str:
    """A path relative to the working directory if it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @classmethod
    def of(cls, root: Path, run: str) -> RunFolder:
        """The folder of the run with this ID in a project; does not create it."""
        return cls(root / ".rondel" / "runs" / run)

    @property
    def capsule(self) -> Path:
        """The capsule's file."""
        return self.path / "capsule.json"

    def log(self, stage: str) -> Path:
        """The log of a stage. Replaces characters of the stage's name that a file name should not have."""
        return self.path / "logs" / f"{re.sub(r'[^A-Za-z0-9._=,-]+', '_', stage)}.log"

    def save(self, capsule: Capsule, *, sync: bool = True) -> None:
        """Write the capsule atomically."""
        write_atomic(self.capsule, encode(capsule), sync=sync)

    def lock(self) -> IO[bytes]:
        """Lock the folder while this process writes it. The kernel unlocks it when the process ends."""
        private_folder(self.path.parents[1])
        self.path.mkdir(parents=True, exist_ok=True)
        file = (self.path / LOCK).open("wb")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    @property
    def abandoned(self) -> bool:
        """Whether no process writes this run: if its capsule says ``running``, the process was killed."""
        try:
            with (self.path / LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Remove the run's folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def run_ids(root: Path) -> tuple[str, ...]:
    """The IDs of all runs under a project's root, newest first."""
    try:
        names = [entry.name for entry in os.scandir(root / ".rondel" / "runs")]
    except FileNotFoundError:
        return ()
    return tuple(sorted((name for name in names if ID.fullmatch(name)), reverse=True))


def list_runs(root: Path) -> Iterator[tuple[RunFolder, Capsule | RecordError]]:
    """All runs, newest first; instead of an unreadable capsule, its error."""
    for run in run_ids(root):
        folder = RunFolder.of(root, run)
        try:
            yield folder, decode(folder.capsule.read_bytes(), str(folder.capsule))
        except FileNotFoundError:
            yield folder, RecordError("the run has no capsule", place=str(folder.capsule))
        except RecordError as error:
            yield folder, error


def load(root: Path, name: str | None = None) -> tuple[RunFolder, Capsule]:
    """Load a run by its ID, a unique prefix of it, or its path; without a name, the newest run.

    Raises RecordError if there is no such run or its capsule can't be read.
    """
    folder = _find(root, name)
    try:
        data = folder.capsule.read_bytes()
    except OSError as error:
        raise RecordError("the capsule can't be read", why=str(error), place=str(folder.capsule)) from None
    return folder, decode(data, str(folder.capsule))


def _find(root: Path, name: str | None) -> RunFolder:
    ids = run_ids(root)
    if name is None or name in {"last", "latest"}:
        if not ids:
            raise RecordError("there are no runs yet", place=str(root / ".rondel" / "runs"))
        return RunFolder.of(root, ids[0])
    path = Path(name)
    if path.name == "capsule.json" and path.is_file():
        return RunFolder(path.parent)
    # os.path returns False for a name that is too long; pathlib raises before Python 3.14.
    if os.path.isdir(path) and (path / "capsule.json").is_file():  # noqa: PTH112
        return RunFolder(path)
    matches = [run for run in ids if run.startswith(name) or run.endswith(f"-{name}")]
    if len(matches) == 1:
        return RunFolder.of(root, matches[0])
    if matches:
        raise RecordError(
            f"{name!r} matches {len(matches)} runs", hint=f"name one of {', '.join(matches[:5])}"
        )
    if os.path.exists(path):  # noqa: PTH110
        raise RecordError(f"{name!r} is not a run's folder", hint="the folders of runs are .rondel/runs/ID")
    if len(path.parts) > 1 or path.suffix:
        raise RecordError(f"there is no file {name!r}", hint="`rondel runs export ID -o FILE` writes one")
    raise RecordError(f"there is no run {name!r}", hint=did_you_mean(name, ids[:5]))
