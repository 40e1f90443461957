"""``rondel reproduce CAPSULE``: repeats the failed stage of any run on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import ConfigurationError, InputsDiffer, ResultsDiffer
from rondel.settings import find_root, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.reproduce.run import ReproductionResult


def main(argv: Sequence[str]) -> int:
    """Repeat the failed stage of a run with the same code, data, parameters and image, in a fresh worktree.

    CAPSULE is the ID of a local run, an exported file, the address of a file, a
    GitLab job or a Jenkins build, or an MLflow run ID. The default is the newest
    failed run. The exit code is 0 if the outcome is the same, 30 if the outcome
    and an input differ, and 31 if the outcome differs although the inputs are equal.
    """
    parser = Parser(prog="rondel reproduce", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("capsule", nargs="?", metavar="CAPSULE")
    parser.add_argument("--stage", metavar="STAGE", help="repeat this stage instead of the failed one")
    parser.add_argument(
        "--shell",
        choices=("before", "after"),
        help="open a shell in the container before the failing command, or after it",
    )
    parser.add_argument(
        "-P", "--param", action="append", default=[], metavar="PARAM=VALUE", help="try another value"
    )
    parser.add_argument("--keep", action="store_true", help="keep the worktree")
    parser.add_argument(
        "--engine", choices=("auto", "dagger", "embedded"), help="the engine that runs containers"
    )
    parser.add_argument(
        "-y", "--yes", action="store_true", help="don't ask before running a capsule from elsewhere"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would run")
    arguments = parser.parse_args(list(argv))
    from rondel.reproduce.capsule_source import find_capsule
    from rondel.reproduce.run import ReproduceOptions, reproduce

    root = find_root(Path.cwd())
    if arguments.shell and not sys.stdin.isatty():
        raise ConfigurationError("--shell needs a terminal", hint="run this in a terminal")
    found = find_capsule(root, arguments.capsule)
    if arguments.dry_run:
        from rondel.reproduce.plan import choose_stage, describe_plan, make_plan
        from rondel.reproduce.run import recorded_server
        from rondel.reproduce.worktree import changed_files
        from rondel.secrets.logins import without_login

        settings = load_settings(root, {}, os.environ)
        stage = choose_stage(found.capsule, arguments.stage).name
        lines = describe_plan(
            found.capsule,
            make_plan(
                found.capsule,
                stage,
                params=_params(arguments.param),
                engine=arguments.engine,
                named=settings.environment,
            ),
            python="python",
            remote="the remote",
            place="a worktree",
            tracking=without_login(settings.tracking_uri or recorded_server(found.capsule) or ""),
            changed=changed_files(root, found.folder, found.capsule),
        )
        print("\n".join(lines))
        return 0
    options = ReproduceOptions(
        stage=arguments.stage,
        params=_params(arguments.param),
        shell=arguments.shell,
        keep=arguments.keep,
        engine=arguments.engine,
        yes=arguments.yes,
    )
    result = reproduce(root, found, options, os.environ, TerminalPrompter())
    _show(result)
    if result.comparison.same:
        return 0
    return InputsDiffer.exit_code if result.comparison.parity.inputs else ResultsDiffer.exit_code


def _params(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(f"{word!r} does not have the form NAME=VALUE", place="-P")
        pairs.append((name.strip(), value))
    return tuple(pairs)


def _show(result: ReproductionResult) -> None:
    from rondel.record.folder import short_path

    comparison = result.comparison
    parity = comparison.parity
    print()
    for text in result.image:
        print(f"another image: {text}")
    if comparison.same:
        print(f"the same outcome: {comparison.stage} {comparison.after}, as in run {parity.a}")
    else:
        print(f"a different outcome: {comparison.stage} {comparison.after}")
        print(f"  in run {parity.a} it {comparison.before}")
        for line in comparison.differs:
            print(f"  {line}")
        first = parity.first
        if first is not None:
            print(
                f"  the first input that differs: {first.part} {first.entry}: {first.a} then, {first.b} now"
            )
        else:
            print("  no recorded input differs: the stage's results vary from run to run")
    print(f"the new run: {short_path(result.folder.path)}")
    print(f"compare: rondel parity {parity.a} {parity.b}")
    if result.worktree is not None:
        print(f"its worktree: {short_path(result.worktree)}")


class TerminalPrompter:
    """Asks on the terminal."""

    def show(self, lines: Sequence[str]) -> None:
        """Print lines."""
        print("\n".join(lines), flush=True)

    def agree(self, question: str) -> bool:
        """Ask for a yes. Raises ConfigurationError without a terminal."""
        if not sys.stdin.isatty():
            raise ConfigurationError(
                "this capsule comes from elsewhere; confirm with --yes",
                why="without a terminal, Rondel can't ask you to confirm the lines above",
            )
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

    def secret(self, name: str) -> str | None:
        """Ask for a secret without showing it."""
        if not sys.stdin.isatty():
            return None
        import getpass

        return getpass.getpass(f"secret {name} (leave empty for none): ") or None
