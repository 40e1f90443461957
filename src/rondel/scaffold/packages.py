"""Finds a project's package list, and the commands that install the packages into an image."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rondel.data.dvc_files import dvc_files
from rondel.errors import ConfigurationError
from rondel.scaffold.conda import PackageEnvironment, read_conda, read_python_env
from rondel.scaffold.lenient import text_of, value_at
from rondel.scaffold.python_version import python_for
from rondel.scaffold.requirements import WITHOUT_LOCAL, choose_files, normalized, read_requirements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from rondel.data.mlproject import MLProject

PIP = "/opt/venv/bin/pip install --quiet"
UV = "/opt/uv/bin/uv"
INSTALL_UV = 'python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet "uv>=0.5"'
CONDA_FILES = ("environment.yml", "environment.yaml", "conda.yaml", "conda.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """The packages that the stages' image installs. ``source`` is the file that lists them.

    ``copies`` are the files that the install commands need. ``names`` are the
    packages that are known without a resolver. ``written`` is a requirements file
    that ``init`` makes from the source. ``conda`` is the source if it is conda's;
    conda must install it if it lists ``programs`` that no wheel contains.
    """

    source: str
    copies: tuple[str, ...] = ()
    install: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    python: str | None = None
    git: bool = False
    written: Mapping[str, str] = field(default_factory=dict)
    conda: str | None = None
    programs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_packages(root: Path, mlproject: MLProject | None) -> Packages | None:
    """The project's most exact package list; None if it has none.

    Raises ConfigurationError if that file can't be read.
    """
    found = next(_sources(root, mlproject), None)
    if found is None:
        return None
    unused = [name for name in others(root) if name not in {found.source, *found.copies}]
    note = f"the image has the packages of {found.source}"
    if unused:
        note += f"; not used: {', '.join(unused)}"
    return replace(found, python=found.python or python_for(root), notes=(note, *found.notes))


def _sources(root: Path, mlproject: MLProject | None) -> Iterator[Packages]:
    if mlproject is not None and mlproject.python_env:
        yield _python_env(root, mlproject.python_env)
    if mlproject is not None and mlproject.conda_env:
        yield _conda(root, mlproject.conda_env)
    document = _toml(root / "pyproject.toml")
    readers: tuple[Callable[[Path, Mapping[str, Any]], Packages | None], ...] = (
        _uv_lock, _poetry, _pipfile_lock, _requirements, _pyproject, _environment, _setup, _pipfile,
        _beside_stages,
    )  # fmt: skip
    for reader in readers:
        packages = reader(root, document)
        if packages is not None:
            yield packages


def others(root: Path) -> Iterator[str]:
    """The files that may list packages."""
    names = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt", "src/requirements.txt")
    more = ("python_env.yaml", *CONDA_FILES, "setup.py", "setup.cfg", "Pipfile", "renv.lock")
    found = [name for name in (*names, *more) if (root / name).is_file()]
    below = [
        f"{folder}/{name}" for folder in _stage_folders(root) for name in (*names, *more, "pyproject.toml")
    ]
    found += [name for name in below if (root / name).is_file()]
    yield from dict.fromkeys([*found, *_requirement_files(root)])


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError("this is not valid TOML", why=str(error), place=path.name) from None


def _names(document: Mapping[str, Any], *keys: str) -> list[str]:
    """The texts of a list, or the keys of a table; empty for other values."""
    value = value_at(document, *keys)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list | dict) else []


def _uv_lock(root: Path, document: Mapping[str, Any]) -> Packages | None:
    if not (root / "uv.lock").is_file() or not document:
        return None
    members = tuple(
        path.relative_to(root).as_posix()
        for each in _names(document, "tool", "uv", "workspace", "members")
        for path in sorted(root.glob(f"{each}/pyproject.toml"))
    )
    return Packages(
        source="uv.lock",
        copies=("pyproject.toml", "uv.lock", *members),
        install=(
            INSTALL_UV,
            f"{UV} export --quiet --frozen --no-default-groups --no-emit-workspace --output-file locked.txt",
            f"{PIP} --no-deps --requirement locked.txt",
        ),
        names=_locked_names(root / "uv.lock"),
        git="git+" in text_of(root / "uv.lock"),
        notes=_left_out(document),
    )


def _poetry(root: Path, document: Mapping[str, Any]) -> Packages | None:
    if not isinstance(value_at(document, "tool", "poetry"), dict) or not (root / "poetry.lock").is_file():
        return None
    return Packages(
        source="poetry.lock",
        copies=("pyproject.toml", "poetry.lock"),
        install=(
            "python3 -m venv /opt/poetry",
            '/opt/poetry/bin/pip install --quiet "poetry>=2" poetry-plugin-export',
            "/opt/poetry/bin/poetry export --quiet --only main --without-hashes --output locked.txt",
            f"{PIP} --no-deps --requirement locked.txt",
        ),
        names=_locked_names(root / "poetry.lock"),
        git='type = "git"' in text_of(root / "poetry.lock"),
        notes=_left_out(document),
    )


def _pipfile_lock(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001 - all readers have the same signature
    if not (root / "Pipfile.lock").is_file() or not (root / "Pipfile").is_file():
        return None
    return Packages(
        source="Pipfile.lock",
        copies=("Pipfile", "Pipfile.lock"),
        install=(
            "python3 -m venv /opt/pipenv && /opt/pipenv/bin/pip install --quiet pipenv",
            "/opt/pipenv/bin/pipenv requirements > locked.txt",
            # It begins with the Pipfile's index, which would take precedence over a mirror.
            "sed -i '/^-i /d' locked.txt",
            f"{PIP} --requirement locked.txt",
        ),
    )


def _requirement_files(root: Path) -> list[str]:
    folder = [path for path in root.glob("requirements/*.txt") if path.is_file()]
    beside = [path for path in root.glob("requirements*.txt") if path.is_file()]
    return sorted(path.relative_to(root).as_posix() for path in [*beside, *folder])


def _requirements(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001
    chosen, rest = choose_files(_requirement_files(root))
    if not chosen:
        chosen = [name for name in ("src/requirements.txt", "requirements.in") if (root / name).is_file()][:1]
    return _of_requirements(root, chosen, rest)


def _beside_stages(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001
    """The packages of a monorepo's folders, in one image that all stages share."""
    files = [f"{folder}/requirements.txt" for folder in _stage_folders(root)]
    return _of_requirements(root, [name for name in files if (root / name).is_file()])


def _stage_folders(root: Path) -> list[str]:
    """The subfolders with their own ``dvc.yaml``."""
    found = dvc_files(root).files if root.is_dir() else ()
    return [name.removesuffix("/dvc.yaml") for name in found if name.endswith("/dvc.yaml")]


def _of_requirements(root: Path, files: Iterable[str], rest: Iterable[str] = ()) -> Packages | None:
    read = {file: read_requirements(root, file) for file in files}
    names = frozenset().union(*(each.names for each in read.values()))
    local = any(each.local for each in read.values())
    if not read or (local and not names):
        return None  # only `-e .`: another file lists what the project needs
    copies = tuple(dict.fromkeys(file for each in read.values() for file in each.files))
    words = " ".join(f"--requirement {shlex.quote(file)}" for file in read)
    strip = (f"sed -i -E '{WITHOUT_LOCAL}' {shlex.join(copies)}",) if local else ()
    note = "the image does not contain the project itself: stages import its current code through PYTHONPATH"
    unused = [name for name in rest if name not in copies]
    return Packages(
        source=", ".join(read),
        copies=copies,
        install=(*strip, f"{PIP} {words}"),
        names=names,
        git=any(each.git for each in read.values()),
        notes=((note,) if local else ()) + ((f"not in the image: {', '.join(unused)}",) if unused else ()),
    )


_POETRY_NEEDS = (
    "from pathlib import Path; from poetry.core.factory import Factory; "
    "needs = Factory().create_poetry(Path.cwd()).package.requires; "
    "print(*(need.to_pep_508() for need in needs if not need.is_optional()), sep=chr(10))"
)


def _pyproject(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001
    needs = value_at(document, "project", "dependencies")
    if isinstance(needs, list) and needs:
        return Packages(
            source="pyproject.toml",
            copies=("pyproject.toml",),
            install=(
                INSTALL_UV,
                f"{UV} pip install --quiet --python /opt/venv/bin/python --requirement pyproject.toml",
            ),
            names=frozenset(
                normalized(re.split(r"[^A-Za-z0-9._-]", str(need), maxsplit=1)[0]) for need in needs
            ),
            git=any("git+" in str(need) for need in needs),
            notes=_left_out(document),
        )
    table = value_at(document, "tool", "poetry", "dependencies")
    if not isinstance(table, dict) or not set(table) - {"python"}:
        return None
    return Packages(
        source="pyproject.toml",
        copies=("pyproject.toml",),
        install=(
            "python3 -m venv /opt/poetry && /opt/poetry/bin/pip install --quiet poetry-core",
            f'/opt/poetry/bin/python -c "{_POETRY_NEEDS}" > needs.txt',
            f"{PIP} --requirement needs.txt",
        ),
        names=frozenset(normalized(str(name)) for name in table),
        git=any(isinstance(each, dict) and "git" in each for each in table.values()),
        notes=("without poetry.lock, the image gets the newest versions; `poetry lock` pins them",),
    )


def _left_out(document: Mapping[str, Any]) -> tuple[str, ...]:
    extras = _names(document, "project", "optional-dependencies") or _names(
        document, "tool", "poetry", "extras"
    )
    if not extras:
        return ()
    return (f"extras are not in the image ({', '.join(extras)}); add them to the Containerfile if needed",)


def _environment(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001
    for name in CONDA_FILES:
        if (root / name).is_file():
            return _conda(root, name)
    return _python_env(root, "python_env.yaml") if (root / "python_env.yaml").is_file() else None


def _conda(root: Path, file: str) -> Packages:
    environment = read_conda(root, file)
    found = _translated(root, file, environment)
    notes = list(found.notes)
    if environment.tools:
        notes.append(
            f"not in the image: {', '.join(environment.tools)}; add them with apt-get if stages use them"
        )
    return replace(found, conda=file, programs=environment.programs, notes=tuple(notes))


def _python_env(root: Path, file: str) -> Packages:
    return _translated(root, file, read_python_env(root, file))


def _translated(root: Path, file: str, environment: PackageEnvironment) -> Packages:
    """An environment for pip: its own lines go into a file that ``init`` writes, plus included files."""
    folder = file.rpartition("/")[0]
    included = [f"{folder}/{name}".lstrip("/") for name in environment.includes]
    target = written_file(root)
    head = f"# `rondel init` made this from {file}. The stages' image installs it.\n"
    written = {target: head + "\n".join([*environment.pip, ""])} if environment.pip else {}
    found = _of_requirements(root, included) if included else None
    words = f"{PIP} --requirement {target}"
    note = (
        (f"{target} lists the packages of {file} with their names on the Python index: check them",)
        if written
        else ()
    )
    return Packages(
        source=file,
        copies=(*written, *(found.copies if found else ())),
        install=(*((words,) if written else ()), *(found.install if found else ())),
        names=frozenset(
            normalized(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]) for line in environment.pip
        )
        | (found.names if found else frozenset()),
        python=environment.python,
        git=any("git+" in line for line in environment.pip) or (found is not None and found.git),
        written=written,
        notes=note,
    )


def written_file(root: Path) -> str:
    """The name of the requirements file that ``init`` writes; never that of an existing file."""
    return "requirements-rondel.txt" if (root / "requirements.txt").exists() else "requirements.txt"


def _setup(root: Path, document: Mapping[str, Any]) -> Packages | None:
    """Dependencies that a build backend computes; it gets the files that it usually reads."""
    dynamic = "dependencies" in _names(document, "project", "dynamic")
    name = next((name for name in ("setup.py", "setup.cfg") if (root / name).is_file()), None)
    if name is None and not dynamic:
        return None
    usual = ("pyproject.toml", "setup.py", "setup.cfg", "README.md", "README.rst", "VERSION", "MANIFEST.in")
    asked = name or "pyproject.toml"
    return Packages(
        source=asked,
        copies=tuple(file for file in usual if (root / file).is_file()),
        install=(INSTALL_UV, f"{UV} pip install --quiet --python /opt/venv/bin/python --requirement {asked}"),
        notes=(f"if {asked} reads other files, add them to the Containerfile's COPY",),
    )


def _pipfile(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001
    table = value_at(_toml(root / "Pipfile"), "packages")
    if not isinstance(table, dict) or not table:
        return None
    plain = {name: spec for name, spec in table.items() if isinstance(spec, str)}
    rest = [name for name in table if name not in plain]
    lines = [f"{name}{'' if spec == '*' else spec}" for name, spec in plain.items()]
    head = "# `rondel init` made this from Pipfile. The stages' image installs it.\n"
    target = written_file(root)
    odd = (f"add {', '.join(rest)} to {target} in pip's syntax",) if rest else ()
    return Packages(
        source="Pipfile",
        copies=(target,),
        install=(f"{PIP} --requirement {target}",),
        names=frozenset(map(normalized, table)),
        written={target: head + "\n".join([*lines, ""])},
        notes=(
            "without Pipfile.lock, the image gets the newest versions; `pipenv lock` pins them",
            *odd,
        ),
    )


def _locked_names(path: Path) -> frozenset[str]:
    return frozenset(map(normalized, re.findall(r'^name = "([^"]+)"', text_of(path), re.MULTILINE)))
