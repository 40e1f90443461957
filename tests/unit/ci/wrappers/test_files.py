"""The files' text, their regions, and what `rondel ci` makes of a project."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml
from small_pipeline import PIPELINE, rondel

from rondel.ci.wrappers.jobs import Job
from rondel.ci.wrappers.regions import drift, merge
from rondel.cli.ci import wrappers
from rondel.errors import ConfigurationError
from rondel.settings import CiOptions, load_ci_options

if TYPE_CHECKING:
    from pathlib import Path

MAIN = Job(
    name="pipeline",
    command="dagger run python ci/main.py check",
    changes=("dvc.yaml", "src/**/*"),
    minutes=30,
    results=("dvc.lock", "plots"),
    kept=(".rondel/stages/",),
)
DEPLOY = Job(
    name="deploy",
    command="dagger run python ci/main.py deploy --only",
    needs=("pipeline",),
    approval="production",
    effect=True,
    resource="production",
)
MONITOR = Job(
    name="monitor", command="dagger run python ci/main.py monitor --only", scheduled=True, effect=True
)
JOBS = (MAIN, DEPLOY, MONITOR)
OPTIONS = CiOptions(secrets=("API_KEY",))
WRAPPERS = wrappers()


def text(system: str, jobs: tuple[Job, ...] = JOBS, options: CiOptions = OPTIONS) -> str:
    return "".join(WRAPPERS[system].regions(jobs, options))


def test_gitlab_jobs_are_one_line_and_their_rules() -> None:
    document = yaml.safe_load(text("gitlab"))
    assert {name for name, job in document.items() if isinstance(job, dict) and "script" in job} == {
        "pipeline",
        "deploy",
        "monitor",
    }
    assert document["stages"] == ["step-1", "step-2"]
    pipeline = document["pipeline"]
    assert pipeline["script"] == MAIN.command
    assert pipeline["timeout"] == "30 minutes"
    assert pipeline["rules"][-1] == {"changes": ["dvc.yaml", "src/**/*"]}
    assert document["monitor"]["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "schedule"'}]


def test_gitlab_approvals_start_by_hand_on_the_default_branch_and_never_overlap() -> None:
    deploy = yaml.safe_load(text("gitlab"))["deploy"]
    assert deploy["rules"][0] == {"if": "$CI_COMMIT_BRANCH != $CI_DEFAULT_BRANCH", "when": "never"}
    assert {rule["when"] for rule in deploy["rules"][1:]} == {"manual"}
    assert (deploy["resource_group"], deploy["interruptible"], deploy["retry"]) == ("production", False, 0)
    assert deploy["script"].endswith('--approve-by "$GITLAB_USER_LOGIN"')
    assert deploy["needs"] == [{"job": "pipeline", "optional": True}]


def test_gitlab_leaves_out_a_branchs_pipeline_only_where_its_merge_request_has_one() -> None:
    *_, never, branch, tag = yaml.safe_load(text("gitlab"))["workflow"]["rules"]
    assert never["when"] == "never"
    assert never["if"].endswith('&& $CI_OPEN_MERGE_REQUESTS && $CI_PIPELINE_SOURCE == "push"')
    assert (branch, tag) == ({"if": "$CI_COMMIT_BRANCH"}, {"if": "$CI_COMMIT_TAG"})


def test_gitlabs_own_words_are_no_names_of_jobs() -> None:
    with pytest.raises(ConfigurationError, match="'cache' cannot be a job of GitLab"):
        text("gitlab", (replace(MAIN, name="cache"),))
    assert "stage('cache')" in text("jenkins", (replace(MAIN, name="cache"),))


def test_gitlab_keeps_reports_and_capsules_also_of_a_job_that_failed() -> None:
    shared = yaml.safe_load(text("gitlab"))[".rondel"]
    assert shared["artifacts"]["when"] == "always"
    assert shared["cache"]["when"] == "always"
    assert ".rondel/runs/" in shared["artifacts"]["paths"]
    assert "dvc.lock" in shared["artifacts"]["paths"]
    assert shared["artifacts"]["reports"]["junit"] == ".rondel/reports/junit.xml"


def test_secrets_are_names_only() -> None:
    assert "API_KEY" in text("gitlab").splitlines()[1]
    assert "API_KEY" not in str(yaml.safe_load(text("gitlab")))
    assert "API_KEY = credentials('API_KEY')" in text("jenkins")


def test_jenkins_asks_before_it_takes_the_approvals_stage_and_last() -> None:
    made = text("jenkins")
    stages = re.findall(r"stage\('(\w+)'\)", made)
    assert stages == ["pipeline", "monitor", "deploy"]
    deploy = made[made.index("stage('deploy')") :]
    assert "beforeInput true" in deploy
    assert "env.BRANCH_NAME == 'main'" in deploy
    assert "submitterParameter 'RONDEL_APPROVED_BY'" in deploy
    assert """sh 'dagger run python ci/main.py deploy --only --approve-by "$RONDEL_APPROVED_BY"'""" in deploy
    assert "disableConcurrentBuilds()" in made
    assert "lock(" not in made
    assert "lock(resource: 'production')" in text("jenkins", options=CiOptions(lock=True))


def test_jenkins_takes_the_agent_that_is_given() -> None:
    assert 'agent { docker { image "${env.RONDEL_RUNNER_IMAGE}" } }' in text("jenkins")
    assert "    agent any\n" in text("jenkins", options=CiOptions(image=""))
    assert "    agent { label 'ml' }\n" in text("jenkins", options=CiOptions(agent="{ label 'ml' }"))


def test_jenkins_reads_variables_anywhere_in_the_images_name() -> None:
    image = "$CI_REGISTRY/${TEAM}/runner:4"
    made = text("jenkins", options=CiOptions(image=image))
    assert 'agent { docker { image "${env.CI_REGISTRY}/${env.TEAM}/runner:4" } }' in made


def test_jenkins_does_again_what_came_with_a_build_that_failed_but_asks_once() -> None:
    deploy = replace(DEPLOY, changes=("src/**/*",))
    first, second = re.findall(r"expression { (.*currentBuild.*) }", text("jenkins", (MAIN, deploy)))
    assert first == "currentBuild.previousBuild?.result != 'SUCCESS'"
    assert second == "!['SUCCESS', 'ABORTED'].contains(currentBuild.previousBuild?.result)"


def test_jenkins_archives_folders_by_what_is_in_them() -> None:
    made = text("jenkins")
    assert "'plots/**'," in made
    assert "'dvc.lock'," in made


def test_jenkins_quotes_what_groovy_would_read() -> None:
    job = Job(name="it's", command="dagger run python ci/main.py 'a b' \\ $X")
    assert r'sh "dagger run python ci/main.py ' in text("jenkins", (job,))
    assert r"\\ \$X" in text("jenkins", (job,))


def test_equal_pipelines_give_equal_files() -> None:
    for system in WRAPPERS:
        assert text(system) == text(system)


def test_hand_written_parts_are_kept() -> None:
    for system, wrapper in WRAPPERS.items():
        old = wrapper.regions((MAIN,), OPTIONS)
        new = wrapper.regions(JOBS, OPTIONS)
        mine = "".join(f"{region}own {number}\n" for number, region in enumerate(old))
        merged = merge(f"first\n{mine}", new, wrapper.path)
        assert merged == "first\n" + "".join(
            f"{region}own {number}\n" for number, region in enumerate(new)
        ), system
        assert merge(merged, new, wrapper.path) == merged


def test_a_file_that_is_somebodys_own_is_left_alone() -> None:
    regions = WRAPPERS["gitlab"].regions(JOBS, OPTIONS)
    with pytest.raises(ConfigurationError, match="nothing in it is marked as generated") as caught:
        merge("build:\n  script: make\n", regions, ".gitlab-ci.yml")
    assert (caught.value.hint or "").endswith(
        "'# rondel: begin' and '# rondel: end'; then run `rondel ci generate gitlab`"
    )
    with pytest.raises(ConfigurationError) as caught:
        merge("node {}\n", WRAPPERS["jenkins"].regions(JOBS, OPTIONS), "Jenkinsfile")
    assert "move the file away, run `rondel ci generate jenkins`" in (caught.value.hint or "")


def test_two_lines_invite_the_jobs_into_a_file_that_is_there() -> None:
    options = CiOptions(stages=("build", "step-1"), workflow=False)
    regions = WRAPPERS["gitlab"].regions(JOBS, options)
    own = "build:\n  stage: build\n  script: make\n"
    merged = merge(f"{own}# rondel: begin\n# rondel: end\n", regions, ".gitlab-ci.yml")
    assert merged == own + regions[0]
    document = yaml.safe_load(merged)
    assert document["stages"] == ["build", "step-1", "step-2"]
    assert "workflow" not in document


@pytest.mark.parametrize("damage", ["# rondel: end\n", "# rondel: begin\n"])
def test_damaged_markers_are_told_with_their_line(damage: str) -> None:
    regions = WRAPPERS["gitlab"].regions(JOBS, OPTIONS)
    with pytest.raises(ConfigurationError, match=r"\.gitlab-ci\.yml:1"):
        merge(f"{damage}{regions[0]}", regions, ".gitlab-ci.yml")


def test_drift_shows_the_difference() -> None:
    wrapper = WRAPPERS["jenkins"]
    before = "".join(wrapper.regions((MAIN,), OPTIONS))
    found = drift(before, wrapper.regions(JOBS, OPTIONS), wrapper.path)
    assert found is not None
    assert "+        stage('deploy') {" in found.diff
    assert drift(before, wrapper.regions((MAIN,), OPTIONS), wrapper.path) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("imagee = 'x'", "did you mean 'ci.image'"),
        ("layout = 'both'", "'both' is none of single, stages"),
        ("keep-days = 'x'", "'x' is not a whole number"),
        ("secrets = 3", "3 is not a list of texts"),
        ("lock = 'perhaps'", "neither true nor false"),
        ("commit-message = '{stagez}'", "placeholder"),
        ("agent = 'label ml'", "is not an agent of Jenkins"),
    ],
)
def test_wrong_options_are_told_with_their_place(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.rondel.ci]\n{line}\n")
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_ci_options(tmp_path)
    assert caught.value.place == f"pyproject.toml [tool.rondel] ci.{line.split(maxsplit=1)[0]}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "main.py").write_text(PIPELINE)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\n")
    return tmp_path


def test_a_project_of_one_ci_system_gets_no_file_of_the_other(project: Path) -> None:
    assert rondel(project, "ci", "generate", "gitlab").returncode == 0
    (project / "ci" / "main.py").write_text(PIPELINE.replace("train", "learn"))
    assert rondel(project, "ci", "check").stderr.endswith("→ rondel ci generate gitlab\n")
    assert rondel(project, "ci", "generate").stdout == ".gitlab-ci.yml: written\n"
    assert not (project / "Jenkinsfile").exists()


def test_what_is_not_ours_is_kept_byte_for_byte(project: Path) -> None:
    assert rondel(project, "ci", "generate", "gitlab").returncode == 0
    file = project / ".gitlab-ci.yml"
    mine = b"# f\xfcr alle\r\nother:\r\n  script: make\r\n"
    file.write_bytes(mine + file.read_bytes())
    (project / "ci" / "main.py").write_text(PIPELINE.replace("train", "learn"))
    done = rondel(project, "ci", "generate")
    assert done.returncode == 0, done.stderr
    assert file.read_bytes().startswith(mine + b"# rondel: begin")
    assert b"ci/main.py learn" in file.read_bytes()
    assert rondel(project, "ci", "check").returncode == 0


def test_a_layout_that_check_does_not_expect_is_told(project: Path) -> None:
    done = rondel(project, "ci", "generate", "gitlab", "--layout", "stages")
    assert 'put layout = "stages" under [tool.rondel.ci]' in done.stderr
    assert rondel(project, "ci", "check").returncode == 1
    (project / "pyproject.toml").write_text('[tool.rondel.ci]\nlayout = "stages"\n')
    assert rondel(project, "ci", "check").returncode == 0
    assert rondel(project, "ci", "generate", "--layout", "stages").stderr == ""


def test_check_finds_drift_and_generate_mends_it(project: Path) -> None:
    assert rondel(project, "ci", "generate").returncode == 0
    assert rondel(project, "ci", "check").returncode == 0
    (project / "ci" / "main.py").write_text(PIPELINE.replace("train", "learn"))
    done = rondel(project, "ci", "check")
    assert done.returncode == 1
    assert "-  script: dagger run python ci/main.py train" in done.stdout
    assert "+  script: dagger run python ci/main.py learn" in done.stdout
    assert "rondel ci generate" in done.stderr
    assert rondel(project, "ci", "generate").returncode == 0
    assert rondel(project, "ci", "check").returncode == 0
