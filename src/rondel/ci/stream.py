"""Standard output and error of a CI job: at most a megabyte, no long lines, no secrets.

GitLab cuts a job's log at 4 MB by default, and then the end is missing, which
is what people look for. The whole output of each stage is in its log, an
artifact. The limit holds for everything that this process prints, also for a
``print`` in a stage's function.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LIMIT = 1_000_000
"""Bytes on the console in all."""

RESERVE = 100_000
"""Bytes of these that are kept for the end: the table, the error, what to do next."""

LONGEST = 4_000
"""Characters of a line; what is longer is cut in the middle."""

CUT = "… the console's limit is reached; the stages' whole output is in their logs\n"


class Budget:
    """How many bytes may still be printed, shared by both streams."""

    def __init__(self, limit: int = LIMIT, reserve: int = RESERVE) -> None:
        self.left = limit - len(CUT.encode())
        self.reserve = reserve
        self.cut = False
        self.lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether ``size`` bytes may be printed; they are then counted."""
        if self.left - size < self.reserve:
            return False
        self.left -= size
        return True

    def end(self) -> None:
        """From now on the reserve may be used."""
        self.reserve = 0


class GuardedStream:
    """A text stream that counts, shortens and masks what is written to it, line by line."""

    def __init__(self, stream: TextIO, budget: Budget, secrets: Iterable[str] = ()) -> None:
        self._stream = stream
        self._budget = budget
        self._secrets = tuple(secrets)
        self._part = ""

    def write(self, text: str) -> int:
        """Print the lines that are whole; the rest waits for its end."""
        with self._budget.lock:
            *lines, self._part = (self._part + text).split("\n")
            if len(self._part) > 8 * LONGEST:
                self._part = self._part[: 4 * LONGEST] + self._part[-2 * LONGEST :]
            for line in lines:
                self._line(f"{line}\n")
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Print them one by one."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush what is whole. A line that is not stays: half a secret can't be recognised."""
        self._stream.flush()

    def finish(self) -> None:
        """Print what is left, at the end."""
        with self._budget.lock:
            if self._part:
                self._line(self._part)
                self._part = ""
        self._stream.flush()

    def _line(self, line: str) -> None:
        line = shorten(mask(line, self._secrets))
        if self._budget.take(len(line.encode("utf-8", "replace"))):
            self._stream.write(line)
        elif not self._budget.cut:
            self._budget.cut = True
            self._stream.write(CUT)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` with ``***`` in place of each of ``secrets``."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def shorten(line: str, longest: int = LONGEST) -> str:
    """``line`` with its middle left out if it is too long; its end is kept, with the line break."""
    if len(line) <= longest:
        return line
    half = longest // 2 - 20
    return f"{line[:half]} […{len(line) - 2 * half} characters…] {line[-half:]}"


@contextmanager
def guarded(secrets: Iterable[str]) -> Iterator[Budget]:
    """Within the block this process's standard streams are guarded."""
    budget = Budget()
    hidden = tuple(secrets)
    before = sys.stdout, sys.stderr
    out, err = (GuardedStream(stream, budget, hidden) for stream in before)
    sys.stdout, sys.stderr = out, err
    try:
        yield budget
    finally:
        budget.end()
        out.finish()
        err.finish()
        sys.stdout, sys.stderr = before
