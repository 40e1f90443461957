"""Files in which git left a merge conflict are called that, with the line and what to do."""

from __future__ import annotations

import pytest

from rondel.data import load_project
from rondel.data.params import read_params
from rondel.data.remote import find_remote
from rondel.errors import ConfigurationError

CONFLICT = "<<<<<<< HEAD\n{0}\n||||||| base\n{0}\n=======\n{0}\n>>>>>>> other\n"


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("dvc.lock", "git checkout --ours dvc.lock"),
        ("dvc.yaml", "git add dvc.yaml"),
        ("data/raw.csv.dvc", "git add data/raw.csv.dvc"),
        ("sub/dvc.yaml", "git add sub/dvc.yaml"),
    ],
)
def test_a_conflict_in_dvcs_files_is_told_with_its_line(project_root, file, hint):
    path = project_root / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else "stages:\n"
    path.write_text(before + CONFLICT.format("  x: 1"))
    with pytest.raises(ConfigurationError, match="merge conflict") as caught:
        load_project(project_root)
    assert caught.value.place == f"{file}:{before.count(chr(10)) + 1}"
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("file", ["params.yaml", "params.json", "params.toml", "params.py"])
def test_a_conflict_in_a_parameter_file_is_told_whatever_its_kind(project_root, file):
    (project_root / file).write_text(CONFLICT.format("rate = 1"))
    with pytest.raises(ConfigurationError, match="merge conflict") as caught:
        read_params(project_root, file)
    assert caught.value.place == f"{file}:1"


def test_a_conflict_in_dvcs_configuration_is_told(project_root):
    (project_root / ".dvc/config").write_text(CONFLICT.format("[core]"))
    with pytest.raises(ConfigurationError, match="merge conflict"):
        find_remote(project_root, {})


def test_markers_inside_of_a_line_are_text(project_root):
    (project_root / "params.yaml").write_text("text: 'a <<<<<<< b'\nmore: |\n  >>>>>>> c\n")
    assert read_params(project_root, "params.yaml")["text"] == "a <<<<<<< b"
