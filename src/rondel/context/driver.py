"""Runs one DVC stage inside of its container: pull what it needs, run it, push what it made.

This file is copied into the container and run by the interpreter that has DVC
there. It needs nothing but that and the standard library. All steps happen in
one process, because starting DVC takes longer than most of them. It reads its
plan from the file named by its first argument, and writes what happened, and
copies of the files that go back to the working tree, into the plan's ``out``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any


class Driver:
    """One stage's plan, and what became of it."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.result: dict[str, Any] = {
            "phase": "start",
            "code": 1,
            "command_code": None,
            "ran": [],
            "restored": [],
            "unmade": [],
            "seconds": {},
        }

    def run(self) -> int:
        """All steps in order; the first that fails ends it."""
        began = time.monotonic()
        try:
            self._hook()
            from dvc.cli import main

            self._dvc = main
            self.result["seconds"]["import"] = time.monotonic() - began
            ok = self._stop() if self.plan.get("stop") else self._make() and self._complete() and self._push()
            self.result["code"] = 0 if ok else self.result["code"] or 1
        finally:
            self._collect()
            self.result["seconds"]["total"] = time.monotonic() - began
            file = Path(self.plan["out"], "result.json.tmp")
            file.write_text(json.dumps(self.result), encoding="utf-8")
            file.rename(file.with_suffix(""))
        return int(self.result["code"])

    def _step(self, phase: str, *arguments: str) -> bool:
        self.result["phase"] = phase
        began = time.monotonic()
        sys.stdout.flush()
        code: int = self._dvc(list(arguments))
        seconds = self.result["seconds"]
        seconds[phase] = seconds.get(phase, 0.0) + time.monotonic() - began
        self.result["code"] = code
        return code == 0

    def _stop(self) -> bool:
        """Put in place what the stage's command needs, and leave the command to somebody else."""
        upstream = self.plan["upstream"]
        repro = ["repro", "--pull", "--allow-missing", "--single-item"]
        return (not upstream or self._step("repro", *repro, *upstream)) and self._pull(self.plan["needs"])

    def _make(self) -> bool:
        repro = ["repro", "--pull", "--allow-missing", "--single-item"]
        upstream, stage = self.plan["upstream"], self.plan["stage"]
        if not self.plan["force"]:
            return self._step("repro", *repro, *upstream, stage)
        # DVC pulls nothing for a stage that is forced.
        if upstream and not self._step("repro", *repro, *upstream):
            return False
        return self._pull(self.plan["needs"]) and self._step(
            "repro", "repro", "--force", "--single-item", stage
        )

    def _complete(self) -> bool:
        """DVC leaves outputs of an unchanged stage where they are; what goes back has to be here."""
        missing = [path for path in self.plan["returns"] if not os.path.lexists(path)]
        if not missing:
            return True
        cached = [path for path in missing if path in self.plan["cached"]]
        if cached and not self._pull(cached):
            return False
        if len(cached) == len(missing):
            return True
        # Not even in the cache: it comes from the record of the run, or is made again.
        return self._pull(self.plan["needs"]) and self._step(
            "repro", "repro", "--single-item", self.plan["stage"]
        )

    def _pull(self, paths: list[str]) -> bool:
        wanted = [path for path in paths if not os.path.lexists(path)]
        return not wanted or self._step("pull", "pull", *wanted)

    def _push(self) -> bool:
        if not self.plan["push"]:
            return True
        return self._step("push", "push", *self.plan["upstream"], self.plan["stage"])

    def _collect(self) -> None:
        for path in self.plan["returns"] + self.plan["locks"]:
            target = Path(self.plan["out"], "files", path)
            if Path(path).is_dir():
                shutil.copytree(path, target)
            elif Path(path).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)

    def _hook(self) -> None:
        """See which commands DVC runs, and with which exit code; it tells neither to its callers.

        What only observes is optional: without it the result says less.
        """
        import dvc.stage
        import dvc.stage.cache
        import dvc.stage.exceptions
        import dvc.stage.run

        # `repro --pull` copies the remote's whole run-cache, every time. The local one is used as ever.
        dvc.stage.cache.StageCache.pull = lambda *_args, **_kwargs: []

        reproduce = dvc.stage.Stage.reproduce

        def with_inputs(stage: Any, *args: Any, **kwargs: Any) -> Any:
            # `--allow-missing` takes a dependency that is not here for unchanged, whatever the
            # lock and `.dvc` files say of it. Of these stages it is known that one did change.
            if stage.addressing in self.plan["changed"]:
                _fetch_missing(stage)
            return reproduce(stage, *args, **kwargs)

        dvc.stage.Stage.reproduce = with_inputs

        if hasattr(dvc.stage.run, "_pull_missing_deps"):
            dvc.stage.run._pull_missing_deps = _fetch_missing  # noqa: SLF001

        with contextlib.suppress(AttributeError):
            run = dvc.stage.run.cmd_run

            def cmd_run(stage: Any, *args: Any, **kwargs: Any) -> Any:
                self.result["ran"].append(stage.addressing)
                if self.plan["push"] and self.plan["preload"]:
                    # While the command computes, load what the push will need.
                    threading.Thread(target=_preload, args=(self.plan["preload"],), daemon=True).start()
                began = time.monotonic()
                try:
                    value = run(stage, *args, **kwargs)
                finally:
                    seconds = self.result["seconds"]
                    seconds["command"] = seconds.get("command", 0.0) + time.monotonic() - began
                self._refuse_unmade(stage)
                return value

            dvc.stage.run.cmd_run = cmd_run

        with contextlib.suppress(AttributeError):
            initial = dvc.stage.exceptions.StageCmdFailedError.__init__

            def init(error: Any, cmd: str, status: int | None = None) -> None:
                self.result["command_code"] = status
                initial(error, cmd, status)

            dvc.stage.exceptions.StageCmdFailedError.__init__ = init

        with contextlib.suppress(AttributeError):
            restore = dvc.stage.cache.StageCache.restore

            def restored(cache: Any, stage: Any, *args: Any, **kwargs: Any) -> Any:
                value = restore(cache, stage, *args, **kwargs)
                self.result["restored"].append(stage.addressing)
                return value

            dvc.stage.cache.StageCache.restore = restored

    def _refuse_unmade(self, stage: Any) -> None:
        """Fail a stage whose command left out an output.

        `--allow-missing` would take the hash of the last run for it, and pass old data on as new.
        """
        from dvc.exceptions import DvcException

        unmade = [str(out) for out in stage.outs if out.protocol == "local" and not out.exists]
        if unmade:
            self.result["unmade"] = unmade
            raise DvcException(f"the command did not make {', '.join(unmade)}")


def _fetch_missing(stage: Any) -> None:
    """Put the dependencies of ``stage`` in place: from the cache if they are there, else from the remote.

    DVC would ask the remote once for each of them, also for what the cache has.
    """
    from dvc.exceptions import CheckoutError

    missing = [dep.fs_path for dep in stage.deps if dep.protocol == "local" and not dep.exists]
    if missing:
        try:
            stage.repo.checkout(missing)
        except CheckoutError:
            stage.repo.pull(missing)


def _preload(modules: list[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def main() -> None:
    """Read the plan and run it. The exit code stays below 128, which means a signal to the engine."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(plan["out"], "files").mkdir(parents=True, exist_ok=True)
    code = Driver(plan).run()
    sys.exit(min(int(code), 100))


if __name__ == "__main__":
    main()
