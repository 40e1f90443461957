"""The texts of Containerfiles. Each has the targets ``stage`` and ``runner``."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

from rondel.scaffold.lenient import text_of, value_at
from rondel.scaffold.packages import PIP
from rondel.scaffold.python_version import DEFAULT_PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rondel.scaffold.packages import Packages

_HEAD = """\
# Two targets: `stage` is the image that stages run in, on a laptop and in CI;
# `runner` is the image of CI jobs that run the pipeline.
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
    """An image with a virtual environment of the project's packages; ``paths`` is its PYTHONPATH."""
    python = packages.python or DEFAULT_PYTHON
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
    lines.append("# The secret may contain `export PIP_INDEX_URL=…`, to keep credentials out of layers.\n")
    if mlflow:
        lines.append("# MLflow starts the entry points. A version from the packages stays.\n")
    lines += [_install(commands), "WORKDIR /work\n", "\n\n", _runner(python)]
    if packages.conda:
        lines += ["\n\n", _conda_alternative(packages, paths)]
    return "".join(lines)


def _environment(prefix: str, paths: str) -> str:
    return f"ENV PATH={prefix}/bin:$PATH \\\n    PYTHONPATH={paths} \\\n    PYTHONUNBUFFERED=1\n"


def _copies(files: Iterable[str]) -> list[str]:
    """One COPY for each folder, so that relative paths between the files stay valid."""
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
    """The image of CI jobs: based on the stages' image if Rondel supports its Python version."""
    if int(python.split(".")[1]) < 11:
        return f"# Rondel needs Python 3.11.\n{_alone()}"
    return f"FROM stage AS runner\n{_GIT}{_install([f'{PIP} {_RONDEL}'])}"


def _alone() -> str:
    return (
        f"FROM python:{DEFAULT_PYTHON}-slim AS runner\nENV PATH=/opt/venv/bin:$PATH\n{_GIT}"
        + _install(["python3 -m venv /opt/venv", f"{PIP} {_RONDEL}"])
        + "WORKDIR /work\n"
    )


def runner_alone() -> str:
    """A Containerfile with only the runner, for projects with their own Dockerfile."""
    head = "# The image of CI jobs that run the pipeline; stages run in a separate image.\n"
    return head + _alone()


def _conda_alternative(packages: Packages, paths: str) -> str:
    """The target ``stage`` with micromamba, commented out."""
    stage = _conda_stage(str(packages.conda), packages.copies, paths, mlflow=False)
    lead = f"# An alternative for `stage` that installs {packages.conda} with conda:\n#\n"
    return lead + "".join(f"# {line}\n" if line else "#\n" for line in stage.rstrip("\n").split("\n"))


def conda_image(file: str, copies: Iterable[str], *, paths: str, mlflow: bool) -> str:
    """An image with the conda environment of a file, and the runner."""
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
    """A Containerfile that uses an image unchanged."""
    return f"{_HEAD}FROM {reference} AS stage\nWORKDIR /work\n\n\n{_alone()}"


def r_image(root: Path) -> tuple[str, str]:
    """An R image with renv's packages, and a note."""
    version = _version(root / "renv.lock", "R", "Version") or "4"
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
    note = "the image has R with renv.lock's packages; add the system libraries that they need"
    return f"{_HEAD}{stage}\n\n{_alone()}", note


def julia_image(root: Path) -> tuple[str, str]:
    """A Julia image with the project's packages, and a note."""
    manifest = root / "Manifest.toml"
    found = re.search(r'^julia_version = "(\d+\.\d+)', text_of(manifest), re.MULTILINE)
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
        f"the image has Julia with the packages of {files.rpartition(' ')[2]}",
    )


def _version(path: Path, *keys: str) -> str | None:
    try:
        value = value_at(json.loads(text_of(path)), *keys)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) and re.fullmatch(r"[\d.]+", value) else None
