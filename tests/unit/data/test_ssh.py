"""An SSH remote by OpenSSH's own configuration, as the `ssh` of a test tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.data.remote import find_remote, local_remote
from rondel.data.ssh import resolve_ssh_address
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    (tmp_path / "key").write_text("key")
    program.write_text(
        f"#!/bin/sh\n[ \"$1 $2\" = '-G data' ] || exit 255\n"
        f"printf 'user ann\\nhostname 10.0.0.5\\nport 2222\\nidentityfile {tmp_path}/gone\\n'\n"
        f"printf 'identityfile {tmp_path}/key\\n'\n"
    )
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin", "USER": "bob"}


def test_an_alias_becomes_what_it_stands_for(environ: dict[str, str], tmp_path: Path) -> None:
    url, options = resolve_ssh_address("ssh://data/srv/dvc", {}, environ)
    assert url == "ssh://10.0.0.5:2222/srv/dvc"
    assert options == {"user": "ann", "keyfile": f"{tmp_path}/key"}


def test_openssh_is_asked_only_when_the_remote_is_used(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    environ["DVC_REMOTE_URL"] = "ssh://data/srv"
    asked = tmp_path / "bin/ssh"
    asked.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    assert local_remote(tmp_path, environ) is None
    assert not (tmp_path / "asked").exists()
    find_remote(tmp_path, environ, environ["DVC_REMOTE_URL"])
    assert (tmp_path / "asked").exists()


def test_an_address_that_is_none_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not the address of an SSH remote") as caught:
        find_remote(tmp_path, environ, "ssh://data:port/srv")
    assert caught.value.place == "DVC_REMOTE_URL"


def test_what_the_address_and_dvc_say_wins(environ: dict[str, str]) -> None:
    given = {"port": "22", "password": "x"}
    assert resolve_ssh_address("ssh://eve@data/srv", given, environ) == ("ssh://eve@10.0.0.5/srv", given)
    url, options = resolve_ssh_address("ssh://data:2200/srv", {"user": "eve", "keyfile": "/k"}, environ)
    assert url == "ssh://10.0.0.5:2200/srv"
    assert options == {"user": "eve", "keyfile": "/k"}


@pytest.mark.parametrize("host", ["other", "-oProxyCommand=x"])
def test_without_a_word_of_openssh_it_is_the_user_of_this_machine(environ: dict[str, str], host: str) -> None:
    assert resolve_ssh_address(f"ssh://{host}/srv", {}, environ) == (f"ssh://{host}/srv", {"user": "bob"})
