"""``rondel ci``: write the CI system's files from the pipeline, or check that they fit it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import ConfigurationError
from rondel.git.state import folder_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.settings.ci import CiOptions
    from rondel.wrappers import Layout, Wrapper

DRIFTED = 1


def main(argv: Sequence[str]) -> int:
    """Generate or check ``.gitlab-ci.yml`` and ``Jenkinsfile``."""
    from rondel.settings import find_root
    from rondel.wrappers import WRAPPERS

    parser = Parser(prog="rondel ci", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("action", choices=("generate", "check"))
    parser.add_argument(
        "system",
        nargs="*",
        default=[],
        metavar="SYSTEM",
        help="gitlab, jenkins (default: those whose file is there)",
    )
    parser.add_argument(
        "--layout", choices=("single", "stages"), default=None, help="one job, or one a stage"
    )
    parser.add_argument("--file", default="ci/main.py", help="where the pipeline is declared (ci/main.py)")
    arguments = parser.parse_args(list(argv))
    root = find_root(Path.cwd())
    folder = folder_of(root)
    unknown = [name for name in arguments.system if name not in WRAPPERS]
    if unknown:
        raise ConfigurationError(
            f"there is no CI system {unknown[0]!r}", hint=f"known: {', '.join(WRAPPERS)}"
        )
    top = _top(root, folder)
    present = [name for name, wrapper in WRAPPERS.items() if (top / wrapper.file(folder)).exists()]
    if arguments.action == "generate":
        present = present or list(WRAPPERS)
    chosen = [WRAPPERS[name] for name in arguments.system or present]
    files = _files(root, chosen, arguments.file, arguments.layout)
    return _generate(files) if arguments.action == "generate" else _check(files)


def write_files(root: Path, names: Sequence[str], file: str = "ci/main.py") -> None:
    """Write these CI systems' files for the project at ``root``."""
    from rondel.wrappers import WRAPPERS

    _generate(_files(root, [WRAPPERS[name] for name in names], file, None))


def is_taken(root: Path, name: str) -> bool:
    """Whether the CI system's file is there and somebody has to say where the jobs stand in it.

    A file with jobs of other projects of the repository takes up those of one more.
    """
    from rondel.wrappers import WRAPPERS
    from rondel.wrappers.regions import BEGIN

    wrapper, folder = WRAPPERS[name], folder_of(root)
    place = _top(root, folder) / wrapper.file(folder)
    if not place.exists():
        return False
    return not (folder and wrapper.together) or BEGIN.encode() not in place.read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A CI system's file: where it is, and the regions that the pipeline has in it."""

    wrapper: Wrapper
    place: Path
    regions: tuple[str, ...]
    options: CiOptions
    folder: str

    @property
    def shown(self) -> str:
        """Its path from the project's folder."""
        return (
            f"{'../' * (self.folder.count('/') + 1)}{self.wrapper.path}" if self._above else self.wrapper.path
        )

    @property
    def _above(self) -> bool:
        return bool(self.folder) and self.wrapper.together

    def text(self) -> str | None:
        """Its text with its own line ends; bytes that are no UTF-8 come back as they were."""
        return self.place.read_bytes().decode("utf-8", "surrogateescape") if self.place.exists() else None


def _top(root: Path, folder: str) -> Path:
    return root.parents[folder.count("/")] if folder else root


def _files(root: Path, wrappers: Sequence[Wrapper], file: str, layout: str | None) -> list[_File]:
    from rondel.data import load_project
    from rondel.data.remote import find_remote
    from rondel.pipeline import load_pipeline
    from rondel.runner.check import check_calls
    from rondel.runner.disk_project import DiskProject
    from rondel.settings import load_settings
    from rondel.settings.ci import load_ci_options
    from rondel.wrappers import jobs_of
    from rondel.wrappers.changes import changes_of, code_patterns, kept_of, recipe_patterns, results_of

    settings = load_settings(root, {}, {})
    options = load_ci_options(root)
    options = replace(options, secrets=tuple(dict.fromkeys((*settings.secrets, *options.secrets))))
    stages = load_pipeline(root / file).stages()
    check_calls(stages, DiskProject(settings, {}))
    project = load_project(root)
    recipe = recipe_patterns(root, settings.containerfile, settings.target, settings.build_args)
    changes = changes_of(stages, project, shared=(*code_patterns(root, file), *recipe))
    remote = find_remote(root, {}, settings.remote).folder if project.stages else None
    chosen: Layout = layout or options.layout  # type: ignore[assignment]
    results, kept = results_of(stages, project), kept_of(remote, root)
    jobs = jobs_of(stages, changes, file=file, layout=chosen, results=results, kept=kept)
    if chosen == "stages" and remote is not None and len(jobs) > 1:
        print(
            f"note: the DVC remote is the folder {remote}; jobs on other runners can't get data from it",
            file=sys.stderr,
        )
    if chosen != options.layout:
        print(
            f'note: `rondel ci check` expects layout = "{options.layout}"; '
            f'to keep this one, put layout = "{chosen}" under [tool.rondel.ci]',
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
        for wrapper in wrappers
    ]


def _generate(files: Sequence[_File]) -> int:
    from rondel.files.atomic import write_atomic
    from rondel.wrappers import merge

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
            print(
                f"note: {file.wrapper.name} reads {path} where that is the job's script path", file=sys.stderr
            )
    return 0


def _check(files: Sequence[_File]) -> int:
    from rondel.wrappers import drift

    found = [(file, drift(file.text(), file.regions, file.shown)) for file in files]
    drifted = [(file, each) for file, each in found if each is not None]
    for _, each in drifted:
        sys.stdout.write(each.diff)
    if drifted:
        names = " ".join(file.wrapper.name for file, _ in drifted)
        print(
            f"{', '.join(file.shown for file, _ in drifted)}: not as the pipeline says\n"
            f"  → rondel ci generate {names}",
            file=sys.stderr,
        )
        return DRIFTED
    print(f"{', '.join(file.shown for file in files) or 'no CI files'}: as the pipeline says")
    return 0
