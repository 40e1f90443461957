"""`--resume` and `--interactive` for real."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from capsule_project import make_project, pipeline, rondel
from test_reproduce import converse

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = make_project(tmp_path_factory.mktemp("resume") / "project")
    yield root
    rondel(root, "ui", "--stop", code=None)


def states(root: Path) -> dict[str, str]:
    return {record.name: record.state for record in load(root)[1].stages}


def test_a_run_goes_on_from_the_failed_stage_and_effects_are_not_repeated(project: Path) -> None:
    pipeline(project, "after", code=10)
    first = load(project)[1]
    assert states(project) == {"prepare": "ran", "train": "ran", "announce": "ran", "after": "failed"}
    (project / "ok.txt").touch()
    done = pipeline(project, "--resume")
    assert f"announce cached: succeeded in run {first.id}" in done.stdout
    assert states(project) == {"prepare": "cached", "train": "cached", "announce": "cached", "after": "ran"}
    assert load(project)[1].resumes == first.id
    assert "nothing to resume" in pipeline(project, "--resume", load(project)[1].id, code=24).stderr
    (project / "ok.txt").unlink()


def test_a_resumed_run_is_asked_for_the_same_as_the_first(project: Path) -> None:
    pipeline(project, "after", "--no-cache", "-P", "train.rate=7", "--jobs", "1", code=10)
    first = load(project)[1]
    (project / "ok.txt").touch()
    pipeline(project, "--resume")
    again = load(project)[1]
    assert again.resumes == first.id
    assert again.arguments == first.arguments == ["after", "-P", "train.rate=7", "--no-cache"]
    assert states(project) == {"prepare": "cached", "train": "cached", "announce": "cached", "after": "ran"}
    assert "jobs" not in again.options
    (project / "ok.txt").unlink()


def test_changed_inputs_are_named_and_refused_unless_forced(project: Path) -> None:
    pipeline(project, "check", code=10)
    source = project / "src/prepare.py"
    before = source.read_text()
    source.write_text(before + "# changed\n")
    try:
        refused = pipeline(project, "--resume", code=20).stderr
        assert "prepare: input src/prepare.py changed" in refused
        assert "--force" in refused
        (project / "ok.txt").touch()
        pipeline(project, "--resume", "--force")
        assert states(project)["prepare"] == "ran"
        assert states(project)["check"] == "ran"
    finally:
        source.write_text(before)
        (project / "ok.txt").unlink(missing_ok=True)


def test_somebody_at_the_terminal_looks_repairs_and_retries(project: Path) -> None:
    (project / "ok.txt").unlink(missing_ok=True)
    script = "cat behind.txt; exit\n"

    class Repair(str):
        """Types its text, and repairs the project first."""

        __slots__ = ()

        def encode(self, *_: object, **__: object) -> bytes:
            (project / "ok.txt").touch()
            return str.encode(self)

    seen, code = converse(
        [sys.executable, "ci/main.py", "check", "--interactive"],
        project,
        [("discards its changes", script), ("[r]etry", Repair("r\n"))],
    )
    assert "left" in seen
    assert code == 0, seen
    assert states(project)["check"] == "ran"
    assert load(project)[1].stage("check").attempts == 2
    (project / "ok.txt").unlink()


def test_skipping_lets_the_others_end(project: Path) -> None:
    seen, code = converse(
        [sys.executable, "ci/main.py", "check", "announce", "--interactive", "--jobs", "1"],
        project,
        [("discards its changes", "exit\n"), ("s[k]ip", "k\n")],
    )
    assert code == 10, seen
    assert states(project)["check"] == "failed"
    assert states(project)["announce"] == "ran"
