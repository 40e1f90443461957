"""All HTML pages: values from a run are text and never markup, nothing is loaded, and the structure holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from html_outline import outline

from rondel.record import (
    CallRecord,
    Capsule,
    CiJob,
    CommandRecord,
    Engine,
    Git,
    Host,
    Image,
    KeyRecord,
    MlflowRun,
    StageRecord,
    VerdictRecord,
)
from rondel.reports.gate_page import render_gate_page
from rondel.reports.report_files import gate_files, publish_error, write_gate_reports
from rondel.reports.run_page import render_error_page, render_run_page

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}</style></title></pre>"
"""As any value that comes from a run; one that Jinja evaluated would show 49."""

LOADING = {"src", "href", "srcset", "action", "data", "style", "onload", "onclick", "onerror"}


def hostile_run(folder: Path, text: str = HOSTILE) -> Capsule:
    """A run that has ``text`` wherever a record takes one, and files named like it."""
    stage = text.replace("/", "")  # it names files, too
    for place in (f"results/{stage}/evaluate-1/files", f"champion/{stage}/files"):
        (folder / place).mkdir(parents=True)
        name = "a b<i>\"'&"
        (folder / place / f"{name}.csv").write_text(f'"{text.replace(chr(34), chr(34) * 2)}",y\n0,0\n1,1\n')
        (folder / place / f"{name}.png").write_bytes(b"\x89PNG")
    (folder / "log").write_text(text)
    image = Image(reference=text, digest=text, source=text)
    verdict = VerdictRecord(
        passed=False,
        model=text,
        champion_version=text,
        champion_measured="again",
        champion_note=text,
        rules=[{"rule": text, "passed": False, "outcome": "failed", "metric": text, "reason": text}],
        metrics={text: 1.0, f"auc[{text}]": 0.5},
        champion_metrics={text: 1.0},
    )
    record = StageRecord(
        name=stage,
        kind="pure",
        state="failed",
        started="2026-11-25T12:00:20+00:00",
        seconds=3,
        reason=text,
        error=text,
        log="log",
        attempts=2,
        aside=True,
        image=image,
        verdicts=[verdict],
        metrics={text: 1.0},
        inputs={text: text},
        outputs={text: text},
        parameters={text: [text]},
        undeclared=[text],
        key=KeyRecord(digest=text),
        mlflow=MlflowRun(run_id=text),
        commands=[CommandRecord(args=[text], outcome=text), CommandRecord(args=[text, text])],
    )
    untraced = replace(record, name="x", undeclared=None, untraced=text, uses=[CallRecord(kind="dvc")])
    return Capsule(
        schema_version=1,
        id=text,
        state="failed",
        pipeline=text,
        file=text,
        created="2026-11-25T12:00:00+00:00",
        seconds=100,
        error=text,
        git=Git(commit=text, branch=text, changed={text: text}, dirty=True),
        image=image,
        engine=Engine(kind="embedded", version=text),
        host=Host(distribution=text, python=text, rondel=text),
        ci=CiJob(provider="other", url=f"javascript:{text}", name=text),
        mlflow=MlflowRun(run_id=text, url=f"javascript:{text}"),
        overrides={text: text},
        environment={text: text},
        arguments=[text],
        secrets=[text],
        resumes=text,
        reproduces=text,
        stages=[record, untraced],
    )


def pages(folder: Path) -> dict[str, str]:
    """Every page that Rondel writes, of a run with hostile values."""
    run = hostile_run(folder)
    written = {path.name: path for path in write_gate_reports(run, folder)}
    return {
        "run": render_run_page(run, folder),
        "gate": written["gate.html"].read_text(),
        "mlflow": gate_files(run.stages[0], folder)["gate/report.html"].decode(),
        "error": render_error_page(HOSTILE, HOSTILE),
    }


@pytest.mark.parametrize("name", ["run", "gate", "mlflow", "error"])
def test_values_of_a_run_are_text_and_nothing_is_loaded(name: str, tmp_path: Path) -> None:
    page = pages(tmp_path)[name]
    found = outline(page)
    assert HOSTILE in found.text, "it is shown as it is"
    assert "49" not in found.text
    assert not {"script", "link", "iframe", "object", "embed", "i", "a"} & {tag for tag, _ in found.tags}
    loaded = [attrs for _, attrs in found.tags if LOADING & attrs.keys()]
    assert all(str(attrs["src"]).startswith("data:image/png;base64,") for attrs in loaded)
    assert len(loaded) == (0 if name == "error" else 2)
    assert "alert(1)</script>" not in page


def test_undeclared_inputs_are_told_from_unknown_ones(tmp_path: Path) -> None:
    text = outline(render_run_page(hostile_run(tmp_path), tmp_path)).text
    assert f"Read but not declared in dvc.yaml: {HOSTILE}" in text
    assert f"Undeclared inputs are unknown: {HOSTILE}" in text


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", " https://x.org", "", None])
def test_only_web_addresses_are_links(url: str | None, tmp_path: Path) -> None:
    run = Capsule(
        schema_version=1, id="r", state="succeeded", pipeline="p", file="ci/main.py", created="now",
        ci=CiJob(provider="gitlab", url=url, name="job"), mlflow=MlflowRun(run_id="m", url=url),
    )  # fmt: skip
    assert [tag for tag, _ in outline(render_run_page(run, tmp_path)).tags if tag == "a"] == []
    address = 'https://x.org/?a="b"&c'
    run = replace(run, ci=CiJob(provider="gitlab", url=address), mlflow=MlflowRun(run_id="m", url=address))
    links = [attrs for tag, attrs in outline(render_run_page(run, tmp_path)).tags if tag == "a"]
    assert links == [{"href": address}] * 2


def test_tables_scroll_in_a_box_of_their_own(tmp_path: Path) -> None:
    assert {name: outline(page).loose_tables for name, page in pages(tmp_path).items()} == {
        "run": 0, "gate": 0, "mlflow": 0, "error": 0,
    }  # fmt: skip


def test_the_page_of_a_run_has_these_parts_in_this_order(tmp_path: Path) -> None:
    verdict = VerdictRecord(
        passed=True,
        model="flights",
        rules=[{"rule": "auc > 0.5", "metric": "auc", "passed": True, "outcome": "passed", "value": 0.7}],
        metrics={"auc": 0.7},
    )
    prepare = StageRecord(
        name="prepare", kind="pure", state="ran", seconds=3, inputs={"a.csv": "md5:1"},
        commands=[CommandRecord(args=["dvc", "repro"], exit_code=0)],
    )  # fmt: skip
    evaluate = StageRecord(
        name="evaluate", kind="pure", state="cached", verdicts=[verdict], metrics={"auc": 0.7}
    )
    deploy = StageRecord(
        name="deploy", kind="effect", state="failed", inputs=dict.fromkeys("abcdef", "md5:1")
    )
    run = Capsule(
        schema_version=1, id="r", state="failed", pipeline="p", file="ci/main.py", created="now",
        stages=[prepare, evaluate, deploy],
    )  # fmt: skip
    found = outline(render_run_page(run, tmp_path))
    assert found.headings == [
        "title: p failed",
        "h1: p failed",
        "h2: Stages",
        "summary: prepare ✓ ran · 3.0 s",
        "th: command",
        "th: exit code",
        "th: inputs",
        "th:",
        "summary: evaluate = cached · auc=0.7",
        "th: metrics",
        "th:",
        "summary: deploy ✗ failed · 0.0 s",
        "summary: 6 inputs",
        "th: inputs",
        "th:",
        "h2: Gate in evaluate of flights: passed",
        "th:",
        "th: rule",
        "th: challenger",
        "h3: Metrics",
        "th: metric",
        "th: challenger",
        "h2: Details",
    ]
    assert [attrs for tag, attrs in found.tags if tag == "details"] == [{}, {}, {"open": None}, {}]


def test_the_page_of_a_gate_has_these_parts_in_this_order(tmp_path: Path) -> None:
    for place in ("results/evaluate/evaluate-1/files", "champion/evaluate/files"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "roc_curve.csv").write_text("x,y\n0,0\n1,1\n")
        (tmp_path / place / "confusion.png").write_bytes(b"\x89PNG")
    verdict = VerdictRecord(
        passed=False,
        champion_version="3",
        metrics={"auc": 0.7, "auc[a=1]": 0.6},
        champion_metrics={"auc": 0.6},
    )
    record = StageRecord(name="evaluate", kind="pure", verdicts=[verdict])
    assert outline(render_gate_page([record], tmp_path)).headings == [
        "title: Gate",
        "h1: Gate in evaluate: not passed",
        "h2: Challenger and champion",
        "th: metric",
        "th: challenger",
        "th: champion (version 3)",
        "th: difference",
        "h2: Slices",
        "th: slice",
        "th: model",
        "th: auc",
        "h2: Curves",
        "figcaption: roc curve",
        "h2: Pictures",
        "figcaption: confusion: challenger",
        "figcaption: confusion: champion",
    ]


def test_a_run_that_could_not_start_has_a_page_too(tmp_path: Path) -> None:
    from rondel.errors import ConfigurationError

    publish_error(ConfigurationError("no <such> stage"), tmp_path)
    found = outline((tmp_path / ".rondel/reports/report.html").read_text())
    assert found.headings == ["title: The run could not start", "h1: The run could not start"]
    assert "no <such> stage" in found.text


def test_reports_of_a_run_that_could_not_start_hold_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rondel.errors import ConfigurationError
    from rondel.secrets.masker import Masker

    monkeypatch.setenv("GITLAB_TOKEN", "glpat-0123456789")
    error = ConfigurationError("no such stage", why="of glpat-0123456789 and of 'p&ss\"quagga'")
    for masker, shown in ((None, "p&amp;ss"), (Masker(['p&ss"quagga', "glpat-0123456789"]), "***")):
        publish_error(error, tmp_path, masker)
        texts = [path.read_text() for path in (tmp_path / ".rondel/reports").iterdir()]
        assert not any("glpat-0123456789" in text for text in texts)
        assert any(shown in text for text in texts)
    assert not any("quagga" in text for text in texts)
