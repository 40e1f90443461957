"""What may change around a stage, and what must become of it: the table in ``cases.yaml``, carried out.

For each case the plan, the outcome, the record and ``rondel why`` have to say the same, and what lies in
the working tree has to be what the project as it is makes.

    pytest tests/e2e/lineage

runs on the embedded engine, or on the Dagger engine that is given (see CONTRIBUTING.md).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lineage.project import STAGES, Project, make_project, states
from rondel.record import Capsule, list_runs, load

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.container

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text())
CHANGES: dict[str, Callable[[Project], None]] = {}
UNTRUE = {
    "a stage is frozen and its input changed",  # by the user's own word
    "-P gave another value",  # those results are not for the working tree
    "--only",
}
"""Cases after which the working tree's metrics are not those of the project as it is."""


def change(name: str) -> Callable[[Callable[[Project], None]], Callable[[Project], None]]:
    """Say that a function carries out the change of the case of that name."""

    def add(function: Callable[[Project], None]) -> Callable[[Project], None]:
        CHANGES[name] = function
        return function

    return add


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, team_server: str) -> Project:
    """The project after one run of everything, committed."""
    project = make_project(tmp_path_factory.mktemp("lineage") / "made", {"MLFLOW_TRACKING_URI": team_server})
    project.run()
    assert states(project) == dict.fromkeys(STAGES, "ran")
    assert project.metrics() == project.truth()
    project.git("add", "-A")
    project.git("commit", "-qm", "results")
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    root = shutil.copytree(made.root, tmp_path / "project", symlinks=True)
    return Project(root, dict(made.environ))


def test_every_case_has_its_change() -> None:
    names = [case["case"] for case in CASES]
    assert len(names) == len(set(names)) >= 40
    assert set(names) == set(CHANGES)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["case"], marks=[pytest.mark.embedded] if case.get("embedded") else [])
        for case in CASES
    ],
)
def test_plan_outcome_record_and_why_say_what_must_be(case: dict[str, Any], project: Project) -> None:
    CHANGES[case["case"]](project)
    expected = {name: state for name, state in zip(STAGES, case["becomes"], strict=True) if state}

    planned = plan(project)
    project.run()
    _, capsule = load(project.root)
    became = {record.name: record.state for record in capsule.stages}
    reasons = {record.name: record.reason for record in capsule.stages}

    assert became == expected, reasons
    assert case["because"] in " ".join(reasons.values())
    assert case["because"] in " ".join(reason for _, reason in planned.values())
    for name, state in became.items():
        word, reason = planned[name]
        if not re.match(r"after \w+, if that changes its inputs", reason):
            assert word == {"ran": "runs"}.get(state, state), f"{name} was planned as {word}"
            assert reasons[name].partition(",")[0] == reason.partition(",")[0]
        said = project.done("rondel", "why", name, "--run", capsule.id).stdout
        assert reasons[name] in said
    if case["case"] not in UNTRUE:
        assert project.metrics() == project.truth()
    check_image(project, capsule)
    assert capsule.stage(next(reversed(expected))).metrics or "evaluate" not in expected


def plan(project: Project) -> dict[str, tuple[str, str]]:
    """What a dry run says of each stage: a word, and why."""
    found = re.findall(r"^   (\w+): (\w+), (.*)$", project.run("--dry-run").stdout, re.MULTILINE)
    return {name: (word, reason) for name, word, reason in found}


def check_image(project: Project, capsule: Capsule) -> None:
    """A reused result is recorded with the image that made it."""
    for record in capsule.stages:
        if record.state == "cached" and record.name != "evaluate":
            known = [
                run
                for _, run in list_runs(project.root)
                if isinstance(run, Capsule) and run.id == record.reused_from
            ]
            for run in known:
                first = run.stage(record.name).image
                assert first is not None
                assert record.image is not None
                assert record.image.digest == first.digest


@change("nothing changed")
def nothing(project: Project) -> None:
    pass


# -- the image


@change("a variable of the image changed")
def image_variable(project: Project) -> None:
    project.edit("Containerfile", "ARG FLAG=1", "ARG FLAG=2")


@change("the image went back to an earlier recipe")
def image_back(project: Project) -> None:
    project.edit("Containerfile", "ARG FLAG=1", "ARG FLAG=2")
    project.run()
    assert project.metrics()["flag"] == 2
    project.edit("Containerfile", "ARG FLAG=2", "ARG FLAG=1")


@change("a build argument was added")
def build_argument(project: Project) -> None:
    with (project.root / "pyproject.toml").open("a") as file:
        file.write('[tool.rondel.build-args]\nFLAG = "3"\n')


@change("a file that the image copies changed")
def copied_file(project: Project) -> None:
    project.edit("requirements.txt", "none", "still none")


@change("a file that the image copies by an argument changed")
def file_by_argument(project: Project) -> None:
    copies = "ARG FILE=requirements.txt\nCOPY ${FILE} /opt/\nCOPY <<EOF /opt/note\nCOPY is no instruction here\nEOF"
    project.edit("Containerfile", "COPY requirements.txt /opt/", copies)
    project.run()
    project.edit("requirements.txt", "none", "still none")


@change("a file that .dockerignore leaves out changed")
def ignored_file(project: Project) -> None:
    project.edit("Containerfile", "COPY requirements.txt /opt/", "COPY . /opt/")
    (project.root / ".dockerignore").write_text("*\n!requirements.txt\n")
    (project.root / "notes.txt").write_text("1\n")
    project.run()
    (project.root / "notes.txt").write_text("2\n")


@change("another target of the Containerfile changed")
def other_target(project: Project) -> None:
    project.edit("Containerfile", "ENV OTHER=1", "ENV OTHER=2")


@change("the stages use another target")
def target(project: Project) -> None:
    with (project.root / "pyproject.toml").open("a") as file:
        file.write('target = "other"\n')


# -- variables and secrets


@change("a variable of the stages changed")
def variable(project: Project) -> None:
    project.environ["SEED"] = "5"
    project.run()
    project.environ["SEED"] = "6"


@change("a variable that the stages do not get changed")
def other_variable(project: Project) -> None:
    project.environ["OTHER_SEED"] = "5"


@change("a secret was added")
def secret(project: Project) -> None:
    with (project.root / "pyproject.toml").open("a") as file:
        file.write('secrets = ["TOKEN"]\n')
    project.environ["TOKEN"] = "one-secret-value"


@change("the value of a secret changed")
def other_secret(project: Project) -> None:
    secret(project)
    project.run()
    project.environ["TOKEN"] = "another-secret-value"
    for file in (project.root / ".rondel").rglob("*"):
        if file.is_file():
            assert b"secret-value" not in file.read_bytes(), file


# -- parameters


@change("a parameter changed")
def parameter(project: Project) -> None:
    project.edit("params.yaml", "0.1", "0.2")


@change("a parameter went back to an earlier value")
def parameter_back(project: Project) -> None:
    parameter(project)
    project.run()
    project.edit("params.yaml", "0.2", "0.1")


@change("a parameter that no stage uses changed")
def other_parameter(project: Project) -> None:
    project.edit("params.yaml", "other: 1", "other: 2")


@change("the parameter file was reformatted")
def parameter_layout(project: Project) -> None:
    project.write(**{"params.yaml": "# anew\nother: 1\ntrain: {rate: 0.10}\n"})


@change("-P gave another value")
def override(project: Project) -> None:
    project.words = ["-P", "train.rate=0.3"]


@change("-P gave the value that the file has")
def same_override(project: Project) -> None:
    project.words = ["-P", "train.rate=0.1"]


@change("a run came after one with -P")
def after_override(project: Project) -> None:
    before = {
        name: (project.root / name).read_bytes() for name in ("dvc.lock", "rondel.lock", "metrics.json")
    }
    project.run("-P", "train.rate=0.3")
    assert load(project.root)[1].stage("train").metrics["rate"] == 0.3
    assert {name: (project.root / name).read_bytes() for name in before} == before
    assert project.git("status", "--porcelain") == ""
    project.run("-P", "train.rate=0.3")
    assert states(project) == dict.fromkeys(STAGES, "cached")
    assert load(project.root)[1].stage("train").metrics["rate"] == 0.3
    assert project.git("status", "--porcelain") == ""


@change("a run came after one with -P and --apply")
def after_apply(project: Project) -> None:
    project.run("-P", "train.rate=0.3", "--apply")
    assert "rate: 0.3" in (project.root / "params.yaml").read_text()
    assert project.metrics()["rate"] == 0.3


# -- code and data


@change("a declared file changed")
def code(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 2")


@change("a declared file changed and went back")
def code_back(project: Project) -> None:
    code(project)
    project.run()
    project.edit("src/train.py", "VERSION = 2", "VERSION = 1")


@change("a declared file was touched")
def touched(project: Project) -> None:
    os.utime(project.root / "src/train.py")


@change("a declared file changed, with the size and the time of before")
def same_times(project: Project) -> None:
    before = (project.root / "src/train.py").stat()
    code(project)
    os.utime(project.root / "src/train.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (project.root / "src/train.py").stat().st_size == before.st_size


@change("a declared file changed, and is older than before")
def older(project: Project) -> None:
    code(project)
    os.utime(project.root / "src/train.py", (10**9, 10**9))


@change("a file that the command reads and does not declare changed")
def undeclared(project: Project) -> None:
    project.edit("src/helper.py", "FACTOR = 1", "FACTOR = 5")


@change("an empty package file that the command opens got content")
def package_file(project: Project) -> None:
    (project.root / "src/__init__.py").touch()
    project.edit("src/train.py", "import helper", "import helper; open('src/__init__.py').read()")
    project.run()
    project.write(**{"src/__init__.py": "x = 1\n"})


@change("a file of settings that the command reads changed")
def settings_file(project: Project) -> None:
    project.edit("src/train.py", "import helper", "import helper; open('pyproject.toml').read()")
    project.run()
    with (project.root / "pyproject.toml").open("a") as file:
        file.write("# more\n")


@change("a file that no command reads changed")
def unused(project: Project) -> None:
    project.edit("src/unused.py", "x = 1", "x = 2")


@change("the data at the start changed")
def data(project: Project) -> None:
    (project.root / "data/raw.txt").write_text("one two three four\n")
    project.dvc("add", "-q", "data/raw.txt")
    project.dvc("push", "-q", "data/raw.txt.dvc")


@change("an input of a stage that runs inside another one changed")
def inner_input(project: Project) -> None:
    (project.root / "src/ingest.txt").write_text("abc def\n")


@change("an earlier stage made the same result again")
def same_again(project: Project) -> None:
    project.edit("src/prepare.sh", "cat", "# a comment\ncat")


# -- dvc.yaml


@change("a command changed")
def command(project: Project) -> None:
    project.edit("dvc.yaml", "python3 src/train.py", "python3 -u src/train.py")


@change("a description was added to dvc.yaml")
def description(project: Project) -> None:
    project.edit(
        "dvc.yaml", "    cmd: python3 src", "    desc: trains\n    meta: {by: me}\n    cmd: python3 src"
    )


@change("an output was added")
def output(project: Project) -> None:
    project.edit("dvc.yaml", "outs: [model.bin]", "outs: [model.bin, extra.bin]")


@change("a stage is frozen and its input changed")
def frozen(project: Project) -> None:
    project.edit("dvc.yaml", "    cmd: python3 src", "    frozen: true\n    cmd: python3 src")
    code(project)


@change("a stage is always changed")
def always(project: Project) -> None:
    project.edit("dvc.yaml", "    cmd: python3 src", "    always_changed: true\n    cmd: python3 src")


# -- ci/main.py


@change("a comment in ci/main.py changed")
def comment(project: Project) -> None:
    project.edit("ci/main.py", "# of a model", "# of a model, in bytes")


@change("the code of a stage in ci/main.py changed")
def stage_code(project: Project) -> None:
    project.edit(
        "ci/main.py", '    await ctx.dvc("evaluate")', '    await ctx.dvc("evaluate")\n    print("more")'
    )


@change("a rule of the gate changed")
def rule(project: Project) -> None:
    project.edit("ci/main.py", "SMALLEST = 1", "SMALLEST = 2")


# -- the working tree


@change("a metrics file was deleted")
def metrics_deleted(project: Project) -> None:
    (project.root / "metrics.json").unlink()


@change("a metrics file was edited")
def metrics_edited(project: Project) -> None:
    (project.root / "metrics.json").write_text('{"rate": 99}')


@change("dvc.lock was deleted")
def lock_deleted(project: Project) -> None:
    (project.root / "dvc.lock").unlink()


@change("an entry of dvc.lock was edited")
def lock_edited(project: Project) -> None:
    project.edit("dvc.lock", md5_of_model(project), "abcd" * 8)


def md5_of_model(project: Project) -> str:
    entry = yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]["train"]
    return next(out["md5"] for out in entry["outs"] if out["path"] == "model.bin")


@change("the remote lost the model")
def lost(project: Project) -> None:
    digest = md5_of_model(project)
    (project.root / ".rondel/remote/files/md5" / digest[:2] / digest[2:]).unlink()


# -- branches, clones, other projects


@change("another branch was checked out and left again")
def branch(project: Project) -> None:
    project.git("switch", "-qc", "other")
    project.edit("params.yaml", "0.1", "0.4")
    project.run()
    assert states(project) == {"prepare": "cached", "train": "ran", "evaluate": "ran"}
    project.git("commit", "-qam", "other")
    project.git("switch", "-q", "main")
    project.run()
    assert states(project) == dict.fromkeys(STAGES, "cached")
    project.git("switch", "-q", "other")
    project.run()
    assert states(project) == dict.fromkeys(STAGES, "cached")
    assert project.metrics()["rate"] == 0.4
    project.git("switch", "-q", "main")


def clone(project: Project, *without: str) -> None:
    """Go on in a fresh clone, which has the same remote and nothing else that git does not know."""
    fresh = project.root.with_name("clone")
    project.git("clone", "-q", str(project.root), str(fresh))
    shutil.copytree(project.root / ".rondel/remote", fresh / ".rondel/remote")
    (fresh / "data").mkdir(exist_ok=True)
    shutil.copy(project.root / "data/raw.txt", fresh / "data/raw.txt")
    shutil.copy(project.root / "scores.json", fresh / "scores.json")
    project.root = fresh
    for name in without:
        (fresh / name).unlink()


@change("a fresh clone has dvc.lock and rondel.lock")
def fresh_clone(project: Project) -> None:
    clone(project)


@change("a fresh clone has dvc.lock alone")
def bare_clone(project: Project) -> None:
    clone(project, "rondel.lock")


@change("a fresh clone has another image")
def other_image(project: Project) -> None:
    clone(project)
    image_variable(project)


@change("a fresh clone has an entry that somebody else made")
def other_maker(project: Project) -> None:
    clone(project)
    project.edit("dvc.lock", md5_of_model(project), "abcd" * 8)


@change("a fresh clone lacks a metrics file that DVC keeps")
def lacking(project: Project) -> None:
    clone(project, "scores.json")


@change("a twin project has another undeclared file")
def twin(project: Project) -> None:
    clone(project)
    undeclared(project)


@change("the project was moved")
def moved(project: Project) -> None:
    project.root = project.root.rename(project.root.with_name("elsewhere"))


# -- runs and attempts


@change("an attempt failed in between")
def failed(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "raise SystemExit(3)")
    project.run(code=10)
    assert states(project)["train"] == "failed"
    project.edit("src/train.py", "raise SystemExit(3)", "VERSION = 1")


@change("an attempt was killed in between")
def killed(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 1; import time; time.sleep(600)")
    process = project.popen("-v")
    assert process.stdout is not None
    for line in process.stdout:
        if "> python3 src/train.py" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    project.edit("src/train.py", "VERSION = 1; import time; time.sleep(600)", "VERSION = 1")


@change("--no-cache")
def no_cache(project: Project) -> None:
    project.words = ["--no-cache"]


@change("a run came after one with --no-cache")
def after_no_cache(project: Project) -> None:
    project.run("--no-cache")
    assert states(project) == dict.fromkeys(STAGES, "ran")


@change("--only")
def only(project: Project) -> None:
    project.target = "train"
    project.words = ["--only"]


# -- whoever runs it, and where


@change("another locale and another time zone")
def locale(project: Project) -> None:
    project.environ |= {"LC_ALL": "C", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Tokyo"}


@change("another home and another user's name")
def user(project: Project) -> None:
    home = project.root.with_name("home")
    home.mkdir()
    project.environ |= {"HOME": str(home), "USER": "somebody", "LOGNAME": "somebody"}


@change("another folder to start from")
def folder(project: Project) -> None:
    project.start = "src"


@change("more jobs and verbose output")
def options(project: Project) -> None:
    project.words = ["--jobs", "7", "-v", "--keep-going"]


# -- two at once


def test_two_runs_of_one_pipeline_make_each_result_once(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 1; import time; time.sleep(3)")
    processes = [project.popen(), project.popen()]
    said = ["".join(process.communicate(timeout=600)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    runs = [run for _, run in list_runs(project.root) if isinstance(run, Capsule)][:2]
    assert sorted(run.stage("train").state for run in runs) == ["cached", "ran"]
    first = next(run for run in runs if run.stage("train").state == "ran")
    second = next(run for run in runs if run.stage("train").state == "cached")
    assert first.id in second.stage("train").reason
    assert "just finished it" in second.stage("train").reason
    assert any(f"train: waiting for run {first.id} to finish the same stage" in text for text in said)
    assert second.stage("train").metrics == first.stage("train").metrics
    assert project.metrics() == project.truth()


def test_what_waits_goes_on_when_the_other_run_is_killed(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 1; import time; time.sleep(5)")
    first = project.popen("-v")
    assert first.stdout is not None
    for line in first.stdout:
        if "> python3 src/train.py" in line:
            break
    second = project.popen()
    assert second.stdout is not None
    for line in second.stdout:
        if "to finish the same stage" in line:
            break
    first.send_signal(signal.SIGKILL)
    first.communicate()
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0, out + err
    assert states(project)["train"] == "ran"
    assert project.metrics() == project.truth()


def test_two_clones_share_no_result(project: Project, tmp_path: Path) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other", symlinks=True), dict(project.environ))
    for each, factor in ((project, 6), (other, 7)):
        each.edit("src/helper.py", "FACTOR = 1", f"FACTOR = {factor}")
        each.edit("src/train.py", "VERSION = 1", "VERSION = 2")
    processes = [each.popen() for each in (project, other)]
    said = ["".join(process.communicate(timeout=600)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    for each in (project, other):
        assert states(each)["train"] == "ran"
        assert each.metrics() == each.truth()


def test_a_file_that_is_edited_while_its_stage_runs_is_not_taken_for_what_ran(project: Project) -> None:
    project.edit("src/train.py", "VERSION = 1", "VERSION = 1; import time; time.sleep(3)")
    process = project.popen("-v")
    assert process.stdout is not None
    for line in process.stdout:
        if "> python3 src/train.py" in line:
            break
    project.edit("src/train.py", "VERSION = 1", "VERSION = 2")
    assert process.wait(timeout=600) in {0, 23}
    process.communicate()
    assert plan(project)["train"][0] == "runs"
    project.run()
    assert states(project)["train"] == "ran"
    assert project.metrics() == project.truth()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("src/helper.py", "FACTOR = 1", "FACTOR = 7"), ("Containerfile", "ARG FLAG=1", "ARG FLAG=2")],
)
def test_what_is_edited_while_an_earlier_stage_runs_is_not_taken_for_what_ran(
    project: Project, name: str, old: str, new: str
) -> None:
    """Workspace and image are those of when the run began, for all of its stages."""
    project.edit("src/prepare.sh", "cat", "sleep 3; cat")
    project.edit("src/train.py", "VERSION = 1", "VERSION = 2")
    process = project.popen("-v")
    assert process.stdout is not None
    for line in process.stdout:
        if "> sh src/prepare.sh" in line:
            break
    project.edit(name, old, new)
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert project.metrics() != project.truth()
    assert plan(project)["train"][0] == "runs"
    project.run()
    assert states(project)["train"] == "ran"
    assert project.metrics() == project.truth()


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
    parameter(project)
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


def test_what_a_stage_of_a_matrix_makes_comes_back(project: Project) -> None:
    project.edit(
        "ci/main.py",
        "\n\nif __name__",
        '\n\n@pipeline.stage(matrix={"size": [1, 2]})\nasync def fold(ctx: StageContext) -> None:\n'
        "    name = f\"fold-{ctx.params['size']}.txt\"\n"
        '    await ctx.sh(f"echo made > {name}", outputs=[name])\n\n\nif __name__',
    )
    project.target = "fold"
    project.run()
    assert [(project.root / f"fold-{size}.txt").read_text() for size in (1, 2)] == ["made\n", "made\n"]
    project.run()
    assert set(states(project).values()) == {"cached"}


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


def test_going_on_takes_over_what_succeeded_and_nothing_else(project: Project) -> None:
    project.edit("src/prepare.sh", "cat", "echo more >> data/ingested.txt; cat")
    project.edit("src/train.py", "VERSION = 1", "raise SystemExit(3)")
    project.run(code=10)
    assert states(project) == {"prepare": "ran", "train": "failed", "evaluate": "skipped"}
    broken = load(project.root)[1].id
    project.edit("src/train.py", "raise SystemExit(3)", "VERSION = 2")
    project.target = "--resume"
    project.run()
    assert states(project) == {"prepare": "cached", "train": "ran", "evaluate": "ran"}
    assert broken in load(project.root)[1].stage("prepare").reason
    assert project.metrics()["version"] == 2


def test_a_record_of_an_earlier_time_of_day_is_no_newer(project: Project) -> None:
    """The order of successes does not depend on the clock."""
    parameter(project)
    project.run()
    stages = project.root / ".rondel/stages"
    for file in stages.rglob("*.json"):
        os.utime(file, (10**9, 10**9))
    project.edit("params.yaml", "0.2", "0.3")
    assert plan(project)["train"] == ("runs", "parameter train.rate changed from 0.2 to 0.3")


def test_the_table_in_the_docs_is_that_of_the_cases() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/lineage.md").read_text()
    rows = [line.split("|")[1].strip().rstrip("*") for line in page.splitlines() if line.startswith("| ")]
    assert rows[1:] == [case["case"] for case in CASES]
    assert json.dumps(len(CASES)) in page
