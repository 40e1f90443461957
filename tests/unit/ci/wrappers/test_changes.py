"""Which paths in git start a job, and which files it may bring back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.ci.wrappers.changes import changes_of, code_patterns, recipe_patterns, results_of
from rondel.ci.wrappers.jobs import jobs_of
from rondel.data import load_project
from rondel.pipeline import load_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.pipeline import Stage

DVC = """\
stages:
  features:
    cmd: python src/features.py
    deps: [src, data/raw, data/labels/train.csv, Makefile]
    params: [features.depth]
    outs: [features]
  train:
    cmd: python src/train.py
    deps: [features/train.csv]
    outs: [model.bin]
    metrics:
    - metrics.json:
        cache: false
  other:
    cmd: python other.py
    deps: [other.py]
    plots:
    - other.csv:
        cache: false
"""
ELSEWHERE = "stages:\n  train:\n    cmd: x\n    deps: [x.py]\n    metrics:\n    - metrics.json:\n        cache: false\n"
MAIN = """
from rondel import Pipeline, StageContext

pipeline = Pipeline()
train = pipeline.dvc("train")


@pipeline.stage(needs=[train])
async def check(ctx: StageContext) -> None:
    await ctx.gate("auc > 0.5", metrics="metrics.json", model="m")
"""
CHOOSES = """

@pipeline.stage
async def any(ctx: StageContext) -> None:
    for name in ("train", "other"):
        await ctx.dvc(name)
"""
EFFECTS = """

@pipeline.effect(needs=[train])
async def deploy(ctx: StageContext) -> None:
    await ctx.sh("x")


@pipeline.effect
async def ping(ctx: StageContext) -> None:
    await ctx.sh("x")
"""
CONTAINERFILE = """\
FROM python:3.11 AS stage
COPY requirements.txt locks/ /opt/
FROM stage AS runner
COPY src /opt/src
"""
TRACKED = "outs:\n- md5: {0}\n  size: 1\n  hash: md5\n  path: {1}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "dvc.yaml": DVC,
        "ci/main.py": MAIN,
        "Containerfile": CONTAINERFILE,
        "requirements.txt": "",
        "locks/x.txt": "",
        "Makefile": "",
        "src/features.py": "",
        "params.yaml": "features: {depth: 3}\n",
        "data/raw.dvc": TRACKED.format("a" * 32, "raw"),
        "data/labels.dvc": TRACKED.format("b" * 32, "labels"),
        "examples/demo/dvc.yaml": ELSEWHERE,
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def stages(root: Path) -> list[Stage]:
    return list(load_pipeline(root / "ci" / "main.py").stages())


def test_a_stage_starts_for_its_code_data_and_parameters_and_those_before_it(root: Path) -> None:
    found = changes_of(stages(root), load_project(root), shared=("ci/main.py",))
    assert found["train"] == (
        "Makefile",
        "ci/main.py",
        "data/labels.dvc",
        "data/raw.dvc",
        "dvc.lock",
        "dvc.yaml",
        "params.yaml",
        "pyproject.toml",
        "src/**/*",
        "uv.lock",
    )


def test_a_stage_that_may_read_any_file_starts_for_every_change(root: Path) -> None:
    main = root / "ci" / "main.py"
    main.write_text(
        MAIN + '\n\n@pipeline.stage\nasync def say(ctx: StageContext) -> None:\n    await ctx.sh("x")\n'
    )
    made = stages(root)
    found = changes_of(made, load_project(root), shared=("ci/main.py",))
    assert found["say"] is None
    (job,) = jobs_of(made, found, file="ci/main.py", layout="single")
    assert job.changes == ()


def test_a_gate_starts_for_what_it_looks_at(root: Path) -> None:
    made = stages(root)
    found = changes_of(made, load_project(root), shared=("ci/main.py",))
    assert found["check"] == ("ci/main.py", "pyproject.toml", "uv.lock")
    (job,) = jobs_of(made, found, file="ci/main.py", layout="single")
    assert job.changes == found["train"]


def test_an_effect_starts_for_what_it_needs(root: Path) -> None:
    main = root / "ci" / "main.py"
    main.write_text(MAIN + EFFECTS)
    made = stages(root)
    found = changes_of(made, load_project(root), shared=("ci/main.py",))
    assert (found["deploy"], found["ping"]) == ((), None)
    jobs = {job.name: job for job in jobs_of(made, found, file="ci/main.py", layout="stages")}
    assert jobs["deploy"].changes == jobs["train"].changes != ()
    assert jobs["ping"].changes == ()


def test_another_projects_dvc_yaml_in_the_tree_is_none_of_the_pipelines(root: Path) -> None:
    assert results_of(stages(root), load_project(root)) == ("dvc.lock", "metrics.json", "rondel.lock")


def test_a_stage_that_chooses_while_it_runs_may_bring_back_anything(root: Path) -> None:
    main = root / "ci" / "main.py"
    main.write_text(MAIN + CHOOSES)
    found = results_of(stages(root), load_project(root))
    assert {"other.csv", "examples/demo/dvc.lock", "examples/demo/metrics.json"} <= set(found)


def test_a_stage_in_a_folder_has_its_own_lock(root: Path) -> None:
    main = root / "ci" / "main.py"
    main.write_text(MAIN.replace('dvc("train")', 'dvc("examples/demo/dvc.yaml:train")'))
    project = load_project(root)
    results = ("examples/demo/dvc.lock", "examples/demo/metrics.json", "rondel.lock")
    assert results_of(stages(root), project) == results
    (changes, _) = changes_of(stages(root), project, shared=()).values()
    assert "examples/demo/dvc.lock" in changes


def test_the_images_recipe_is_what_its_target_copies(root: Path) -> None:
    assert recipe_patterns(root, "Containerfile", "stage") == (
        "Containerfile",
        "requirements.txt",
        "locks/**/*",
    )
    assert recipe_patterns(root, "Containerfile", "runner")[-1] == "src/**/*"
    assert recipe_patterns(root, "missing", "stage") == ("missing",)
    (root / "Containerfile").write_text("FROM a\nARG FILE=one\nCOPY $FILE /\n")
    assert recipe_patterns(root, "Containerfile", "", [("FILE", "two.txt")]) == ("Containerfile", "two.txt")


def test_modules_beside_the_pipeline_are_its_code(root: Path) -> None:
    assert code_patterns(root, "ci/main.py") == ("ci/main.py",)
    (root / "ci" / "helpers.py").write_text("")
    assert code_patterns(root, "ci/main.py") == ("ci/main.py", "ci/**/*.py")
    assert code_patterns(root, "main.py") == ("main.py",)
