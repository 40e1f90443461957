"""Standard output and error of a CI job: at most a megabyte, no long lines, no secrets.

GitLab cuts a job's log at 4 MB by default, and then the end is missing, which
is what people look for. The whole output of each stage is in its log, an
artifact. The limit holds for everything that this process prints, also for a
``print`` in a stage's function, and for programs that such a function starts.
"""

from __future__ import annotations

import codecs
import os
import select
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from rondel.reports.terminal import discard_output
from rondel.secrets.masker import Masker

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

    def take(self, size: int, spared: int = 0) -> bool:
        """Whether ``size`` bytes may be printed, with ``spared`` left over; they are then counted."""
        if self.left - size < max(self.reserve, spared):
            return False
        self.left -= size
        return True

    def end(self) -> None:
        """From now on the reserve may be used."""
        self.reserve = 0


class GuardedStream:
    """A text stream that counts, shortens and masks what is written to it, line by line."""

    def __init__(
        self, stream: TextIO, budget: Budget, masker: Masker | None = None, *, spared: int = 0
    ) -> None:
        self._stream = stream
        self._spared = spared
        self._budget = budget
        self._masker = masker or Masker()
        self._part = ""

    def write(self, text: str) -> int:
        """Print the lines that are whole; the rest waits for its end."""
        with self._budget.lock:
            *lines, self._part = (self._part + text).split("\n")
            if len(self._part) > 8 * LONGEST:
                part = self._masker.text(self._part)  # before the cut, which may go through a secret
                self._part = part if len(part) < 6 * LONGEST else part[: 4 * LONGEST] + part[-2 * LONGEST :]
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
        """Print what is left, at the end. A reader that went away is no reason to fail a run."""
        try:
            with self._budget.lock:
                if self._part:
                    self._line(self._part)
                    self._part = ""
            self._stream.flush()
        except OSError:
            discard_output(self._stream)

    def _line(self, line: str) -> None:
        line = shorten(self._masker.text(line))
        if self._budget.take(len(line.encode("utf-8", "replace")), self._spared):
            self._stream.write(line)
        elif not self._budget.cut:
            self._budget.cut = True
            self._stream.write(CUT)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def shorten(line: str, longest: int = LONGEST) -> str:
    """``line`` with its middle left out if it is too long; its end is kept, with the line break."""
    if len(line) <= longest:
        return line
    half = longest // 2 - 20
    return f"{line[:half]} […{len(line) - 2 * half} characters…] {line[-half:]}"


@contextmanager
def guarded(secrets: Iterable[str]) -> Iterator[Budget]:
    """Within the block this process's standard streams are guarded, also for programs that it starts."""
    budget = Budget()
    masker = Masker(secrets)
    before = sys.stdout, sys.stderr
    with ExitStack() as stack:
        # A program that a stage's function starts writes to the descriptor, and past our objects.
        streams = [stack.enter_context(_descriptor_guarded(stream, budget, masker)) for stream in before]
        out, err = (GuardedStream(stream, budget, masker) for stream in streams)
        sys.stdout, sys.stderr = out, err
        try:
            yield budget
        finally:
            budget.end()
            out.finish()
            err.finish()
            sys.stdout, sys.stderr = before


@contextmanager
def _descriptor_guarded(stream: TextIO, budget: Budget, masker: Masker) -> Iterator[TextIO]:
    """Within the block the stream's descriptor is a pipe, whose lines are guarded; a way past it is given.

    Nothing is done for a stream that is no descriptor's.
    """
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):
        yield stream
        return
    stream.flush()
    source, sink = os.pipe()
    with os.fdopen(os.dup(number), "w", encoding=stream.encoding, errors="replace") as way:
        guard = GuardedStream(way, budget, masker, spared=RESERVE)  # the end is ours
        end = threading.Event()
        thread = threading.Thread(target=_pump, args=(source, guard, way, end), daemon=True)
        os.dup2(sink, number, inheritable=True)
        os.close(sink)
        thread.start()
        try:
            yield way
        finally:
            stream.flush()
            os.dup2(way.fileno(), number, inheritable=True)
            end.set()
            thread.join()
            guard.finish()
            os.close(source)


def _pump(source: int, guard: GuardedStream, way: TextIO, end: threading.Event) -> None:
    """Pass on what comes, until the block has ended and nothing is waiting.

    Not until the pipe's end: a program that lives on may hold it open.
    """
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    while True:
        ready, _, _ = select.select([source], [], [], 0 if end.is_set() else 0.1)
        if not ready:
            if end.is_set():
                return
            continue
        data = os.read(source, 65536)
        if not data:
            return
        try:
            guard.write(decode(data))
            guard.flush()
        except OSError:
            # Nobody reads any more. The pipe is still emptied: programs would wait for ever to write into it.
            discard_output(way)
