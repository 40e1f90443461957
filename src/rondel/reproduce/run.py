"""Runs a reproduction: the worktree, the environment, the child process, the comparison."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from rondel.errors import ConfigurationError, RecordError
from rondel.record import RunFolder, load
from rondel.record.folder import run_ids
from rondel.reproduce import worktree as worktrees
from rondel.reproduce.comparison import compare_outcomes
from rondel.reproduce.plan import (
    base_image,
    choose_stage,
    describe_plan,
    image_differences,
    make_plan,
    shell_position,
)
from rondel.secrets.logins import without_login
from rondel.settings import load_settings
from rondel.settings.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from rondel.record import Capsule
    from rondel.reproduce.capsule_source import FoundCapsule
    from rondel.reproduce.comparison import OutcomeComparison
    from rondel.reproduce.plan import ReproductionPlan
    from rondel.reproduce.worktree import Worktree

GRACE = 20.0

_KEPT_OPTIONS = frozenset({"remote", "secrets", "tracking_uri", "verbose"})
_DROPPED_VARIABLES = tuple(
    option.env
    for option in OPTIONS
    if option.env and option.concerns in {"run", "command"} and option.name not in _KEPT_OPTIONS
)
"""Variables that configure the user's own runs: they could make the reproduction push, commit or resume."""


class Prompter(Protocol):
    """Asks the user."""

    def show(self, lines: Sequence[str]) -> None:
        """Print lines."""

    def agree(self, question: str) -> bool:
        """Whether the user agrees. Raises ConfigurationError without a terminal."""

    def secret(self, name: str) -> str | None:
        """The value of a secret; None without a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproduceOptions:
    """The options of ``rondel reproduce``."""

    stage: str | None = None
    params: tuple[tuple[str, str], ...] = ()
    shell: str | None = None
    keep: bool = False
    engine: str | None = None
    yes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionResult:
    """The result: the new run, its comparison with the old one, and the worktree if it was kept."""

    comparison: OutcomeComparison
    capsule: Capsule
    folder: RunFolder
    exit_code: int
    image: tuple[str, ...] = ()
    worktree: Path | None = None


def reproduce(
    root: Path, found: FoundCapsule, options: ReproduceOptions, environ: Mapping[str, str], prompter: Prompter
) -> ReproductionResult:
    """Repeat the stage and compare. The working tree of the project at ``root`` stays as it is.

    Raises RecordError for a capsule that can't be reproduced, and
    ConfigurationError if the user does not agree or a secret is missing.
    """
    capsule = found.capsule
    record = choose_stage(capsule, options.stage)
    settings = load_settings(root, {}, environ)
    plan = make_plan(
        capsule, record.name, params=options.params, engine=options.engine, named=settings.environment
    )
    remote, remote_environment = _remote(root, capsule, environ)
    tracking = settings.tracking_uri or recorded_server(capsule)
    lines = describe_plan(
        capsule,
        plan,
        python="python",
        remote=remote,
        place=worktrees.WORKTREES,
        tracking=without_login(tracking or ""),
        changed=worktrees.changed_files(root, found.folder, capsule),
    )
    prompter.show([f"reproducing {record.name} of run {capsule.id}", *lines])
    if (
        not found.is_local
        and not options.yes
        and not prompter.agree("this capsule comes from elsewhere; run it?")
    ):
        raise ConfigurationError("cancelled; nothing has run")
    secrets = _secrets(plan, environ, prompter)
    with ExitStack() as stack:
        tree = worktrees.create_worktree(root, found.folder, capsule)
        stack.callback(tree.lock.close)
        if not options.keep:
            stack.callback(tree.remove)
        worktrees.restore_results(tree.root, found.folder, worktrees.results_before(capsule, record.name))
        _local_config(root, tree.root)
        child = child_environment(environ, plan, {**remote_environment, **secrets}, capsule, options)
        _lead_to_server(root, tree.root, tracking, settings.tracking_uri, child)
        launcher, child = _launcher(options, tree.root, child)
        code = run_child([*launcher, sys.executable, *plan.arguments], tree.root, child)
        result = _result(root, tree, capsule, record.name, code)
        if options.keep:
            tree.keep()
            result = replace(result, worktree=tree.root)
    return result


def _launcher(
    options: ReproduceOptions, tree: Path, child: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """The launcher of the pipeline and its environment: the real CLI, for a shell on a Dagger engine.

    The real CLI opens a terminal only for programs that it started itself.
    """
    if options.shell is None:
        return [], child
    from rondel.engines.choice import CLI, choose_engine, rondel_executable

    settings = load_settings(tree, {"engine": options.engine} if options.engine else {}, child)
    choice = choose_engine(settings, child, rondel_executable())
    if choice.kind != "dagger":
        return [], child
    return [choice.environment[CLI], "run"], {**child, **choice.environment}


def _result(root: Path, tree: Worktree, capsule: Capsule, stage: str, code: int) -> ReproductionResult:
    """Copy the new run's record to the project's runs, and compare it with the old run."""
    runs = run_ids(tree.root)
    if not runs:
        raise RecordError(
            "the reproduction failed before the run started",
            why=f"`python {capsule.file}` ended with exit code {code}; see above",
            hint="--keep keeps the worktree, so that you can inspect it",
        )
    made = RunFolder.of(tree.root, runs[0])
    target = RunFolder.of(root, runs[0])
    target.path.parent.mkdir(parents=True, exist_ok=True)
    draft = target.path.with_name(f".{target.path.name}")
    shutil.copytree(made.path, draft, symlinks=True)
    draft.rename(target.path)
    again = load(root, str(target.path))[1]
    return ReproductionResult(
        comparison=compare_outcomes(capsule, again, stage),
        capsule=again,
        folder=target,
        exit_code=code,
        image=tuple(image_differences(capsule.stage(stage), again.stage(stage))),
    )


def _secrets(plan: ReproductionPlan, environ: Mapping[str, str], prompter: Prompter) -> dict[str, str]:
    """The run's secrets that are not set here; asks the user for each."""
    given: dict[str, str] = {}
    missing: list[str] = []
    for name in plan.secrets:
        if environ.get(name):
            continue
        value = prompter.secret(name)
        if value:
            given[name] = value
        elif name in plan.declared:
            missing.append(name)
    if missing:
        raise ConfigurationError(
            f"the run had secrets that are not set here: {', '.join(missing)}",
            hint=f"export {missing[0]}=…",
        )
    return given


def child_environment(
    environ: Mapping[str, str],
    plan: ReproductionPlan,
    extra: Mapping[str, str],
    capsule: Capsule,
    options: ReproduceOptions,
) -> dict[str, str]:
    """The environment of the child: the run's values where results depend on them, else this machine's."""
    kept = {name: value for name, value in environ.items() if name not in plan.unset}
    kept |= {**plan.environment, **extra}
    for name in _DROPPED_VARIABLES:
        kept.pop(name, None)
    kept["RONDEL_REPRODUCES"] = capsule.id
    if (base := base_image(capsule, plan.stage)) is not None:
        kept["RONDEL_BASE_IMAGE"] = base
    if options.shell:
        kept["RONDEL_SHELL"] = options.shell
        kept["RONDEL_SHELL_AT"] = str(shell_position(capsule.stage(plan.stage), options.shell))
    return kept


def _remote(root: Path, capsule: Capsule, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The DVC remote in words, and the variable that passes it to the child.

    A variable on this machine takes precedence, then the run's address if other
    machines can reach it, then the project's configuration. A folder becomes an
    absolute path, because the child runs in the worktree.
    """
    from rondel.data.remote import find_remote

    given = environ.get("DVC_REMOTE_URL")
    recorded = capsule.environment.get("DVC_REMOTE_URL", "")
    if not given and "://" in recorded and not recorded.startswith("file:"):
        given = recorded
    remote = find_remote(root, environ, given)
    if remote.folder is not None:
        return remote.shown, {"DVC_REMOTE_URL": str(remote.folder)}
    return remote.shown, {"DVC_REMOTE_URL": given} if given else {}


def _local_config(root: Path, tree: Path) -> None:
    """Copy DVC's settings of this machine, mostly credentials, to the worktree."""
    source, target = root / ".dvc" / "config.local", tree / ".dvc" / "config.local"
    if source.is_file() and target.parent.is_dir():
        target.touch(mode=0o600)  # before it contains credentials
        shutil.copyfile(source, target)


def recorded_server(capsule: Capsule) -> str | None:
    """The MLflow server that the capsule names, unless it is on the loopback of its machine."""
    from urllib.parse import urlsplit

    from rondel.tracking.endpoint import is_loopback

    recorded = capsule.environment.get("MLFLOW_TRACKING_URI", "")
    remote = recorded.startswith("http") and not is_loopback(urlsplit(recorded).hostname or "")
    return recorded if remote else None


def _lead_to_server(
    root: Path, tree: Path, address: str | None, configured: str | None, child: dict[str, str]
) -> None:
    """Lead the child to the MLflow server at ``address``, else to this project's own.

    ``configured`` is the server that this machine or the project here is configured for. Only that
    one gets this machine's login: neither the capsule nor the files that it brings may choose
    another address for it.
    """
    from rondel.tracking.endpoint import LOGIN_VARIABLES
    from rondel.tracking.server_state import PROJECT_VARIABLE

    if address:
        child["MLFLOW_TRACKING_URI"] = address
    settings = load_settings(tree, {}, child)
    # Not one of the worktree's own: champions and earlier runs are on the project's.
    child[PROJECT_VARIABLE] = str(root)
    if settings.tracking_uri and settings.tracking_uri != configured:
        for name in LOGIN_VARIABLES:
            child.pop(name, None)


def run_child(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> int:
    """Run a command on the user's terminal and return its exit code. Signals to us also end the command."""
    child: subprocess.Popen[bytes] | None = None
    received: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # A terminal sends ^C to the whole process group.
        if child is not None and (number != signal.SIGINT or not sys.stdin.isatty()):
            with suppress(ProcessLookupError):
                child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        child = subprocess.Popen(list(command), cwd=folder, env=dict(environ))
        while True:
            try:
                return child.wait(GRACE if received else 0.5)
            except subprocess.TimeoutExpired:
                if received:
                    child.kill()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
