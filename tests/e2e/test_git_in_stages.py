"""What stages know of the commit: by variables, and with the repository in their workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from small_project import git, run, write_files

from rondel.record import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container

MAIN = """
from rondel import Pipeline, StageContext

pipeline = Pipeline()


@pipeline.stage
async def told(ctx: StageContext) -> None:
    await ctx.sh('echo "at $RONDEL_GIT_COMMIT on $RONDEL_GIT_BRANCH dirty=$RONDEL_GIT_DIRTY"; test ! -e .git')


@pipeline.stage(git=True)
async def asks(ctx: StageContext) -> None:
    await ctx.sh('echo "at $(git rev-parse HEAD), $(git rev-list --count HEAD) in all"')


@pipeline.stage
async def lacks(ctx: StageContext) -> None:
    await ctx.sh("git rev-parse HEAD")


if __name__ == "__main__":
    pipeline.main()
"""

FILES = {
    "pyproject.toml": '[project]\nname = "git-in-stages"\n',
    # The one that has git in it.
    "Containerfile": "FROM python:3.11 AS stage\nWORKDIR /work\n",
    "ci/main.py": MAIN,
    ".gitignore": ".rondel/\n",
}


def write(root: Path) -> None:
    write_files(root, FILES)
    for number in (1, 2):
        (root / "number.txt").write_text(f"{number}\n")
        git(root, "add", "-A")
        git(root, "commit", "-qm", f"commit {number}")


def plain(place: Path) -> tuple[Path, int]:
    root = place / "plain"
    root.mkdir()
    git(root, "init", "-q", "-b", "main", ".")
    write(root)
    return root, 2


def worktree(place: Path) -> tuple[Path, int]:
    root, _ = plain(place)
    git(root, "worktree", "add", "-q", "-b", "feature", str(place / "other"), "HEAD~1")
    return place / "other", 1


def shallow_and_below_the_top(place: Path) -> tuple[Path, int]:
    top = place / "monorepo"
    top.mkdir()
    git(top, "init", "-q", "-b", "main", ".")
    write(top / "model")
    git(place, "clone", "-q", "--depth", "1", f"file://{top}", str(place / "clone"))
    return place / "clone" / "model", 1


@pytest.mark.parametrize("layout", [plain, worktree, shallow_and_below_the_top])
def test_a_stage_knows_its_commit_and_gets_the_repository_if_it_asks(
    layout: object, tmp_path: Path, team_server: str
) -> None:
    root, commits = layout(tmp_path)  # type: ignore[operator]
    (root / "number.txt").write_text("changed\n")
    words = ["python", "ci/main.py", "told", "asks", "lacks", "--keep-going"]
    done = run(root, *words, MLFLOW_TRACKING_URI=team_server)
    assert done.returncode == 10, done.stdout + done.stderr
    folder, capsule = load(root)
    commit, branch = git(root, "rev-parse", "HEAD"), git(root, "rev-parse", "--abbrev-ref", "HEAD")
    assert f"at {commit} on {branch} dirty=1" in folder.log("told").read_text()
    assert f"at {commit}, {commits} in all" in folder.log("asks").read_text()
    assert {record.name: record.state for record in capsule.stages} == {
        "told": "ran",
        "asks": "ran",
        "lacks": "failed",
    }
    assert "declare 'lacks' with git=True" in done.stderr
    key = capsule.stage("asks").key
    assert key is not None
    assert key.parts["inputs"]["git commit"] == commit
    told = capsule.stage("told").key
    assert told is not None
    assert "git commit" not in told.parts["inputs"]
