"""Reads /proc: what a process did, to wait for it as long as it works."""

from __future__ import annotations

import os
import time
from contextlib import suppress

IDLE_SECONDS = 120.0
"""How long a process that starts may do nothing before it is given up."""
_GROUP, _USER_TIME, _SYSTEM_TIME = 2, 11, 12


def stat_fields(pid: int | str) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` after the command's name, from the state on; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def processor_time(group: int) -> int:
    """The processor time that the live processes of a process group used, in clock ticks."""
    used = 0
    with suppress(OSError), os.scandir("/proc") as found:
        for entry in found:
            fields = stat_fields(entry.name) if entry.name.isdigit() else None
            if fields is not None and int(fields[_GROUP]) == group:
                used += int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
    return used


class Patience:
    """Waits for a process group as long as it works, however slow the machine is."""

    def __init__(self, group: int, *, idle: float = IDLE_SECONDS) -> None:
        self._group = group
        self._idle = idle
        self._used = -1
        self._worked = self._looked = time.monotonic()

    def is_over(self) -> bool:
        """Whether the group used no processor time for :data:`IDLE_SECONDS`. Looks once a second."""
        now = time.monotonic()
        if now - self._looked >= 1.0 or self._used < 0:
            self._looked = now
            used = processor_time(self._group)
            if used != self._used:
                self._used, self._worked = used, now
        return now - self._worked > self._idle
