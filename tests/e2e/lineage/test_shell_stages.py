"""Stages with shell commands: what they see, and what depends on them."""

from __future__ import annotations

import pytest

from lineage.project import Project, plan, states
from rondel.record import load

pytestmark = pytest.mark.container

REPORT = """

@pipeline.stage(needs=[train])
async def report(ctx: StageContext) -> None:
    await ctx.sh("cat metrics.json > report.txt", outputs=["report.txt"])

"""


PUBLISH = """

@pipeline.stage(needs=[prepare])
async def count(ctx: StageContext) -> None:
    await ctx.sh("cat count.txt dvc.lock > seen.txt; echo 1 > count.txt", outputs=["count.txt", "seen.txt"])


@pipeline.stage(needs=[count])
async def publish(ctx: StageContext) -> None:
    await ctx.sh("cat count.txt eval.json > published.txt", outputs=["published.txt"])

"""


def test_a_shell_command_sees_only_results_that_its_stage_needs(project: Project) -> None:
    project.edit("ci/main.py", "\n\nif __name__", f"{PUBLISH}\nif __name__")
    project.words = ["count", "publish", "--keep-going"]
    assert (project.root / "eval.json").is_file()
    failed = project.run(code=10).stderr
    assert "this stage does not see eval.json" in failed
    assert states(project)["count"] == "ran"
    seen = (project.root / "seen.txt").read_text()
    assert "prepare" in seen
    assert "train" not in seen
    project.run(code=10)
    assert states(project)["count"] == "cached", "nothing that it sees changed"
    project.edit("ci/main.py", "needs=[count]", "needs=[count, evaluate]")
    project.run()
    assert states(project)["publish"] == "ran"
    assert (project.root / "published.txt").read_text() == f"1\n{(project.root / 'eval.json').read_text()}"


def test_a_shell_command_does_not_see_what_it_made_before(project: Project) -> None:
    project.edit(
        "ci/main.py",
        "\n\nif __name__",
        "\n\n@pipeline.stage\nasync def grow(ctx: StageContext) -> None:\n"
        '    await ctx.sh("echo line >> grown.txt", outputs=["grown.txt"])\n\n\nif __name__',
    )
    project.target = "grow"
    for _ in range(2):
        project.run("--no-cache")
        assert (project.root / "grown.txt").read_text() == "line\n"


def test_a_shell_command_sees_a_result_that_its_own_stage_reuses(project: Project) -> None:
    project.edit(
        "ci/main.py",
        'train = pipeline.dvc("train", needs=[prepare])',
        "\n\n@pipeline.stage(needs=[prepare])\nasync def train(ctx: StageContext) -> None:\n"
        '    await ctx.dvc("train")\n    await ctx.sh("cat metrics.json > copy.json", outputs=["copy.json"])\n\n',
    )
    project.target = "train"
    project.run()
    commands = load(project.root)[1].stage("train").commands
    assert [command.outcome for command in commands] == ["unchanged", ""]
    assert (project.root / "copy.json").read_text() == (project.root / "metrics.json").read_text()
    project.run()
    assert states(project)["train"] == "cached"


def with_report(project: Project) -> None:
    project.edit("ci/main.py", "\n\nif __name__", f"{REPORT}\nif __name__")
    project.target = "report"
    project.run()
    assert states(project)["report"] == "ran"


def test_a_shell_command_behind_other_parameters_sees_and_makes_results_of_them(project: Project) -> None:
    with_report(project)
    before = (project.root / "report.txt").read_text()
    for _ in range(2):
        project.run("-P", "train.rate=0.3")
        folder, capsule = load(project.root)
        assert capsule.stage("report").state == "ran"
        assert '"rate": 0.3' in (folder.path / "tree/report.txt").read_text()
        assert (project.root / "report.txt").read_text() == before
    project.run()
    assert states(project)["report"] == "cached"


def test_a_shell_command_behind_results_that_are_put_back_is_not_taken_for_unchanged(
    project: Project,
) -> None:
    with_report(project)
    project.edit("params.yaml", "0.1", "0.2")
    project.run()
    project.edit("params.yaml", "0.2", "0.1")
    planned = plan(project)
    project.run()
    assert planned["report"][0] == "runs"
    assert states(project) == {"prepare": "cached", "train": "cached", "report": "ran"}
    assert '"rate": 0.1' in (project.root / "report.txt").read_text()


def test_a_dvc_stage_behind_a_shell_command_is_served_to_nothing_else(project: Project) -> None:
    project.edit(
        "ci/main.py",
        'train = pipeline.dvc("train", needs=[prepare])',
        "\n\n@pipeline.stage(needs=[prepare])\nasync def train(ctx: StageContext) -> None:\n"
        "    await ctx.sh(\"echo 'FACTOR = 4' > src/helper.py; sed -i s/lines/rows/ src/train.py\")\n"
        '    await ctx.dvc("train")\n\n',
    )
    project.target = "train"
    project.run()
    assert project.metrics()["factor"] == 4
    project.run()
    assert states(project)["train"] == "cached"
    project.edit("ci/main.py", "FACTOR = 4", "FACTOR = 5")
    project.run()
    assert states(project)["train"] == "ran"
    assert project.metrics()["factor"] == 5
