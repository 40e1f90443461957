"""`-P` in a real stage of DVC, for every kind of parameter file: what its command reads is what was asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rondel.record import load

pytestmark = pytest.mark.container

TOP = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

FILES = {
    "ci/main.py": """
from rondel import Pipeline

pipeline = Pipeline()
pipeline.dvc("show")

if __name__ == "__main__":
    pipeline.main()
""",
    "dvc.yaml": """
vars:
  - params.toml
stages:
  show:
    cmd: python show.py ${train.depth}
    deps: [show.py]
    params:
      - rate
      - params.toml: [train.depth]
      - params.json: [size]
      - settings.py: [Train.width]
    metrics:
      - shown.json: {cache: false}
""",
    "params.yaml": "rate: 1e-3  # slow\n",
    "params.toml": "[train]\ndepth = 3  # levels\n",
    "params.json": '{"size": 10}\n',
    "settings.py": "class Train:\n    width = 5  # columns\n",
    "show.py": """
import json, sys, tomllib
import yaml
from settings import Train

found = {
    "rate": yaml.safe_load(open("params.yaml"))["rate"],
    "depth": tomllib.load(open("params.toml", "rb"))["train"]["depth"],
    "argument": int(sys.argv[1]),
    "size": json.load(open("params.json"))["size"],
    "width": Train.width,
}
json.dump(found, open("shown.json", "w"))
""",
    ".gitignore": "/.rondel/\n__pycache__/\n",
}


def test_a_stages_command_reads_the_values_that_were_given(tmp_path: Path, team_server: str) -> None:
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(text)
    for name in ("Containerfile", "pyproject.toml", "uv.lock"):
        shutil.copy(TOP / name, root / name)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CI", "DAGGER", "DVC_"))
    }
    environ = {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "MLFLOW_TRACKING_URI": team_server}
    for words in (["git", "init", "-q", "."], ["dvc", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(words, cwd=root, env=environ, check=True)
    given = {"rate": "1e-5", "train.depth": "4", "size": "20", "Train.width": "6"}
    pairs = [word for name, value in given.items() for word in ("-P", f"{name}={value}")]
    done = subprocess.run(
        ["python", "ci/main.py", "show", *pairs],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, capsule = load(root)
    record = capsule.stage("show")
    assert record.metrics == {"rate": 1e-5, "depth": 4, "argument": 4, "size": 20, "width": 6}
    assert record.key is not None
    assert record.key.parts["parameters"] == {
        "rate": 1e-5,
        "params.toml:train.depth": 4,
        "params.json:size": 20,
        "settings.py:Train.width": 6,
    }
    for name in ("params.yaml", "params.toml", "params.json", "settings.py"):
        assert (root / name).read_text() == FILES[name]
