from __future__ import annotations

import pytest

from rondel.data.remote import find_remote, local_remote
from rondel.errors import ConfigurationError


def config(root, text, name="config"):
    (root / ".dvc" / name).write_text(text)


def test_without_any_setting_a_local_folder_is_used(project_root):
    remote = find_remote(project_root, {})
    assert remote.folder == project_root / ".rondel/remote"
    assert remote.scheme == "local"


def test_the_projects_default_remote_is_relative_to_its_configuration(project_root):
    config(project_root, "[core]\n    remote = team\n['remote \"team\"']\n    url = ../../shared\n")
    assert find_remote(project_root, {}).folder == project_root.parent / "shared"
    assert local_remote(project_root, {}) == project_root.parent / "shared"


def test_the_environment_wins_over_the_configuration(project_root):
    config(project_root, "[core]\n    remote = team\n['remote \"team\"']\n    url = ../../shared\n")
    remote = find_remote(project_root, {}, "s3://bucket/dvc")
    assert (remote.url, remote.folder, remote.origin) == ("s3://bucket/dvc", None, "DVC_REMOTE_URL")


def test_local_configuration_adds_credentials(project_root):
    config(project_root, "[core]\n    remote = team\n['remote \"team\"']\n    url = s3://bucket/x\n")
    config(project_root, "['remote \"team\"']\n    secret_access_key = a%b#c\n", "config.local")
    remote = find_remote(project_root, {})
    assert remote.options == {"secret_access_key": "a%b#c"}
    assert "a%b#c" not in remote.shown


def test_s3_takes_the_usual_variables_and_files(project_root, tmp_path):
    file = tmp_path / "credentials"
    file.write_text("[default]\n")
    environ = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:5000",
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
        "OTHER": "x",
    }
    remote = find_remote(project_root, environ, "s3://bucket")
    assert remote.secrets == {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    assert remote.environment == {"AWS_ENDPOINT_URL": "http://127.0.0.1:5000"}
    assert remote.secret_files == {"AWS_SHARED_CREDENTIALS_FILE": file}
    assert "key" not in repr(remote).replace("AWS_SECRET_ACCESS_KEY", "")


def test_google_azure_and_ssh_have_their_own(project_root, tmp_path):
    account = tmp_path / "account.json"
    account.write_text("{}")
    google = find_remote(project_root, {"GOOGLE_APPLICATION_CREDENTIALS": str(account)}, "gs://bucket")
    assert google.secret_files == {"GOOGLE_APPLICATION_CREDENTIALS": account}
    azure = find_remote(project_root, {"AZURE_STORAGE_CONNECTION_STRING": "x"}, "azure://container")
    assert azure.secrets == {"AZURE_STORAGE_CONNECTION_STRING": "x"}
    key = tmp_path / "home/.ssh/id_ed25519"
    key.parent.mkdir(parents=True)
    key.write_text("key")
    assert find_remote(project_root, {}, "ssh://host/path").files == {"keyfile": key}


def test_a_remote_may_stand_on_another(project_root):
    config(
        project_root,
        "[core]\n    remote = b\n['remote \"a\"']\n    url = s3://bucket/top\n    region = x\n"
        "['remote \"b\"']\n    url = remote://a/sub\n",
    )
    remote = find_remote(project_root, {})
    assert (remote.url, remote.options) == ("s3://bucket/top/sub", {"region": "x"})


def test_an_undefined_default_gets_the_nearest_match(project_root):
    config(project_root, "[core]\n    remote = taem\n['remote \"team\"']\n    url = x\n")
    with pytest.raises(ConfigurationError) as caught:
        find_remote(project_root, {})
    assert "did you mean 'team'" in str(caught.value)


def test_a_missing_credentials_file_is_named(project_root):
    with pytest.raises(ConfigurationError, match="/nowhere"):
        find_remote(project_root, {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}, "gs://bucket")


def test_a_damaged_configuration_is_told_with_its_place(project_root):
    config(project_root, "[core\nremote = x\n")
    with pytest.raises(ConfigurationError) as caught:
        find_remote(project_root, {})
    assert str(caught.value.place).endswith(".dvc/config:1")
