"""The texts of Containerfiles. Each has the targets ``stage`` and ``runner``."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from rondel.scaffold.packages import PIP
from rondel.scaffold.versions import USUAL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rondel.scaffold.packages import Packages

_HEAD = """\
# The environment of every stage (target `stage`), on a laptop and in CI, and the
# one of a CI job that starts pipelines (target `runner`).
"""
_WITH_INDEX = """\
RUN --mount=type=secret,id=package-index \\
    --mount=type=cache,id=pip,target=/var/cache/pip \\
    if [ -f /run/secrets/package-index ]; then . /run/secrets/package-index; fi; \\
    export PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1; \\
"""
_UV_INDEX = """\
    export UV_CACHE_DIR=/var/cache/pip/uv UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_SYSTEM_CERTS=1; \\
    if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"; fi; \\
"""
_GIT = """\
RUN command -v git > /dev/null \\
    || { apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*; }
"""
_RONDEL = '"rondel[mlops,ci]"'


def python_image(packages: Packages, *, paths: str, mlflow: bool) -> str:
    """An image with a virtual environment of the project's packages; ``paths`` are PYTHONPATH's."""
    python = packages.python or USUAL
    commands = ["python3 -m venv /opt/venv", *packages.install]
    if mlflow:
        commands.append(f"{PIP} mlflow")
    lines = [
        _HEAD,
        f"ARG PYTHON={python}\n\n",
        "FROM python:${PYTHON}-slim AS stage\n",
        _environment("/opt/venv", paths),
    ]
    if packages.git:
        lines.append(_GIT)
    lines += ["WORKDIR /opt/packages\n", *_copies(packages.copies)]
    lines.append("# The secret may hold `export PIP_INDEX_URL=…`, so that credentials reach no layer.\n")
    if mlflow:
        lines.append(
            "# MLflow starts the entry points; the project's own version of it stays, if it has one.\n"
        )
    lines += [_install(commands), "WORKDIR /work\n", "\n\n", _runner(python)]
    if packages.conda:
        lines += ["\n\n", _offered(packages, paths)]
    return "".join(lines)


def _environment(prefix: str, paths: str) -> str:
    return f"ENV PATH={prefix}/bin:$PATH \\\n    PYTHONPATH={paths} \\\n    PYTHONUNBUFFERED=1\n"


def _copies(files: Iterable[str]) -> list[str]:
    """One COPY a folder, so that files that name each other by relative paths still find each other."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file.rpartition("/")[0], []).append(file)
    return [
        f"COPY {json.dumps([*names, target], ensure_ascii=False)}\n" if any(" " in name for name in names)
        else f"COPY {' '.join(names)} {target}\n"
        for folder, names in folders.items()
        for target in [f"{folder}/" if folder else "./"]
    ]  # fmt: skip


def _install(commands: list[str]) -> str:
    uv = any("/opt/uv/" in command for command in commands)
    return _WITH_INDEX + (_UV_INDEX if uv else "") + "    " + " \\\n    && ".join(commands) + "\n"


def _runner(python: str) -> str:
    """The image of CI jobs: the stages' own if Rondel runs on its Python, for stages can run in it then."""
    if int(python.split(".")[1]) < 11:
        return f"# Rondel needs Python 3.11.\n{_alone()}"
    return f"FROM stage AS runner\n{_GIT}{_install([f'{PIP} {_RONDEL}'])}"


def _alone() -> str:
    return (
        f"FROM python:{USUAL}-slim AS runner\nENV PATH=/opt/venv/bin:$PATH\n{_GIT}"
        + _install(["python3 -m venv /opt/venv", f"{PIP} {_RONDEL}"])
        + "WORKDIR /work\n"
    )


def runner_alone() -> str:
    """A Containerfile of the runner alone, beside a Dockerfile that is a team's own."""
    head = "# The environment of a CI job that starts pipelines; stages run in an image of their own.\n"
    return head + _alone()


def _offered(packages: Packages, paths: str) -> str:
    """The stage by micromamba, as comments."""
    stage = _conda_stage(str(packages.conda), packages.copies, paths, mlflow=False)
    lead = f"# Instead of the stage above: {packages.conda} as it is, by conda.\n#\n"
    return lead + "".join(f"# {line}\n" if line else "#\n" for line in stage.rstrip("\n").split("\n"))


def conda_image(file: str, copies: Iterable[str], *, paths: str, mlflow: bool) -> str:
    """An image with the environment of conda as the file has it, and the runner beside it."""
    return f"{_HEAD}{_conda_stage(file, copies, paths, mlflow=mlflow)}\n\n{_alone()}"


def _conda_stage(file: str, copies: Iterable[str], paths: str, *, mlflow: bool) -> str:
    generated = ("requirements.txt", "requirements-rondel.txt")
    files = [file, *(name for name in copies if name not in generated and name != file)]
    commands = [f"micromamba install --yes --quiet --name base --file {shlex.quote(file)}"]
    if mlflow:
        commands.append("/opt/conda/bin/python -m pip install --quiet mlflow")
    return "".join(
        [
            "FROM mambaorg/micromamba:2 AS stage\n",
            "USER root\n",
            _environment("/opt/conda", paths),
            "WORKDIR /opt/packages\n",
            *_copies(files),
            "RUN --mount=type=cache,id=conda,target=/opt/conda/pkgs \\\n    "
            + " \\\n    && ".join(commands)
            + "\n",
            "WORKDIR /work\n",
        ]
    )


def on_image(reference: str) -> str:
    """A Containerfile that adds nothing to an image."""
    return f"{_HEAD}FROM {reference} AS stage\nWORKDIR /work\n\n\n{_alone()}"


def r_image(root: Path) -> tuple[str, str]:
    """An image of R with renv's packages, and a note."""
    version = _version(root / "renv.lock", ("R", "Version")) or "4"
    stage = f"""\
FROM rocker/r-ver:{version} AS stage
ENV RENV_PATHS_LIBRARY=/opt/renv/library \\
    R_LIBS=/opt/renv/library
WORKDIR /opt/packages
COPY renv.lock ./
RUN mkdir -p /opt/renv/library \\
    && Rscript -e 'install.packages("renv", repos = "https://cloud.r-project.org")' \\
        -e 'renv::restore(lockfile = "renv.lock", library = "/opt/renv/library", prompt = FALSE)'
WORKDIR /work
"""
    note = "the image is R's, with renv.lock's packages; system libraries that they need are yours to add"
    return f"{_HEAD}{stage}\n\n{_alone()}", note


def julia_image(root: Path) -> tuple[str, str]:
    """An image of Julia with the project's packages, and a note."""
    manifest = root / "Manifest.toml"
    found = re.search(r'^julia_version = "(\d+\.\d+)', _text(manifest), re.MULTILINE)
    files = "Project.toml Manifest.toml" if manifest.is_file() else "Project.toml"
    stage = f"""\
FROM julia:{found[1] if found else "1"} AS stage
ENV JULIA_DEPOT_PATH=/opt/julia \\
    JULIA_PROJECT=/opt/packages
WORKDIR /opt/packages
COPY {files} ./
RUN julia -e 'using Pkg; Pkg.instantiate(); Pkg.precompile()'
WORKDIR /work
"""
    return (
        f"{_HEAD}{stage}\n\n{_alone()}",
        f"the image is Julia's, with the packages of {files.rpartition(' ')[2]}",
    )


def _version(path: Path, keys: tuple[str, ...]) -> str | None:
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError):
        return None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) and re.fullmatch(r"[\d.]+", value) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
