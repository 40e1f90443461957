"""The stages and tracked files are those that DVC itself finds, asked of a real DVC."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rondel.data import find_stage, load_project
from rondel.data.dvc_files import dvc_files
from rondel.errors import ConfigurationError

STAGE = "stages:\n  {0}:\n    cmd: echo {0}\n    outs: [{0}.txt]\n"
ADDED = "outs:\n- {{md5: 764efa883dda1e11db47671c4a3bbd9e, size: 3, hash: md5, path: {0}}}\n"
LAYOUTS = {
    "sub-folders": {"dvc.yaml": "a", "nlp/dvc.yaml": "b", "nlp/deep/dvc.yaml": "c"},
    "a project below": {"dvc.yaml": "a", "sub/.dvc/config": "", "sub/dvc.yaml": "b", "sub/in/dvc.yaml": "c"},
    "no dvc.yaml at the top": {"nlp/dvc.yaml": "a", "other/.dvc/config": "", "other/dvc.yaml": "b"},
    "an ignored folder": {".dvcignore": "# none\n/old/\n", "dvc.yaml": "a", "old/dvc.yaml": "b"},
    "an exception in .dvcignore": {".dvcignore": "x/*\n!x/keep\n", "x/keep/dvc.yaml": "a", "x/go/dvc.yaml": "b"},
    "a .dvcignore below": {"sub/.dvcignore": "dvc.yaml\n", "dvc.yaml": "a", "sub/dvc.yaml": "b"},
    "a .dvcignore in an ignored folder": {
        ".dvcignore": "sub\n", "sub/.dvcignore": "!dvc.yaml\n", "dvc.yaml": "a", "sub/dvc.yaml": "b",
    },
    "a pattern at any depth": {".dvcignore": "draft*\n", "a/draft1/dvc.yaml": "a", "a/b/dvc.yaml": "b"},
    "what git ignores": {".gitignore": "/build/\n", "dvc.yaml": "a", "build/dvc.yaml": "b"},
    "what git ignores and tracks": {".gitignore": "/build/\n", "dvc.yaml": "a", "build/dvc.yaml": "+b"},
    "an output's own dvc.yaml": {
        "dvc.yaml": "stages:\n  a:\n    cmd: x\n    outs:\n      - live: {cache: false}\n", "live/dvc.yaml": "b",
    },
    "tracked data": {"d/a.txt.dvc": ADDED.format("a.txt"), "sub/.dvc/config": "", "sub/b.txt.dvc": ADDED.format("b")},
}  # fmt: skip


def run(root: Path, *words: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_"))}
    env = {**kept, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(root.parent / "site")}
    done = subprocess.run(words, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def layout(tmp_path: Path):
    def make(files: dict[str, str]) -> Path:
        root = tmp_path / "project"
        root.mkdir()
        run(root, "git", "init", "-q")
        (root / ".dvc").mkdir()
        (root / ".dvc/config").touch()
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            whole = STAGE.format(text.removeprefix("+")) if len(text) in {1, 2} else text
            (root / name).write_text(whole)
            if text.startswith("+"):
                run(root, "git", "add", "--force", name)
        return root

    return make


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_stages_are_those_that_dvc_lists(layout, name):
    root = layout(LAYOUTS[name])
    dvc = Path(sys.executable).with_name("dvc")
    listed = run(root, str(dvc), "stage", "list", "--all", "--name-only").split()
    project = load_project(root)
    files = {each.file for each in project.tracked.values()}
    assert {*project.stages, *files} == set(listed)


def test_what_is_left_out_has_its_reason(layout):
    root = layout({**LAYOUTS["a project below"], ".dvcignore": "/old\n", "old/dvc.yaml": "b"})
    assert dvc_files(root).ignored == {
        "old/dvc.yaml": ".dvcignore excludes it",
        "sub/dvc.yaml": "sub/ is a separate DVC project",
        "sub/in/dvc.yaml": "sub/ is a separate DVC project",
    }


def test_a_stage_of_what_is_left_out_is_told_why(layout):
    project = load_project(layout(LAYOUTS["a project below"]))
    with pytest.raises(ConfigurationError) as caught:
        find_stage(project, "sub/dvc.yaml:b")
    assert caught.value.why == "sub/dvc.yaml is not part of this project: sub/ is a separate DVC project"


def test_nested_projects_are_left_out_without_git_too(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for name in ("dvc.yaml", "sub/dvc.yaml", "sub/.dvc/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(STAGE.format("a") if name.endswith("yaml") else "")
    assert list(load_project(tmp_path).stages) == ["a"]


def test_a_pattern_that_is_none_is_told_with_its_line(layout):
    root = layout({".dvcignore": "# a\n!\n", "sub/dvc.yaml": "a"})
    with pytest.raises(ConfigurationError) as caught:
        load_project(root)
    assert caught.value.place == ".dvcignore:2"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"README.md": "none"}, "there is no dvc.yaml, so there is no DVC stage 'train'"),
        (
            {"dvc.yaml": "artifacts:\n  m: {path: m.pkl}\n"},
            "dvc.yaml defines no stages, so there is no DVC stage",
        ),
        ({"dvc.yaml": "stages:\n"}, "dvc.yaml defines no stages"),
    ],
)
def test_a_project_without_stages_is_told_to_have_none(layout, files, said):
    with pytest.raises(ConfigurationError) as caught:
        find_stage(load_project(layout(files)), "train")
    assert said in caught.value.what
    assert "dvc stage add" in (caught.value.hint or "")
