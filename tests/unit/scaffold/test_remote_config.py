"""The DVC remote of runs becomes the project's default, unless it has one."""

from __future__ import annotations

import pytest

from rondel.data.remote import DEFAULT_FOLDER, find_remote
from rondel.scaffold.remote import CONFIG, add_remote


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[core]\n    analytics = false\n",
        "[core]",
        "# ours\n[cache]\n    type = copy\n",
        "[core]  # why\n    autostage = true\n",
    ],
)
def test_a_project_without_a_remote_gets_the_remote_of_runs(folder, text):
    root = folder({CONFIG: text})
    made, note = add_remote(root, {})
    assert made is not None
    assert "a folder of this clone" in (note or "")
    before = find_remote(root, {}).folder
    (root / CONFIG).write_text(made)
    after = find_remote(root, {})
    assert after.folder == before == root / DEFAULT_FOLDER
    assert "remote 'local'" in after.origin
    assert set(text.splitlines()) <= set(made.splitlines())


def test_a_folder_without_dvc_gets_a_configuration(folder):
    made, _ = add_remote(folder({"dvc.yaml": ""}), {})
    assert made == "[core]\n    remote = local\n['remote \"local\"']\n    url = ../.rondel/remote\n"


@pytest.mark.parametrize("file", ["config", "config.local"])
def test_an_existing_default_remote_stays(folder, file):
    root = folder({f".dvc/{file}": "[core]\n    remote = team\n['remote \"team\"']\n    url = s3://b\n"})
    assert add_remote(root, {}) == (None, None)


def test_a_users_own_default_stays(folder):
    root = folder(
        {CONFIG: "", "home/config": "[core]\n    remote = team\n['remote \"team\"']\n    url = s3://b\n"}
    )
    assert add_remote(root, {"DVC_GLOBAL_CONFIG_DIR": str(root / "home")}) == (None, None)


def test_remotes_without_a_default_are_reported(folder):
    made, note = add_remote(folder({CONFIG: "['remote \"team\"']\n    url = s3://b\n"}), {})
    assert made is None
    assert "dvc remote default team" in (note or "")


def test_a_folder_of_a_project_above_gets_no_configuration(folder):
    root = folder({CONFIG: "", "nlp/dvc.yaml": ""})
    assert add_remote(root / "nlp", {}) == (None, None)
