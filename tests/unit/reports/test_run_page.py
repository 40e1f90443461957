"""The page of a run: what it shows of stages, logs and results, and where it is written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from html_outline import outline

from rondel.record import Capsule, CiJob, CommandRecord, Git, StageRecord
from rondel.reports.report_files import publish, withdraw
from rondel.reports.run_page import render_run_page
from rondel.reports.timeline import timeline


def stage(name: str, **fields: object) -> StageRecord:
    return StageRecord(name=name, kind="pure", **fields)  # type: ignore[arg-type]


def capsule(*stages: StageRecord, **fields: object) -> Capsule:
    given = {"state": "succeeded", "seconds": 100.0, **fields}
    return Capsule(
        schema_version=1,
        id="20261125-120000-abcdef",
        pipeline="flights",
        file="ci/main.py",
        created="2026-11-25T12:00:00+00:00",
        stages=list(stages),
        **given,  # type: ignore[arg-type]
    )


RAN = stage(
    "prepare",
    state="ran",
    started="2026-11-25T12:00:20+00:00",
    seconds=30,
    reason="input a.csv changed",
    commands=[
        CommandRecord(
            args=["dvc", "repro", "prepare", "&&", "echo", "it's"], exit_code=0, seconds=29, outcome="ran"
        )
    ],
    parameters={"n": 3},
    inputs={f"data/{number}.csv": f"md5:{number}" for number in range(100)},
    outputs={"out.csv": "md5:1"},
)
FAILED = stage(
    "train",
    state="failed",
    started="2026-11-25T12:00:50+00:00",
    seconds=50,
    error="train failed with exit code 7",
    log="logs/train.log",
)


def test_a_failed_run_says_what_failed_and_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    lines = [f"12:00:50 epoch {number}" for number in range(200)] + [
        "10%\r\x1b[31m20%\x1b[0m",
        "KeyError: 'x'",
    ]
    (tmp_path / "logs/train.log").write_text("\n".join(lines))
    page = render_run_page(
        capsule(RAN, FAILED, state="failed", ci=CiJob(provider="gitlab", url="https://x.org/-/jobs/4")),
        tmp_path,
    )
    assert 'flights <span class="bad">failed</span>' in page
    assert "train failed: train failed with exit code 7" in page
    assert "rondel reproduce https://x.org/-/jobs/4" in page
    assert "python ci/main.py --resume 20261125-120000-abcdef" in page
    assert "KeyError: &#39;x&#39;" in page
    assert "epoch 199" in page
    assert "epoch 10\n" not in page, "only the end of the log"
    assert "Last lines of the output; the full log is <code>logs/train.log</code>" in page
    assert "10%" not in page
    assert "\x1b" not in page
    assert page.index("<details open>") < page.index("<b>train</b>"), "what failed lies open"


def test_a_run_shows_commands_inputs_and_what_it_was_made_from(tmp_path: Path) -> None:
    git = Git(commit="0123456789abcdef", branch="main", dirty=True, changed={"src/a.py": "x"})
    page = render_run_page(capsule(RAN, git=git, overrides={"n": "3"}, secrets=["TOKEN"]), tmp_path)
    shown = outline(page).text
    for text in (
        "dvc repro prepare && echo 'it'\"'\"'s'",
        "input a.csv changed",
        "data/0.csv",
        "0123456789ab",
        "src/a.py",
        "n=3",
        "TOKEN",
    ):
        assert text in shown
    assert "40 more in the capsule" in shown


def test_bars_start_and_end_when_the_stages_did() -> None:
    drawn = timeline(capsule(RAN, FAILED, stage("deploy", state="skipped")))
    assert drawn is not None
    assert [(row.stage, row.time) for row in drawn.rows] == [
        ("prepare", "30 s"),
        ("train", "50 s"),
        ("deploy", "skipped"),
    ]
    prepare, train, deploy = (row.bar for row in drawn.rows)
    assert prepare is not None
    assert train is not None
    assert deploy is None
    assert (prepare.left, prepare.width, train.left, train.width) == ("20.00%", "30.00%", "50.00%", "50.00%")
    assert prepare.label == "prepare ran: from 20 s to 50 s"
    assert [tick.label for tick in drawn.ticks] == ["0", "30 s", "1 min", "1 min 30 s"]


def test_the_axis_is_below_the_bars_even_on_a_phone_that_hides_the_times(tmp_path: Path) -> None:
    page = render_run_page(capsule(RAN, FAILED), tmp_path)
    drawn = page.partition('<table class="timeline">')[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", drawn, re.DOTALL)
    assert [re.findall(r'<td(?: class="(\w+)")?', row) for row in rows] == [["", "number", "bar"]] * 3
    assert drawn.count("<rect ") == 2


@pytest.mark.parametrize(
    ("started", "shown"),
    [
        ("2026-11-25T11:00:00+00:00", 1),
        ("2026-11-25T12:00:10", 1),
        ("yesterday", 0),
        ("2027-01-01T00:00:00Z", 1),
    ],
)
def test_a_clock_that_was_set_breaks_no_timeline(started: str, shown: int) -> None:
    drawn = timeline(capsule(replace(RAN, started=started)))
    bars = [row.bar for row in drawn.rows if row.bar is not None] if drawn is not None else []
    assert len(bars) == shown
    for bar in bars:
        left, wide = float(bar.left.rstrip("%")), float(bar.width.rstrip("%"))
        assert 0 <= left <= 100
        assert 0 < wide <= 100
        assert left + wide <= 100.01


def test_a_run_without_times_has_no_timeline(tmp_path: Path) -> None:
    assert timeline(capsule(stage("prepare", state="cached"))) is None
    outline(render_run_page(capsule(stage("prepare", state="cached", reason="unchanged")), tmp_path))


def test_the_page_stands_beside_the_capsule_and_among_the_reports(tmp_path: Path) -> None:
    folder = tmp_path / ".rondel/runs/x"
    folder.mkdir(parents=True)
    publish(capsule(RAN), tmp_path, folder)
    page = (folder / "report.html").read_text()
    assert "flights" in page
    assert (tmp_path / ".rondel/reports/report.html").read_text() == page
    withdraw(tmp_path)
    assert not (tmp_path / ".rondel/reports/report.html").exists()
    assert (folder / "report.html").exists()


def test_a_shell_line_is_shown_as_it_is() -> None:
    train = stage(
        "train", state="ran", commands=[CommandRecord(args=["python train.py | tee log"], exit_code=0)]
    )
    assert "<code>python train.py | tee log</code>" in render_run_page(capsule(train), Path("."))


def test_results_of_other_parameters_are_said_to_lie_elsewhere() -> None:
    made = capsule(stage("train", state="ran", aside=True), stage("evaluate", state="ran"))
    page = render_run_page(made, Path("."))
    assert (
        f"results of train are in <code>.rondel/runs/{made.id}/tree</code>, not in the working tree" in page
    )
    assert "not in the working tree" not in render_run_page(capsule(stage("train", state="ran")), Path("."))


def test_undeclared_inputs_are_counted_where_a_stage_is_folded() -> None:
    page = render_run_page(capsule(stage("train", state="ran", undeclared=["a.py", "b.py"])), Path("."))
    assert "2 undeclared inputs</span></summary>" in page
    page = render_run_page(capsule(stage("train", state="ran", undeclared=[])), Path("."))
    assert "undeclared" not in page
