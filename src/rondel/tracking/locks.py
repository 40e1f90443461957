"""File locks and process identities: which runs use the local MLflow server, and which processes live.

The kernel drops a ``flock`` when its last holder dies, for any reason. Process
numbers are reused, so a process is identified by its number and its start time.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rondel.files.proc import stat_fields

_START_TIME_FIELD = 19  # field 22 of /proc/PID/stat, counted from the field after the command
_GROUP_FIELD = 2
_STATE_FIELD = 0


class FileLock:
    """An open file with a ``flock``. A new program inherits it only if its descriptor is passed on."""

    def __init__(self, path: Path, *, descriptor: int | None = None) -> None:
        self.path = path
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """The number of the open file. Raises ValueError if it is closed."""
        if self._descriptor is None:
            raise ValueError(f"{self.path} is not open")
        return self._descriptor

    def try_exclusive(self) -> bool:
        """Take an exclusive lock without waiting; return False if another process holds the lock."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take a shared lock without waiting; return False if another process has an exclusive lock."""
        return self._try(fcntl.LOCK_SH)

    def wait_exclusive(self, seconds: float) -> bool:
        """Take an exclusive lock, waiting up to ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.try_exclusive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def unlock(self) -> None:
        """Release the lock, for every process that shares this open file."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; this releases the lock unless another process shares the file."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                os.close(descriptor)

    def _try(self, mode: int) -> bool:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessId:
    """A process: its number, and its start time in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process with this number; None if there is none, or if it is a zombie."""
        fields = stat_fields(pid)
        if fields is None or fields[_STATE_FIELD] in {"Z", "X"}:
            return None
        return cls(pid=pid, started=int(fields[_START_TIME_FIELD]))

    def alive(self) -> bool:
        """Whether this process still runs."""
        return ProcessId.of(self.pid) == self


def group_members(group: int, marker: str) -> list[int]:
    """The live processes of a process group whose environment contains ``marker``.

    The marker distinguishes our group from another one that reuses its number.
    """
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        fields = stat_fields(int(entry.name))
        if fields is None or fields[_STATE_FIELD] in {"Z", "X"} or int(fields[_GROUP_FIELD]) != group:
            continue
        with suppress(OSError):
            environment = Path(f"/proc/{entry.name}/environ").read_bytes()
            if marker.encode() in environment.split(b"\0"):
                found.append(int(entry.name))
    return found
