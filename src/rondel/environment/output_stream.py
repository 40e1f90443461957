"""Output of commands while they run, where the engine tells it; otherwise it comes when they end.

Rondel's engine appends frames to a file that ``$RONDEL_ENGINE_OUTPUT`` names, for as long as a
session writes less than it may. Other engines know of no such thing: nothing is different then
but the time at which lines appear. However they come, no line is logged twice.
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
"""Names a folder in a command's environment: the engine tells which of its files the command opened."""
NOT_TOLD = "this engine does not tell which files a command opens"
NOTHING_CAME = "the engine did not tell it of this command, as when the command was not run or was killed"
NO_ROOM = "the session printed more than the engine tells while commands run"
INTERVAL = 0.1
"""Seconds between two looks at the file."""

_BLOCK = 1 << 18
_LONGEST_LINE = 1 << 16


class Sink:
    """Where the lines of one command go. ``complete`` tells whether all of its output came as frames.

    ``opened`` are the files of the folder ``TRACE`` that the command opened, of those that were there before
    it, and ``written`` those of them that it only opened for writing. None: nothing is known.
    ``untraced`` is why these may not be all, and empty if they are. Look at them after ``follow``.
    """

    def __init__(self, tag: str, take: Callable[[str], None], *, untraced: str = NOT_TOLD) -> None:
        self.tag = tag
        self.opened: frozenset[str] | None = None
        self.written: frozenset[str] = frozenset()
        self.untraced = untraced
        self.lines: dict[str, int] = {}
        self.complete = False
        self._take = take
        self._partial: dict[str, bytes] = {}

    def feed(self, stream: str, data: bytes) -> None:
        """Take bytes of a stream; whole lines are passed on at once."""
        whole, newline, rest = (self._partial.get(stream, b"") + data).rpartition(b"\n")
        if newline:
            self.lines[stream] = self.lines.get(stream, 0) + whole.count(b"\n") + 1
            self._take(whole.decode("utf-8", "replace"))
        self._partial[stream] = rest
        if len(rest) > _LONGEST_LINE:
            self.close()

    def trace(self, opened: Iterable[str], written: Iterable[str], why: str) -> None:
        """Take what a command opened. Of several commands with this tag, all together."""
        first = self.opened is None
        read = (self.opened or frozenset()) - self.written | (frozenset(opened) - frozenset(written))
        self.opened = (self.opened or frozenset()) | frozenset(opened)
        self.written = self.opened - read
        self.untraced = why if first else self.untraced or why

    def close(self) -> None:
        """Pass on what is no whole line."""
        for stream, rest in self._partial.items():
            if rest:
                self._take(rest.decode("utf-8", "replace"))
                self.lines[stream] = self.lines.get(stream, 0) + 1
                self._partial[stream] = b""

    def end(self, *, complete: bool) -> None:
        """No more frames come; ``complete`` if none was left out."""
        if self.opened is None and not complete:
            self.untraced = NO_ROOM
        self.complete = complete and bool(self._partial)
        self.close() if self.complete else self._partial.clear()

    def log(self, **streams: str) -> None:
        """Pass on the whole output, by stream, less the lines that came as frames."""
        if self.complete:
            return
        for stream, text in streams.items():
            rest = "\n".join(text.split("\n")[self.lines.get(stream, 0) :])
            if rest:
                self._take(rest)


class Live:
    """Reads the engine's frames and gives them to those who wait for them; see the module's text.

    All of it happens on one event loop, between two awaits.
    """

    def __init__(self, path: str, run: str, note: Callable[[str], None] | None = None) -> None:
        """Follow the file at ``path`` from its present end; an empty path means there is none.

        ``note`` is given what the engine has to say to the user.
        """
        self._run = run
        self._note = note or (lambda _text: None)
        self._numbers = itertools.count(1)
        self._sinks: dict[str, Sink] = {}
        self._descriptor = -1
        self._data = b""
        self._full = False
        if path:
            try:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                os.lseek(self._descriptor, 0, os.SEEK_END)
            except OSError:
                self.close()
        if self.on:
            # Tells the engine that its notices are read here, and need not be printed. It may be
            # looking just now: then they are.
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    @classmethod
    def of(cls, environ: Mapping[str, str], run: str, note: Callable[[str], None] | None = None) -> Live:
        """What the environment's session tells, for the run of that ID."""
        return cls(environ.get(VARIABLE, ""), run, note)

    @property
    def on(self) -> bool:
        """Whether an engine may write frames here."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Stop reading, after what is there."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self.drain()
            os.close(self._descriptor)
            self._descriptor = -1

    def sink(self, take: Callable[[str], None], *, tagged: bool = True) -> Sink:
        """A sink for the next command: its tag has to be in the command's environment as ``TAG``.

        Without a tag it is for the commands that have none: those of an image's build.
        """
        tag = f"{self._run}/{next(self._numbers)}" if tagged else ""
        return Sink(tag, take, untraced=NOTHING_CAME if self.on else NOT_TOLD)

    async def follow(self, sink: Sink, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``, and meanwhile give its command's lines to ``sink``.

        Raises what ``work`` raises. In any case, all that was written by then has been taken.
        """
        import anyio

        if not self.on:
            return await work()
        self.drain()  # what came before is of other commands
        done: list[T] = []
        raised: list[Exception] = []
        self._sinks[sink.tag] = sink
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._pump)
                try:
                    done.append(await work())
                except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
                    raised.append(error)
                group.cancel_scope.cancel()
        finally:
            self.drain()
            del self._sinks[sink.tag]
            sink.end(complete=not self._full)
        if raised:
            raise raised[0]
        return done[0]

    async def _pump(self) -> None:
        import anyio

        while True:
            self.drain()
            await anyio.sleep(INTERVAL)

    def drain(self) -> None:
        """Give what is there to those whose it is; what is nobody's is dropped."""
        while self.on:
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
            sink = self._sinks.get(frame["tag"])
            if sink is not None:
                _give(sink, frame)
        except (ValueError, KeyError, AttributeError, TypeError):
            return


def _give(sink: Sink, frame: Mapping[str, Any]) -> None:
    if "opened" in frame:
        why = "" if frame["known"] is True else str(frame["why"])
        sink.trace([str(name) for name in frame["opened"]], [str(name) for name in frame["written"]], why)
    else:
        sink.feed(str(frame["stream"]), frame["text"].encode("latin-1"))


__all__ = ["INTERVAL", "TAG", "TRACE", "VARIABLE", "Live", "Sink"]
