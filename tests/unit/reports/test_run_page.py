"""The page of a run: complete, self-contained, and nothing of it is anybody else's markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rondel.record import Capsule, CiJob, CommandRecord, Git, StageRecord, VerdictRecord
from rondel.reports.published import publish, publish_error, withdraw
from rondel.reports.run_page import render_run
from rondel.reports.timeline import timeline

HOSTILE = "<script>alert(1)</script>\"'&"


class Outline(HTMLParser):
    """Checks that tags close in order, and keeps what a page would load or run."""

    VOID = frozenset({"meta", "img", "br", "line", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    assert found.open == []
    return found


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
    page = render_run(
        capsule(RAN, FAILED, state="failed", ci=CiJob(provider="gitlab", url="https://x.org/-/jobs/4")),
        tmp_path,
    )
    assert 'flights <span class="bad">failed</span>' in page
    assert "train failed: train failed with exit code 7" in page
    assert "rondel reproduce https://x.org/-/jobs/4" in page
    assert "python ci/main.py --resume 20261125-120000-abcdef" in page
    assert "KeyError: &#x27;x&#x27;" in page
    assert "epoch 199" in page
    assert "epoch 10\n" not in page, "only the end of the log"
    assert "the last lines of its output; all of it: <code>logs/train.log</code>" in page
    assert "10%" not in page
    assert "\x1b" not in page
    assert page.index("<details open>") < page.index("<b>train</b>"), "what failed lies open"


def test_a_run_shows_commands_inputs_and_what_it_was_made_from(tmp_path: Path) -> None:
    git = Git(commit="0123456789abcdef", branch="main", dirty=True, changed={"src/a.py": "x"})
    page = render_run(capsule(RAN, git=git, overrides={"n": "3"}, secrets=["TOKEN"]), tmp_path)
    for text in (
        escape("dvc repro prepare && echo 'it'\"'\"'s'"),
        "input a.csv changed",
        "data/0.csv",
        "0123456789ab",
        "src/a.py",
        "n=3",
        "TOKEN",
    ):
        assert text in page
    assert "and 40 more, in the capsule" in page


def test_nothing_of_a_run_is_markup_and_nothing_comes_from_the_net(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/train.log").write_text(HOSTILE)
    verdict = VerdictRecord(
        passed=False,
        model=HOSTILE,
        rules=[{"rule": HOSTILE, "passed": False, "outcome": "failed", "metric": HOSTILE, "reason": HOSTILE}],
        metrics={HOSTILE: 1.0, f"auc[{HOSTILE}]": 0.5},
    )
    spoilt = replace(
        FAILED, name=HOSTILE, reason=HOSTILE, error=HOSTILE, verdicts=[verdict], inputs={HOSTILE: HOSTILE},
        commands=[CommandRecord(args=[HOSTILE], outcome=HOSTILE)], parameters={HOSTILE: [HOSTILE]},
    )  # fmt: skip
    ci = CiJob(provider="other", url="javascript:alert(1)", name=HOSTILE)
    run = capsule(
        spoilt, state="failed", ci=ci, git=Git(commit=HOSTILE, branch=HOSTILE), overrides={HOSTILE: HOSTILE},
        environment={HOSTILE: HOSTILE}, arguments=[HOSTILE], secrets=[HOSTILE], error=HOSTILE,
    )  # fmt: skip
    found = outline(render_run(run, tmp_path))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.tags}
    assert [attrs for _, attrs in found.tags if {"src", "href", "onload", "onclick"} & attrs.keys()] == []


def test_bars_stand_where_the_stages_ran() -> None:
    drawn = timeline(capsule(RAN, FAILED, stage("deploy", state="skipped")))
    bars = re.findall(r'<rect x="([\d.]+)%" y="4" width="([\d.]+)%"', drawn)
    assert bars == [("20.00", "30.00"), ("50.00", "50.00")]
    assert "prepare ran: from 20 s to 50 s" in drawn
    assert "<td>deploy</td><td class='n'>skipped</td>" in drawn
    assert re.findall(r">([^<>]+)</text>", drawn) == ["0", "30 s", "1 min", "1 min 30 s"]


def test_the_axis_stands_below_the_bars_also_where_the_times_are_left_out() -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", timeline(capsule(RAN, FAILED)))
    assert [re.findall(r"<td(?: class='(\w+)')?>", row) for row in rows] == [["", "n", "bar"]] * 3


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
    bars = re.findall(
        r'<rect x="([\d.]+)%" y="4" width="([\d.]+)%"', timeline(capsule(replace(RAN, started=started)))
    )
    assert len(bars) == shown
    for left, wide in bars:
        assert 0 <= float(left) <= 100
        assert 0 < float(wide) <= 100
        assert float(left) + float(wide) <= 100.01


def test_a_run_without_times_has_no_timeline(tmp_path: Path) -> None:
    assert timeline(capsule(stage("prepare", state="cached"))) == ""
    outline(render_run(capsule(stage("prepare", state="cached", reason="unchanged")), tmp_path))


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


def test_a_run_that_could_not_start_has_a_page_too(tmp_path: Path) -> None:
    from rondel.errors import ConfigurationError

    publish_error(ConfigurationError("no <such> stage"), tmp_path)
    assert "no &lt;such&gt; stage" in (tmp_path / ".rondel/reports/report.html").read_text()


def test_a_shell_line_is_shown_as_it_is() -> None:
    train = stage(
        "train", state="ran", commands=[CommandRecord(args=["python train.py | tee log"], exit_code=0)]
    )
    assert "<code>python train.py | tee log</code>" in render_run(capsule(train), Path("."))


def test_results_of_other_parameters_are_said_to_lie_elsewhere() -> None:
    made = capsule(stage("train", state="ran", aside=True), stage("evaluate", state="ran"))
    page = render_run(made, Path("."))
    assert f"of train: <code>.rondel/runs/{made.id}/tree</code>, not in the working tree" in page
    assert "not in the working tree" not in render_run(capsule(stage("train", state="ran")), Path("."))


def test_undeclared_inputs_are_counted_where_a_stage_is_folded() -> None:
    page = render_run(capsule(stage("train", state="ran", undeclared=["a.py", "b.py"])), Path("."))
    assert "2 undeclared inputs</span></summary>" in page
    page = render_run(capsule(stage("train", state="ran", undeclared=[])), Path("."))
    assert "undeclared" not in page
