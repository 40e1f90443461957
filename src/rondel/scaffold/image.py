"""The stages' image of an existing project: its own Dockerfile, or a Containerfile from its package list."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rondel.containerfile import BuildStage, ContainerfileError, read_context, read_outline
from rondel.errors import ConfigurationError
from rondel.scaffold.containerfiles import (
    conda_image,
    julia_image,
    on_image,
    python_image,
    r_image,
    runner_alone,
)
from rondel.scaffold.imports import first_importer, imported_packages
from rondel.scaffold.lenient import text_of
from rondel.scaffold.packages import find_packages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rondel.data.mlproject import MLProject
    from rondel.scaffold.packages import Packages

DOCKERFILES = ("Dockerfile", "docker/Dockerfile", "Dockerfile.train", "train.Dockerfile")
_SERVES = re.compile(r"uvicorn|gunicorn|flask|streamlit|nginx|serve|bentoml|fastapi|waitress", re.IGNORECASE)
_FOR_STAGES = ("stage", "train", "training")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """The files to write for the image; ``options`` go into ``[tool.rondel]``."""

    files: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def plan_image(root: Path, mlproject: MLProject | None, *, mlflow_runs: bool) -> ImagePlan:
    """Plan the image of the stages. ``mlflow_runs``: whether stages run MLflow's entry points.

    Raises ConfigurationError for a package list that can't be read.
    """
    if (root / "Containerfile").is_file():
        return _own(root, "Containerfile")
    unfit: list[str] = []
    for name in DOCKERFILES:
        if (root / name).is_file():
            problem = _unfit(root, name)
            if problem is None:
                return _own(root, name)
            unfit.append(f"{name} is not the stages' image: it {problem}")
    if mlproject is not None and mlproject.image:
        return _noted(_named(mlproject, mlproject.image), unfit)
    packages = find_packages(root, mlproject)
    if packages is None and (found := _without_python(root)):
        return _noted(found, unfit)
    if packages is None:
        copying = next((name for name in DOCKERFILES if (root / name).is_file()), None)
        stages = _stages(root / copying) if copying else ()
        if copying and stages and not _serves(stages):
            return _noted(
                _own(root, copying), [f"{each}, and nothing else names the packages" for each in unfit]
            )
        packages = imported_packages(root)
    return _noted(_containerfile(root, packages, mlflow_runs=mlflow_runs), unfit)


def _noted(image: ImagePlan, notes: list[str]) -> ImagePlan:
    return ImagePlan(files=image.files, options=image.options, notes=(*notes, *image.notes))


def _own(root: Path, name: str) -> ImagePlan:
    """Use the team's own file unchanged."""
    try:
        stages = read_outline(text_of(root / name), file=name).stages
    except ContainerfileError as error:
        raise ConfigurationError(
            error.what, hint="remove it, and `rondel init` writes one", place=error.place
        ) from None
    target = _target(stages)
    options = {} if name == "Containerfile" else {"containerfile": name}
    if target != "stage":
        options["target"] = target
    if not options:
        return ImagePlan()
    shown = f"its target {target!r}" if target else "its last stage"
    notes = [f"stages run in the image of {name}, {shown}"]
    files = {}
    if all(stage.name != "runner" for stage in stages):
        if not (root / "ci/Containerfile").exists():
            files["ci/Containerfile"] = runner_alone()
        notes.append("ci/Containerfile is for the image of CI jobs, RONDEL_RUNNER_IMAGE")
    return ImagePlan(files=files, options=options, notes=tuple(notes))


def _stages(file: Path) -> tuple[BuildStage, ...]:
    try:
        return read_outline(text_of(file)).stages
    except ContainerfileError:
        return ()


def _target(stages: Sequence[BuildStage]) -> str:
    """The build target for stages; empty for a last target without a name."""
    named = {stage.name: stage.at.args[2] for stage in stages if stage.name}
    found = next((named[word] for word in _FOR_STAGES if word in named), None)
    return found if found is not None else named.get(stages[-1].name, "")


def _serves(stages: Iterable[BuildStage]) -> bool:
    """Whether what these stages make answers requests, so that it is no image to train in."""
    return any(
        at.name == "EXPOSE" or (at.name in {"CMD", "ENTRYPOINT"} and _SERVES.search(at.source))
        for stage in stages
        for at in stage.instructions
    )


def _unfit(root: Path, name: str) -> str | None:
    """Why stages should not run in the image of a Dockerfile; None if they can."""
    text = text_of(root / name)
    try:
        target = _target(read_outline(text, file=name).stages)
        context = read_context(root, name, text, target=target)
    except ContainerfileError as error:
        return f"can't be built ({error.what})"
    if target.lower() not in _FOR_STAGES and _serves(context.outline.needed):
        return "serves something"
    if {".", "*"} & set(context.sources):
        return "copies the whole project, so that each run would change it and make every stage run again"
    return None


def _named(mlproject: MLProject, image: str) -> ImagePlan:
    """Use the image in MLproject's ``docker_env``, with notes on its other settings."""
    notes = [f"stages run in docker_env's image {image}, unchanged"]
    if mlproject.variables:
        names = ", ".join(mlproject.variables)
        notes.append(f"docker_env's variables ({names}): list them in [tool.rondel], environment or secrets")
    if mlproject.volumes:
        notes.append(
            f"docker_env's volumes are not mounted ({', '.join(mlproject.volumes)}): use DVC for data"
        )
    return ImagePlan(files={"Containerfile": on_image(image)}, notes=tuple(notes))


def _without_python(root: Path) -> ImagePlan | None:
    """An image for R or Julia."""
    if (root / "renv.lock").is_file():
        text, note = r_image(root)
        return ImagePlan(files={"Containerfile": text}, notes=(note,))
    if (root / "Project.toml").is_file():
        text, note = julia_image(root)
        return ImagePlan(files={"Containerfile": text}, notes=(note,))
    return None


def _containerfile(root: Path, packages: Packages, *, mlflow_runs: bool) -> ImagePlan:
    notes = list(packages.notes)
    for name, language in (("renv.lock", "R"), ("Project.toml", "Julia")):
        if (root / name).is_file():
            notes.append(f"{name} is not in the image: add {language} to the Containerfile if stages use it")
    # Code imports a package below src/ by its own name; anything else there is a script.
    paths = "/work:/work/src" if any(root.glob("src/*/__init__.py")) else "/work"
    lacks_mlflow = not {"mlflow", "mlflow-skinny"} & packages.names
    if packages.conda and packages.programs:
        text = conda_image(packages.conda, packages.copies, paths=paths, mlflow=mlflow_runs and lacks_mlflow)
        what = ", ".join(packages.programs)
        notes = [f"micromamba installs {packages.conda} into the image: no Python package contains {what}"]
        return ImagePlan(files={"Containerfile": text}, notes=tuple(notes))
    if lacks_mlflow and not mlflow_runs and packages.names and (file := first_importer(root, "mlflow")):
        notes.append(f"{file} imports mlflow, which is not in {packages.source}")
    text = python_image(packages, paths=paths, mlflow=mlflow_runs and lacks_mlflow)
    return ImagePlan(files={"Containerfile": text, **packages.written}, notes=tuple(notes))
