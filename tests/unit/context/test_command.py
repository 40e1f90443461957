from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rondel.context.command import (
    DvcCommand,
    dvc_command,
    failure,
    never_made,
    outcome,
    read_result,
    upstream_here,
)
from rondel.data import DvcProject, DvcStage, Out
from rondel.errors import DataError, StageFailed


def stage(name, deps=(), outs=(), **more):
    return DvcStage(
        name=name,
        file="dvc.yaml",
        cmd=("x",),
        deps=tuple(deps),
        outs=tuple(Out(path=out) for out in outs),
        **more,
    )


@pytest.fixture
def project(tmp_path):
    stages = [
        stage("ingest", outs=["raw"]),
        stage("prepare", deps=["raw"], outs=["prepared"]),
        stage("features", deps=["prepared"], outs=["features"]),
        stage("train", deps=["features/a.csv", "code.py"], outs=["model"]),
    ]
    return DvcProject(root=tmp_path, stages={each.name: each for each in stages})


def test_stages_that_the_pipeline_does_not_have_run_with_the_one_that_needs_them(project):
    train = project.stages["train"]
    assert upstream_here(project, train, frozenset()) == ("ingest", "prepare", "features")
    assert upstream_here(project, train, frozenset({"prepare"})) == ("features",)
    assert upstream_here(project, train, frozenset({"features"})) == ()


def test_a_command_pulls_only_what_dvc_keeps(project):
    command = dvc_command(
        project, project.stages["train"], own=frozenset({"features"}), push=False, force=False, scheme="s3"
    )
    assert command.needs == ("features/a.csv",)
    assert command.shown == "dvc repro --pull --allow-missing --single-item train"
    plan = json.loads(command.plan())
    assert plan["push"] is False
    assert "s3fs" in plan["preload"]


def test_an_input_that_no_run_has_made_is_named_with_the_stage_that_makes_it(project):
    def of(own):
        return dvc_command(
            project, project.stages["features"], own=frozenset(own), push=False, force=False, scheme="s3"
        )

    missing = {"prepared": "missing"}
    lacking = never_made(project, of({"prepare"}), missing)
    assert "'features' needs prepared, which stage 'prepare' has not made yet" in lacking.what
    assert "--only" in lacking.hint
    assert never_made(project, of(()), missing) is None  # it is made with it
    assert never_made(project, of({"prepare"}), {"prepared": "md5:1"}) is None
    locked = replace(project, lock={"prepare": {}})  # DVC may have it
    assert never_made(locked, of({"prepare"}), missing) is None
    (project.root / "prepared").touch()
    assert never_made(project, of({"prepare"}), missing) is None


def test_a_command_brings_back_metrics_plots_and_what_is_not_cached(tmp_path):
    made = DvcStage(
        name="s",
        file="sub/dvc.yaml",
        cmd=("x",),
        outs=(
            Out(path="sub/model"),
            Out(path="sub/m.json", kind="metric", cached=False),
            Out(path="sub/p.csv", kind="plot"),
            Out(path="sub/report", cached=False),
        ),
    )
    project = DvcProject(root=tmp_path, stages={made.address: made})
    command = dvc_command(
        project, made, push=True, force=True, scheme="webdav", changed=["sub/dvc.yaml:s", "x"]
    )
    assert command.returns == ("sub/m.json", "sub/p.csv", "sub/report")
    assert command.cached == ("sub/p.csv",)
    assert command.locks == ("sub/dvc.lock",)
    assert command.changed == ("sub/dvc.yaml:s",)
    assert command.shown == (
        "dvc repro --pull --allow-missing --single-item --force sub/dvc.yaml:s && dvc push sub/dvc.yaml:s"
    )


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({"ran": ["train"], "restored": []}, "ran"),
        ({"ran": [], "restored": ["train"]}, "restored"),
        ({"ran": ["features"]}, "unchanged"),
    ],
)
def test_an_outcome_says_whether_the_command_ran(result, state):
    assert outcome(DvcCommand(stage="train"), result).state == state


@pytest.mark.parametrize(
    ("result", "kind", "said"),
    [
        (None, StageFailed, "before DVC did"),
        (
            {"phase": "repro", "command_code": 7, "ran": ["helper"]},
            StageFailed,
            "'helper' ended with exit code 7",
        ),
        ({"phase": "push", "code": 255, "ran": ["train"]}, DataError, "could not be pushed to s3://b"),
        ({"phase": "repro", "code": 255, "ran": []}, DataError, "could not get what it needs"),
        ({"phase": "pull", "code": 255, "ran": []}, DataError, "could not get what it needs"),
        ({"phase": "repro", "code": 255, "ran": ["train"]}, StageFailed, "'train' failed"),
    ],
)
def test_a_failure_says_what_went_wrong_and_shows_the_last_lines(result, kind, said):
    error = failure(DvcCommand(stage="train"), result, ["one", "the reason"], "s3://b")
    assert type(error) is kind
    assert said in str(error)
    assert "│ the reason" in str(error)


def test_a_result_that_is_not_there_or_damaged_is_none(tmp_path):
    assert read_result(tmp_path) is None
    (tmp_path / "result.json").write_text("{")
    assert read_result(tmp_path) is None
    (tmp_path / "result.json").write_text('{"code": 0}')
    assert read_result(tmp_path) == {"code": 0}
