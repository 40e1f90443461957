from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rondel.errors import RecordError
from rondel.record import Capsule, RunFolder, StageRecord, StageRecorder, list_runs, load, new_id
from rondel.record.codec import schema
from rondel.record.folder import ID
from rondel.testing import RecordingObserver

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[3]


def capsule(run: str) -> Capsule:
    return Capsule(
        schema_version=1,
        id=run,
        state="succeeded",
        pipeline="p",
        file="ci/main.py",
        created="2026-11-23T20:00:00Z",
    )


def save(root: Path, run: str) -> Capsule:
    RunFolder.of(root, run).save(capsule(run))
    return capsule(run)


def test_ids_sort_by_time() -> None:
    ids = [new_id(1_800_000_000 + number / 1000) for number in range(0, 3000, 7)]
    assert ids == sorted(ids)
    assert all(ID.fullmatch(each) for each in ids)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = json.loads((PROJECT / "docs/reference/capsule.schema.json").read_text())
    assert published == schema(), "write it anew: python docs/generate.py"


def test_a_run_is_found_by_id_beginning_end_and_path(tmp_path: Path) -> None:
    first = save(tmp_path, "20261123-200000-aaaaaa")
    second = save(tmp_path, "20261123-210000-bbbbbb")
    assert load(tmp_path)[1] == second
    assert load(tmp_path, "latest")[1] == second
    assert load(tmp_path, "20261123-20")[1] == first
    assert load(tmp_path, "aaaaaa")[1] == first
    folder = RunFolder.of(tmp_path, first.id)
    assert load(tmp_path, str(folder.path))[1] == first
    assert load(tmp_path, str(folder.capsule))[1] == first


def test_an_ambiguous_or_unknown_run_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="there are no runs yet"):
        load(tmp_path)
    save(tmp_path, "20261123-200000-aaaaaa")
    save(tmp_path, "20261123-210000-bbbbbb")
    with pytest.raises(RecordError, match="matches 2 runs"):
        load(tmp_path, "20261123")
    with pytest.raises(RecordError, match="there is no run 'x'"):
        load(tmp_path, "x")


def test_runs_are_listed_newest_first_and_damaged_ones_as_such(tmp_path: Path) -> None:
    save(tmp_path, "20261123-200000-aaaaaa")
    save(tmp_path, "20261123-210000-bbbbbb")
    RunFolder.of(tmp_path, "20261123-200000-aaaaaa").capsule.write_text("{")
    (tmp_path / ".rondel/runs/20261123-220000-cccccc").mkdir()
    (tmp_path / ".rondel/runs/not-a-run").mkdir()
    found = list(list_runs(tmp_path))
    assert [folder.path.name[9:15] for folder, _ in found] == ["220000", "210000", "200000"]
    assert [type(each).__name__ for _, each in found] == ["RecordError", "Capsule", "RecordError"]


def test_a_capsule_of_another_version_says_so(tmp_path: Path) -> None:
    save(tmp_path, "20261123-200000-aaaaaa")
    file = RunFolder.of(tmp_path, "20261123-200000-aaaaaa").capsule
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(RecordError, match="has version 2, but this Rondel reads version 1"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["fit[a=1,b=x y]", "../../etc/passwd", "a/b", "ünï"])
def test_a_log_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    log = RunFolder(tmp_path).log(name)
    assert log.parent == tmp_path / "logs"


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[StageRecorder]:
    record = StageRecord(name="train", kind="pure")
    recorder = StageRecorder(record, tmp_path / "logs/train.log", RecordingObserver())
    yield recorder
    recorder.close()


def seen(ours: StageRecorder) -> RecordingObserver:
    assert isinstance(ours.observer, RecordingObserver)
    return ours.observer


def test_a_recorder_logs_everything_and_keeps_the_last_lines(tmp_path: Path, ours: StageRecorder) -> None:
    ours.step("fit")
    ours.output("\n".join(f"line {number}" for number in range(100)))
    ours.close()
    text = (tmp_path / "logs/train.log").read_text()
    assert re.match(r"\d\d:\d\d:\d\d ▸ fit\n\d\d:\d\d:\d\d line 0\n", text)
    assert text.count("\n") == 101
    assert list(ours.tail) == [f"line {number}" for number in range(70, 100)]
    assert len(seen(ours).lines) == 100


def test_a_recorder_hides_secrets_longest_first_but_not_trivial_ones(
    tmp_path: Path, ours: StageRecorder
) -> None:
    ours.hide(["hunter2", "hunter2-and-more", "a", ""])
    ours.output("a hunter2-and-more hunter2")
    ours.step("use hunter2")
    assert seen(ours).lines == [("train", "a *** ***")]
    assert "hunter2" not in (tmp_path / "logs/train.log").read_text()


def test_a_command_that_ends_replaces_its_beginning(ours: StageRecorder) -> None:
    ours.command(["make"])
    ours.command(["make"], exit_code=2, seconds=1.5)
    ours.command(["make"], exit_code=0)
    assert [(each.args, each.exit_code) for each in ours.record.commands] == [(["make"], 2), (["make"], 0)]


def test_a_recorder_works_without_a_log() -> None:
    ours = StageRecorder(StageRecord(name="x", kind="pure"), None, RecordingObserver())
    ours.output("line")
    ours.change(state="ran")
    assert replace(ours.record, state="pending") == StageRecord(name="x", kind="pure")


def test_a_run_that_was_killed_is_told_from_one_that_runs(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, "20261123-200000-aaaaaa")
    folder.save(replace(capsule(folder.path.name), state="running"))
    assert folder.abandoned
    held = folder.lock()
    assert not folder.abandoned
    held.close()
    assert folder.abandoned
