"""``rondel ci``: write the CI system's files from the pipeline, or check that they fit it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    unknown = [name for name in arguments.system if name not in WRAPPERS]
    if unknown:
        raise ConfigurationError(
            f"there is no CI system {unknown[0]!r}", hint=f"known: {', '.join(WRAPPERS)}"
        )
    present = [name for name, wrapper in WRAPPERS.items() if (root / wrapper.path).exists()]
    if arguments.action == "generate":
        present = present or list(WRAPPERS)
    chosen = [WRAPPERS[name] for name in arguments.system or present]
    regions = _regions(root, chosen, arguments.file, arguments.layout)
    return _generate(root, regions) if arguments.action == "generate" else _check(root, regions, chosen)


def write_files(root: Path, names: Sequence[str], file: str = "ci/main.py") -> None:
    """Write these CI systems' files for the project at ``root``."""
    from rondel.wrappers import WRAPPERS

    _generate(root, _regions(root, [WRAPPERS[name] for name in names], file, None))


def _regions(
    root: Path, wrappers: Sequence[Wrapper], file: str, layout: str | None
) -> dict[str, tuple[str, ...]]:
    from dataclasses import replace

    from rondel.data import load_project
    from rondel.data.remote import find_remote
    from rondel.pipeline import load_pipeline
    from rondel.runner.check import check_uses
    from rondel.runner.disk import DiskProject
    from rondel.settings import load_settings
    from rondel.settings.ci import load_ci_options
    from rondel.wrappers import jobs_of
    from rondel.wrappers.changes import changes_of, code_patterns, kept_of, recipe_patterns, results_of

    settings = load_settings(root, {}, {})
    options = load_ci_options(root)
    options = replace(options, secrets=tuple(dict.fromkeys((*settings.secrets, *options.secrets))))
    stages = load_pipeline(root / file).stages()
    check_uses(stages, DiskProject(settings, {}))
    project = load_project(root)
    recipe = recipe_patterns(root, settings.containerfile, settings.target)
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
    return {wrapper.path: wrapper.regions(jobs, options) for wrapper in wrappers}


def _generate(root: Path, regions: dict[str, tuple[str, ...]]) -> int:
    from rondel.record.folder import write_atomically
    from rondel.wrappers import merge

    texts = {path: merge(_read(root / path), region, path) for path, region in regions.items()}
    for path, text in texts.items():
        state = "unchanged" if _read(root / path) == text else "written"
        if state == "written":
            write_atomically(root / path, text.encode("utf-8", "surrogateescape"))
        print(f"{path}: {state}")
    return 0


def _check(root: Path, regions: dict[str, tuple[str, ...]], wrappers: Sequence[Wrapper]) -> int:
    from rondel.wrappers import drift

    found = {path: drift(_read(root / path), region, path) for path, region in regions.items()}
    for each in found.values():
        if each is not None:
            sys.stdout.write(each.diff)
    if any(found.values()):
        names = " ".join(wrapper.name for wrapper in wrappers if found[wrapper.path])
        print(
            f"{', '.join(path for path in found if found[path])}: not as the pipeline says\n"
            f"  → rondel ci generate {names}",
            file=sys.stderr,
        )
        return DRIFTED
    print(f"{', '.join(regions) or 'no CI files'}: as the pipeline says")
    return 0


def _read(path: Path) -> str | None:
    """The file's text with its own line ends; bytes that are no UTF-8 come back as they were."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else None
