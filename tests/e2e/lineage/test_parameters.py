"""Results of other parameters than those in the files: by ``-P``, resumed, and in a matrix."""

from __future__ import annotations

import json

import pytest

from lineage.project import STAGES, Project, states
from rondel.record import load

pytestmark = pytest.mark.container


def test_going_on_with_other_parameters_stands_on_their_results(project: Project) -> None:
    project.edit("src/evaluate.py", "import json\n", "import json\nraise SystemExit(3)\n")
    project.run("-P", "train.rate=0.33333", code=10)
    project.edit("src/evaluate.py", "raise SystemExit(3)\n", "")
    before = (project.root / "dvc.lock").read_bytes()
    project.target = "--resume"
    project.run()
    folder, capsule = load(project.root)
    assert capsule.stage("train").metrics["rate"] == 0.33333
    assert capsule.stage("train").state == "cached"
    assert capsule.stage("evaluate").aside
    sizes = {
        json.loads((root / "eval.json").read_text())["size"] for root in (project.root, folder.path / "tree")
    }
    assert len(sizes) == 2
    assert (project.root / "dvc.lock").read_bytes() == before


def test_what_read_results_of_other_parameters_undeclared_is_none_of_the_working_tree(
    project: Project,
) -> None:
    project.edit("dvc.yaml", "deps: [src/evaluate.py, model.bin]", "deps: [src/evaluate.py]")
    project.edit("src/evaluate.py", 'open("model.bin")', 'open("metrics.json")')
    project.run()
    before = (project.root / "eval.json").read_text()
    for _ in range(2):
        project.run("-P", "train.rate=0.33333")
        folder, capsule = load(project.root)
        assert capsule.stage("evaluate").aside
        assert (folder.path / "tree/eval.json").read_text() != before
        assert (project.root / "eval.json").read_text() == before
    project.run()
    assert states(project) == dict.fromkeys(STAGES, "cached")
    assert (project.root / "eval.json").read_text() == before


def test_values_of_a_matrix_are_parameters_of_the_results(project: Project) -> None:
    project.edit("ci/main.py", 'train = pipeline.dvc("train", needs=[prepare])\n', "")
    project.edit(
        "ci/main.py",
        "@pipeline.stage(needs=[train])\nasync def evaluate",
        """\
@pipeline.stage(needs=[prepare], matrix={"train.rate": [0.1, 0.3]})
async def sweep(ctx: StageContext) -> None:
    await ctx.dvc("train")


@pipeline.stage
async def evaluate""",
    )
    project.target = "sweep"
    project.run()
    project.run()
    folder, capsule = load(project.root)
    rates = {
        record.name: (record.state, record.metrics["rate"], record.aside) for record in capsule.stages[1:]
    }
    assert rates == {
        "sweep[train.rate=0.1]": ("cached", 0.1, False),
        "sweep[train.rate=0.3]": ("cached", 0.3, True),
    }
    assert '"rate": 0.3' in (folder.path / "tree/metrics.json").read_text()
    assert project.metrics() == project.truth()


def test_what_a_stage_of_a_matrix_makes_comes_back(project: Project) -> None:
    project.edit(
        "ci/main.py",
        "\n\nif __name__",
        '\n\n@pipeline.stage(matrix={"size": [1, 2]})\nasync def fold(ctx: StageContext) -> None:\n'
        "    name = f\"fold-{ctx.params['size']}.txt\"\n"
        "    await ctx.sh(f\"sleep {2 * ctx.params['size'] - 2}; echo made > {name}\", outputs=[name])\n\n\nif __name__",
    )
    project.target = "fold"
    project.run()
    assert [(project.root / f"fold-{size}.txt").read_text() for size in (1, 2)] == ["made\n", "made\n"]
    project.run()
    assert set(states(project).values()) == {"cached"}
