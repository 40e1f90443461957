"""What no run could do right is said before anything starts, with its place."""

from __future__ import annotations

import os

import pytest

from rondel.data import load_project
from rondel.data.stage_checks import check_dvc_project, check_paths
from rondel.errors import ConfigurationError


def written(root, text):
    (root / "dvc.yaml").write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        (
            "stages:\n  a:\n    cmd: x\n    outs: [eval]\n    metrics: [eval/metrics.json]\n",
            "eval/ and eval/metrics.json are made more than once",
            "dvc.yaml:4",
        ),
        (
            "stages:\n  a:\n    cmd: x\n    outs: [b]\n  d:\n    cmd: x\n    outs: [b]\n",
            "b is made more than once, by a and d",
            "dvc.yaml:7",
        ),
        (
            "stages:\n  a:\n    cmd: x\n    outs: [data/raw.csv]\n",
            "data/raw.csv is made more than once, by a and data/raw.csv.dvc",
            "dvc.yaml:4",
        ),
        (
            "stages:\n  a:\n    cmd: x\n    deps: [src]\n    outs: [src/made]\n",
            "stage 'a' depends on its own output",
            "dvc.yaml:4",
        ),
        (
            (
                "stages:\n  a:\n    cmd: x\n    deps: [three]\n    outs: [one]\n"
                "  b:\n    cmd: x\n    deps: [one/part]\n    outs: [two]\n"
                "  c:\n    cmd: x\n    deps: [two]\n    outs: [three]\n"
            ),
            "stages depend on each other: a → c → b → a",
            "dvc.yaml:4",
        ),
    ],
)
def test_what_dvc_refuses_is_refused_here(project_root, text, said, line):
    with pytest.raises(ConfigurationError) as caught:
        load_project(written(project_root, text))
    assert said in str(caught.value)
    assert caught.value.place == line


def test_metrics_in_a_folder_of_results_belong_at_the_top_level(project_root):
    text = "stages:\n  a:\n    cmd: x\n    outs: [eval]\n    metrics: [eval/metrics.json]\n"
    with pytest.raises(ConfigurationError, match="made more than once") as caught:
        load_project(written(project_root, text))
    assert "metrics: [PATH]" in str(caught.value.hint)


def test_many_stages_on_one_another_are_no_circle(project_root):
    stages = [
        f"  s{number}:\n    cmd: x\n    deps: [f{number}]\n    outs: [f{number + 1}]\n"
        for number in range(3000)
    ]
    assert len(load_project(written(project_root, "stages:\n" + "".join(stages))).stages) == 3000


@pytest.mark.parametrize(
    ("body", "said", "line"),
    [
        ("deps: [../shared/data.csv]", "depends on '../shared/data.csv', which is outside", "dvc.yaml:4"),
        ("deps: [/data/all.csv]", "depends on '/data/all.csv', which is outside", "dvc.yaml:4"),
        ("params: [../params.yaml: [a]]", "depends on '../params.yaml', which is outside", "dvc.yaml:4"),
        ("outs: [../made.csv: {cache: false}]", "makes '../made.csv', which is outside", "dvc.yaml:4"),
        (
            'outs: ["s3://bucket/x": {cache: false}]',
            "makes 's3://bucket/x', which is outside",
            "dvc.yaml:4",
        ),
        ("outs: [x: {remote: other}]", "goes to the remote 'other', which containers", "dvc.yaml:4"),
    ],
)
def test_what_a_container_would_miss_or_lose_is_refused(project_root, body, said, line):
    (project_root / ".dvc/config").write_text("['remote \"other\"']\n    url = /far/away\n")
    project = load_project(written(project_root, f"stages:\n  a:\n    cmd: x\n    {body}\n"))
    with pytest.raises(ConfigurationError) as caught:
        check_paths(project, project.stages["a"], os.environ)
    assert said in str(caught.value)
    assert caught.value.place == line


def test_addresses_and_what_lies_in_the_project_pass(project_root):
    (project_root / ".dvc/config").write_text("['remote \"other\"']\n    url = s3://far/away\n")
    text = "stages:\n  a:\n    cmd: x\n    deps: [s3://b/x, sub/../src]\n    outs: [..name, x: {remote: other}]\n"
    project = load_project(written(project_root, text))
    check_paths(project, project.stages["a"], os.environ)


def test_a_folder_of_a_larger_project_is_told_where_the_pipeline_belongs(project_root):
    folder = project_root / "models/churn"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="models/churn/ is part of the DVC project in") as caught:
        check_dvc_project(folder)
    assert "dvc init" not in str(caught.value)
    assert f"`rondel init` in {project_root}" in str(caught.value.hint)
    assert "ctx.dvc calls them models/churn:NAME" in str(caught.value.hint)
    check_dvc_project(project_root)


def test_a_folder_of_no_project_is_told_to_become_one(tmp_path):
    with pytest.raises(ConfigurationError, match="this is not a DVC project") as caught:
        check_dvc_project(tmp_path)
    assert caught.value.hint == "run `dvc init`"
