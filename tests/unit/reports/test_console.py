from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import termios
import time
from dataclasses import replace

import pytest

from rondel.record import Capsule, MlflowRun, StageRecord, VerdictRecord
from rondel.reports.console import LiveConsole, PlainConsole, make_console
from rondel.reports.formatting import duration, key_metrics
from rondel.reports.markdown import render_run
from rondel.reports.terminal import as_seen, coloured, columns, summary, width_of

TRAIN = StageRecord(name="train", kind="pure", state="running", reason="input a.csv changed")


def plain(**options: bool | int) -> tuple[PlainConsole, io.StringIO]:
    out = io.StringIO()
    return PlainConsole(out, **options), out  # type: ignore[arg-type]


def follow(console: PlainConsole) -> None:
    console.stage_changed(replace(TRAIN, state="pending"))
    console.stage_changed(TRAIN)
    console.step("train", "fit")
    console.line("train", "epoch 1")
    console.stage_changed(replace(TRAIN, metrics={"auc": 0.7}))
    console.stage_changed(replace(TRAIN, state="ran", seconds=12.3))


def test_a_pipe_gets_short_plain_lines() -> None:
    console, out = plain()
    follow(console)
    assert out.getvalue().splitlines() == [
        "▸ train: input a.csv changed",
        "  train: fit",
        "✓ train ran in 12 s",
    ]


def test_verbose_shows_output_and_quiet_only_failures() -> None:
    console, out = plain(verbose=1)
    follow(console)
    assert "  train │ epoch 1" in out.getvalue().splitlines()
    console, out = plain(quiet=True)
    follow(console)
    assert out.getvalue() == ""
    console.stage_changed(replace(TRAIN, state="failed", seconds=1))
    assert out.getvalue() == "✗ train failed after 1.0 s\n"


def capsule() -> Capsule:
    verdict = VerdictRecord(
        passed=True, rules=[{"rule": "auc > 0.5", "metric": "auc", "passed": True, "outcome": "passed"}]
    )
    stages = [
        StageRecord(name="prepare", kind="pure", state="cached", reason="unchanged"),
        StageRecord(
            name="evaluate",
            kind="pure",
            state="ran",
            seconds=75,
            metrics={"rows": 27010.0, "brier": 0.11, "loss": 0.4, "auc": 0.70434},
            verdicts=[verdict],
            mlflow=MlflowRun(run_id="0123456789abcdef"),
        ),
        StageRecord(name="deploy", kind="effect", state="skipped"),
    ]
    return Capsule(
        schema_version=1,
        id="20261123-200000-aaaaaa",
        state="succeeded",
        pipeline="p",
        file="ci/main.py",
        created="now",
        seconds=80.2,
        stages=stages,
        mlflow=MlflowRun(run_id="p", url="http://127.0.0.1:5000/#/runs/p"),
    )


def test_the_table_shows_what_a_gate_judged_first() -> None:
    header, *rows = [" ".join(line.split()) for line in summary(capsule())]
    assert header == "stage state time metrics mlflow run"
    assert rows == [
        "prepare cached",
        "evaluate ran 1 min 15 s auc=0.7043 rows=27010 brier=0.11 … 0123456789ab",
        "deploy skipped",
    ]


def test_the_note_has_one_title_and_the_gates_below_it() -> None:
    heads = [line for line in render_run(capsule()).splitlines() if line.startswith("#")]
    assert heads[0] == "## `p` succeeded"
    assert heads[1].startswith("### Gate in evaluate")
    assert {line.split()[0] for line in heads[2:]} <= {"###", "####"}


def test_a_tools_line_is_shown_as_a_terminal_shows_it_in_the_end() -> None:
    assert as_seen("\x1b[32m10%\r100%\tdone\x1b[0m\r\n") == "100%    done"
    assert as_seen("  left\x07 as it is ") == "  left  as it is "


def test_the_end_of_a_run_names_it_and_its_places() -> None:
    console, out = plain()
    console.finish(capsule(), ".rondel/runs/x/report.html")
    lines = out.getvalue().splitlines()
    assert lines[-2:] == [
        "run 20261123-200000-aaaaaa succeeded in 1 min 20 s · .rondel/runs/x/report.html",
        "MLflow: http://127.0.0.1:5000/#/runs/p",
    ]


def test_results_of_other_parameters_are_said_to_lie_elsewhere() -> None:
    console, out = plain()
    made = capsule()
    aside = replace(made, stages=[replace(each, aside=True) for each in made.stages], mlflow=None)
    console.finish(aside, "report.html")
    last = f"results with other parameters: .rondel/runs/{made.id}/tree"
    assert out.getvalue().splitlines()[-1] == last
    console.finish(replace(aside, overrides={"train.rate": 2}), "report.html")
    assert out.getvalue().splitlines()[-1] == f"{last} (--apply puts them in the working tree)"


def test_colour_does_not_change_the_text() -> None:
    coloured = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in summary(capsule(), colour=True)]
    assert coloured == summary(capsule())


def test_a_narrow_terminal_gets_the_first_columns() -> None:
    header, rows = ("stage", "state", "time", "metrics", "run"), [("train", "ran", "5 s", "m" * 30, "r" * 12)]
    assert columns(header, rows, width=70) == columns(header, rows)
    assert columns(header, rows, width=50)[0].split() == ["stage", "state", "time", "metrics"]
    assert columns(header, rows, width=5)[0].split() == ["stage", "state", "time"]


def test_only_a_terminal_has_a_width_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (24, 61))
    with os.fdopen(other, "w") as terminal, os.fdopen(main, "rb"):
        assert width_of(terminal) == 61
        monkeypatch.setenv("COLUMNS", "77")
        assert width_of(terminal) == 77
        assert coloured(terminal, {"TERM": "xterm"})
        assert not coloured(terminal, {"TERM": "xterm", "NO_COLOR": "1"})
        assert not coloured(terminal, {"TERM": "dumb"})
    assert width_of(io.StringIO()) is None
    assert not coloured(io.StringIO(), {"TERM": "xterm"})


def test_columns_without_content_are_left_out() -> None:
    assert columns(("a", "b", "c"), [("1", "", "3"), ("22", "", "")]) == ["a   c", "1   3", "22"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3600, "1 h 00 min"),
    ],
)
def test_times_are_shown(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_few_metrics_need_no_dots() -> None:
    assert key_metrics(replace(TRAIN, metrics={"a": 1.0, "b": 123456.0})) == "a=1 b=123456"


def test_a_reader_that_went_away_does_not_fail_the_run() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        with pytest.raises(BrokenPipeError):
            os.write(write, b"x")
        console = PlainConsole(out)
        console.note("nobody hears this")
        console.note("nor this")


def test_the_console_fits_where_it_writes() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        kinds = {
            "terminal": make_console(
                verbose=0, quiet=False, ci=False, out=terminal, environ={"TERM": "xterm"}
            ),
            "ci": make_console(verbose=0, quiet=False, ci=True, out=terminal, environ={"TERM": "xterm"}),
            "dumb": make_console(verbose=0, quiet=False, ci=False, out=terminal, environ={"TERM": "dumb"}),
            "pipe": make_console(
                verbose=0, quiet=False, ci=False, out=io.StringIO(), environ={"TERM": "xterm"}
            ),
            "no colour": make_console(
                verbose=0, quiet=False, ci=False, out=terminal, environ={"TERM": "xterm", "NO_COLOR": "1"}
            ),
        }
    os.close(ours)
    assert {name: type(each) is LiveConsole for name, each in kinds.items()} == {
        "terminal": True,
        "ci": False,
        "dumb": False,
        "pipe": False,
        "no colour": True,
    }
    assert {name for name, each in kinds.items() if each.colour} == {"terminal", "ci"}


def _everything(terminal: int) -> str:
    """What was written to a pseudo-terminal whose other end is closed; one read gives only a part."""
    parts = []
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while part := os.read(terminal, 65536):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


def test_a_terminal_sees_running_stages_with_their_step() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        console = LiveConsole(terminal, colour=False)
        console.stage_changed(TRAIN)
        console.step("train", "fit the model")
        console.line("train", "epoch 1")
        console._live.refresh()  # type: ignore[union-attr] # not only when its thread does
        console.stage_changed(replace(TRAIN, state="ran", seconds=2))
        console.stop()
    shown = _everything(ours)
    assert "✓ train ran in 2.0 s" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] train +\d\.\d s  epoch 1", plain)
    assert "epoch 1" not in plain.partition("✓ train")[2], "it is not drawn again when it has ended"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is back"


def drawn(columns: int, *steps: tuple[str, str]) -> list[str]:
    """The lines that stand on a terminal of that width while these stages are at these steps."""
    from rich.console import Console

    console = LiveConsole(io.StringIO(), colour=False)
    console._console = Console(file=io.StringIO(), width=columns)
    for name, step in steps:
        console._running[name] = (time.monotonic() - 2 * 3600, "")
        console.line(name, step)
    capture = Console(file=io.StringIO(), width=columns, no_color=True)
    capture.print(console._render())
    text = capture.file.getvalue()  # type: ignore[attr-defined]
    return list(text.splitlines())


@pytest.mark.parametrize("columns", [24, 40, 80])
def test_a_long_step_leaves_name_and_time_where_they_are(columns: int) -> None:
    for step in ("short", "a step of many words " * 20):
        lines = drawn(columns, ("prepare", step), ("train[rate=0.1]", "fit"))
        assert len(lines) == 2
        assert all(len(line) <= columns for line in lines)
        assert re.match(r"\S prepare +\d", lines[0])
        assert lines[0].index(" h ") == lines[1].index(" h ")


def test_what_a_tool_draws_does_not_draw_over_the_stages() -> None:
    (line,) = drawn(60, ("train", "\x1b[2J\x1b[32m10%\x1b[0m\r\x1b]0;title\x0720%\t\x07 of \x9b data\r\n"))
    assert line.endswith("20%   of   data")


def test_a_terminal_without_running_stages_never_loads_rich() -> None:
    code = (
        "import io, sys; from rondel.record import StageRecord; from rondel.reports.console import LiveConsole; "
        "console = LiveConsole(io.StringIO()); "
        "console.stage_changed(StageRecord(name='a', kind='pure', state='cached')); console.stop(); "
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
