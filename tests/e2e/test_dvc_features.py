"""What `dvc.yaml` can say, in one project that a real run makes once: see docs/reference/dvc.md."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from dvc_project import Project, make_project
from lineage.project import BIN

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, team_server: str) -> Project:
    """The project after one run of all of it."""
    project = make_project(tmp_path_factory.mktemp("features"), {"MLFLOW_TRACKING_URI": team_server})
    project.run("judge")
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    root = shutil.copytree(made.root, tmp_path / "project", symlinks=True)
    return Project(root, dict(made.environ))


@pytest.fixture(scope="module")
def pulled(made: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same after `dvc pull`, as a person has it who looks at what was made."""
    root = shutil.copytree(made.root, tmp_path_factory.mktemp("pulled") / "project", symlinks=True)
    project = Project(root, dict(made.environ))
    done = subprocess.run([BIN / "dvc", "pull"], cwd=root, capture_output=True, text=True, check=False)
    # What is never pushed can't be pulled.
    assert "made.txt" in done.stdout + done.stderr
    return project


def stages(project: Project) -> Mapping[str, Any]:
    return {record.name: record for record in load(project.root)[1].stages}


def text(project: Project, name: str) -> str:
    return (project.root / name).read_text()


def test_a_stage_without_dependencies_runs_once(pulled: Project) -> None:
    assert text(pulled, "raw/raw.txt") == "raw\n"


def test_a_stage_without_anything_runs_each_time(made: Project) -> None:
    record = stages(made)["phony"]
    assert (record.state, record.reason) == ("ran", "it has neither dependencies nor outputs")


def test_foreach_matrix_and_vars_make_the_stages_that_dvc_makes_of_them(pulled: Project) -> None:
    assert text(pulled, "parts/x.txt") == "xa!\n"
    assert text(pulled, "grid/two-1.txt") == "two 1\n"


def test_commands_of_a_list_run_in_order_over_a_folder_of_outputs(pulled: Project) -> None:
    assert text(pulled, "joined.txt") == "xa!\nya!\n"


def test_a_dvc_yaml_in_a_sub_folder_works_in_its_own_wdir(made: Project) -> None:
    files = list((made.root / ".rondel/runs").glob("*/results/here/*/files/sub/dvc.lock"))
    assert files
    assert "made.txt" in text(made, "sub/dvc.lock")


def test_parameters_come_from_yaml_json_toml_and_python(made: Project) -> None:
    record = stages(made)["values"]
    assert json.loads(text(made, "values.json")) == {"rate": 0.5, "tree": 3, "size": 7, "seed": 11}
    shown = {name.rpartition(":")[2]: value for name, value in record.parameters.items()}
    assert shown["train.rate"] == 0.5
    assert (shown["depth.tree"], shown["model.size"]) == (3, 7)


def test_metrics_are_recorded_whether_dvc_keeps_them_or_git(made: Project) -> None:
    metrics = stages(made)["values"].metrics
    assert (metrics["rate"], metrics["nested.rate"]) == (0.5, 0.5)
    assert (made.root / "kept.json").exists()
    assert (made.root / "curve.csv").exists()


def test_metrics_named_at_top_level_are_recorded_and_stay_out_of_the_working_tree(made: Project) -> None:
    assert stages(made)["report"].metrics == {"lines": 2}
    assert not (made.root / "eval").exists()
    (folder,) = (made.root / ".rondel/runs").glob("*/results/report/*/files")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"dvc.lock", "eval/metrics.json", "eval/plots/loss.csv", "eval/more.csv"}


def test_a_gate_reads_metrics_in_a_folder_that_dvc_keeps(made: Project) -> None:
    record = stages(made)["judge"]
    assert [verdict.passed for verdict in record.verdicts] == [True, True]
    assert record.verdicts[1].metrics["hidden"] == 4


def test_a_gate_does_not_read_what_lies_about_in_the_working_tree(project: Project) -> None:
    (project.root / "eval").mkdir()
    (project.root / "eval/hidden.json").write_text('{"hidden": 5}')
    project.edit("ci/main.py", "hidden == 4", "hidden == 4.0")
    project.target = "judge"
    project.run()
    assert stages(project)["judge"].verdicts[1].metrics["hidden"] == 4


def test_a_clone_has_the_metrics_of_a_folder_that_only_dvc_has(project: Project) -> None:
    shutil.rmtree(project.root / ".rondel/stages")
    shutil.rmtree(project.root / ".rondel/cache")
    project.target = "report"
    project.run()
    record = stages(project)["report"]
    assert (record.state, record.metrics) == ("restored", {"lines": 2})
    project.run()
    assert (stages(project)["report"].state, stages(project)["report"].metrics) == ("cached", {"lines": 2})


def test_an_output_that_persists_is_there_for_the_next_command(project: Project) -> None:
    (project.root / "trigger.txt").write_text("2\n")
    project.target = "grows"
    project.run()
    project.dvc("pull", "-q", "grows.txt")
    assert text(project, "grows.txt") == "1\n2\n"


def test_an_output_that_is_not_pushed_is_left_out_of_the_remote(made: Project) -> None:
    entry = text(made, "sub/dvc.lock")
    digest = entry.split("outs:")[1].split("md5: ")[1].split()[0]
    assert not (made.root / ".rondel/remote/files/md5" / digest[:2] / digest[2:]).exists()


def test_a_stage_that_is_always_changed_runs_and_what_depends_on_it_sees_the_result(project: Project) -> None:
    project.target = "after"
    project.run()
    states = {name: record.state for name, record in stages(project).items()}
    assert states == {"always": "ran", "after": "ran"}
    project.dvc("pull", "-q", "always.txt", "after.txt")
    assert text(project, "always.txt") == text(project, "after.txt")


def test_what_says_nothing_about_the_result_makes_nothing_run_again(project: Project) -> None:
    project.edit("dvc.yaml", "desc: from nothing at all", "desc: in other words")
    project.edit("dvc.yaml", "owner: us", "owner: them")
    project.edit("dvc.yaml", "type: model", "type: other")
    project.edit("dvc.yaml", "data.csv", "other.csv")
    project.edit("dvc.yaml", "eval/params.yaml", "params.yaml")
    project.target = "download"
    project.run("report")
    assert {record.state for record in stages(project).values()} == {"cached"}


def test_git_does_not_take_up_data_after_dvc_pull(pulled: Project) -> None:
    pulled.git("add", "--all")
    names = set(pulled.git("diff", "--cached", "--name-only").split())
    entries = {name for name in names if name.endswith(".gitignore")}
    assert names - entries == {"dvc.lock", "rondel.lock", "sub/dvc.lock", "values.json"}
    assert text(pulled, "parts/.gitignore") == "/x.txt\n/y.txt\n"
    assert text(pulled, "sub/inner/.gitignore") == "/made.txt\n"


def test_results_that_stay_aside_leave_gitignore_alone(project: Project) -> None:
    project.edit(".gitignore", "/kept.json\n", "")
    project.target = "values"
    project.run("-P", "train.rate=0.75")
    assert "/kept.json" not in text(project, ".gitignore")
    assert stages(project)["values"].metrics["rate"] == 0.75


def test_results_that_are_put_back_are_ignored_by_git(project: Project) -> None:
    project.edit(".gitignore", "/kept.json\n", "")
    (project.root / "kept.json").unlink()
    project.target = "values"
    project.run()
    assert stages(project)["values"].state == "cached"
    assert (project.root / "kept.json").exists()
    assert "/kept.json" in text(project, ".gitignore")


def test_dvc_finds_its_project_in_order(pulled: Project) -> None:
    status = json.loads(pulled.dvc("status", "--json"))
    # What always changes is never up to date, by its nature.
    assert {name.rpartition(":")[2] for name in status} <= {"always", "phony", "here"}, status
