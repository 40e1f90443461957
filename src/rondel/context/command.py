"""What a DVC stage's container is asked to do, and what its answer means. Pure, but for reading files."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rondel.errors import DataError, RondelError, StageFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from rondel.data import DvcProject, DvcStage

DRIVER = "/rondel/driver.py"
PLAN = "/rondel/plan.json"
OUT = "/rondel/out"


def dvc_script(program: str, plan: str) -> str:
    """The shell script that runs a program with the interpreter that has DVC.

    That of the ``dvc`` script is the one. stderr joins stdout, so that the log
    has the order in which things were said.
    """
    return f"""exec 2>&1
dvc=$(command -v dvc) || {{ echo "the image has no dvc on its PATH"; exit 127; }}
python=$(sed -n '1s/^#! *\\([^ ]*\\).*/\\1/p' "$dvc")
case "$python" in *python*) ;; *) python=python3 ;; esac
exec "$python" {program} {plan}
"""


SCRIPT = dvc_script(DRIVER, PLAN)

# What `dvc push` imports for a remote, by its scheme: loaded while the stage's command runs.
_PRELOAD = {
    "webdav": ("dvc_webdav", "webdav4.fsspec", "dvc.repo.push", "dvc_data.index.push"),
    "s3": ("dvc_s3", "s3fs", "dvc.repo.push", "dvc_data.index.push"),
    "gs": ("dvc_gs", "gcsfs"),
    "azure": ("dvc_azure", "adlfs"),
    "ssh": ("dvc_ssh",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcCommand:
    """One run of a DVC stage: what is pulled, made, pushed, and what goes back to the working tree."""

    stage: str
    upstream: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    push: bool = False
    force: bool = False
    scheme: str = "webdav"

    @property
    def shown(self) -> str:
        """The command as a person would type it."""
        words = ["dvc", "repro", "--pull", "--allow-missing", "--single-item"]
        words += ["--force"] if self.force else []
        text = shlex.join([*words, *self.upstream, self.stage])
        return f"{text} && dvc push {shlex.join([*self.upstream, self.stage])}" if self.push else text

    def plan(self, *, stop: bool = False) -> str:
        """The driver's plan as JSON; with ``stop`` it stops when everything is in place for the command."""
        return json.dumps(
            {
                "stage": self.stage,
                "upstream": self.upstream,
                "needs": self.needs,
                "returns": self.returns,
                "cached": self.cached,
                "locks": self.locks,
                "changed": self.changed,
                "push": self.push,
                "force": self.force,
                "preload": _PRELOAD.get(self.scheme, ()),
                "out": OUT,
                "stop": stop,
            }
        )


def dvc_command(
    project: DvcProject,
    stage: DvcStage,
    *,
    own: frozenset[str] = frozenset(),
    changed: Collection[str] = (),
    push: bool,
    force: bool,
    scheme: str,
) -> DvcCommand:
    """The command for ``stage``. Upstream stages run with it unless the pipeline has them as its ``own``.

    Stages above one of those are its business, too. ``changed`` are those whose inputs are
    not the ones in the lock.
    """
    upstream = upstream_here(project, stage, own)
    made = [project.stages[name] for name in (*upstream, stage.address)]
    outs = [out for each in made for out in each.outs if out.returns]
    return DvcCommand(
        stage=stage.address,
        upstream=upstream,
        needs=tuple(dep for dep in stage.deps if _owned(project, dep)),
        returns=tuple(out.path for out in outs),
        cached=tuple(out.path for out in outs if out.cached),
        locks=tuple(dict.fromkeys(each.file.removesuffix("dvc.yaml") + "dvc.lock" for each in made)),
        changed=tuple(name for name in (*upstream, stage.address) if name in changed),
        push=push,
        force=force,
        scheme=scheme,
    )


def upstream_here(project: DvcProject, stage: DvcStage, own: frozenset[str]) -> tuple[str, ...]:
    """The stages that have to run in the same container before ``stage``, in order."""
    above = set(project.upstream(stage.address))
    for name in own & above:
        above -= {name, *project.upstream(name)}
    return tuple(name for name in project.upstream(stage.address) if name in above)


def never_made(project: DvcProject, command: DvcCommand, inputs: Mapping[str, str]) -> DataError | None:
    """The error for a stage whose input no run has made yet, when this one does not make it either."""
    for path in command.needs:
        maker = project.producer(path)
        if maker is None or maker.address in command.upstream or inputs.get(path) != "missing":
            continue
        if maker.address not in project.lock and not (project.root / path).exists():
            return DataError(
                f"dvc stage {command.stage!r} needs {path}, which stage {maker.address!r} has not made yet",
                why=f"dvc.lock knows nothing of {maker.address!r}, and it is not part of this run",
                hint="run without --only, or that stage first",
            )
    return None


def _owned(project: DvcProject, dep: str) -> bool:
    return any(
        dep == path or dep.startswith(f"{path}/") or path.startswith(f"{dep}/") for path in project.owned()
    )


def driver_text() -> str:
    """The source of the program that runs in the container."""
    from importlib import resources

    return resources.files("rondel.context").joinpath("driver.py").read_text(encoding="utf-8")


State = Literal["ran", "restored", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcOutcome:
    """What a DVC stage's container did: ``seconds`` by phase; ``state`` tells whether a command ran."""

    state: State
    seconds: Mapping[str, float] = field(default_factory=dict)


def read_result(folder: Path) -> dict[str, Any] | None:
    """What the driver wrote; None if it did not come that far."""
    try:
        value = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def outcome(command: DvcCommand, result: Mapping[str, Any]) -> DvcOutcome:
    """The outcome of a run that succeeded."""
    ran, restored = result.get("ran") or [], result.get("restored") or []
    state: State = "ran" if command.stage in ran else "restored" if command.stage in restored else "unchanged"
    return DvcOutcome(state=state, seconds=dict(result.get("seconds") or {}))


def failure(
    command: DvcCommand, result: Mapping[str, Any] | None, lines: list[str], remote: str
) -> RondelError:
    """The error of a run that failed; ``lines`` are the last of its output."""
    said = [f"│ {line}" for line in lines[-20:]]
    if result is None:
        return StageFailed(
            f"the container of dvc stage {command.stage!r} ended before DVC did",
            why="\n".join([f"command: {command.shown}", *said]),
            hint="the image needs dvc on its PATH; killed for lack of memory looks like this, too",
        )
    phase, code = result.get("phase"), result.get("command_code")
    if phase == "push":
        return DataError(
            f"the results of dvc stage {command.stage!r} could not be pushed to {remote}",
            why="\n".join(["nothing was brought back; the results wait in the DVC cache", *said]),
            hint="check the remote and its credentials and run again; --no-push leaves the remote alone",
        )
    failing = (result.get("ran") or [command.stage])[-1]
    if unmade := result.get("unmade"):
        return StageFailed(
            f"the command of dvc stage {failing!r} did not make {', '.join(unmade)}",
            why="\n".join([f"command: {command.shown}", *said]),
            hint="its dvc.yaml declares that as an output",
        )
    if code is not None:
        return StageFailed(
            f"the command of dvc stage {failing!r} ended with exit code {code}",
            why="\n".join([f"command: {command.shown}", *said]),
        )
    if phase == "pull" or not result.get("ran"):
        return DataError(
            f"dvc stage {command.stage!r} could not get what it needs from {remote}",
            why="\n".join([f"command: {command.shown}", *said]),
            hint="data that was added here has to be pushed first (`dvc push`); "
            "lost results of a stage are made again with --no-cache",
        )
    return StageFailed(
        f"dvc stage {command.stage!r} failed", why="\n".join([f"command: {command.shown}", *said])
    )
