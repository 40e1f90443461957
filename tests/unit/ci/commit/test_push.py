"""Results given back to git: a real bare repository, a second clone that races, branches that refuse."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rondel.ci.commit.push import ResultCommit, commit_results
from rondel.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "HOME": "/nonexistent",
}
IDENTITY = ("-c", "user.name=T", "-c", "user.email=t@example.org")
LOCK = """\
schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    outs:
    - path: data.bin
      hash: md5
      md5: {prepare}
      size: 3
  train:
    cmd: python train.py
    outs:
    - path: model.bin
      hash: md5
      md5: {train}
      size: 3
"""
OLD = LOCK.format(prepare="a" * 32, train="b" * 32)
NEW = LOCK.format(prepare="a" * 32, train="c" * 32)
WANTED = ResultCommit(
    branch="main",
    message="Update results of train\n\n[skip ci]",
    author="Mira <mira@example.org>",
    aside="rondel/main-run1",
    made=frozenset({f"md5:{'c' * 32}"}),
    paths=("metrics.json", "ignored.json"),
)


def git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *IDENTITY, *words], cwd=root, env=ENVIRON, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    bare = tmp_path / "origin.git"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(bare))
    first = tmp_path / "first"
    git(tmp_path, "clone", "-q", str(bare), str(first))
    files = {"dvc.lock": OLD, "code.py": "1\n", ".gitignore": "ignored.json\n", "metrics.json": "{}\n"}
    for name, text in files.items():
        (first / name).write_text(text)
    git(first, "checkout", "-q", "-b", "main")
    git(first, "add", "-A")
    git(first, "commit", "-qm", "one")
    (first / "code.py").write_text("2\n")
    git(first, "commit", "-qam", "two")
    git(first, "push", "-q", "origin", "main")
    return bare


def checkout(tmp_path: Path, origin: Path, name: str = "job", *, shallow: bool = True) -> Path:
    """As a CI runner does it: one commit deep, no branch."""
    root = tmp_path / name
    depth = ["--depth", "1"] if shallow else []
    git(tmp_path, "clone", "-q", *depth, f"file://{origin}", str(root))
    git(root, "checkout", "-q", "--detach")
    return root


def work(root: Path) -> None:
    (root / "dvc.lock").write_text(NEW)
    (root / "metrics.json").write_text('{"auc": 0.7}\n')
    (root / "ignored.json").write_text("x")
    (root / "code.py").write_text("somebody's edit that is not for the commit\n")
    (root / "new.txt").write_text("neither is this\n")


def race(tmp_path: Path, origin: Path, path: str, text: str) -> None:
    other = checkout(tmp_path, origin, "other", shallow=False)
    (other / path).write_text(text)
    git(other, "add", path)
    git(other, "commit", "-qm", "meanwhile")
    git(other, "push", "-q", "origin", "HEAD:main")


def test_a_detached_shallow_checkout_commits_to_the_branch(tmp_path: Path, origin: Path) -> None:
    root = checkout(tmp_path, origin)
    work(root)
    given = commit_results(root, WANTED, ENVIRON)
    assert given is not None
    assert (given.branch, given.rebased, given.aside) == ("main", False, False)
    assert git(origin, "rev-parse", "main") == given.commit
    assert git(origin, "show", "--name-only", "--format=%an <%ae>|%B", "main").split("\n") == [
        "Mira <mira@example.org>|Update results of train",
        "",
        "[skip ci]",
        "",
        "",
        "dvc.lock",
        "metrics.json",
    ]
    assert git(origin, "show", "main:dvc.lock") == NEW.strip()


def test_the_working_tree_is_left_as_it_is(tmp_path: Path, origin: Path) -> None:
    root = checkout(tmp_path, origin)
    work(root)
    before = git(root, "status", "--porcelain")
    head = git(root, "rev-parse", "HEAD")
    commit_results(root, WANTED, ENVIRON)
    assert git(root, "status", "--porcelain") == before
    assert git(root, "rev-parse", "HEAD") == head
    assert git(root, "worktree", "list").count("\n") == 0


def test_on_a_branch_the_local_one_goes_along(tmp_path: Path, origin: Path) -> None:
    root = tmp_path / "laptop"
    git(tmp_path, "clone", "-q", str(origin), str(root))
    (root / "dvc.lock").write_text(NEW)
    given = commit_results(root, WANTED, ENVIRON)
    assert given is not None
    assert git(root, "rev-parse", "HEAD") == given.commit
    assert git(root, "status", "--porcelain") == ""


def test_nothing_changed_is_nothing_to_commit(tmp_path: Path, origin: Path) -> None:
    root = checkout(tmp_path, origin)
    before = git(origin, "rev-parse", "main")
    assert commit_results(root, WANTED, ENVIRON) is None
    assert git(origin, "rev-parse", "main") == before


def test_an_entry_whose_data_this_run_did_not_push_is_not_committed(tmp_path: Path, origin: Path) -> None:
    root = checkout(tmp_path, origin)
    work(root)
    before = git(origin, "for-each-ref")
    with pytest.raises(DataError, match="the entry of train is not committed") as caught:
        commit_results(root, replace(WANTED, made=frozenset()), ENVIRON)
    assert "dvc push" in str(caught.value)
    assert git(origin, "for-each-ref") == before


def test_what_an_earlier_run_gave_back_is_not_given_twice(tmp_path: Path, origin: Path) -> None:
    root = checkout(tmp_path, origin)
    work(root)
    given = commit_results(root, WANTED, ENVIRON)
    assert given is not None
    # The second run found everything cached, so that it pushed nothing.
    assert commit_results(root, replace(WANTED, made=frozenset()), ENVIRON) is None
    assert git(origin, "rev-parse", "main") == given.commit


def test_a_branch_that_moved_on_is_rebased_upon(tmp_path: Path, origin: Path) -> None:
    root = checkout(tmp_path, origin)
    race(tmp_path, origin, "code.py", "3\n")
    work(root)
    given = commit_results(root, WANTED, ENVIRON)
    assert given is not None
    assert (given.branch, given.rebased) == ("main", True)
    assert git(origin, "rev-parse", "main") == given.commit
    assert git(origin, "show", "main:code.py") == "3"
    assert git(origin, "show", "main:dvc.lock") == NEW.strip()
    assert git(root, "worktree", "list").count("\n") == 0


@pytest.mark.parametrize("shallow", [True, False])
def test_a_merge_that_the_ci_system_made_is_not_pushed(tmp_path: Path, origin: Path, shallow: bool) -> None:
    """As in GitLab's pipelines for merged results, and Jenkins' builds of a merged pull request."""
    other = checkout(tmp_path, origin, "other", shallow=False)
    git(other, "checkout", "-q", "-b", "topic", "HEAD~1")
    git(other, "commit", "-q", "--allow-empty", "-m", "topic")
    git(other, "push", "-q", "origin", "topic")
    git(other, "merge", "-q", "-m", "made by the CI system", "origin/main")
    git(other, "push", "-q", "origin", "HEAD:refs/merge-requests/1/merge")
    tip = git(origin, "rev-parse", "topic")

    root = tmp_path / "job"
    git(tmp_path, "init", "-q", str(root))
    git(root, "remote", "add", "origin", f"file://{origin}")
    git(root, "fetch", "-q", *(["--depth=1"] if shallow else []), "origin", "refs/merge-requests/1/merge")
    git(root, "checkout", "-q", "--detach", "FETCH_HEAD")
    work(root)
    given = commit_results(root, replace(WANTED, branch="topic", merged=True), ENVIRON)
    assert given is not None
    assert (given.branch, given.rebased, given.aside) == ("topic", True, False)
    assert git(origin, "rev-parse", "topic^") == tip
    assert git(origin, "show", "--name-only", "--format=", "topic").split() == ["dvc.lock", "metrics.json"]


def test_a_conflict_goes_to_a_branch_of_its_own(tmp_path: Path, origin: Path) -> None:
    root = checkout(tmp_path, origin)
    theirs = LOCK.format(prepare="a" * 32, train="d" * 32)
    race(tmp_path, origin, "dvc.lock", theirs)
    work(root)
    given = commit_results(root, WANTED, ENVIRON)
    assert given is not None
    assert (given.branch, given.aside) == ("rondel/main-run1", True)
    assert "change the same lines" in given.why
    assert git(origin, "show", "main:dvc.lock") == theirs.strip()
    assert git(origin, "show", "rondel/main-run1:dvc.lock") == NEW.strip()


def protect(origin: Path, *branches: str) -> None:
    """As a server does with protected branches: a hook that refuses."""
    hook = origin / "hooks" / "pre-receive"
    refuse = "|".join(f"refs/heads/{branch}" for branch in branches)
    hook.write_text(
        f'#!/bin/sh\nwhile read old new ref; do case "$ref" in {refuse}) '
        "echo 'You are not allowed to push code to protected branches'; exit 1;; esac; done\n"
    )
    hook.chmod(0o755)


def test_a_protected_branch_gets_a_merge_requests_branch(tmp_path: Path, origin: Path) -> None:
    protect(origin, "main")
    git(origin, "config", "receive.advertisePushOptions", "true")
    root = checkout(tmp_path, origin)
    work(root)
    wanted = replace(WANTED, options=("merge_request.create", "merge_request.target=main"))
    given = commit_results(root, wanted, ENVIRON)
    assert given is not None
    assert given.aside
    assert "protected branches" in given.why
    assert git(origin, "rev-parse", "rondel/main-run1") == given.commit


def test_a_server_without_push_options_gets_the_branch_all_the_same(tmp_path: Path, origin: Path) -> None:
    protect(origin, "main")
    root = checkout(tmp_path, origin)
    work(root)
    given = commit_results(root, replace(WANTED, options=("merge_request.create",)), ENVIRON)
    assert given is not None
    assert given.aside


def test_what_can_be_pushed_nowhere_is_an_error_with_a_way_out(tmp_path: Path, origin: Path) -> None:
    protect(origin, "*")
    root = checkout(tmp_path, origin)
    work(root)
    with pytest.raises(DataError, match="could be pushed neither to main nor to rondel/main-run1") as caught:
        commit_results(root, WANTED, ENVIRON)
    assert "RONDEL_GIT_TOKEN" in str(caught.value)


def test_a_project_in_a_folder_of_the_repository_gives_back_its_own_files_only(
    tmp_path: Path, origin: Path
) -> None:
    root = checkout(tmp_path, origin)
    part = root / "part"
    part.mkdir()
    (part / "dvc.lock").write_text(NEW)
    (root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    made = frozenset({f"md5:{'a' * 32}", f"md5:{'c' * 32}"})
    given = commit_results(part, replace(WANTED, made=made), ENVIRON)
    assert given is not None
    assert git(origin, "show", "--name-only", "--format=", "main") == "part/dvc.lock"


def test_a_pointer_is_committed_only_after_its_data_was_pushed(tmp_path: Path, origin: Path) -> None:
    """Without a remote `dvc push` fails, and so nothing is committed."""
    root = checkout(tmp_path, origin)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("")
    (root / "raw.bin.dvc").write_text(f"outs:\n- md5: {'e' * 32}\n  size: 3\n  hash: md5\n  path: raw.bin\n")
    before = git(origin, "rev-parse", "main")
    with pytest.raises(DataError, match=r"dvc push of raw\.bin\.dvc failed"):
        commit_results(root, WANTED, {**ENVIRON, "HOME": str(tmp_path)})
    assert git(origin, "rev-parse", "main") == before


def test_the_token_is_given_to_git_by_the_environment(tmp_path: Path, origin: Path) -> None:
    """Git asks the helper, which knows the token; no command line and no configuration file has it."""
    from rondel.ci.commit.push import GitClient
    from rondel.git.command import run_git

    root = checkout(tmp_path, origin)
    asked = GitClient(root, {**ENVIRON, "RONDEL_GIT_TOKEN": "glpat-x"})
    assert not any("glpat-x" in word for word in asked._settings)
    request = b"protocol=https\nhost=gitlab.example\n\n"
    done = run_git(root, "credential", "fill", environ=asked.environ, settings=asked._settings, stdin=request)
    assert b"username=oauth2" in done.stdout
    assert b"password=glpat-x" in done.stdout
