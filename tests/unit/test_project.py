"""The project's own files agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]


def text(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")


def test_one_version_of_uv_is_pinned_everywhere():
    (image,) = re.findall(r"^ARG UV=(\S+)$", text("Containerfile"), re.MULTILINE)
    (host,) = re.findall(r"^uv_version=(\S+)$", text("ci/setup.sh"), re.MULTILINE)
    assert image == host


def test_make_train_is_literally_the_dagger_command():
    assert "dagger run python ci/main.py train" in text("Makefile")


def test_each_ci_job_is_one_line():
    jobs = yaml.safe_load(text(".gitlab-ci.yml"))
    scripts = [job["script"] for job in jobs.values() if "script" in job]
    assert all(isinstance(script, str) and "\n" not in script for script in scripts)
    steps = re.findall(r"steps \{ (.*) \}", text("Jenkinsfile"))
    assert steps
    assert len(steps) == len(re.findall(r"stage\(", text("Jenkinsfile")))
    work = [script for script in scripts if script != "make test"]
    assert work
    assert all(script.startswith("dagger run python ci/main.py ") for script in work)
    assert all(re.match(r"sh ['\"](make test|dagger run python ci/main.py .*)['\"]$", step) for step in steps)


def test_the_lock_belongs_to_this_project():
    locked = {package["name"] for package in tomllib.loads(text("uv.lock"))["package"]}
    project = tomllib.loads(text("pyproject.toml"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["workload"]]
    names = {re.match(r"[A-Za-z0-9_.-]+", item)[0].lower() for item in wanted}
    assert names <= locked


def test_the_workload_knows_nothing_of_rondel():
    modules = list((TOP / "workload").glob("*.py"))
    assert modules
    for path in modules:
        assert not re.search(r"^\s*(from|import) rondel", path.read_text(), re.MULTILINE), path


@pytest.mark.parametrize("name", ["Containerfile", "Makefile", "ci/setup.sh", "dvc.yaml", ".dvc/config"])
def test_no_machine_of_ours_is_written_into_the_project(name):
    assert not re.search(r"/home/|/root/|/tmp/", text(name))
