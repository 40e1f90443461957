"""Every git call of the SDK: one function, one set of options."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rondel
from rondel.git.command import git_output, git_paths, run_git
from rondel.git.repository import head_commit
from rondel.git.state import read_git

SOURCES = Path(rondel.__file__).parent


def test_only_one_module_of_the_sdk_runs_git() -> None:
    found = []
    for path in SOURCES.rglob("*.py"):
        name = path.relative_to(SOURCES).as_posix()
        if name.startswith(("engine/", "scaffold/files/")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List) and node.elts:
                first = node.elts[0]
                if isinstance(first, ast.Constant) and first.value == "git":
                    found.append(name)
    assert found == ["git/command.py"]


def test_a_checkout_that_another_user_owns_is_read(project_root, git, monkeypatch) -> None:
    commit = git("rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert head_commit(project_root) == commit
    assert read_git(project_root).commit == commit
    assert "dvc.yaml" in (git_paths(project_root, "ls-files", "-z") or ())


def test_nothing_that_the_repository_configures_is_run(project_root, git, tmp_path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    hook = project_root / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(trap)
    git("config", "core.fsmonitor", str(trap))
    git("config", "core.pager", str(trap))
    read_git(project_root)
    assert run_git(project_root, "checkout", "--quiet", "-b", "other").returncode == 0
    assert run_git(project_root, "log").returncode == 0
    assert not (tmp_path / "sprung").exists()


def test_a_hooks_variables_lead_nowhere_else(project_root, git, tmp_path, monkeypatch) -> None:
    commit = git("rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    assert head_commit(project_root) == commit
    assert git_paths(project_root, "ls-files", "-z", "--", ":(literal)dvc.yaml") == ["dvc.yaml"]


def test_a_call_may_have_variables_and_settings_of_its_own(project_root, tmp_path) -> None:
    done = run_git(
        project_root, "config", "some.key", settings=["some.key=value"], variables={"GIT_DIR": str(tmp_path)}
    )
    assert done.stdout == b"value\n"
    assert run_git(project_root, "rev-parse", "--git-dir", variables={"GIT_DIR": str(tmp_path)}).returncode


def test_where_git_fails_or_is_not_installed_there_is_no_output(tmp_path, monkeypatch) -> None:
    assert git_output(tmp_path, "rev-parse", "HEAD") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_output(tmp_path, "--version") is None
    with pytest.raises(OSError):
        run_git(tmp_path, "--version")
