"""`-P` in a real stage of DVC, for every kind of parameter file: what its command reads is what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from small_project import copy_image, run, write_files

from rondel.record import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container

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
    write_files(root, FILES)
    copy_image(root)
    for words in (["git", "init", "-q", "."], ["dvc", "init", "-q"], ["git", "add", "-A"]):
        assert run(root, *words).returncode == 0
    given = {"rate": "1e-5", "train.depth": "4", "size": "20", "Train.width": "6"}
    pairs = [word for name, value in given.items() for word in ("-P", f"{name}={value}")]
    done = run(root, "python", "ci/main.py", "show", *pairs, MLFLOW_TRACKING_URI=team_server)
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
