"""Progress of a run on the console: plain lines for pipes and CI, live stages on a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

from rondel.reports.formatting import STAGE_MARKS, TIMED_STATES, duration
from rondel.reports.terminal import COLOURS, as_seen, coloured, discard_output, paint, summary, width_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType
    from rich.live import Live

    from rondel.record import Capsule, StageRecord

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
WIDEST_TIME = len("59 min 59 s")

RUN_COLOURS = {"succeeded": "32", "waiting": "33"}
"""Colours of a run's state; any other state is red."""


class PlainConsole:
    """Prints a line when a stage starts, at each of its steps, and when it ends."""

    def __init__(
        self, out: TextIO | None = None, *, verbose: int = 0, quiet: bool = False, colour: bool = False
    ) -> None:
        self.out = out or sys.stdout
        self.verbose = verbose
        self.quiet = quiet
        self.colour = colour
        self._states: dict[str, str] = {}

    def stop(self) -> None:
        """Stop drawing: the run has ended."""

    def stage_changed(self, record: StageRecord) -> None:
        """Print a line if the stage's state is new."""
        if self._states.get(record.name) == record.state or record.state == "pending":
            return
        self._states[record.name] = record.state
        if self.quiet and record.state != "failed":
            return
        self.write(state_line(record, colour=self.colour))

    def step(self, stage: str, text: str) -> None:
        """Print a stage's next step."""
        if not self.quiet:
            self.write(f"  {paint(stage, '2', colour=self.colour)}: {text}")

    def line(self, stage: str, text: str) -> None:
        """Print a line of a stage's output with --verbose."""
        if self.verbose:
            self.write(f"  {paint(stage, '2', colour=self.colour)} │ {text}")

    def note(self, text: str) -> None:
        """Print a note."""
        self.write(text)

    def write(self, text: str) -> None:
        """Print a line at once. A closed pipe or a full disk must not fail the run."""
        try:
            print(text, file=self.out, flush=True)
        except OSError:
            discard_output(self.out)

    def finish(self, capsule: Capsule, page: str) -> None:
        """Print the table of stages and a line with the run's outcome and the path of its report."""
        if len(capsule.stages) > 1 or not self.quiet:
            self.write("")
        for line in summary(capsule, colour=self.colour, width=width_of(self.out)):
            self.write(line)
        word = paint(capsule.state, RUN_COLOURS.get(capsule.state, "31;1"), colour=self.colour)
        joint = "in" if capsule.state == "succeeded" else "after"
        self.write(f"run {capsule.id} {word} {joint} {duration(capsule.seconds)} · {page}")
        if any(record.aside for record in capsule.stages):
            self.write(results_elsewhere(capsule))
        if capsule.mlflow and capsule.mlflow.url:
            self.write(f"MLflow: {capsule.mlflow.url}")


def results_elsewhere(capsule: Capsule) -> str:
    """Where results are that were made with other parameters than the working tree has."""
    where = f"results with other parameters: .rondel/runs/{capsule.id}/tree"
    return f"{where} (--apply puts them in the working tree)" if capsule.overrides else where


def state_line(record: StageRecord, *, colour: bool) -> str:
    """``✓ train ran in 12 s``, or the reason in place of the time: ``= train cached: unchanged``."""
    mark = paint(STAGE_MARKS.get(record.state, " "), COLOURS.get(record.state, ""), colour=colour)
    if record.state == "running":
        return f"{mark} {record.name}: {record.reason}" if record.reason else f"{mark} {record.name}"
    text = f"{mark} {record.name} {record.state}"
    if record.state in TIMED_STATES:
        done = record.state in {"ran", "restored"}
        return f"{text} {'in' if done else 'after'} {duration(record.seconds)}"
    return f"{text}: {record.reason}" if record.reason else text


class LiveConsole(PlainConsole):
    """Draws the running stages with their times and current steps, below the lines of finished ones."""

    def __init__(self, out: TextIO, *, verbose: int = 0, quiet: bool = False, colour: bool = True) -> None:
        super().__init__(out, verbose=verbose, quiet=quiet, colour=colour)
        self._running: dict[str, tuple[float, str]] = {}
        self._live: Live | None = None

    def _start(self) -> None:
        # Only when the first stage runs, so that a run with nothing to do never imports rich.
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=self.out, highlight=False, no_color=not self.colour)
        self._live = Live(
            console=self._console, get_renderable=self._render, refresh_per_second=8, transient=True
        )
        self._live.start()

    def stop(self) -> None:
        """Remove the drawing. The lines above it stay."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def stage_changed(self, record: StageRecord) -> None:
        """Draw the stage while it runs, and print its line when it ends."""
        if record.state == "running":
            if self._live is None:
                self._start()
            if record.name not in self._running:
                self._running[record.name] = (time.monotonic(), record.reason)
            self._states[record.name] = record.state
            return
        if self._running.pop(record.name, None) is not None:
            self._draw()
        super().stage_changed(record)

    def _draw(self) -> None:
        """Draw now. Otherwise rich repeats the old drawing below the next line that is printed."""
        if self._live is not None:
            self._live.refresh()

    def step(self, stage: str, text: str) -> None:
        """Show the step beside its stage."""
        text = one_line(text)
        if text and stage in self._running:
            self._running[stage] = (self._running[stage][0], text)

    def line(self, stage: str, text: str) -> None:
        """Print the line with --verbose; otherwise show it beside its stage."""
        if self.verbose:
            super().line(stage, text)
        else:
            self.step(stage, text)

    def write(self, text: str) -> None:
        """Print above the drawing."""
        if self._live is None:
            super().write(text)
            return
        from rich.text import Text

        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        now = time.monotonic()
        running = list(self._running.items())
        wide = self._console.width
        names = min(max((len(name) for name, _ in running), default=0), max(wide // 2 - 4, 8))
        frame = SPINNER[int(now * 10) % len(SPINNER)]
        rows = []
        for name, (began, step) in running:
            row = Text(no_wrap=True, overflow="ellipsis")
            shown = name if len(name) <= names else f"{name[: names - 1]}…"
            row.append(f"{frame} ", style="blue")
            row.append(shown.ljust(names), style="bold")
            row.append(f"  {duration(now - began).rjust(WIDEST_TIME)}  ")
            # Name and time keep their columns; a long step is cut at the edge.
            row.append(step, style="dim")
            row.truncate(wide, overflow="ellipsis")
            rows.append(row)
        return Group(*rows)


def one_line(text: str) -> str:
    """A line of a tool's output, ready to show beside a stage."""
    return as_seen(text.replace("\t", " ")).strip()


def make_console(
    *,
    verbose: int,
    quiet: bool,
    ci: bool,
    out: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> PlainConsole:
    """A live console on a terminal, a plain one everywhere else."""
    out = out or sys.stdout
    environ = os.environ if environ is None else environ
    terminal = out.isatty() and environ.get("TERM", "dumb") != "dumb"
    colour = coloured(out, environ)
    if terminal and not ci and not quiet:
        return LiveConsole(out, verbose=verbose, quiet=quiet, colour=colour)
    return PlainConsole(out, verbose=verbose, quiet=quiet, colour=colour)
