from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rondel.data.gitignore import ignore_outputs

NAMES = ["plain.bin", "with space .txt", "[odd]*?.csv", "#hash", "!bang", "trailing ", "back\\slash"]


@pytest.fixture
def ignored(git):
    """Whether git ignores a path."""

    def ask(path: str) -> bool:
        root = git("rev-parse", "--show-toplevel").strip()
        return subprocess.run(["git", "check-ignore", "-q", path], cwd=root, check=False).returncode == 0

    return ask


def test_data_gets_the_entry_that_dvc_writes_once(project_root, git, ignored):
    (project_root / "models").mkdir()
    (project_root / ".gitignore").write_text("/.rondel/")
    for _ in range(2):
        ignore_outputs(project_root, ["models/model.bin", "out.txt", "data/prepared.csv"])
    assert (project_root / "models/.gitignore").read_text() == "/model.bin\n"
    assert (project_root / ".gitignore").read_text() == "/.rondel/\n/out.txt\n"
    assert (project_root / "data/.gitignore").read_text() == "/raw.csv\n/prepared.csv\n"
    assert ignored("models/model.bin")


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_means_that_name_and_no_other(project_root, git, ignored, name):
    ignore_outputs(project_root, [f"results/{name}"])
    assert ignored(f"results/{name}")
    assert not ignored("results/other")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"trailing ", "back\\slash"}])
def test_dvc_itself_writes_the_same(project_root, git, name):
    ignore_outputs(project_root, [f"results/{name}"])
    ours = (project_root / "results/.gitignore").read_text()
    (project_root / "results/.gitignore").unlink()
    code = "import sys; from scmrepo.git import Git; Git(sys.argv[1]).ignore(sys.argv[2])"
    target = project_root / "results" / name
    subprocess.run([sys.executable, "-c", code, str(project_root), str(target)], check=True)
    assert (project_root / "results/.gitignore").read_text() == ours


def test_a_folder_that_is_not_here_may_be_ignored_as_one(project_root, git):
    (project_root / ".gitignore").write_text("prepared/\n")
    assert ignore_outputs(project_root, ["prepared"]) == ()
    assert (project_root / ".gitignore").read_text() == "prepared/\n"


def test_what_git_tracks_stays_as_it_is(project_root, git):
    (project_root / "kept").mkdir()
    (project_root / "kept/file").write_text("x")
    git("add", "kept")
    assert ignore_outputs(project_root, ["kept", "src/train.py"]) == ()


def test_without_git_nothing_is_written(project_root):
    assert ignore_outputs(project_root, ["out.txt"]) == ()
    assert not (project_root / "out.txt.gitignore").exists()
    assert (project_root / ".gitignore").read_text() == "/.rondel/\n/models/\n"


def test_a_project_that_is_set_to_do_without_git_gets_no_entries(project_root, git):
    (project_root / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    assert ignore_outputs(project_root, ["out.txt"]) == ()


def test_data_outside_of_the_project_is_left_alone(project_root, git):
    assert ignore_outputs(project_root, ["../out.txt", "s3://bucket/x"]) == ()
    assert not (project_root.parent / ".gitignore").exists()


def test_a_project_below_the_top_of_its_repository_gets_them_beside_the_data(project_root, git, ignored):
    nested = Path(project_root, "nlp")
    nested.mkdir()
    assert ignore_outputs(nested, ["data/x.bin"]) == ("data/.gitignore",)
    assert ignored("nlp/data/x.bin")
    assert os.listdir(nested) == ["data"]
