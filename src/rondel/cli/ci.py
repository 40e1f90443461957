"""``rondel ci``: writes the files of CI systems from the pipeline, or checks that they match it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cli.arguments import Parser, add_options, given_options
from rondel.errors import ConfigurationError
from rondel.git.state import folder_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.ci.wrappers.wrapper import Wrapper
    from rondel.settings import CiOptions

DRIFTED = 1


def main(argv: Sequence[str]) -> int:
    """Write or check the files of CI systems, such as ``.gitlab-ci.yml`` and ``Jenkinsfile``."""
    from rondel.settings import CI_OPTIONS, find_root

    known = wrappers()
    parser = Parser(prog="rondel ci", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("action", choices=("generate", "check"))
    parser.add_argument(
        "system",
        nargs="*",
        default=[],
        metavar="SYSTEM",
        help=f"{', '.join(known)} (default: those that have a file here)",
    )
    parser.add_argument("--file", default="ci/main.py", help="the pipeline's file (default: ci/main.py)")
    add_options(parser, CI_OPTIONS)
    arguments = parser.parse_args(list(argv))
    root = find_root(Path.cwd())
    folder = folder_of(root)
    unknown = [name for name in arguments.system if name not in known]
    if unknown:
        raise ConfigurationError(f"there is no CI system {unknown[0]!r}", hint=f"known: {', '.join(known)}")
    top = _top(root, folder)
    present = [name for name, wrapper in known.items() if (top / wrapper.file(folder)).exists()]
    if arguments.action == "generate":
        present = present or list(known)
    chosen = [known[name] for name in arguments.system or present]
    files = _files(root, chosen, arguments.file, given_options(arguments, CI_OPTIONS))
    return _generate(files) if arguments.action == "generate" else _check(files)


def wrappers() -> dict[str, Wrapper]:
    """The files of CI systems, by the system's name."""
    from rondel.ci.providers import providers

    return {provider.name: provider.wrapper for provider in providers() if provider.wrapper is not None}


def write_files(root: Path, names: Sequence[str], file: str = "ci/main.py") -> None:
    """Write the files of these CI systems for the project at ``root``."""
    known = wrappers()
    _generate(_files(root, [known[name] for name in names], file, {}))


def is_taken(root: Path, wrapper: Wrapper) -> bool:
    """Whether the CI system's file exists, and a person has to choose where the jobs go in it.

    A file with jobs of other projects of the repository can take the jobs of one more.
    """
    from rondel.ci.wrappers.regions import BEGIN

    folder = folder_of(root)
    place = _top(root, folder) / wrapper.file(folder)
    if not place.exists():
        return False
    return not (folder and wrapper.together) or BEGIN.encode() not in place.read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A CI system's file, and the pipeline's regions in it."""

    wrapper: Wrapper
    place: Path
    regions: tuple[str, ...]
    options: CiOptions
    folder: str

    @property
    def shown(self) -> str:
        """The path relative to the project's folder."""
        return (
            f"{'../' * (self.folder.count('/') + 1)}{self.wrapper.path}" if self._above else self.wrapper.path
        )

    @property
    def _above(self) -> bool:
        return bool(self.folder) and self.wrapper.together

    def text(self) -> str | None:
        """The file's text, with its own line ends; bytes that are not UTF-8 survive a round trip."""
        return self.place.read_bytes().decode("utf-8", "surrogateescape") if self.place.exists() else None


def _top(root: Path, folder: str) -> Path:
    return root.parents[folder.count("/")] if folder else root


def _files(root: Path, chosen: Sequence[Wrapper], file: str, flags: Mapping[str, Any]) -> list[_File]:
    from rondel.ci.wrappers.changes import changes_of, code_patterns, kept_of, recipe_patterns, results_of
    from rondel.ci.wrappers.jobs import jobs_of
    from rondel.data import load_project
    from rondel.data.remote import find_remote
    from rondel.pipeline import load_pipeline
    from rondel.runner.check import check_calls
    from rondel.runner.disk_project import DiskProject
    from rondel.settings import load_ci_options, load_settings

    settings = load_settings(root, {}, {})
    options = load_ci_options(root, flags, os.environ)
    options = replace(options, secrets=tuple(dict.fromkeys((*settings.secrets, *options.secrets))))
    stages = load_pipeline(root / file).stages()
    check_calls(stages, DiskProject(settings, {}))
    project = load_project(root)
    recipe = recipe_patterns(root, settings.containerfile, settings.target, settings.build_args)
    changes = changes_of(stages, project, shared=(*code_patterns(root, file), *recipe))
    remote = find_remote(root, {}, settings.remote).folder if project.stages else None
    results, kept = results_of(stages, project), kept_of(remote, root)
    jobs = jobs_of(stages, changes, file=file, layout=options.layout, results=results, kept=kept)
    if options.layout == "stages" and remote is not None and len(jobs) > 1:
        print(
            f"note: the DVC remote is the folder {remote}; jobs on other runners can't get data from it",
            file=sys.stderr,
        )
    if flags and options.layout != (expected := load_ci_options(root, {}, os.environ).layout):
        print(
            f'note: `rondel ci check` expects layout = "{expected}"; '
            f'to keep this one, put layout = "{options.layout}" under [tool.rondel.ci]',
            file=sys.stderr,
        )
    folder = folder_of(root)
    return [
        _File(
            wrapper=wrapper,
            place=_top(root, folder) / wrapper.file(folder),
            regions=wrapper.regions(jobs, options, folder),
            options=options,
            folder=folder,
        )
        for wrapper in chosen
    ]


def _generate(files: Sequence[_File]) -> int:
    from rondel.ci.wrappers.regions import merge
    from rondel.files.atomic import write_atomic

    texts = [(file, merge(file.text(), file.regions, file.shown)) for file in files]
    for file, text in texts:
        file.wrapper.check(text, file.options, file.folder)
    for file, text in texts:
        state = "unchanged" if file.text() == text else "written"
        if state == "written":
            write_atomic(file.place, text.encode("utf-8", "surrogateescape"))
        print(f"{file.shown}: {state}")
        if file.folder and not file.wrapper.together and state == "written":
            path = file.wrapper.file(file.folder)
            print(f"note: set the script path of the {file.wrapper.name} job to {path}", file=sys.stderr)
    return 0


def _check(files: Sequence[_File]) -> int:
    from rondel.ci.wrappers.regions import drift

    found = [(file, drift(file.text(), file.regions, file.shown)) for file in files]
    drifted = [(file, each) for file, each in found if each is not None]
    for _, each in drifted:
        sys.stdout.write(each.diff)
    if drifted:
        names = " ".join(file.wrapper.name for file, _ in drifted)
        print(
            f"{', '.join(file.shown for file, _ in drifted)}: differs from the pipeline\n"
            f"  → rondel ci generate {names}",
            file=sys.stderr,
        )
        return DRIFTED
    print(f"{', '.join(file.shown for file in files) or 'no CI files'}: up to date with the pipeline")
    return 0
