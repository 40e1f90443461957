"""A project that uses what DVC offers, each thing once, in stages that take no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineage.project import PYTHON, Project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STAGES = (
    "download",
    "split@x",
    "split@y",
    "grid@one-1",
    "grid@two-1",
    "joined",
    "sub/dvc.yaml:here",
    "grows",
    "always",
    "after",
    "phony",
    "values",
    "report",
)

FILES = {
    "Containerfile": f"FROM python:{PYTHON}-slim AS stage\n",
    "pyproject.toml": '[tool.rondel]\nname = "features"\ntarget = "stage"\n',
    "params.yaml": "names: {first: a}\ntrain: {rate: 0.5}\nmodels: [one, two]\n",
    "more.json": '{"suffix": "!", "depth": {"tree": 3}}\n',
    "conf.toml": "[model]\nsize = 7\n",
    "conf.py": "SEED = 11\n",
    "trigger.txt": "1\n",
    "dvc.yaml": """\
vars:
  - more.json
stages:
  download:
    desc: from nothing at all
    meta: {owner: us}
    cmd: mkdir -p raw && echo raw > raw/raw.txt
    outs:
      - raw/raw.txt: {desc: what it is, type: dataset, labels: [a]}
  split:
    foreach: [x, y]
    do:
      cmd: mkdir -p parts && echo ${item}${names.first}${suffix} > parts/${item}.txt
      outs:
        - parts/${item}.txt
  grid:
    matrix:
      model: ${models}
      size: [1]
    cmd: mkdir -p grid && echo ${item.model} ${item.size} > grid/${item.model}-${item.size}.txt
    outs:
      - grid/${item.model}-${item.size}.txt
  joined:
    cmd:
      - cat parts/x.txt > joined.txt
      - cat parts/y.txt >> joined.txt
    deps: [parts]
    outs: [joined.txt]
  grows:
    cmd: cat trigger.txt >> grows.txt
    deps: [trigger.txt]
    outs:
      - grows.txt: {persist: true}
  always:
    cmd: date +%s%N > always.txt
    always_changed: true
    outs: [always.txt]
  after:
    cmd: cat always.txt > after.txt
    deps: [always.txt]
    outs: [after.txt]
  phony:
    cmd: echo said by a stage without anything
  values:
    cmd: python3 values.py
    deps: [values.py]
    params:
      - train.rate
      - more.json: [depth.tree]
      - conf.toml: [model]
      - conf.py: [SEED]
    metrics:
      - values.json: {cache: false}
      - kept.json
    plots:
      - curve.csv: {x: step, y: loss}
  report:
    cmd: python3 report.py
    deps: [report.py, joined.txt]
    outs: [eval]
metrics:
  - eval/metrics.json
plots:
  - eval/plots: {x: step}
  - both:
      x: step
      y: {eval/more.csv: [loss]}
params: [eval/params.yaml]
artifacts:
  churn: {path: joined.txt, type: model}
datasets:
  - {name: web, type: url, url: "https://example.org/data.csv"}
""",
    "sub/dvc.yaml": """\
stages:
  here:
    wdir: inner
    cmd: cat ../../joined.txt given.txt > made.txt
    deps: [../../joined.txt, given.txt]
    params: [local]
    outs:
      - made.txt: {push: false}
""",
    "sub/inner/params.yaml": "local: 1\n",
    "sub/inner/given.txt": "given\n",
    "values.py": """\
import csv, json, re, tomllib
rate = float(re.search(r"rate: *([0-9.]+)", open("params.yaml").read())[1])
tree = json.load(open("more.json"))["depth"]["tree"]
size = tomllib.load(open("conf.toml", "rb"))["model"]["size"]
import conf
json.dump({"rate": rate, "tree": tree, "size": size, "seed": conf.SEED}, open("values.json", "w"))
json.dump({"nested": {"rate": rate}}, open("kept.json", "w"))
csv.writer(open("curve.csv", "w")).writerows([["step", "loss"], [1, rate]])
""",
    "report.py": """\
import json, os
os.makedirs("eval/plots", exist_ok=True)
json.dump({"lines": len(open("joined.txt").read().split())}, open("eval/metrics.json", "w"))
json.dump({"hidden": 4}, open("eval/hidden.json", "w"))
open("eval/plots/loss.csv", "w").write("step,loss\\n1,2\\n")
open("eval/more.csv", "w").write("step,loss\\n1,3\\n")
open("eval/big.bin", "w").write("x" * 1000)
""",
    "ci/main.py": f"""\
from rondel import Pipeline, StageContext

pipeline = Pipeline()
NEEDS = {{
    "joined": ["split@x", "split@y"], "sub/dvc.yaml:here": ["joined"], "after": ["always"], "report": ["joined"]
}}
made = {{}}
for name in {STAGES!r}:
    short = name.replace("@", "-").replace("sub/dvc.yaml:", "")
    made[name] = pipeline.dvc(name, name=short, needs=[made[each] for each in NEEDS.get(name, ())])


@pipeline.stage(needs=[made["report"]])
async def judge(ctx: StageContext) -> None:
    await ctx.gate("lines >= 2", metrics="eval/metrics.json")
    await ctx.gate("hidden == 4", metrics="eval/hidden.json")


@pipeline.stage(needs=list(made.values()))
async def everything(ctx: StageContext) -> None:
    await ctx.gate("rate > 0", metrics="values.json")


if __name__ == "__main__":
    pipeline.main()
""",
    ".gitignore": "/.rondel/\n",
}


def make_project(root: Path, environ: Mapping[str, str]) -> Project:
    """The project, committed, with a remote."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    project = Project(root, dict(environ), target="everything")
    project.git("init", "-q", "-b", "main")
    project.dvc("init", "-q")
    (root / ".dvc/config").write_text(
        "[core]\n    remote = local\n['remote \"local\"']\n    url = ../.rondel/remote\n"
    )
    project.git("add", "-A")
    project.git("commit", "-qm", "one")
    return project
