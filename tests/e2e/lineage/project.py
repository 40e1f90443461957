"""The project of the lineage cases: small stages whose results tell what they were made from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

BIN = Path(sys.executable).parent
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
STAGES = ("prepare", "train", "evaluate")

FILES = {
    "Containerfile": f"""\
FROM python:{PYTHON}-slim AS base
ARG FLAG=1
ENV FLAG=$FLAG
COPY requirements.txt /opt/

FROM base AS stage

FROM stage AS other
ENV OTHER=1
""",
    "requirements.txt": "# none\n",
    "pyproject.toml": """\
[tool.rondel]
name = "lineage"
environment = ["SEED"]
""",
    "params.yaml": "train:\n  rate: 0.1\nother: 1\n",
    "dvc.yaml": """\
stages:
  ingest:
    cmd: tr a-z A-Z < src/ingest.txt > data/ingested.txt
    deps: [src/ingest.txt]
    outs: [data/ingested.txt]
  prepare:
    cmd: sh src/prepare.sh
    deps: [src/prepare.sh, data/ingested.txt, data/raw.txt]
    outs: [data/prepared.txt]
  train:
    cmd: python3 src/train.py
    deps: [src/train.py, data/prepared.txt]
    params: [train]
    outs: [model.bin]
    metrics:
      - metrics.json: {cache: false}
      - scores.json
  evaluate:
    cmd: python3 src/evaluate.py
    deps: [src/evaluate.py, model.bin]
    metrics:
      - eval.json: {cache: false}
""",
    "src/ingest.txt": "abc\n",
    "src/prepare.sh": "cat data/ingested.txt data/raw.txt > data/prepared.txt\n",
    "src/helper.py": "FACTOR = 1\n",
    "src/unused.py": "x = 1\n",
    "src/train.py": """\
import json, os, re
import helper

VERSION = 1
made = {
    "version": VERSION,
    "factor": helper.FACTOR,
    "flag": float(os.environ["FLAG"]),
    "seed": float(os.environ.get("SEED", 0)),
    "token": float("TOKEN" in os.environ),
    "rate": float(re.search(r"rate: *([0-9.]+)", open("params.yaml").read())[1]),
    "lines": len(open("data/prepared.txt").read().split()),
}
open("model.bin", "w").write(repr(made))
open("extra.bin", "w").write("more")
json.dump(made, open("metrics.json", "w"))
json.dump({"score": made["rate"] + made["version"]}, open("scores.json", "w"))
""",
    "src/evaluate.py": """\
import json

json.dump({"size": len(open("model.bin").read())}, open("eval.json", "w"))
""",
    "ci/main.py": """\
from rondel import Pipeline, StageContext

pipeline = Pipeline()
prepare = pipeline.dvc("prepare")
train = pipeline.dvc("train", needs=[prepare])
SMALLEST = 1  # of a model


@pipeline.stage(needs=[train])
async def evaluate(ctx: StageContext) -> None:
    await ctx.dvc("evaluate")
    await ctx.gate(f"size >= {SMALLEST}", metrics="eval.json")


if __name__ == "__main__":
    pipeline.main()
""",
    ".gitignore": "/.rondel/\n/data/ingested.txt\n/data/prepared.txt\n/model.bin\n/extra.bin\n/scores.json\n",
}


@dataclass
class Project:
    """A copy of the project, and how it is run. ``start`` is the folder to run in."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    target: str = "evaluate"
    start: str = "."

    def write(self, **files: str) -> None:
        """Replace whole files."""
        for name, text in files.items():
            (self.root / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace one text in a file; it has to be there."""
        text = (self.root / name).read_text()
        assert old in text, f"{old!r} is not in {name}"
        (self.root / name).write_text(text.replace(old, new, 1))

    def git(self, *words: str) -> str:
        """Run git."""
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return self.done("git", *who, *words).stdout

    def dvc(self, *words: str) -> str:
        """Run DVC."""
        return self.done(str(BIN / "dvc"), *words).stdout

    def done(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; it has to succeed."""
        done = subprocess.run(
            words, cwd=self.root, env=environment(self.environ), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the pipeline; with ``code`` it has to end."""
        process = self.popen(*words)
        out, err = process.communicate(timeout=600)
        assert process.returncode == code, out + err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start the pipeline."""
        start = self.root / self.start
        main = os.path.relpath(self.root / "ci/main.py", start)
        return subprocess.Popen(
            [sys.executable, main, self.target, *self.words, *words],
            cwd=start,
            env=environment(self.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def truth(self) -> dict[str, float]:
        """What `train` makes of the project as it is now: the record is only true if its metrics are these."""
        text = {name: (self.root / name).read_text() for name in FILES}
        given = dict(word.split("=", 1) for word in self.words if word.startswith("train.rate="))
        build = re.search(r"FLAG = \"(\d)\"", text["pyproject.toml"])
        in_file = re.search(r"ARG FLAG=(\d)", text["Containerfile"])
        rate = re.search(r"rate: *([0-9.]+)", text["params.yaml"])
        assert in_file is not None
        assert rate is not None
        raw = (self.root / "data/raw.txt").read_text().split()
        return {
            "version": float(re.findall(r"VERSION = (\d)", text["src/train.py"])[0]),
            "factor": float(re.findall(r"FACTOR = (\d)", text["src/helper.py"])[0]),
            "flag": float((build or in_file)[1]),
            "seed": float(self.environ.get("SEED", 0)),
            "token": float("TOKEN" in text["pyproject.toml"]),
            "rate": float(given.get("train.rate", rate[1])),
            "lines": len(text["src/ingest.txt"].split()) + len(raw),
        }

    def metrics(self) -> dict[str, float]:
        """The metrics in the working tree."""
        found: dict[str, float] = json.loads((self.root / "metrics.json").read_text())
        return found


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would decide anything, and ``more``."""
    hidden = ("DAGGER_", "DVC_", "AWS_", "MLFLOW_", "RONDEL_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
    kept.pop("CI", None)
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}


def make_project(root: Path, environ: Mapping[str, str]) -> Project:
    """The project as a team has it: committed, its data added and pushed."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "data").mkdir()
    (root / "data/raw.txt").write_text("one two three\n")
    project = Project(root, dict(environ))
    project.git("init", "-q", "-b", "main")
    project.dvc("init", "-q")
    (root / ".dvc/config").write_text(
        "[core]\n    remote = local\n['remote \"local\"']\n    url = ../.rondel/remote\n"
    )
    project.dvc("add", "-q", "data/raw.txt")
    project.dvc("push", "-q")
    project.git("add", "-A")
    project.git("commit", "-qm", "one")
    return project


def states(project: Project, run: str | None = None) -> dict[str, Any]:
    """The state of each stage in a run of the project, the newest by default."""
    from rondel.record import load

    return {record.name: record.state for record in load(project.root, run)[1].stages}


def plan(project: Project) -> dict[str, tuple[str, str]]:
    """The action and the reason that a dry run shows for each stage."""
    found = re.findall(r"^   (\w+): (\w+), (.*)$", project.run("--dry-run").stdout, re.MULTILINE)
    return {name: (word, reason) for name, word, reason in found}


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read the process's output up to the first line that contains ``text``."""
    assert process.stdout is not None
    assert any(text in line for line in process.stdout), f"no line with {text!r}"
