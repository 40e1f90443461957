"""What a folder has already, as far as a pipeline can be made from it."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.data import DvcProject


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An existing project.

    ``dvc`` maps its stages to those whose outputs they need, ``points`` are
    the entry points of MLproject that become stages, ``others`` those that do
    not, because DVC stages do the work; ``present`` are files that are there,
    ``lacks`` packages that the stages need and requirements.txt does not name.
    """

    name: str
    dvc: dict[str, tuple[str, ...]]
    points: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()

    @property
    def new(self) -> bool:
        """Whether there is nothing to adopt."""
        return not self.dvc and not self.points


KNOWN = (".gitignore", ".dvc/config", ".gitlab-ci.yml", "Jenkinsfile", "Containerfile", "pyproject.toml")
KNOWN_TOO = ("requirements.txt", "tests/test_pipeline.py")


def adopt(root: Path, name: str | None = None) -> Found:
    """Look at a folder. Raises ConfigurationError for a dvc.yaml or MLproject that can't be read."""
    from rondel.runner.disk import DiskProject
    from rondel.settings import Settings

    dvc: dict[str, tuple[str, ...]] = {}
    points: tuple[str, ...] = ()
    if (root / "MLproject").exists():
        points = tuple(DiskProject(Settings(root=root), {}).entry_points())
    if (root / "dvc.yaml").exists():
        from rondel.data import load_project

        dvc = _graph(load_project(root))
    present = frozenset(path for path in (*KNOWN, *KNOWN_TOO) if (root / path).exists())
    needed = ("dvc", "dvc-webdav") if dvc else ("mlflow",) if points else ()
    return Found(
        name=name or _name(root.name),
        dvc=dvc,
        points=() if dvc else points,
        others=points if dvc else (),
        lacks=_lacks(root / "requirements.txt", needed),
        present=present,
    )


def _lacks(requirements: Path, needed: tuple[str, ...]) -> tuple[str, ...]:
    """The needed packages that the file does not name; none without a file, since one will be made."""
    if not requirements.is_file():
        return ()
    lines = requirements.read_text(encoding="utf-8", errors="replace").splitlines()
    named = {
        re.split(r"[^A-Za-z0-9._-]", line.strip(), maxsplit=1)[0].lower().replace("_", "-") for line in lines
    }
    return tuple(name for name in needed if name not in named)


def _name(folder: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-") or "pipeline"


def _graph(project: DvcProject) -> dict[str, tuple[str, ...]]:
    maker = {out.path: name for name, stage in project.stages.items() for out in stage.outs}

    def made_by(path: str) -> str | None:
        """The stage that makes this path, or the folder that it lies in."""
        return next((name for out, name in maker.items() if path == out or path.startswith(f"{out}/")), None)

    needs = {
        name: tuple(dict.fromkeys(found for path in stage.deps if (found := made_by(path)) is not None))
        for name, stage in project.stages.items()
    }
    ordered: dict[str, tuple[str, ...]] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in ordered or name in above:
            return
        for need in needs[name]:
            visit(need, (*above, name))
        ordered[name] = needs[name]

    for name in needs:
        visit(name, ())
    return ordered


def variable(name: str) -> str:
    """A Python name for a stage."""
    word = re.sub(r"\W+", "_", name).strip("_").lower() or "stage"
    return (
        f"{word}_"
        if keyword.iskeyword(word) or word == "pipeline"
        else f"_{word}"
        if word[0].isdigit()
        else word
    )


def pipeline_text(found: Found) -> str:
    """``ci/main.py`` for what was found."""
    lines = ['"""The pipeline, from what was there: `dagger run python ci/main.py --list`."""', ""]
    lines += ["from rondel import Pipeline", "", "pipeline = Pipeline()", ""]
    for name, needs in found.dvc.items():
        after = f", needs=[{', '.join(variable(need) for need in needs)}]" if needs else ""
        lines.append(f'{variable(name)} = pipeline.dvc("{name}"{after})')
    lines += [f'{variable(name)} = pipeline.mlflow("{name}")' for name in found.points]
    return "\n".join([*lines, "", 'if __name__ == "__main__":', "    pipeline.main()", ""])
