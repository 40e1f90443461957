"""The commands that repeat, resume and reproduce a run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rondel.cli.arguments import parse
from rondel.pipeline import Pipeline
from rondel.record import SCHEMA_VERSION, Capsule, CiJob, StageRecord
from rondel.reports.run_page import render_run_page
from rondel.runner.prepared import PreparedRun
from rondel.runner.repeat_commands import follow_ups, reproduce
from rondel.settings import load_settings
from rondel.testing import FakeProject, plan_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUN = "20261123-200000-aaaaaa"


def request(
    root: Path,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    targets: tuple[str, ...] = ("train",),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> PreparedRun:
    pipeline = Pipeline("p")
    pipeline.dvc("train")
    settings = load_settings(root, flags, environ)
    return PreparedRun(
        pipeline="p",
        file="ci/main.py",
        plan=plan_of(pipeline, "train"),
        settings=settings,
        project=FakeProject(root),
        environ={},
        arguments=(*targets, *settings.arguments()),
        overrides=overrides or {},
    )


def run_of(asked: PreparedRun, *stages: StageRecord, **fields: Any) -> Capsule:
    made = Capsule(
        schema_version=SCHEMA_VERSION,
        id=RUN,
        state="failed",
        pipeline="p",
        file="ci/main.py",
        created="2026-11-23T20:00:00Z",
        exit_code=10,
        arguments=list(asked.arguments),
        stages=list(stages),
    )
    return replace(made, **fields)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failed(name: str = "train", **fields: Any) -> StageRecord:
    return replace(StageRecord(name=name, kind="pure", state="failed"), **fields)


def test_a_failed_stage_is_repeated_with_the_parameters_that_it_has(root: Path) -> None:
    params = (("train.rate", "2"), ("prepare.step", "3"), ("eval.k", "4"), ("train.k", "5"))
    overrides = {"prepare": {"prepare.step": 3}, "train": {"train.rate": 2, "k": 4}}
    asked = request(root, {"params": params}, overrides=overrides)
    stages = [StageRecord(name="slow", kind="pure", state="cancelled"), failed()]
    assert follow_ups(asked, run_of(asked, *stages)) == [
        "again: python ci/main.py train --only -P train.rate=2 -P train.k=5",
        f"resume: python ci/main.py --resume {RUN}",
        f"reproduce: rondel reproduce {RUN}",
    ]


def test_of_several_failures_the_first_is_repeated_whose_error_is_shown(root: Path) -> None:
    asked = request(root)
    stages = [
        failed("prepare", finished="21:03"),
        failed("train", finished="21:02"),
        failed("eval", state="cancelled", finished="21:01"),
    ]
    assert follow_ups(asked, run_of(asked, *stages))[0] == "again: python ci/main.py train --only"


def test_a_refused_release_is_repeated_with_its_approval_and_all_else(root: Path) -> None:
    flags = {
        "approve_by": "Bob O'Hara",
        "cache": False,
        "keep_going": True,
        "push": True,
        "from_": "train",
        "engine": "embedded",
        "jobs": 2,
    }
    asked = request(root, flags, targets=("release",))
    again, resume = follow_ups(asked, run_of(asked, failed("release", kind="effect")))
    words = shlex.split(again.removeprefix("again: "))
    assert words[:4] == ["python", "ci/main.py", "release", "--only"]
    given = parse(words[4:], program="p").flags
    assert given == {name: value for name, value in flags.items() if name != "from_"}
    assert resume == f"resume: python ci/main.py --resume {RUN} --engine embedded --jobs 2"


def test_what_was_to_be_committed_is_committed_by_the_repetition(root: Path) -> None:
    asked = request(root, {"commit": True})
    ended = run_of(asked, failed(state="ran"), exit_code=23)
    assert follow_ups(asked, ended) == [
        "again: python ci/main.py train --commit",
        f"resume: python ci/main.py --resume {RUN}",
    ]


def test_a_run_that_waits_goes_on_with_an_approval(root: Path) -> None:
    asked = request(root, targets=("release",))
    waiting = run_of(asked, state="waiting", exit_code=12)
    assert follow_ups(asked, waiting) == [f"resume: python ci/main.py --resume {RUN} --approve-by NAME"]


def test_a_reproduction_has_no_commands_of_its_own(root: Path) -> None:
    asked = request(root, {}, {"RONDEL_REPRODUCES": RUN})
    assert follow_ups(asked, run_of(asked, failed())) == []


def test_a_wrong_command_line_is_not_to_be_resumed(root: Path) -> None:
    asked = request(root)
    assert follow_ups(asked, run_of(asked, exit_code=20)) == ["again: python ci/main.py train"]


def test_other_machines_reproduce_a_run_by_its_job_url(root: Path) -> None:
    asked = request(root)
    job = CiJob(provider="gitlab", url="https://gitlab.example/-/jobs/1?a=b&c")
    ended = run_of(asked, failed(), ci=job)
    assert reproduce(ended) == f"rondel reproduce {RUN}"
    assert reproduce(ended, anywhere=True) == "rondel reproduce 'https://gitlab.example/-/jobs/1?a=b&c'"


def test_the_report_page_has_the_same_commands_and_nothing_of_the_machine(root: Path) -> None:
    flags = {"approve_by": "Bob O'Hara", "engine": "embedded", "params": (("train.name", "a b"),)}
    asked = request(root, flags)
    page = render_run_page(run_of(asked, failed()), root)
    assert "--approve-by" in page
    assert "train.name=a b" in page
    assert f"python ci/main.py --resume {RUN}" in page
    assert "--engine" not in page


def test_a_secret_of_a_remote_is_in_no_command(root: Path) -> None:
    asked = request(root, {}, {"DVC_REMOTE_URL": "https://user:hunter2@host/data"})
    assert "hunter2" not in "\n".join(follow_ups(asked, run_of(asked, failed())))
