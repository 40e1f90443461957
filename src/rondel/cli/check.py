"""``rondel check --inputs``: lists files that stages read but do not declare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import ConfigurationError, InputsUndeclared
from rondel.record.validation import printable
from rondel.settings import find_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.data import DvcStage


def main(argv: Sequence[str]) -> int:
    """List the undeclared files that the commands of `dvc.yaml` read in their last runs.

    It uses the records of earlier runs and runs nothing. The exit code is 26 if there
    are such files, and 0 if there are none or if nothing is known about them.
    """
    parser = Parser(prog="rondel check", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("stages", metavar="STAGE", nargs="*", help="stages of dvc.yaml (default: all)")
    parser.add_argument("--inputs", action="store_true", help="check the inputs of stages")
    arguments = parser.parse_args(list(argv))
    if not arguments.inputs:
        raise ConfigurationError("nothing to check", hint="run `rondel check --inputs`")
    from rondel.data import find_stage, load_project

    root = find_root(Path.cwd())
    project = load_project(root)
    chosen = [find_stage(project, name) for name in arguments.stages] or list(project.stages.values())
    if not chosen:
        print("dvc.yaml has no stages; other stages depend on all files of the workspace")
    found: list[str] = []
    for stage in chosen:
        lines, wrong = inputs_of(root, stage)
        print("\n".join(map(printable, lines)))
        found += [stage.address] if wrong else []
    if found:
        raise InputsUndeclared(
            f"{', '.join(found)} read files that are not among their dependencies",
            why="if such a file changes, Rondel runs the stage again, but DVC does not",
            hint="add them to `deps` in dvc.yaml",
        )
    return 0


def inputs_of(root: Path, stage: DvcStage) -> tuple[list[str], bool]:
    """Lines about a stage's inputs, and whether it reads undeclared files."""
    from rondel.cache import load_dvc_entries

    kept = load_dvc_entries(root, stage.address)
    if not kept:
        return [f"{stage.address}: unknown, because it has not run here"], False
    undeclared = kept[0].undeclared
    if undeclared is None:
        return [f"{stage.address}: unknown, because run {kept[0].run} could not trace it"], False
    if not undeclared:
        return [f"{stage.address}: all files that it read in run {kept[0].run} are declared"], False
    return [f"{stage.address} in run {kept[0].run}:", *(f"  {path}" for path in undeclared)], True
