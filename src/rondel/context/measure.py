"""Measures a model inside of a stage's container: the one that is there, or another one in its place.

This file is copied into the container and run by the interpreter that has DVC
there. It reads its plan from the file named by its first argument: which model
to put in place (by its hash), what has to be there, the commands that evaluate
it, one that prints further metrics, and which files are wanted. The container
is thrown away afterwards, so nothing is put back.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """All steps in order; the result file says how far it came."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    out = Path(plan["out"])
    (out / "files").mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"phase": "start", "code": 1, "metrics": {}, "bytes": None}
    try:
        result["code"] = _steps(plan, result)
        _collect(plan, out)
    finally:
        (out / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return min(int(result["code"]), 100)


def _steps(plan: dict[str, Any], result: dict[str, Any]) -> int:
    result["phase"] = "model"
    if plan["model"] and (code := _put(plan["model"])):
        return code
    result["phase"] = "data"
    missing = [path for path in plan["needs"] if not os.path.lexists(path)]
    if missing and (code := _dvc("pull", *missing)):
        return code
    if plan["size"] and Path(plan["size"]).exists():
        result["bytes"] = _size(Path(plan["size"]))
    for path in plan["remove"]:
        _remove(Path(path))
    result["phase"] = "command"
    for command in plan["commands"]:
        sys.stdout.flush()
        if code := subprocess.run(command, shell=True, cwd=plan["wdir"], check=False).returncode:  # noqa: S602
            return code if code > 0 else 100
    result["phase"] = "measure"
    if plan["measure"]:
        return _measure(plan["measure"], result)
    return 0


def _put(model: dict[str, str]) -> int:
    """Say in the lock file that the stage made this model, and let DVC bring it."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(model["lock"]) as lock:
        for out in lock["stages"][model["stage"]]["outs"]:
            if os.path.normpath(os.path.join(model["wdir"], out["path"])) == model["path"]:  # noqa: PTH118
                out["md5"] = model["md5"]
                out.pop("size", None)
                out.pop("nfiles", None)
    _remove(Path(model["path"]))
    return _dvc("pull", model["path"])


def _measure(command: str, result: dict[str, Any]) -> int:
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S602
    print(done.stdout, end="")
    if done.returncode:
        return done.returncode if done.returncode > 0 else 100
    said = [line for line in done.stdout.splitlines() if line.strip()]
    try:
        found = json.loads(said[-1]) if said else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        print("the last line of what it printed is no JSON object")
        return 1
    result["metrics"] = found
    return 0


def _dvc(*arguments: str) -> int:
    from dvc.cli import main as dvc

    sys.stdout.flush()
    code: int = dvc(list(arguments))
    return code


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size


def _collect(plan: dict[str, Any], out: Path) -> None:
    for path in plan["collect"]:
        target = out / "files" / path
        if Path(path).is_dir():
            shutil.copytree(path, target)
        elif Path(path).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


if __name__ == "__main__":
    sys.exit(main())
