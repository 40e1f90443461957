"""Metrics and plots that `dvc.yaml` names at its top level."""

from __future__ import annotations

import json

import pytest

from rondel.data import load_project
from rondel.errors import ConfigurationError
from rondel.gates import stage_metrics

STAGES = """\
stages:
  report:
    cmd: x
    outs: [eval, alone.json, plain: {cache: false}]
"""


def stage(root, more, folder=""):
    (root / folder / "dvc.yaml").write_text(STAGES + more)
    return next(iter(load_project(root).stages.values()))


def reported(stage):
    return {out.path: out.kind for out in stage.reported}


@pytest.mark.parametrize(
    ("more", "inside"),
    [
        ("metrics: [eval/metrics.json, other.json]", {"eval/metrics.json": "metric"}),
        ("plots: [eval/a.csv]", {"eval/a.csv": "plot"}),
        ("plots:\n  - eval/a.csv: {x: step}\n", {"eval/a.csv": "plot"}),
        ("plots:\n  eval/a.csv:\n    x: step\n", {"eval/a.csv": "plot"}),
        (
            "plots:\n  - both:\n      x: step\n      y: {eval/a.csv: loss, eval/b.csv: [loss]}\n",
            {"eval/a.csv": "plot", "eval/b.csv": "plot"},
        ),
        ("plots:\n  - a.csv:\n      y: loss\n  - eval/b\n", {"eval/b": "plot"}),
        ("metrics: []\nplots:\n", {}),
        ("params: [eval/params.yaml]\nartifacts: {a: {path: eval/x}}", {}),
    ],
)
def test_files_in_outputs_are_found_however_they_are_named(project_root, more, inside):
    assert reported(stage(project_root, more)) == inside


def test_an_output_that_is_named_is_a_metric(project_root):
    found = stage(project_root, "metrics: [alone.json]")
    assert {out.path: out.kind for out in found.outs} == {
        "eval": "out",
        "alone.json": "metric",
        "plain": "out",
    }


def test_names_are_relative_to_their_own_file(project_root):
    (project_root / "dvc.yaml").unlink()
    (project_root / "sub").mkdir()
    assert reported(stage(project_root, "metrics: [eval/m.json]", "sub")) == {"sub/eval/m.json": "metric"}


def test_a_file_may_name_what_another_files_stages_make(project_root):
    (project_root / "live").mkdir()
    (project_root / "live/dvc.yaml").write_text("metrics: [../eval/m.json]\n")
    assert reported(stage(project_root, "")) == {"eval/m.json": "metric"}


@pytest.mark.parametrize("more", ["metrics: eval/m.json", "metrics: [{a: b}]", "plots: [1]", "plots: text"])
def test_what_names_nothing_is_told_with_its_file(project_root, more):
    with pytest.raises(ConfigurationError) as caught:
        stage(project_root, more)
    assert caught.value.place == "dvc.yaml"


def test_templates_reach_the_top_level(project_root):
    found = stage(project_root, "metrics: ['${folder}/m.json']\nvars: [folder: eval]\n")
    assert reported(found) == {"eval/m.json": "metric"}


def test_a_name_that_several_files_have_is_told_apart_by_the_file(project_root, tmp_path):
    found = stage(project_root, "metrics: [eval, alone.json]")
    for name, value in {"eval/a/m.json": 1, "eval/b/m.json": 2, "alone.json": 3}.items():
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_text(json.dumps({"auc": value, f"only_{value}": value}))
    assert stage_metrics(found, tmp_path / "made") == {
        "eval/a/m.json:auc": 1,
        "eval/b/m.json:auc": 2,
        "alone.json:auc": 3,
        "only_1": 1,
        "only_2": 2,
        "only_3": 3,
    }


def test_the_working_tree_is_not_asked_for_what_dvc_keeps(project_root):
    found = stage(project_root, "metrics: [eval/m.json, plain]")
    (project_root / "eval").mkdir()
    (project_root / "eval/m.json").write_text('{"old": 1}')
    (project_root / "plain").write_text('{"new": 1}')
    assert stage_metrics(found, None, project_root) == {"new": 1}


def test_metrics_in_toml_are_read(project_root, tmp_path):
    found = stage(project_root, "metrics: [eval/m.toml]")
    (tmp_path / "made/eval").mkdir(parents=True)
    (tmp_path / "made/eval/m.toml").write_text("[test]\nauc = 0.5\n")
    assert stage_metrics(found, tmp_path / "made") == {"test.auc": 0.5}


def test_metrics_in_python_are_not_read(project_root, tmp_path):
    found = stage(project_root, "metrics: [eval/m.py]")
    (tmp_path / "made/eval").mkdir(parents=True)
    (tmp_path / "made/eval/m.py").write_text("auc = 0.5\n")
    assert stage_metrics(found, tmp_path / "made") == {}
