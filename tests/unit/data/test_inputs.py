from __future__ import annotations

import hashlib

import pytest

from rondel.data import known_params, load_project, stage_inputs
from rondel.data.inputs import matches_lock, outdated_outputs, remote_has_data
from rondel.errors import ConfigurationError, DataError
from rondel.files.hashes import HashCache


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


PREPARED, TRAIN = md5("prepared\n"), md5("train\n")


def inputs(root, name="train", overrides=None):
    return stage_inputs(load_project(root), name, overrides)


def in_place(root, name="train", overrides=None):
    """Whether the lock's entry is of these inputs, and what it names is where it belongs."""
    project = load_project(root)
    stage, found = project.stages[name], stage_inputs(project, name, overrides)
    return (
        matches_lock(project, stage, found)
        and not outdated_outputs(project, stage, found.outs, HashCache(root))
        and remote_has_data(project, stage, found.outs)
    )


def test_dependencies_that_dvc_owns_count_as_the_lock_says(project_root):
    found = inputs(project_root)
    assert found.paths == {
        "data/prepared.csv": f"md5:{PREPARED}",
        "src/train.py": f"md5:{TRAIN}",
    }
    assert found.params == {"params.yaml:train": {"rate": 0.1, "depth": 3}}
    assert found.cmd == "python src/train.py"
    assert found.outs["models/model.bin"] == f"md5:{md5('model')}"


def test_an_output_lying_about_in_the_working_tree_changes_nothing(project_root):
    before = inputs(project_root)
    (project_root / "data" / "prepared.csv").write_text("edited by hand\n")
    assert inputs(project_root) == before


def test_a_tracked_file_that_was_changed_and_not_added_is_an_error(project_root):
    (project_root / "data" / "raw.csv").write_text("new\n")
    with pytest.raises(DataError, match=r"raw\.csv") as caught:
        inputs(project_root, "prepare")
    assert "dvc add data/raw.csv" in str(caught.value)


def test_a_missing_dependency_is_told_with_its_place(project_root):
    (project_root / "src" / "train.py").unlink()
    with pytest.raises(ConfigurationError, match=r"src/train\.py") as caught:
        inputs(project_root)
    assert caught.value.place == "dvc.yaml:11"


def test_a_missing_parameter_gets_the_nearest_match(project_root):
    (project_root / "params.yaml").write_text("tarin: {rate: 1}\n")
    with pytest.raises(ConfigurationError, match="'train'"):
        inputs(project_root)


def test_an_override_replaces_one_value(project_root):
    assert inputs(project_root, overrides={"train.rate": 0.5}).params == {
        "params.yaml:train": {"rate": 0.5, "depth": 3}
    }


def test_an_override_that_the_stage_does_not_use_is_refused(project_root):
    with pytest.raises(ConfigurationError) as caught:
        inputs(project_root, overrides={"train.rat": 0.5})
    assert "did you mean 'train.rate'" in str(caught.value)


def test_the_parameters_that_can_be_set_are_the_leaves(project_root):
    project = load_project(project_root)
    assert known_params(project_root, project.stages["train"]) == {"train.rate": 0.1, "train.depth": 3}
    assert known_params(project_root, project.stages["prepare"]) == {}


def test_what_the_lock_describes_is_in_place(project_root):
    assert in_place(project_root, "prepare")
    assert in_place(project_root)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("src/train.py", "other\n"),
        ("params.yaml", "train:\n  rate: 0.2\n  depth: 3\n"),
        ("metrics.json", '{"auc": 0.9}'),
        ("dvc.lock", lambda lock: lock.replace("rate: 0.1", "rate: 0.3")),
        ("dvc.lock", ""),
        ("dvc.lock", lambda lock: lock.replace("cmd: python src/train.py", "cmd: python other.py")),
        ("dvc.lock", lambda lock: lock.replace("      hash: md5\n", "")),
    ],
)
def test_a_change_of_any_part_is_seen(project_root, file, text):
    path = project_root / file
    path.write_text(text(path.read_text()) if callable(text) else text)
    assert not in_place(project_root)


def test_a_deleted_metrics_file_is_not_in_place(project_root):
    (project_root / "metrics.json").unlink()
    assert not in_place(project_root)


def test_an_override_is_not_in_place(project_root):
    assert not in_place(project_root, overrides={"train.rate": 0.9})


def test_an_output_that_is_gone_from_the_local_remote_is_not_in_place(project_root):
    digest = md5("model")
    kept = project_root / ".rondel/remote/files/md5" / digest[:2] / digest[2:]
    kept.parent.mkdir(parents=True)
    kept.write_text("model")
    assert in_place(project_root)
    kept.unlink()
    assert not in_place(project_root)


def test_a_folder_with_data_of_several_owners_changes_with_each(project_root, lock_text):
    yaml = (
        (project_root / "dvc.yaml")
        .read_text()
        .replace("      - data/prepared.csv\n    params", "      - data\n    params")
    )
    (project_root / "dvc.yaml").write_text(yaml)
    first = inputs(project_root).paths["data"]
    assert first.startswith("dvc:")
    (project_root / "data" / "notes.txt").write_text("x")
    second = inputs(project_root).paths["data"]
    (project_root / "dvc.lock").write_text(lock_text().replace(PREPARED, md5("other")))
    third = inputs(project_root).paths["data"]
    assert len({first, second, third}) == 3
