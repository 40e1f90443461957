from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rondel.data import DvcProject, DvcStage, Out, TrackedFile
from rondel.environment.data_container import TransferResult
from rondel.errors import DataError, StageFailed
from rondel.operations.dvc.commands import command_failed, command_script, keep_failed, unmade_input

if TYPE_CHECKING:
    from pathlib import Path


def stage(name, deps=(), outs=(), **more):
    return DvcStage(
        name=name,
        file="dvc.yaml",
        cmd=more.pop("cmd", ("x",)),
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
    assert project.chain("train", ()) == ("ingest", "prepare", "features", "train")
    assert project.chain("train", {"prepare"}) == ("features", "train")
    assert project.chain("train", {"features"}) == ("train",)


def test_only_data_that_dvc_caches_is_fetched(project):
    assert project.data_needed_for(project.stages["train"].deps) == ("features/a.csv",)
    assert project.data_needed_for(["code.py"]) == ()


def test_a_folder_is_whole_when_all_outputs_in_it_are(tmp_path):
    stages = [stage("one", outs=["parts/one.txt"]), stage("two", outs=["parts/two.txt", "other"])]
    tracked = {"parts/raw": TrackedFile(path="parts/raw", file="parts/raw.dvc", hash="md5:1")}
    project = DvcProject(root=tmp_path, stages={each.name: each for each in stages}, tracked=tracked)
    assert project.data_needed_for(["parts"]) == ("parts/one.txt", "parts/raw", "parts/two.txt")
    assert project.data_needed_for(["parts/raw/a.csv"]) == ("parts/raw/a.csv",)


def test_an_input_that_no_run_has_made_is_named_with_the_stage_that_makes_it(project):
    missing = {"prepared": "missing"}
    features = project.stages["features"]
    lacking = unmade_input(project, features, missing)
    assert "'features' needs prepared, which stage 'prepare' has not made yet" in lacking.what
    assert "--only" in lacking.hint
    assert unmade_input(project, features, {"prepared": "md5:1"}) is None
    locked = replace(project, lock={"prepare": {}})  # DVC may have it
    assert unmade_input(locked, features, missing) is None
    (project.root / "prepared").touch()
    assert unmade_input(project, features, missing) is None


def run(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", script], cwd=cwd, capture_output=True, text=True, check=False)


def test_commands_run_one_after_the_other_in_their_folder_until_one_fails(tmp_path):
    (tmp_path / "sub").mkdir()
    made = stage("s", cmd=("pwd; echo one >&2", "exit 7", "echo three"), wdir="sub")
    done = run(command_script(made), tmp_path)
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        "> pwd; echo one >&2",
        str(tmp_path / "sub"),
        "one",
        "> exit 7",
    ]


def test_outputs_of_the_last_time_are_removed_but_for_those_that_persist(tmp_path):
    for name in ("-odd name", "kept"):
        (tmp_path / name).write_text("old")
    (tmp_path / "folder").mkdir()
    made = replace(
        stage("s", cmd=("ls",)),
        outs=(Out(path="-odd name"), Out(path="folder"), Out(path="kept", persist=True)),
    )
    assert run(command_script(made), tmp_path).stdout.splitlines() == ["> ls", "kept"]


def test_a_command_is_taken_as_it_is_written(tmp_path):
    made = stage("s", cmd=("""printf '%s|' "it's" '$HOME' "two  spaces\"""",))
    done = run(command_script(made), tmp_path)
    assert done.stdout.splitlines()[-1] == "it's|$HOME|two  spaces|"


def test_a_failure_says_what_went_wrong_and_shows_the_last_lines(project):
    train = project.stages["train"]
    error = command_failed(train, 7, ["one", "the reason"])
    assert type(error) is StageFailed
    assert "'train' ended with exit code 7" in str(error)
    assert "│ the reason" in str(error)


@pytest.mark.parametrize(
    ("transfer", "kind", "said"),
    [
        (TransferResult(phase="keep", code=1, unmade=("model",)), StageFailed, "did not make model"),
        (
            TransferResult(phase="push", code=255, output="no route"),
            DataError,
            "to s3://b",
        ),
        (TransferResult(phase="keep", code=255, output="no route"), StageFailed, "can't save the outputs"),
    ],
)
def test_results_that_cannot_be_saved_are_an_error_with_the_reason(project, transfer, kind, said):
    error = keep_failed(project.stages["train"], transfer, ["no route"], "s3://b")
    assert type(error) is kind
    assert said in str(error)
    assert "│ no route" in str(error)
