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
