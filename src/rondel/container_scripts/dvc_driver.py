"""Drives DVC: moves data between its cache, its remote and a workspace.

``rondel.environment.data_container`` copies this file into the data container, where the
interpreter that has DVC runs it. The stage's own image needs neither. The first argument
names the file with the plan. The driver writes the result, and copies of the requested
files, to the plan's ``out``.

*fetch* puts data in place, from the cache or else from the remote. *keep* adds a
command's outputs to the cache and the lock file, and pushes them. None of the DVC calls
here uses DVC's run cache, which ignores images.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any


class Driver:
    """Runs one plan and collects its result."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.result: dict[str, Any] = {
            "phase": "start",
            "code": 1,
            "unmade": [],
            "changed": [],
            "bytes": None,
            "seconds": {},
        }
        self._began = time.monotonic()

    def run(self) -> int:
        """Run the plan's steps until one fails; returns the exit code."""
        try:
            from dvc.cli import main

            self._dvc = main
            self._took("import")
            self.result["code"] = 0 if getattr(self, f"_{self.plan['do']}")() else self.result["code"] or 1
        finally:
            file = Path(self.plan["out"], "result.json.tmp")
            file.write_text(json.dumps(self.result), encoding="utf-8")
            file.rename(file.with_suffix(""))
        return int(self.result["code"])

    def _took(self, phase: str) -> None:
        now = time.monotonic()
        self.result["seconds"][phase] = round(now - self._began, 3)
        self._began = now

    def _fetch(self) -> bool:
        for model in self.plan["models"]:
            self.result["phase"] = "model"
            _name_model(model)
            if not self._bring([model["path"]]):
                return False
        self.result["phase"] = "data"
        if not self._bring(self.plan["needs"]):
            return False
        if self.plan["size"] and Path(self.plan["size"]).exists():
            self.result["bytes"] = _size(Path(self.plan["size"]))
        if self.plan["ask"]:
            self.result["phase"] = "ask"
            self._ask(self.plan["ask"])
        self._took("fetch")
        self._collect()
        return True

    def _bring(self, paths: list[str]) -> bool:
        """Put paths in place: from the cache if it has them, else from the remote.

        Checks the cache first, because ``dvc pull`` queries the remote even for cached paths.
        """
        missing = _missing(paths)
        if missing:
            from dvc.exceptions import CheckoutError
            from dvc.repo import Repo

            try:
                with Repo() as repo:
                    repo.checkout(targets=missing)
                missing = _missing(paths)
            except CheckoutError:
                pass
        return not missing or (self.plan["pull"] and self._command("pull", *missing))

    def _ask(self, stage: str) -> None:
        """Find the dependencies outside of the project that differ from the lock file."""
        from dvc.repo import Repo

        with Repo() as repo:
            for dep in repo.stage.collect(stage)[0].deps:
                if dep.protocol != "local" and dep.status():
                    self.result["changed"].append(dep.def_path)

    def _keep(self) -> bool:
        self.result["phase"] = "keep"
        self.result["unmade"] = _missing(self.plan["outs"])
        if self.result["unmade"]:
            return False
        if not self._guarded(self._save):
            return False
        self._took("keep")
        if self.plan["push"]:
            self.result["phase"] = "push"
            if not self._command("push", self.plan["stage"]):
                return False
            self._took("push")
        self._collect()
        return True

    def _save(self) -> None:
        """Save the outputs to the cache and write the stage's lock entry."""
        from dvc.repo import Repo

        with Repo() as repo, repo.lock:
            stage = repo.stage.collect(self.plan["stage"])[0]
            fetched = {out.fs_path: out for each in repo.index.stages for out in each.outs if out.use_cache}
            for dep in stage.deps:
                known = fetched.get(dep.fs_path)
                if known is not None and known.hash_info:
                    # Fetched data matches the lock file, so there is no need to hash it again.
                    dep.hash_info, dep.meta = known.hash_info, known.meta
                else:
                    dep.save()
            stage.save_outs()
            stage.md5 = stage.compute_md5()
            stage.commit(relink=False)
            stage.dump(update_pipeline=False)

    def _command(self, *arguments: str) -> bool:
        sys.stdout.flush()
        self.result["code"] = int(self._dvc(list(arguments)))
        return bool(self.result["code"] == 0)

    def _guarded(self, step: Any) -> bool:
        """Run ``step``; prints an exception of DVC as DVC's CLI does."""
        from dvc.exceptions import DvcException

        try:
            step()
        except DvcException as error:
            print(f"ERROR: {error}", flush=True)
            return False
        return True

    def _collect(self) -> None:
        for path in self.plan["collect"]:
            target = Path(self.plan["out"], "files", path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if Path(path).is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            elif Path(path).is_file():
                shutil.copyfile(path, target)
                shutil.copymode(path, target)


def _missing(paths: list[str]) -> list[str]:
    return [path for path in paths if not os.path.lexists(path)]


def _name_model(model: dict[str, str]) -> None:
    """Write the model's hash to the lock file, so that DVC fetches it, and remove the one in place."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(model["lock"]) as lock:
        for out in lock["stages"][model["stage"]]["outs"]:
            if os.path.normpath(os.path.join(model["wdir"], out["path"])) == model["path"]:  # noqa: PTH118
                out["md5"] = model["md5"]
                out.pop("size", None)
                out.pop("nfiles", None)
    path = Path(model["path"])
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size


def main() -> None:
    """Read the plan and run it. The exit code stays below 128: from there on, the engine sees a signal."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(plan["out"], "files").mkdir(parents=True, exist_ok=True)
    code = Driver(plan).run()
    sys.exit(min(int(code), 100))


if __name__ == "__main__":
    main()
