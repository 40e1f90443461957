"""The console of a CI job: limited, short lines, no secrets, GitLab's sections."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from rondel.ci.guarded_streams import CUT, LIMIT, LONGEST, Budget, GuardedStream, guarded_streams, shorten
from rondel.ci.providers.gitlab.console import SHOWN_LINES, GitLabConsole, section
from rondel.record import StageRecord
from rondel.secrets.masker import Masker

TRAIN = StageRecord(name="train", kind="pure", state="running", log="logs/train.log")


def test_what_is_printed_stays_below_the_limit() -> None:
    out = io.StringIO()
    budget = Budget()
    stream = GuardedStream(out, budget)
    for number in range(5000):
        stream.write(f"{number} {'x' * 1000}\n")
    budget.end()
    stream.write("the end\n")
    stream.finish()
    text = out.getvalue()
    assert len(text.encode()) <= LIMIT
    assert len(text.encode()) > LIMIT * 0.8
    assert text.count(CUT) == 1
    assert text.endswith("the end\n")


def test_two_streams_share_one_limit() -> None:
    budget = Budget(limit=10_000, reserve=0)
    out, err = io.StringIO(), io.StringIO()
    streams = [GuardedStream(each, budget) for each in (out, err)]
    for _ in range(100):
        for stream in streams:
            stream.write("x" * 99 + "\n")
    assert 8_000 < len(out.getvalue()) + len(err.getvalue()) <= 10_000


@pytest.mark.parametrize("size", [100_000, 10_000_000])
def test_a_line_without_end_is_no_trouble(size: int) -> None:
    out = io.StringIO()
    stream = GuardedStream(out, Budget())
    for _ in range(size // 10_000):
        stream.write("y" * 10_000)
    stream.finish()
    assert 0 < len(out.getvalue()) <= LONGEST


def test_a_long_line_keeps_its_ends() -> None:
    line = "begin " + "x" * 10_000 + " end\n"
    short = shorten(line)
    assert len(short) <= LONGEST
    assert short.startswith("begin ")
    assert short.endswith(" end\n")
    assert "characters" in short
    assert shorten("short\n") == "short\n"


def test_a_secret_is_masked_also_when_it_is_written_in_parts() -> None:
    out = io.StringIO()
    stream = GuardedStream(out, Budget(), Masker(["hunter2-hunter2"]))
    stream.write("it is hunter2")
    stream.flush()
    stream.write("-hunter2, don't tell\n")
    stream.finish()
    assert out.getvalue() == "it is ***, don't tell\n"


def test_a_secret_is_masked_also_where_a_line_without_end_is_cut() -> None:
    secret = "".join(f"{number:05}" for number in range(200))
    for before in range(4 * LONGEST - 1500, 4 * LONGEST, 250):
        out = io.StringIO()
        stream = GuardedStream(out, Budget(), Masker([secret]))
        stream.write("x" * before + secret + "y" * 8 * LONGEST)
        assert secret[:100] not in stream._part
        stream.finish()


def test_standard_streams_are_guarded_and_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with guarded_streams(["hunter2-hunter2"]):
        print("hunter2-hunter2", flush=True)
        print("hunter2-hunter2", file=sys.stderr, end="")
        assert not sys.stdout.isatty()
    assert sys.stdout is before
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("***\n", "***")


STARTS_PROGRAMS = """
import os, subprocess, sys
from rondel.ci.guarded_streams import guarded_streams
print("before")
with guarded_streams(["hunter2-hunter2"]) as budget:
    print("first")
    subprocess.run(["sh", "-c", "echo it is hunter2-hunter2; echo and here: hunter2-hunter2 >&2"])
    os.write(1, b"no line end: hunter2-")
    os.write(1, b"hunter2")
    subprocess.run(["sh", "-c", "seq 1000000 2000000"])
    # Something that lives on, with our streams in its hands, keeps nobody waiting.
    subprocess.Popen(["sleep", "3"])
    budget.end()
    print("last")
print("after")
"""


def test_programs_that_a_stages_function_starts_are_guarded_too() -> None:
    command = [sys.executable, "-c", STARTS_PROGRAMS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        shown, errors = done.communicate(timeout=60)
    assert done.returncode == 0
    lines = shown.splitlines()
    assert lines[0] == "before"
    assert {"first", "it is ***", "last"} <= set(lines)
    assert lines[-1] == "after"
    assert errors == "and here: ***\n"
    assert "hunter2" not in shown
    assert shown.count(CUT) == 1
    assert 800_000 < len(shown.encode()) <= LIMIT + 100


READER_GOES = """
import subprocess, sys
from rondel.ci.guarded_streams import guarded_streams
with guarded_streams(["hunter2-hunter2"]):
    subprocess.run(["sh", "-c", "seq 1000000 1050000; echo all of it >&2"], timeout=30)
    print("last")
print("after", file=sys.stderr)
"""


def test_programs_end_also_when_nobody_reads_the_console_any_more() -> None:
    command = [sys.executable, "-c", READER_GOES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as done:
        assert done.stdout is not None
        done.stdout.readline()
        done.stdout.close()
        assert done.stderr is not None
        assert done.stderr.read() == "all of it\nafter\n"
    assert done.returncode == 0


def sections(text: str) -> list[tuple[str, str, str]]:
    found = re.findall(
        r"\x1b\[0Ksection_start:(\d+):(\S+?)\r\x1b\[0K(.*?)\x1b\[0Ksection_end:(\d+):(\S+?)\r\x1b\[0K",
        text,
        re.DOTALL,
    )
    for start, begin, _, end, closed in found:
        assert int(start) <= int(end)
        assert begin.removesuffix("[collapsed=true]") == closed
    return [("folded" if "[" in begin else "open", closed, body) for _, begin, body, _, closed in found]


def test_a_stage_is_a_section_that_is_folded_when_it_went_well() -> None:
    out = io.StringIO()
    console = GitLabConsole(out, colour=False)
    console.stage_changed(TRAIN)
    console.step("train", "dvc repro train")
    console.line("train", "epoch 1")
    console.stage_changed(replace(TRAIN, state="ran", seconds=2))
    ((state, name, body),) = sections(out.getvalue())
    assert (state, name) == ("folded", "rondel_train")
    assert body == "✓ train ran in 2.0 s\n▸ dvc repro train\nepoch 1\n"


def test_no_section_ends_before_it_began() -> None:
    ((_, _, body),) = sections(section("s", "title", [], 1000.5, 900.5, folded=True))
    assert body == "title\n"


def test_a_stage_that_failed_lies_open() -> None:
    out = io.StringIO()
    console = GitLabConsole(out, colour=False)
    console.stage_changed(TRAIN)
    console.line("train", "no such column")
    console.stage_changed(replace(TRAIN, state="failed", seconds=2))
    ((state, _, body),) = sections(out.getvalue())
    assert state == "open"
    assert "no such column" in body


def test_stages_that_run_at_once_have_sections_one_after_the_other() -> None:
    out = io.StringIO()
    console = GitLabConsole(out, colour=False)
    other = replace(TRAIN, name="prepare[part=a b]")
    for record in (TRAIN, other):
        console.stage_changed(record)
    for number in range(3):
        console.line("train", f"train {number}")
        console.line(other.name, f"prepare {number}")
    for record in (other, TRAIN):
        console.stage_changed(replace(record, state="ran", seconds=1))
    found = sections(out.getvalue())
    assert [name for _, name, _ in found] == ["rondel_prepare_part_a_b_", "rondel_train"]
    assert all("train" not in body.split("\n", 1)[1] for _, name, body in found if "prepare" in name)


def test_of_much_output_the_last_lines_are_shown() -> None:
    out = io.StringIO()
    console = GitLabConsole(out, colour=False)
    console.stage_changed(TRAIN)
    for number in range(SHOWN_LINES + 5):
        console.line("train", f"line {number}")
    console.stage_changed(replace(TRAIN, state="ran", seconds=1))
    ((_, _, body),) = sections(out.getvalue())
    lines = body.splitlines()
    assert lines[1] == "… 5 lines before these are in logs/train.log"
    assert lines[2] == "line 5"
    assert lines[-1] == f"line {SHOWN_LINES + 4}"
