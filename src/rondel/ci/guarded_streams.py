"""Limits and masks the standard output and error of a CI job: at most a megabyte, no long lines, no secrets.

GitLab cuts a job's log at 4 MB by default, so it would lose the end, which
people need most. The stages' whole output is in their logs, which are
artifacts. The limit is for everything that this process prints, which includes
``print`` in a stage's function and programs that such a function starts.
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
"""How many bytes a job may print."""

RESERVE = 100_000
"""How many of these bytes are reserved for the end: the table, the error, the next steps."""

LONGEST = 4_000
"""How many characters a line may have; a longer one loses its middle."""

CUT = "… the console's limit is reached; the stages' whole output is in their logs\n"


class Budget:
    """How many bytes both streams may still print."""

    def __init__(self, limit: int = LIMIT, reserve: int = RESERVE) -> None:
        self.left = limit - len(CUT.encode())
        self.reserve = reserve
        self.cut = False
        self.lock = threading.Lock()

    def take(self, size: int, spared: int = 0) -> bool:
        """Count ``size`` bytes and return True if they may be printed and ``spared`` bytes remain."""
        if self.left - size < max(self.reserve, spared):
            return False
        self.left -= size
        return True

    def end(self) -> None:
        """Allow use of the reserve from now on."""
        self.reserve = 0


class GuardedStream:
    """A text stream that masks, shortens and counts what it prints, line by line."""

    def __init__(
        self, stream: TextIO, budget: Budget, masker: Masker | None = None, *, spared: int = 0
    ) -> None:
        self._stream = stream
        self._spared = spared
        self._budget = budget
        self._masker = masker or Masker()
        self._part = ""

    def write(self, text: str) -> int:
        """Print complete lines; the rest waits until its line ends."""
        with self._budget.lock:
            *lines, self._part = (self._part + text).split("\n")
            if len(self._part) > 8 * LONGEST:
                part = self._masker.text(self._part)  # before the cut, which may go through a secret
                self._part = part if len(part) < 6 * LONGEST else part[: 4 * LONGEST] + part[-2 * LONGEST :]
            for line in lines:
                self._line(f"{line}\n")
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Print the lines one by one."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush complete lines. An incomplete one waits, because half a secret can't be recognised."""
        self._stream.flush()

    def finish(self) -> None:
        """Print the rest at the end. A closed stream must not fail a run."""
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
    """``line`` without its middle if it is too long; it keeps its end, with the line break."""
    if len(line) <= longest:
        return line
    half = longest // 2 - 20
    return f"{line[:half]} […{len(line) - 2 * half} characters…] {line[-half:]}"


@contextmanager
def guarded_streams(secrets: Iterable[str]) -> Iterator[Budget]:
    """Guard this process's standard streams within the block, also for programs that it starts."""
    budget = Budget()
    masker = Masker(secrets)
    before = sys.stdout, sys.stderr
    with ExitStack() as stack:
        # A program that a stage's function starts writes to the descriptor, not to our objects.
        streams = [stack.enter_context(_guarded_descriptor(stream, budget, masker)) for stream in before]
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
def _guarded_descriptor(stream: TextIO, budget: Budget, masker: Masker) -> Iterator[TextIO]:
    """Replace the stream's descriptor with a guarded pipe, and yield a stream to the original one.

    A stream without a descriptor stays as it is.
    """
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):
        yield stream
        return
    stream.flush()
    source, sink = os.pipe()
    with os.fdopen(os.dup(number), "w", encoding=stream.encoding, errors="replace") as direct:
        guard = GuardedStream(direct, budget, masker, spared=RESERVE)  # programs can't use the reserve
        end = threading.Event()
        thread = threading.Thread(target=_pump, args=(source, guard, direct, end), daemon=True)
        os.dup2(sink, number, inheritable=True)
        os.close(sink)
        thread.start()
        try:
            yield direct
        finally:
            stream.flush()
            os.dup2(direct.fileno(), number, inheritable=True)
            end.set()
            thread.join()
            guard.finish()
            os.close(source)


def _pump(source: int, guard: GuardedStream, direct: TextIO, end: threading.Event) -> None:
    """Pass output on until the block has ended and the pipe is empty.

    Don't wait for the pipe's end: a program that outlives the block may hold it open.
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
            # The reader is gone. Keep emptying the pipe, or programs would block while they write to it.
            discard_output(direct)
