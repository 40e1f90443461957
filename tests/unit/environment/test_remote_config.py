from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from rondel.data.remote import Remote
from rondel.data.webdav import WebdavEndpoint
from rondel.environment.remote_config import config_text, remote_config, usable_cache_type


def read(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def test_a_local_remote_is_reached_over_webdav_with_its_token():
    access = remote_config(Remote(url="/x", origin="", folder=Path("/x")), WebdavEndpoint(4711, "the-token"))
    remote = read(access.config)["'remote \"rondel\"'"]
    assert remote == {"url": "webdav://dvc-remote:4711/", "user": "rondel", "password": "the-token"}
    assert access.hosts == {"dvc-remote": 4711}
    assert "the-token" not in repr(access)
    assert "the-token" in access.hidden


def test_logins_in_dvcs_own_configuration_are_kept_out_of_logs():
    options = {"user": "ann", "password": "short", "secret_access_key": "k3y-of-s3", "account_key": "azure-k"}
    access = remote_config(Remote(url="https://eve:in-the-url@host/x", origin="", options=options), None)
    assert set(access.hidden) == {"short", "k3y-of-s3", "azure-k", "in-the-url"}
    assert "in-the-url" not in repr(access)


def test_the_configuration_keeps_dvc_quiet_and_away_from_git():
    parsed = read(config_text({"url": "x"}))
    assert parsed["core"]["no_scm"] == "true"
    assert parsed["core"]["analytics"] == "false"
    assert parsed["core"]["remote"] == "rondel"
    assert parsed["cache"] == {"dir": "/dvc/cache"}


def test_loopback_endpoints_become_host_names():
    access = remote_config(
        Remote(
            url="s3://bucket",
            origin="",
            options={"endpointurl": "https://localhost:9000/x"},
            environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:5000", "AWS_REGION": "eu"},
        ),
        None,
    )
    assert access.environment == {"AWS_ENDPOINT_URL": "http://dvc-remote-1:5000", "AWS_REGION": "eu"}
    assert "https://dvc-remote:9000/x" in access.config
    assert access.hosts == {"dvc-remote": 9000, "dvc-remote-1": 5000}


def test_other_endpoints_stay():
    remote = Remote(url="s3://bucket", origin="", environment={"AWS_ENDPOINT_URL": "https://s3.example.org"})
    access = remote_config(remote, None)
    assert access.environment == {"AWS_ENDPOINT_URL": "https://s3.example.org"}
    assert not access.hosts


def test_secret_files_get_paths_in_the_container():
    access = remote_config(
        Remote(
            url="ssh://host/x",
            origin="",
            files={"keyfile": Path("/home/me/.ssh/id")},
            secret_files={"GOOGLE_APPLICATION_CREDENTIALS": Path("/home/me/account.json")},
        ),
        None,
    )
    assert read(access.config)["'remote \"rondel\"'"]["keyfile"] == "/run/rondel/keyfile"
    assert access.environment == {
        "GOOGLE_APPLICATION_CREDENTIALS": "/run/rondel/google_application_credentials"
    }
    assert set(access.secret_files.values()) == {Path("/home/me/.ssh/id"), Path("/home/me/account.json")}


def test_values_with_special_characters_are_quoted_as_dvc_reads_them():
    configobj = pytest.importorskip("configobj")
    for value in ("plain", "a#b", "a,b", "it's", 'say "x"', " spaces ", "100%"):
        text = config_text({"password": value})
        parsed = configobj.ConfigObj(text.splitlines(), interpolation=False)
        assert parsed['remote "rondel"']["password"] == value


@pytest.mark.parametrize(
    ("configured", "used"),
    [
        (None, None),
        ("hardlink", "copy"),
        ("symlink,copy", "symlink,copy"),
        ("reflink, hardlink", "reflink,copy"),
    ],
)
def test_link_types_that_fail_between_mounts_are_left_out(configured, used):
    assert usable_cache_type(configured) == used
