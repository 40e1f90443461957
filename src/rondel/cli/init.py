"""``rondel init``: creates an ML project, or adds a pipeline to an existing DVC or MLflow project."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def main(argv: Sequence[str]) -> int:
    """Create an ML project in FOLDER (default: here): pipeline, Containerfile, DVC stages, CI files, tests.

    If the folder has a dvc.yaml or an MLproject, their stages and entry points
    become the pipeline, and the image gets the packages that the project lists.
    Existing files stay; .gitignore, .dvc/config and pyproject.toml may get new lines.
    """
    from rondel.scaffold import edited_files, new_files, scan_project, write_project

    parser = Parser(prog="rondel init", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER")
    parser.add_argument("--name", help="the project's name (default: the folder's)")
    parser.add_argument(
        "-P",
        dest="values",
        action="append",
        default=[],
        metavar="POINT.NAME=VALUE",
        help="a parameter of an MLproject entry point that has no default",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only list the files to create")
    arguments = parser.parse_args(list(argv))
    root = Path(arguments.folder).resolve()
    above = next(folder for folder in (root, *root.parents) if folder.exists())
    if not above.is_dir():
        raise ConfigurationError(f"{above} is a file", hint="pass a new or existing folder")
    if arguments.name is not None and not NAME.fullmatch(arguments.name):
        raise ConfigurationError(
            f"{arguments.name!r} cannot be a project's name",
            why="it becomes the name of the Python project and of the model",
            hint="use letters, digits, '-', '_' and '.'",
            place="--name",
        )
    found = scan_project(root, arguments.name, arguments.values)
    wanted = new_files(found)
    clashes = [path for path in wanted if (root / path).exists()]
    if clashes:
        raise ConfigurationError(
            f"{clashes[0]} already exists; nothing was written",
            why="\n".join(f"also {path}" for path in clashes[1:]) or None,
            hint="move it away, or run `rondel init` in another folder",
            place=str(root),
        )
    if arguments.dry_run:
        from rondel.cli.ci import wrappers

        files = [wrapper.path for wrapper in wrappers().values() if not (root / wrapper.path).exists()]
        print("\n".join([*wanted, *(f"{path}: lines added" for path in edited_files(found)), *files]))
        print("".join(f"note: {note}\n" for note in found.notes), end="")
        return 0
    for line in write_project(root, found, wanted):
        print(line)
    _wrappers(root)
    where = "" if root == Path.cwd() else f"cd {arguments.folder} && "
    print(f"next: {where}python ci/main.py --list", file=sys.stderr)
    return 0


def _wrappers(root: Path) -> None:
    """Write the files of CI systems that do not exist yet."""
    from rondel.cli.ci import is_taken, wrappers, write_files

    for name, wrapper in wrappers().items():
        if is_taken(root, wrapper):
            print(f"note: {wrapper.path} exists; `rondel ci generate {name}` tells how to add the jobs to it")
        else:
            write_files(root, [name])
