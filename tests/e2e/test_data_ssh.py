"""An SSH remote for real: Debian's sshd on loopback, and the settings that reach a container."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ci_project import missing

from rondel.data.remote import find_remote
from rondel.environment.remote_config import remote_config
from rondel.registry.remote_data import missing_in_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

DVC = Path(sys.executable).with_name("dvc")
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where an sshd of this test keeps data, for the user who runs it; the key is ``tmp_path/key``."""
    if SSHD is None:
        missing("sshd is not installed: apt-get install openssh-server")
    for name in ("host", "key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "store").mkdir()
    (tmp_path / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path}/key.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, which Debian makes at boot
    command = [SSHD, "-D", "-f", str(tmp_path / "sshd.conf"), "-E", str(tmp_path / "sshd.log")]
    server = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (tmp_path / "sshd.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"ssh://127.0.0.1:{port}{tmp_path}/store"
    finally:
        server.kill()
        server.wait()


def test_data_goes_to_an_ssh_remote_and_what_is_missing_there_is_named(address: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    subprocess.run(["git", "init", "-q", "."], cwd=root, check=True)
    subprocess.run([DVC, "init", "-q"], cwd=root, check=True)
    (root / ".dvc/config").write_text(
        f"[core]\n    remote = team\n['remote \"team\"']\n    url = {address}\n    keyfile = {tmp_path}/key\n"
    )
    (root / "data.txt").write_text("flights")
    subprocess.run([DVC, "add", "-q", "data.txt"], cwd=root, check=True)
    subprocess.run([DVC, "push", "-q"], cwd=root, check=True, timeout=120)
    digest = hashlib.md5(b"flights", usedforsecurity=False).hexdigest()
    assert (tmp_path / f"store/files/md5/{digest[:2]}/{digest[2:]}").read_text() == "flights"

    wanted = {"data.txt": f"md5:{digest}", "lost.txt": "md5:" + "0" * 32}
    assert missing_in_remote(root, wanted, {}) == ["lost.txt"]

    # In a container, whose user is another one, the same address with this user and key.
    access = remote_config(find_remote(root, {}), None)
    assert f"user = {getpass.getuser()}" in access.config
    assert access.secret_files == {"/run/rondel/keyfile": tmp_path / "key"}
    assert list(access.hosts) == ["dvc-remote"]
