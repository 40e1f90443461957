"""Carries a reproduction out: the worktree, the environment, the child process, the comparison."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from rondel.errors import ConfigurationError, RecordError
from rondel.record import RunFolder, load
from rondel.record.folder import run_ids
from rondel.reproduce import worktree as worktrees
from rondel.reproduce.plan import (
    base_image,
    choose_stage,
    describe,
    image_differences,
    plan,
    shell_at,
)
from rondel.reproduce.verdict import judge
from rondel.settings.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    from rondel.record import Capsule
    from rondel.reproduce.plan import Reproduction
    from rondel.reproduce.source import Found
    from rondel.reproduce.verdict import Verdict
    from rondel.reproduce.worktree import Worktree

GRACE = 20.0

_KEPT = frozenset({"remote", "secrets", "tracking_uri", "verbose"})
_NOT_OF_A_REPRODUCTION = tuple(
    option.env
    for option in OPTIONS
    if option.env and option.concerns in {"run", "command"} and option.name not in _KEPT
)
"""What is set here for runs of one's own, and would have the repetition push, commit or go on by itself."""


class Prompter(Protocol):
    """Who is asked: the terminal, or nobody."""

    def show(self, lines: Sequence[str]) -> None:
        """Print lines."""

    def agree(self, question: str) -> bool:
        """Whether the user agrees. Raises ConfigurationError where nobody can be asked."""

    def secret(self, name: str) -> str | None:
        """The value of a secret; None where nobody can be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproduceOptions:
    """What the user asked for beside the capsule."""

    stage: str | None = None
    params: tuple[tuple[str, str], ...] = ()
    shell: str | None = None
    keep: bool = False
    engine: str | None = None
    yes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What came of it. ``folder`` is the new run's, ``place`` the worktree if it was kept."""

    verdict: Verdict
    capsule: Capsule
    folder: RunFolder
    exit_code: int
    image: tuple[str, ...] = ()
    place: Path | None = None


def reproduce(
    root: Path, found: Found, options: ReproduceOptions, environ: Mapping[str, str], ask: Prompter
) -> Reproduced:
    """Run the stage again and compare. ``root`` is the project here, whose tree is left alone.

    Raises RecordError for a capsule that cannot be reproduced,
    ConfigurationError if the user does not agree or a secret is missing.
    """
    capsule = found.capsule
    record = choose_stage(capsule, options.stage)
    made = plan(capsule, record.name, params=options.params, engine=options.engine)
    remote, remote_environment = _remote(root, capsule, environ)
    lines = describe(
        capsule,
        made,
        python="python",
        remote=remote,
        place=worktrees.WORKTREES,
        changed=worktrees.changed_files(root, found.folder, capsule),
    )
    ask.show([f"reproducing {record.name} of run {capsule.id}", *lines])
    if not found.own and not options.yes and not ask.agree("this capsule is from elsewhere; run that?"):
        raise ConfigurationError("nothing was run")
    given = _secrets(made, environ, ask)
    with ExitStack() as stack:
        tree = worktrees.make(root, found.folder, capsule)
        stack.callback(tree.lock.close)
        if not options.keep:
            stack.callback(tree.remove)
        worktrees.lay_results(tree.root, found.folder, worktrees.results_before(capsule, record.name))
        _local_config(root, tree.root)
        child = child_environment(environ, made, {**remote_environment, **given}, capsule, options)
        stack.enter_context(_tracking(root, tree.root, capsule, child))
        starter, child = _starter(options, tree.root, child)
        code = run_child([*starter, sys.executable, *made.arguments], tree.root, child)
        result = _result(root, tree, capsule, record.name, code)
        if options.keep:
            tree.keep()
            result = replace(result, place=tree.root)
    return result


def _starter(
    options: ReproduceOptions, tree: Path, child: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """What the pipeline is started with, and its environment: for a shell on a Dagger engine, the real CLI.

    That opens a terminal only for what runs in its own display.
    """
    if options.shell is None:
        return [], child
    from rondel.engines.choice import CLI, choose_engine, rondel_executable
    from rondel.settings import load_settings

    settings = load_settings(tree, {"engine": options.engine} if options.engine else {}, child)
    choice = choose_engine(settings, child, rondel_executable())
    if choice.kind != "dagger":
        return [], child
    return [choice.environment[CLI], "run"], {**child, **choice.environment}


def _result(root: Path, tree: Worktree, capsule: Capsule, stage: str, code: int) -> Reproduced:
    """Bring the new run's record to the project's own, and compare it with the old one."""
    runs = run_ids(tree.root)
    if not runs:
        raise RecordError(
            "the reproduction did not come as far as a run",
            why=f"`python {capsule.file}` ended with exit code {code}; see above",
            hint="--keep leaves the worktree for a look",
        )
    made = RunFolder.of(tree.root, runs[0])
    target = RunFolder.of(root, runs[0])
    target.path.parent.mkdir(parents=True, exist_ok=True)
    draft = target.path.with_name(f".{target.path.name}")
    shutil.copytree(made.path, draft, symlinks=True)
    draft.rename(target.path)
    again = load(root, str(target.path))[1]
    verdict = judge(capsule, again, stage)
    image = image_differences(capsule.stage(stage), again.stage(stage))
    return Reproduced(verdict=verdict, capsule=again, folder=target, exit_code=code, image=tuple(image))


def _secrets(made: Reproduction, environ: Mapping[str, str], ask: Prompter) -> dict[str, str]:
    """The secrets of the run that are not set here, asked for by name."""
    given: dict[str, str] = {}
    missing: list[str] = []
    for name in made.secrets:
        if environ.get(name):
            continue
        value = ask.secret(name)
        if value:
            given[name] = value
        elif name in made.declared:
            missing.append(name)
    if missing:
        raise ConfigurationError(
            f"the run had secrets that are not set here: {', '.join(missing)}",
            hint=f"export {missing[0]}=…",
        )
    return given


def child_environment(
    environ: Mapping[str, str],
    made: Reproduction,
    extra: Mapping[str, str],
    capsule: Capsule,
    options: ReproduceOptions,
) -> dict[str, str]:
    """The environment of the repetition: what results depend on as it was, all else as it is here."""
    kept = {name: value for name, value in environ.items() if name not in made.unset}
    kept |= {**made.environment, **extra}
    for name in _NOT_OF_A_REPRODUCTION:
        kept.pop(name, None)
    kept["RONDEL_REPRODUCES"] = capsule.id
    if (base := base_image(capsule, made.stage)) is not None:
        kept["RONDEL_BASE_IMAGE"] = base
    if options.shell:
        kept["RONDEL_SHELL"] = options.shell
        kept["RONDEL_SHELL_AT"] = str(shell_at(capsule.stage(made.stage), options.shell))
    return kept


def _remote(root: Path, capsule: Capsule, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Where the data comes from, in words, and the variable that says so to the child.

    What is set here wins, then the address that the run was given, if it is
    one that other machines can reach, then the project's configuration. A
    folder is named by its whole path: seen from the worktree it is elsewhere.
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
    """DVC's settings of this machine alone (credentials, mostly) are needed there, too."""
    source, target = root / ".dvc" / "config.local", tree / ".dvc" / "config.local"
    if source.is_file() and target.parent.is_dir():
        target.touch(mode=0o600)  # from its first moment: most of it is credentials
        shutil.copyfile(source, target)


@contextmanager
def _tracking(root: Path, tree: Path, capsule: Capsule, child: dict[str, str]) -> Iterator[None]:
    """Lead the child to an MLflow server: the configured one, the run's, or this project's own."""
    from rondel.ci.providers import detect
    from rondel.settings import load_settings
    from rondel.tracking.endpoint import is_loopback
    from rondel.tracking.session import connect

    recorded = capsule.environment.get("MLFLOW_TRACKING_URI", "")
    if not child.get("MLFLOW_TRACKING_URI") and recorded.startswith("http"):
        from urllib.parse import urlsplit

        if not is_loopback(urlsplit(recorded).hostname or ""):
            child["MLFLOW_TRACKING_URI"] = recorded
    settings = load_settings(tree, {}, child)
    if settings.tracking_uri:
        yield
        return
    # Not one of the worktree's own: champions and earlier runs are on the project's.
    endpoint, lease = connect(root, child, linger=0 if detect(child) else settings.linger)
    child["MLFLOW_TRACKING_URI"] = endpoint.uri
    try:
        yield
    finally:
        if lease is not None:
            lease.release()


def run_child(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> int:
    """Run a command on the user's terminal; its exit code. A signal to us ends it, too."""
    child: subprocess.Popen[bytes] | None = None
    told: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        # ^C reaches the whole group of a terminal by itself.
        if child is not None and (number != signal.SIGINT or not sys.stdin.isatty()):
            with suppress(ProcessLookupError):
                child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        child = subprocess.Popen(list(command), cwd=folder, env=dict(environ))
        while True:
            try:
                return child.wait(GRACE if told else 0.5)
            except subprocess.TimeoutExpired:
                if told:
                    child.kill()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
