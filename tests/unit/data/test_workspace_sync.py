from __future__ import annotations

import pytest

from rondel.data.workspace_sync import conflict_error, take_snapshot, write_results
from rondel.errors import DataError


@pytest.fixture
def made(tmp_path, lock_text, write_files):
    folder = tmp_path / "made"
    write_files(
        folder, {"metrics.json": '{"auc": 0.9}', "plots/roc.csv": "1,2\n", "dvc.lock": lock_text(rate="0.7")}
    )
    return folder


def back(root, made, before, **more):
    return write_results(root, made, before, conflict_folder=root / ".rondel/aside", **more)


def test_results_come_back_and_the_lock_is_merged(project_root, made, lock_text):
    before = take_snapshot(project_root, ["metrics.json", "plots"], {"dvc.lock": ["train"]})
    done = back(project_root, made, before, new_locks={"dvc.lock": lock_text(rate="0.7")})
    assert not done.conflicts
    assert (project_root / "metrics.json").read_text() == '{"auc": 0.9}'
    assert (project_root / "plots/roc.csv").read_text() == "1,2\n"
    assert (project_root / "dvc.lock").read_text() == lock_text(rate="0.7")


def test_a_file_that_was_changed_meanwhile_is_left_and_named(project_root, made):
    before = take_snapshot(project_root, ["metrics.json", "plots/roc.csv"], {"dvc.lock": ["train"]})
    (project_root / "metrics.json").write_text("mine")
    done = back(project_root, made, before)
    assert (project_root / "metrics.json").read_text() == "mine"
    assert [conflict.path for conflict in done.conflicts] == ["metrics.json"]
    assert done.conflicts[0].kept.read_text() == '{"auc": 0.9}'
    # The others are safe.
    assert (project_root / "plots/roc.csv").exists()
    error = conflict_error("train", done.conflicts, project_root)
    assert "metrics.json" in str(error)
    assert ".rondel/aside/metrics.json" in str(error)


def test_a_file_that_appeared_meanwhile_is_a_conflict_too(project_root, made, write_files):
    before = take_snapshot(project_root, ["plots/roc.csv"], {})
    write_files(project_root, {"plots/roc.csv": "mine"})
    assert back(project_root, made, before).conflicts


def test_the_same_result_from_another_run_is_no_conflict(project_root, made):
    before = take_snapshot(project_root, ["metrics.json"], {})
    (project_root / "metrics.json").write_text('{"auc": 0.9}')
    assert not back(project_root, made, before).conflicts


def test_an_entry_that_another_run_made_meanwhile_stays(project_root, made, lock_text):
    before = take_snapshot(project_root, [], {"dvc.lock": ["train"]})
    (project_root / "dvc.lock").write_text(lock_text(rate="0.3"))
    done = back(project_root, made, before, new_locks={"dvc.lock": lock_text(rate="0.7")})
    assert [conflict.path for conflict in done.conflicts] == ["dvc.lock (train)"]
    assert (project_root / "dvc.lock").read_text() == lock_text(rate="0.3")


def test_an_entry_of_another_stage_that_changed_meanwhile_is_kept(project_root, made, lock_text):
    before = take_snapshot(project_root, [], {"dvc.lock": ["train"]})
    other = lock_text().replace("python src/prepare.py", "python new.py")
    (project_root / "dvc.lock").write_text(other)
    done = back(project_root, made, before, new_locks={"dvc.lock": lock_text(rate="0.7")})
    assert not done.conflicts
    assert (project_root / "dvc.lock").read_text() == lock_text(rate="0.7").replace(
        "python src/prepare.py", "python new.py"
    )


def test_what_was_not_made_is_not_touched(project_root, made):
    before = take_snapshot(project_root, ["src/train.py"], {})
    back(project_root, made, before)
    assert (project_root / "src/train.py").read_text() == "train\n"


def test_a_folder_becomes_what_the_stage_made(project_root, made, write_files):
    write_files(project_root, {"plots/old.csv": "old"})
    before = take_snapshot(project_root, ["plots"], {})
    back(project_root, made, before)
    assert sorted(path.name for path in (project_root / "plots").iterdir()) == ["roc.csv"]


def test_nothing_is_written_outside_of_the_project(project_root, made, tmp_path):
    (tmp_path / "outside").mkdir()
    (project_root / "plots").symlink_to(tmp_path / "outside")
    before = take_snapshot(project_root, ["plots/roc.csv"], {})
    with pytest.raises(DataError, match="outside"):
        back(project_root, made, before)
    assert not list((tmp_path / "outside").iterdir())


def test_a_link_among_the_results_is_not_followed(project_root, made):
    (made / "plots" / "passwd").symlink_to("/etc/passwd")
    before = take_snapshot(project_root, ["plots"], {})
    back(project_root, made, before)
    assert sorted(path.name for path in (project_root / "plots").iterdir()) == ["roc.csv"]
