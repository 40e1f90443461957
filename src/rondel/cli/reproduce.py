"""``rondel reproduce CAPSULE``: the failed stage of any run, here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import ConfigurationError, InputsDiffer, ResultsDiffer
from rondel.settings import find_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.reproduce.run import Reproduced


def main(argv: Sequence[str]) -> int:
    """Run the failed stage of a run again, with its code, data, parameters and image, in a fresh worktree.

    CAPSULE is a run's ID here, an exported file, the address of one, of a
    GitLab job or a Jenkins build, or an MLflow run ID; without it the newest
    run that failed. The exit code is 0 if the outcome is the same, 30 if it
    differs and so does an input, 31 if it differs although the inputs do not.
    """
    parser = Parser(prog="rondel reproduce", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("capsule", nargs="?", metavar="CAPSULE")
    parser.add_argument("--stage", metavar="STAGE", help="this one instead of the one that failed")
    parser.add_argument(
        "--shell",
        choices=("before", "after"),
        help="a shell in the container just before the failing command, or in what it left",
    )
    parser.add_argument(
        "-P", "--param", action="append", default=[], metavar="PARAM=VALUE", help="try another value"
    )
    parser.add_argument("--keep", action="store_true", help="leave the worktree in place")
    parser.add_argument("--engine", choices=("auto", "dagger", "embedded"), help="what runs the containers")
    parser.add_argument(
        "-y", "--yes", action="store_true", help="do not ask before running a foreign capsule"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only show what would run")
    arguments = parser.parse_args(list(argv))
    from rondel.reproduce.run import ReproduceOptions, reproduce
    from rondel.reproduce.source import find

    root = find_root(Path.cwd())
    if arguments.shell and not sys.stdin.isatty():
        raise ConfigurationError("--shell needs a terminal", hint="run this by hand")
    found = find(root, arguments.capsule)
    if arguments.dry_run:
        from rondel.reproduce.plan import choose_stage, describe, plan
        from rondel.reproduce.worktree import changed_files

        stage = choose_stage(found.capsule, arguments.stage).name
        made = plan(found.capsule, stage, params=_params(arguments.param), engine=arguments.engine)
        lines = describe(
            found.capsule,
            made,
            python="python",
            remote="the remote",
            place="a worktree",
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
    result = reproduce(root, found, options, os.environ, Terminal())
    _show(result)
    if result.verdict.same:
        return 0
    return InputsDiffer.exit_code if result.verdict.parity.inputs else ResultsDiffer.exit_code


def _params(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(f"{word!r} does not have the form NAME=VALUE", place="-P")
        pairs.append((name.strip(), value))
    return tuple(pairs)


def _show(result: Reproduced) -> None:
    from rondel.record.folder import short_path

    verdict = result.verdict
    print()
    for text in result.image:
        print(f"another image: {text}")
    if verdict.same:
        print(f"the same outcome: {verdict.stage} {verdict.after}, as in run {verdict.parity.a}")
    else:
        print(f"a different outcome: {verdict.stage} {verdict.after}")
        print(f"  in run {verdict.parity.a} it {verdict.before}")
        for line in verdict.differs:
            print(f"  {line}")
        first = verdict.parity.first
        if first is not None:
            print(
                f"  the first input that differs: {first.part} {first.entry}: {first.a} then, {first.b} now"
            )
        else:
            print("  no input differs that is recorded: the stage does not give the same every time")
    print(f"the new run: {short_path(result.folder.path)}")
    print(f"compare: rondel parity {verdict.parity.a} {verdict.parity.b}")
    if result.place is not None:
        print(f"its worktree: {short_path(result.place)}")


class Terminal:
    """Asks on the terminal; where there is none, nobody agrees to anything."""

    def show(self, lines: Sequence[str]) -> None:
        """Print lines."""
        print("\n".join(lines), flush=True)

    def agree(self, question: str) -> bool:
        """Prompter for a yes."""
        if not sys.stdin.isatty():
            raise ConfigurationError(
                "this capsule was made elsewhere, and nobody can be asked whether to run what it says",
                hint="look at the lines above; --yes agrees to them",
            )
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}

    def secret(self, name: str) -> str | None:
        """Prompter for a secret without showing it."""
        if not sys.stdin.isatty():
            return None
        import getpass

        return getpass.getpass(f"secret {name} (empty: none): ") or None
