"""Streams the output of commands while they run.

The Dagger API returns a command's output only at its end. Rondel's engine also appends it, as frames,
to the file that ``$RONDEL_ENGINE_OUTPUT`` names, up to a limit for each session. Without frames,
all lines appear at the end. No line is logged twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

T = TypeVar("T")

VARIABLE = "RONDEL_ENGINE_OUTPUT"
TAG = "RONDEL_OUTPUT_TAG"
TRACE = "RONDEL_TRACE_INPUTS"
"""The variable with a folder: the engine reports which of its files the command opened."""
NOT_TRACED = "this engine does not trace which files a command opens"
NO_TRACE = "the engine sent no trace of this command; it may have been cached or killed"
TRACE_CUT = "the session printed more than the engine streams, so the trace is missing"
INTERVAL = 0.1
"""Seconds between two reads of the file."""

_BLOCK = 1 << 18
_LONGEST_LINE = 1 << 16


class CommandOutput:
    """The output and the trace of one command; complete after ``follow``.

    ``complete`` is whether all output came as frames. ``opened`` are the files of the folder
    ``TRACE`` that existed before the command and that it opened, ``written`` those that it only opened
    for writing; None without a trace. ``untraced`` is why the trace may be incomplete, else empty.
    """

    def __init__(self, tag: str, take: Callable[[str], None], *, untraced: str = NOT_TRACED) -> None:
        self.tag = tag
        self.opened: frozenset[str] | None = None
        self.written: frozenset[str] = frozenset()
        self.untraced = untraced
        self.lines: dict[str, int] = {}
        self.complete = False
        self._take = take
        self._partial: dict[str, bytes] = {}

    def feed(self, stream: str, data: bytes) -> None:
        """Add bytes of a stream; whole lines are logged immediately."""
        whole, newline, rest = (self._partial.get(stream, b"") + data).rpartition(b"\n")
        if newline:
            self.lines[stream] = self.lines.get(stream, 0) + whole.count(b"\n") + 1
            self._take(whole.decode("utf-8", "replace"))
        self._partial[stream] = rest
        if len(rest) > _LONGEST_LINE:
            self.close()

    def trace(self, opened: Iterable[str], written: Iterable[str], why: str) -> None:
        """Add the files that a command opened; several commands may have this tag."""
        first = self.opened is None
        read = (self.opened or frozenset()) - self.written | (frozenset(opened) - frozenset(written))
        self.opened = (self.opened or frozenset()) | frozenset(opened)
        self.written = self.opened - read
        self.untraced = why if first else self.untraced or why

    def close(self) -> None:
        """Log incomplete lines."""
        for stream, rest in self._partial.items():
            if rest:
                self._take(rest.decode("utf-8", "replace"))
                self.lines[stream] = self.lines.get(stream, 0) + 1
                self._partial[stream] = b""

    def end(self, *, complete: bool) -> None:
        """End after the last frame; ``complete`` if the engine left none out."""
        if self.opened is None and not complete:
            self.untraced = TRACE_CUT
        self.complete = complete and bool(self._partial)
        self.close() if self.complete else self._partial.clear()

    def log(self, **streams: str) -> None:
        """Log the command's whole output, by stream, except the lines that came as frames."""
        if self.complete:
            return
        for stream, text in streams.items():
            rest = "\n".join(text.split("\n")[self.lines.get(stream, 0) :])
            if rest:
                self._take(rest)


class OutputStream:
    """Reads the engine's frames and passes them to the commands' outputs.

    Only used on the event loop, so it needs no locks.
    """

    def __init__(self, path: str, run: str, note: Callable[[str], None] | None = None) -> None:
        """Read the file at ``path`` from its current end on; an empty path means no frames.

        ``note`` gets the engine's messages to the user.
        """
        self._run = run
        self._note = note or (lambda _text: None)
        self._numbers = itertools.count(1)
        self._outputs: dict[str, CommandOutput] = {}
        self._descriptor = -1
        self._data = b""
        self._full = False
        if path:
            try:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                os.lseek(self._descriptor, 0, os.SEEK_END)
            except OSError:
                self.close()
        if self.active:
            # The shared lock shows the engine that its notices are read, so it need not print them.
            # If the engine is just checking, it holds the lock, and prints them.
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], run: str, note: Callable[[str], None] | None = None
    ) -> OutputStream:
        """The stream of the session in the environment, for the run of that ID."""
        return cls(environ.get(VARIABLE, ""), run, note)

    @property
    def active(self) -> bool:
        """Whether an engine may write frames."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Read the remaining frames and stop."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self.drain()
            os.close(self._descriptor)
            self._descriptor = -1

    def command_output(self, take: Callable[[str], None], *, tagged: bool = True) -> CommandOutput:
        """The output of the next command, whose environment must contain its tag as ``TAG``.

        An output without a tag is for the commands of an image build, which have none.
        """
        tag = f"{self._run}/{next(self._numbers)}" if tagged else ""
        return CommandOutput(tag, take, untraced=NO_TRACE if self.active else NOT_TRACED)

    async def follow(self, output: CommandOutput, work: Callable[[], Awaitable[T]]) -> T:
        """Await ``work``, and meanwhile stream its command's lines to ``output``.

        Raises what ``work`` raises, after reading all frames.
        """
        import anyio

        if not self.active:
            return await work()
        self.drain()  # earlier frames belong to other commands
        done: list[T] = []
        raised: list[Exception] = []
        self._outputs[output.tag] = output
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._read_frames)
                try:
                    done.append(await work())
                except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
                    raised.append(error)
                group.cancel_scope.cancel()
        finally:
            self.drain()
            del self._outputs[output.tag]
            output.end(complete=not self._full)
        if raised:
            raise raised[0]
        return done[0]

    async def follow_build(self, log: Callable[[str], None], work: Callable[[], Awaitable[T]]) -> T:
        """Await ``work``, an image build, and meanwhile pass the lines of its commands to ``log``."""
        return await self.follow(self.command_output(log, tagged=False), work)

    async def _read_frames(self) -> None:
        import anyio

        while True:
            self.drain()
            await anyio.sleep(INTERVAL)

    def drain(self) -> None:
        """Read the available frames; drops those of unknown commands."""
        while self.active:
            block = os.read(self._descriptor, _BLOCK)
            if not block:
                return
            lines = (self._data + block).split(b"\n")
            self._data = lines.pop()
            for line in lines:
                self._frame(line)

    def _frame(self, line: bytes) -> None:
        try:
            frame: Any = json.loads(line)
            if frame.get("full"):
                self._full = True
                return
            if "notice" in frame:
                self._note(str(frame["notice"]))
                return
            output = self._outputs.get(frame["tag"])
            if output is not None:
                _add_frame(output, frame)
        except (ValueError, KeyError, AttributeError, TypeError):
            return


def _add_frame(output: CommandOutput, frame: Mapping[str, Any]) -> None:
    if "opened" in frame:
        why = "" if frame["known"] is True else str(frame["why"])
        output.trace([str(name) for name in frame["opened"]], [str(name) for name in frame["written"]], why)
    else:
        output.feed(str(frame["stream"]), frame["text"].encode("latin-1"))


__all__ = ["INTERVAL", "TAG", "TRACE", "VARIABLE", "CommandOutput", "OutputStream"]
