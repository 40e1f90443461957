"""Projects as they are published, from `rondel init` on: what a team does with one in its first week.

Each test begins with a copy of a project that was evaluated once and committed. All log to one MLflow
server, and keep data in a remote of the team, as the jobs of CI need it.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from ci_project import artifacts, capsules, run_gitlab
from public_projects import DVC, commit, copy_project, run

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rondel.record import Capsule

pytestmark = [pytest.mark.container, pytest.mark.network]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A project, its last stage, and one parameter: in which file, and which stages it concerns."""

    name: str
    goal: str
    stages: tuple[str, ...]
    file: str
    line: str
    changed: str
    broken: str
    given: str
    concerned: tuple[str, ...]
    metrics: str = ""
    accuracy: tuple[float, float] = (0.0, 0.0)
    returned: tuple[str, ...] = ()

    @property
    def dvc(self) -> bool:
        return bool(self.metrics)

    def __str__(self) -> str:
        return self.name


GET_STARTED = Case(
    name="get-started",
    goal="evaluate",
    stages=("prepare", "featurize", "train", "evaluate"),
    file="params.yaml",
    line="smoothing: 1.0",
    changed="smoothing: 5.0",
    broken="smoothing: much",
    given="train.smoothing=5.0",
    concerned=("train", "evaluate"),
    metrics="eval/metrics.json",
    accuracy=(38 / 60, 36 / 60),
    returned=("dvc.lock", "eval/metrics.json", "eval/recall.csv"),
)
MONOREPO = Case(
    name="monorepo",
    goal="nlp/evaluate",
    stages=("nlp/prepare", "nlp/train", "nlp/evaluate"),
    file="nlp/params.yaml",
    line="top: 5",
    changed="top: 2",
    broken="top: two",
    given="top=2",
    concerned=("nlp/train", "nlp/evaluate"),
    metrics="nlp/metrics.json",
    accuracy=(175 / 240, 134 / 240),
    returned=("nlp/dvc.lock", "nlp/metrics.json"),
)
MLPROJECT = Case(
    name="mlproject-conda",
    goal="main",
    stages=("main",),
    file="params.yaml",
    line="slope: 2.0",
    changed="slope: 3.0",
    broken="slope: steep",
    given="main.noise=0.1",
    concerned=("main",),
)
CASES = pytest.mark.parametrize("case", [GET_STARTED, MONOREPO, MLPROJECT], ids=str)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, team_server: str) -> Callable[[Case], Path]:
    """A project that was adopted and evaluated, with all that belongs into git committed."""
    made: dict[str, Path] = {}

    def make(case: Case) -> Path:
        if case.name in made:
            return made[case.name]
        folder = tmp_path_factory.mktemp(case.name)
        root = copy_project(case.name, folder)
        if case.dvc:
            run(root, DVC, "remote", "add", "--quiet", "--default", "team", str(folder / "remote"))
            run(root, DVC, "push")
        run(root, "rondel", "init")
        with (root / "pyproject.toml").open("a") as file:
            file.write('\n[tool.rondel.ci]\nimage = ""\n')
        run(root, "rondel", "ci", "generate", "gitlab")
        commit(root, "A pipeline")
        done = run(root, "python", "ci/main.py", case.goal, MLFLOW_TRACKING_URI=team_server)
        assert states(root) == dict.fromkeys(case.stages, "ran"), done.stdout
        assert "undeclared" not in done.stdout + done.stderr
        assert changes(root) == {*case.returned, *(["rondel.lock"] if case.dvc else [])}
        if case.dvc:
            commit(root, "Results")
        made[case.name] = root
        return root

    return make


@pytest.fixture
def project(evaluated: Callable[[Case], Path], tmp_path: Path) -> Callable[[Case], Path]:
    def copy(case: Case) -> Path:
        return shutil.copytree(evaluated(case), tmp_path / case.name, symlinks=True)

    return copy


@pytest.fixture
def pipeline(team_server: str) -> Callable[..., str]:
    """`python ci/main.py …`; what it printed."""

    def start(root: Path, *words: str, code: int = 0) -> str:
        done = run(root, "python", "ci/main.py", *words, code=code, MLFLOW_TRACKING_URI=team_server)
        return done.stdout + done.stderr

    return start


def states(root: Path) -> dict[str, str]:
    return {record.name: record.state for record in load(root)[1].stages}


def changes(root: Path) -> set[str]:
    """What `git status` shows."""
    shown = run(root, "git", "status", "--porcelain", "--untracked-files=all").stdout
    return {line[3:] for line in shown.splitlines()}


def edit(root: Path, path: str, old: str, new: str) -> None:
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new))


def planned(text: str) -> dict[str, tuple[str, str]]:
    """What a dry run says of each stage: a word, and why."""
    found = re.findall(r"^   (\S+): (\w+), (.*)$", text, re.MULTILINE)
    return {name: (word, reason) for name, word, reason in found}


def agrees(plan: dict[str, tuple[str, str]], capsule: Capsule) -> bool:
    """Whether each stage became what was planned, for the reason that was given."""
    words = {"ran": "runs"}
    became = {
        record.name: (words.get(record.state, record.state), record.reason) for record in capsule.stages
    }
    return became == plan


def accuracy(root: Path, case: Case) -> float:
    return float(json.loads((root / case.metrics).read_text())["accuracy"])


@CASES
def test_nothing_runs_when_nothing_changed(
    case: Case, project: Callable[[Case], Path], pipeline: Callable[..., str]
) -> None:
    root = project(case)
    pipeline(root, case.goal)
    assert states(root) == dict.fromkeys(case.stages, "cached")
    assert changes(root) == set()
    assert not case.dvc or accuracy(root, case) == pytest.approx(case.accuracy[0])


@CASES
def test_a_line_in_the_containerfile_makes_everything_run_again(
    case: Case, project: Callable[[Case], Path], pipeline: Callable[..., str]
) -> None:
    root = project(case)
    edit(root, "Containerfile", "WORKDIR /work\n", "ENV FLAG=2\nWORKDIR /work\n")
    plan = planned(pipeline(root, case.goal, "--dry-run"))
    pipeline(root, case.goal)
    capsule = load(root)[1]
    assert states(root) == dict.fromkeys(case.stages, "ran")
    assert agrees(plan, capsule), plan
    assert all("containerfile changed" in record.reason for record in capsule.stages)
    # The same results, by another image.
    assert changes(root) == {"Containerfile", *(["rondel.lock"] if case.dvc else [])}
    # Back to the image before: its results are kept.
    run(root, "git", "checkout", "--quiet", ".")
    pipeline(root, case.goal)
    assert states(root) == dict.fromkeys(case.stages, "cached")


@CASES
def test_a_parameter_of_one_run_leaves_the_working_tree_alone(
    case: Case, project: Callable[[Case], Path], pipeline: Callable[..., str]
) -> None:
    root = project(case)
    said = pipeline(root, case.goal, "-P", case.given)
    expected = {name: "ran" if name in case.concerned else "cached" for name in case.stages}
    assert states(root) == expected
    assert changes(root) == set()
    if not case.dvc:
        assert "slope 2.0" in load(root)[0].log("main").read_text()
        return
    tree = load(root)[0].path / "tree"
    assert accuracy(tree, case) == pytest.approx(case.accuracy[1])
    assert "--apply" in said
    # Once the file says so, too, they are the working tree's, and no container has to start.
    edit(root, case.file, case.line, case.changed)
    pipeline(root, case.goal)
    assert states(root) == dict.fromkeys(case.stages, "cached")
    assert changes(root) == {case.file, "rondel.lock", *case.returned}
    assert accuracy(root, case) == pytest.approx(case.accuracy[1])
    run(root, "git", "checkout", "--quiet", ".")
    pipeline(root, case.goal)
    assert states(root) == dict.fromkeys(case.stages, "cached")
    assert changes(root) == set()


@CASES
def test_a_job_of_gitlab_evaluates_a_changed_parameter(
    case: Case, project: Callable[[Case], Path], team_tracking: None
) -> None:
    root = project(case)
    edit(root, case.file, case.line, case.changed)
    commit(root, "Change a parameter")
    shutil.rmtree(root / ".rondel")
    (root / ".git/info/exclude").write_text(".gitlab-ci-local/\n")
    done = run_gitlab(root)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = artifacts(root, "pipeline")
    (capsule,) = capsules(kept / ".rondel/runs")
    became = {record.name: record.state for record in capsule.stages}
    assert {name for name in case.stages if became[name] == "ran"} == set(case.concerned)
    assert capsule.ci is not None
    assert not case.dvc or accuracy(kept, case) == pytest.approx(case.accuracy[1])


@CASES
def test_a_run_that_failed_is_reproduced(
    case: Case, project: Callable[[Case], Path], pipeline: Callable[..., str], team_server: str
) -> None:
    root = project(case)
    edit(root, case.file, case.line, case.broken)
    said = pipeline(root, case.goal, code=10)
    failed = load(root)[1]
    assert failed.stage(case.concerned[0]).state == "failed"
    assert f"reproduce: rondel reproduce {failed.id}" in said
    run(root, "git", "checkout", "--quiet", ".")
    done = run(root, "rondel", "reproduce", MLFLOW_TRACKING_URI=team_server)
    assert (
        f"the same outcome: {case.concerned[0]} failed with exit code 1, as in run {failed.id}" in done.stdout
    )
    assert changes(root) == set()
    # The failure took nothing away.
    pipeline(root, case.goal)
    assert states(root) == dict.fromkeys(case.stages, "cached")


def test_what_dvc_made_before_is_made_once_more_and_why_is_said(
    tmp_path: Path, pipeline: Callable[..., str]
) -> None:
    root = copy_project("get-started", tmp_path)
    run(root, DVC, "repro", "--quiet")
    commit(root, "By dvc repro")
    run(root, "rondel", "init")
    run(root, DVC, "push")
    commit(root, "A pipeline")
    plan = planned(pipeline(root, "evaluate", "--dry-run"))
    pipeline(root, "evaluate")
    capsule = load(root)[1]
    assert agrees(plan, capsule), plan
    assert states(root) == dict.fromkeys(GET_STARTED.stages, "ran")
    assert {record.reason for record in capsule.stages} == {
        "dvc.lock has a result, but rondel.lock does not record what made it"
    }
    # The results are those that DVC had; from now on it is known what made them.
    assert changes(root) == {"rondel.lock"}
    assert "up to date" in run(root, DVC, "status").stdout
    assert "are declared" in run(root, "rondel", "check", "--inputs").stdout
