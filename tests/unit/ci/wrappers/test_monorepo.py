"""Projects in folders of one repository: where their CI files stand, and what is in them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from small_pipeline import PIPELINE, rondel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two projects and a third one below them, in one repository."""
    for name in ("nlp", "cv", "teams/a b"):
        (tmp_path / name / "ci").mkdir(parents=True)
        (tmp_path / name / "ci/main.py").write_text(PIPELINE)
        (tmp_path / name / "pyproject.toml").write_text(f"[project]\nname = {name!r}\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def generate(project: Path, *words: str) -> str:
    done = rondel(project, "ci", "generate", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def document(repository: Path) -> dict[str, dict[str, object]]:
    text = (repository / ".gitlab-ci.yml").read_text()
    keys = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert len(keys) == len(set(keys)), "a key that is there twice would hide the first"
    found: dict[str, dict[str, object]] = yaml.safe_load(text)
    return found


def test_gitlabs_file_stands_at_the_top_with_paths_from_there(repository: Path) -> None:
    assert generate(repository / "nlp", "gitlab") == "../.gitlab-ci.yml: written\n"
    found = document(repository)
    job, shared = found["nlp:pipeline"], found[".rondel:nlp"]
    assert job["script"] == "cd nlp && dagger run python ci/main.py train"
    assert job["extends"] == ".rondel:nlp"
    assert shared["artifacts"]["paths"][:2] == ["nlp/.rondel/runs/", "nlp/.rondel/reports/"]  # type: ignore[index]
    assert shared["artifacts"]["reports"]["junit"] == "nlp/.rondel/reports/junit.xml"  # type: ignore[index]
    assert shared["cache"]["key"] == "rondel-nlp-$CI_COMMIT_REF_SLUG"  # type: ignore[index]
    assert all(path.startswith("nlp/") for path in shared["cache"]["paths"])  # type: ignore[index]
    assert "stages" not in found
    assert "workflow" not in found
    assert job["rules"][0]["when"] == "never"  # type: ignore[index]
    assert not (repository / "nlp/.gitlab-ci.yml").exists()


def test_several_projects_share_the_file_and_each_minds_its_own(repository: Path) -> None:
    names = ("nlp", "cv", "teams/a b")
    for name in names:
        generate(repository / name, "gitlab")
    before = (repository / ".gitlab-ci.yml").read_text()
    assert set(document(repository)) == {f".rondel:{name}" for name in names} | {
        f"{name}:pipeline" for name in names
    }
    assert document(repository)["teams/a b:pipeline"]["script"] == (
        "cd 'teams/a b' && dagger run python ci/main.py train"
    )
    for name in names:
        assert rondel(repository / name, "ci", "check").stdout.endswith(": up to date with the pipeline\n")
    (repository / "cv/ci/main.py").write_text(PIPELINE.replace("train", "learn"))
    assert rondel(repository / "nlp", "ci", "check").returncode == 0
    assert rondel(repository / "cv", "ci", "check").returncode == 1
    generate(repository / "cv")
    assert (repository / ".gitlab-ci.yml").read_text() == before.replace(
        "cd cv && dagger run python ci/main.py train", "cd cv && dagger run python ci/main.py learn"
    )


def test_a_project_at_the_top_and_one_below_it_share_the_file(repository: Path) -> None:
    shutil.copytree(repository / "nlp/ci", repository / "ci")
    (repository / "pyproject.toml").write_text('[tool.rondel.ci]\nstages = ["test"]\n')
    generate(repository / "nlp", "gitlab")
    generate(repository, "gitlab")
    generate(repository / "nlp", "gitlab")
    found = document(repository)
    assert {"pipeline", "nlp:pipeline", ".rondel", ".rondel:nlp", "stages", "workflow"} == set(found)
    for folder in (repository, repository / "nlp"):
        assert rondel(folder, "ci", "check").returncode == 0


def test_a_file_of_the_teams_own_names_the_stage_for_the_jobs(repository: Path) -> None:
    own = "stages: [build, ship]\nbuild:\n  stage: build\n  script: make\n"
    file = repository / ".gitlab-ci.yml"
    file.write_text(own)
    done = rondel(repository / "nlp", "ci", "generate", "gitlab")
    assert "'# rondel: begin nlp' and '# rondel: end nlp'" in done.stderr
    file.write_text(f"{own}# rondel: begin nlp\n# rondel: end nlp\n")
    done = rondel(repository / "nlp", "ci", "generate", "gitlab")
    assert "'test' is not among them" in done.stderr
    assert 'stages = ["build"] under [tool.rondel.ci]' in done.stderr
    (repository / "nlp/pyproject.toml").write_text('[tool.rondel.ci]\nstages = ["build"]\n')
    generate(repository / "nlp", "gitlab")
    assert document(repository)["nlp:pipeline"]["stage"] == "build"


def test_a_jenkinsfile_is_one_pipeline_so_each_project_has_its_own(repository: Path) -> None:
    done = rondel(repository / "nlp", "ci", "generate", "jenkins")
    assert done.stdout == "Jenkinsfile: written\n"
    assert "set the script path of the jenkins job to nlp/Jenkinsfile" in done.stderr
    text = (repository / "nlp/Jenkinsfile").read_text()
    assert "sh 'cd nlp && dagger run python ci/main.py train'" in text
    assert "'nlp/.rondel/runs/**'" in text
    assert "readFile('nlp/.rondel/reports/verdict.txt')" in text
    assert rondel(repository / "nlp", "ci", "check").returncode == 0


def test_without_git_the_project_is_at_the_top(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    assert generate(repository / "nlp", "gitlab") == ".gitlab-ci.yml: written\n"
