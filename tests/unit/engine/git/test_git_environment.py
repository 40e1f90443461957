"""What git commands get to see."""

import pytest

from rondel.engine.evaluate.gitaccess import GitAccess, environment
from rondel.engine.evaluate.giturls import (
    GitError,
    basic,
    clean_url,
    is_remote,
    login_of,
    origin_of,
    remote_url,
    split_fragment,
)
from rondel.secrets.logins import without_login


def settings(env):
    count = int(env["GIT_CONFIG_COUNT"])
    return {env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(count)}


def test_only_named_protocols_are_open_and_no_hook_runs():
    env = environment(GitAccess(url="https://host/r.git"), {})
    found = settings(env)
    assert found["protocol.allow"] == "never"
    assert found["protocol.https.allow"] == "always"
    assert "protocol.file.allow" not in found
    assert "protocol.ext.allow" not in found
    assert found["core.hooksPath"] == "/dev/null"
    assert found["remote.rondel.url"] == "https://host/r.git"


def test_files_are_opened_only_for_local_repositories():
    found = settings(environment(GitAccess(url="file:///x/r.git"), {}))
    assert found["protocol.file.allow"] == "always"
    assert "protocol.https.allow" not in found


def test_nothing_of_the_user_s_git_takes_part():
    own = {
        "GIT_DIR": "/x",
        "GIT_CONFIG_GLOBAL": "/home/x",
        "GIT_SSH": "evil",
        "PATH": "/bin",
        "https_proxy": "p",
    }
    env = environment(GitAccess(url="https://h/r"), own)
    assert "GIT_DIR" not in env
    assert "GIT_SSH" not in env
    assert env["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert env["GIT_CONFIG_NOSYSTEM"] == "1"
    assert env["PATH"] == "/bin"
    assert env["https_proxy"] == "p"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://host/r.git", "https://host/r.git"),
        ("git://host:9/r", "git://host:9/r"),
        ("git@host:team/r.git", "git@host:team/r.git"),
        ("ssh://git@host/r.git", "ssh://git@host/r.git"),
        ("github.com/team/r", "https://github.com/team/r"),
        ("HTTPS://host/r", "https://host/r"),
    ],
)
def test_urls_are_taken_as_git_takes_them(given, url):
    assert clean_url(given) == url


@pytest.mark.parametrize(
    "url", ["file:///etc", "ext::sh -c id", "/tmp/r", "../r", "--upload-pack=x", "", "ftp://h/r"]
)
def test_other_protocols_and_options_are_refused(url):
    with pytest.raises(GitError):
        clean_url(url)


def test_a_login_in_a_url_is_taken_out_of_it():
    url = "https://me:to%20k@host:8443/r.git"
    assert without_login(url) == "https://host:8443/r.git"
    assert login_of(url) == "me:to k"
    assert login_of("https://me@host/r.git") == ""
    assert origin_of(url) == "https://host:8443/"
    assert origin_of("http://[::1]:8/r") == "http://[::1]:8/"


def test_a_login_is_sent_as_servers_write_it():
    header, silent = basic("me:tok")
    assert header == "Basic bWU6dG9r"
    assert set(silent) == {"tok", "bWU6dG9r"}


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("https://host/r", True),
        ("git@host:team/r", True),
        ("GIT://host/r", True),
        ("file:///etc", False),
        ("./r", False),
        ("host:team/r", False),
        ("env://X", False),
    ],
)
def test_remote_addresses_are_told_from_paths(text, remote):
    assert is_remote(text) is remote


def test_what_follows_a_url_is_a_reference_and_a_path():
    assert split_fragment("git://h/r#main:a/b") == ("git://h/r", "main", "a/b")
    assert split_fragment("git://h/r#:a") == ("git://h/r", "", "a")
    assert split_fragment("git://h/r") == ("git://h/r", "", "")
    assert remote_url("git://h/r#main") == "git://h/r"
    assert remote_url("ssh://h/r") == "ssh://git@h/r"
    assert remote_url("ssh://me@h/r") == "ssh://me@h/r"
