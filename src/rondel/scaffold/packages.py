"""Where a project says which packages it needs, and the commands that install them into an image."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rondel.data.dvc_files import dvc_files
from rondel.errors import ConfigurationError
from rondel.scaffold.conda import Environment, read_conda, read_python_env
from rondel.scaffold.requirements import WITHOUT_LOCAL, choose, normalized, read_requirements
from rondel.scaffold.versions import python_for

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
    """What the stages' image installs. ``source`` is the file that says so.

    ``copies`` are the files that the commands need; ``names`` the packages, as
    far as they can be known without a resolver; ``written`` a requirements
    file that ``init`` makes from the source. ``conda`` is set where the source
    is conda's: it can be installed as it is, and has to be if it asks for
    ``programs`` that no wheel has.
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
    """The first source of packages that there is, the more exact ones first; None without any.

    Raises ConfigurationError for a file that would have been used, and can't be read.
    """
    found = next(_sources(root, mlproject), None)
    if found is None:
        return None
    unused = [name for name in others(root) if name not in {found.source, *found.copies}]
    note = f"the image's packages are those of {found.source}"
    if unused:
        note += f"; not used: {', '.join(unused)}"
    return _with(found, python=found.python or python_for(root), notes=(note, *found.notes))


def _with(packages: Packages, **changes: Any) -> Packages:
    from dataclasses import replace

    return replace(packages, **changes)


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
    """The files that could say which packages are needed."""
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


def _at(document: Mapping[str, Any], *keys: str) -> Any:
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _names(document: Mapping[str, Any], *keys: str) -> list[str]:
    """The texts of a list, or the keys of a table; nothing where a file has something else there."""
    value = _at(document, *keys)
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
        git="git+" in _text(root / "uv.lock"),
        notes=_left_out(document),
    )


def _poetry(root: Path, document: Mapping[str, Any]) -> Packages | None:
    if not isinstance(_at(document, "tool", "poetry"), dict) or not (root / "poetry.lock").is_file():
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
        git='type = "git"' in _text(root / "poetry.lock"),
        notes=_left_out(document),
    )


def _pipfile_lock(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001 - one reader as another
    if not (root / "Pipfile.lock").is_file() or not (root / "Pipfile").is_file():
        return None
    return Packages(
        source="Pipfile.lock",
        copies=("Pipfile", "Pipfile.lock"),
        install=(
            "python3 -m venv /opt/pipenv && /opt/pipenv/bin/pip install --quiet pipenv",
            "/opt/pipenv/bin/pipenv requirements > locked.txt",
            # It begins with the index of the Pipfile, which would win over a mirror.
            "sed -i '/^-i /d' locked.txt",
            f"{PIP} --requirement locked.txt",
        ),
    )


def _requirement_files(root: Path) -> list[str]:
    folder = [path for path in root.glob("requirements/*.txt") if path.is_file()]
    beside = [path for path in root.glob("requirements*.txt") if path.is_file()]
    return sorted(path.relative_to(root).as_posix() for path in [*beside, *folder])


def _requirements(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001
    chosen, rest = choose(_requirement_files(root))
    if not chosen:
        chosen = [name for name in ("src/requirements.txt", "requirements.in") if (root / name).is_file()][:1]
    return _of_requirements(root, chosen, rest)


def _beside_stages(root: Path, document: Mapping[str, Any]) -> Packages | None:  # noqa: ARG001
    """What the folders of a monorepo ask for, all in the one image that stages share."""
    files = [f"{folder}/requirements.txt" for folder in _stage_folders(root)]
    return _of_requirements(root, [name for name in files if (root / name).is_file()])


def _stage_folders(root: Path) -> list[str]:
    """The folders below the project's that have a ``dvc.yaml`` of their own."""
    found = dvc_files(root).files if root.is_dir() else ()
    return [name.removesuffix("/dvc.yaml") for name in found if name.endswith("/dvc.yaml")]


def _of_requirements(root: Path, files: Iterable[str], rest: Iterable[str] = ()) -> Packages | None:
    read = {file: read_requirements(root, file) for file in files}
    names = frozenset().union(*(each.names for each in read.values()))
    local = any(each.local for each in read.values())
    if not read or (local and not names):
        return None  # `-e .` alone: what the project needs, another file says
    copies = tuple(dict.fromkeys(file for each in read.values() for file in each.files))
    words = " ".join(f"--requirement {shlex.quote(file)}" for file in read)
    strip = (f"sed -i -E '{WITHOUT_LOCAL}' {shlex.join(copies)}",) if local else ()
    note = "the project itself is not installed: stages see its present code through PYTHONPATH"
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
    needs = _at(document, "project", "dependencies")
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
    table = _at(document, "tool", "poetry", "dependencies")
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
        notes=("poetry.lock is not there, so the image takes the newest versions: `poetry lock` pins them",),
    )


def _left_out(document: Mapping[str, Any]) -> tuple[str, ...]:
    extras = _names(document, "project", "optional-dependencies") or _names(
        document, "tool", "poetry", "extras"
    )
    if not extras:
        return ()
    return (f"extras are not in the image ({', '.join(extras)}); the Containerfile can add them",)


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
    return _with(found, conda=file, programs=environment.programs, notes=tuple(notes))


def _python_env(root: Path, file: str) -> Packages:
    return _translated(root, file, read_python_env(root, file))


def _translated(root: Path, file: str, environment: Environment) -> Packages:
    """An environment for pip: its own lines in a file that ``init`` writes, and those that it includes."""
    folder = file.rpartition("/")[0]
    included = [f"{folder}/{name}".lstrip("/") for name in environment.includes]
    target = written_file(root)
    head = f"# Taken from {file} by `rondel init`: the stages' image installs this.\n"
    written = {target: head + "\n".join([*environment.pip, ""])} if environment.pip else {}
    found = _of_requirements(root, included) if included else None
    words = f"{PIP} --requirement {target}"
    note = (
        (f"{target} has the packages of {file} by their names on the Python index: check them",)
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
    """The requirements file that ``init`` may write: not one that is there, say with `-e .` alone."""
    return "requirements-rondel.txt" if (root / "requirements.txt").exists() else "requirements.txt"


def _setup(root: Path, document: Mapping[str, Any]) -> Packages | None:
    """What setuptools or another builder computes: it is asked, with the files that it usually reads."""
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
    table = _at(_toml(root / "Pipfile"), "packages")
    if not isinstance(table, dict) or not table:
        return None
    plain = {name: spec for name, spec in table.items() if isinstance(spec, str)}
    rest = [name for name in table if name not in plain]
    lines = [f"{name}{'' if spec == '*' else spec}" for name, spec in plain.items()]
    head = "# Taken from Pipfile by `rondel init`: the stages' image installs this.\n"
    target = written_file(root)
    odd = (f"{target} lacks {', '.join(rest)}: write them there as pip wants them",) if rest else ()
    return Packages(
        source="Pipfile",
        copies=(target,),
        install=(f"{PIP} --requirement {target}",),
        names=frozenset(map(normalized, table)),
        written={target: head + "\n".join([*lines, ""])},
        notes=(
            "Pipfile.lock is not there, so the image takes the newest versions: `pipenv lock` pins them",
            *odd,
        ),
    )


def _locked_names(path: Path) -> frozenset[str]:
    return frozenset(map(normalized, re.findall(r'^name = "([^"]+)"', _text(path), re.MULTILINE)))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
