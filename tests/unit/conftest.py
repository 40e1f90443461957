"""A small DVC project as its files (no DVC needed to make it), and HTTP servers that stand in for MLflow's."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import threading
from pathlib import Path  # noqa: TC003 - a fixture's annotation
from typing import TYPE_CHECKING

import pytest
from gitlab_stub import GitlabStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DVC_YAML = """\
stages:
  prepare:
    cmd: python src/prepare.py
    deps:
      - src/prepare.py
      - data/raw.csv
    outs:
      - data/prepared.csv
  train:
    cmd: python src/train.py
    deps:
      - src/train.py
      - data/prepared.csv
    params:
      - train
    outs:
      - models/model.bin
    metrics:
      - metrics.json:
          cache: false
"""

PARAMS = "train:\n  rate: 0.1\n  depth: 3\n"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


MD5_RAW, MD5_PREPARE, MD5_PREPARED, MD5_TRAIN = map(md5, ["a\n", "prepare\n", "prepared\n", "train\n"])


def make_lock(*, rate: str = "0.1", metrics: str = '{"auc": 0.8}') -> str:
    """What `dvc repro` writes for the project below; made with DVC 3.67 and kept as text."""
    return f"""\
schema: '2.0'
stages:
  prepare:
    cmd: python src/prepare.py
    deps:
    - path: data/raw.csv
      hash: md5
      md5: {MD5_RAW}
      size: 2
    - path: src/prepare.py
      hash: md5
      md5: {MD5_PREPARE}
      size: 8
    outs:
    - path: data/prepared.csv
      hash: md5
      md5: {MD5_PREPARED}
      size: 9
  train:
    cmd: python src/train.py
    deps:
    - path: data/prepared.csv
      hash: md5
      md5: {MD5_PREPARED}
      size: 9
    - path: src/train.py
      hash: md5
      md5: {MD5_TRAIN}
      size: 6
    params:
      params.yaml:
        train:
          rate: {rate}
          depth: 3
    outs:
    - path: metrics.json
      hash: md5
      md5: {md5(metrics)}
      size: {len(metrics)}
    - path: models/model.bin
      hash: md5
      md5: {md5("model")}
      size: 5
"""


@pytest.fixture
def lock_text():
    return make_lock


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def project_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("AWS_", "DVC_", "AZURE_", "GOOGLE_", "GIT_", "CI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "project"
    write(
        root,
        {
            "dvc.yaml": DVC_YAML,
            "dvc.lock": make_lock(),
            "params.yaml": PARAMS,
            "src/prepare.py": "prepare\n",
            "src/train.py": "train\n",
            "metrics.json": '{"auc": 0.8}',
            "data/raw.csv.dvc": f"outs:\n- md5: {MD5_RAW}\n  size: 2\n  hash: md5\n  path: raw.csv\n",
            "data/.gitignore": "/raw.csv\n/prepared.csv\n",
            ".gitignore": "/.rondel/\n/models/\n",
            ".dvc/config": "",
            ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        },
    )
    return root


@pytest.fixture
def git(project_root: Path):
    def run(*arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
        return subprocess.run(command, cwd=project_root, check=True, capture_output=True, text=True).stdout

    run("init", "-q", "-b", "main")
    run("add", "-A")
    run("commit", "-qm", "one")
    return run


@pytest.fixture
def write_files():
    return write


@pytest.fixture
def gitlab() -> Iterator[GitlabStub]:
    stub = GitlabStub()
    yield stub
    stub.close()


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes | None], int]]:
    """Start a server that answers every request with these bytes (None: never); its port."""
    sockets: list[socket.socket] = []

    def start(answer: bytes | None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                sockets.append(connection)
                if answer is None:
                    continue
                try:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
