"""The stages' image of a project: the team's own file if it is suitable, else one from the package list."""

from __future__ import annotations

import pytest

from rondel.containerfile import outline
from rondel.data.mlproject import MLProject
from rondel.scaffold.image import plan_image

TRAIN = "FROM python:3.10\nRUN pip install numpy\n"
SERVES = (
    "FROM python:3.10\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\nEXPOSE 8000\n"
)
WHOLE = "FROM python:3.10\nCOPY . /app\nRUN pip install -r /app/requirements.txt\n"
STAGED = (
    "FROM python:3.10 AS base\nRUN pip install numpy\n"
    "FROM base AS train\nRUN pip install torch\n"
    "FROM base AS serve\nCOPY . .\nEXPOSE 8000\n"
)


def image(root, mlproject=None, *, mlflow=False):
    return plan_image(root, mlproject, mlflow_runs=mlflow)


def targets(text: str) -> set[str]:
    """The Containerfile's targets; the engine's own reader finds what is wrong with it."""
    found = set()
    for name in ("stage", "runner"):
        read = outline(text, file="Containerfile", target=name, build_args={}, platform="linux/amd64")
        found.add(read.needed[-1].name)
    return found


@pytest.mark.parametrize(
    ("files", "options"),
    [
        ({"Dockerfile": TRAIN}, {"containerfile": "Dockerfile", "target": ""}),
        ({"Dockerfile": TRAIN, "requirements.txt": "numpy"}, {"containerfile": "Dockerfile", "target": ""}),
        ({"Dockerfile": STAGED}, {"containerfile": "Dockerfile", "target": "train"}),
        ({"docker/Dockerfile": "FROM a AS one\n"}, {"containerfile": "docker/Dockerfile", "target": "one"}),
        ({"Dockerfile": "FROM a AS stage\n"}, {"containerfile": "Dockerfile"}),
        ({"Containerfile": "FROM a AS stage\n"}, {}),
        ({"Containerfile": "FROM a AS all\n"}, {"target": "all"}),
    ],
)
def test_a_teams_own_file_is_used_unchanged(folder, files, options):
    found = image(folder(files))
    assert found.options == options
    assert set(found.files) <= {"ci/Containerfile"}
    assert bool(found.notes) == bool(options)


@pytest.mark.parametrize(
    ("text", "said"),
    [(SERVES, "serves something"), (WHOLE, "copies the whole project"), ("# nothing\n", "can't be built")],
)
def test_an_unsuitable_dockerfile_is_reported_and_not_used(folder, text, said):
    found = image(folder({"Dockerfile": text, "requirements.txt": "numpy"}))
    assert not found.options
    assert said in found.notes[0]
    assert "--requirement requirements.txt" in found.files["Containerfile"]


def test_an_unsuitable_dockerfile_is_used_if_nothing_else_lists_packages(folder):
    found = image(folder({"Dockerfile": WHOLE}))
    assert found.options["containerfile"] == "Dockerfile"
    assert "nothing else names the packages" in found.notes[0]


def test_the_image_in_mlproject_is_the_base(folder):
    project = MLProject(image="team/train:1", variables=("A",), volumes=("/a:/b",))
    found = image(folder({"requirements.txt": "numpy"}), project)
    assert "FROM team/train:1 AS stage" in found.files["Containerfile"]
    assert [
        word for word in ("team/train:1", "(A)", "/a:/b") if any(word in note for note in found.notes)
    ] == [
        "team/train:1",
        "(A)",
        "/a:/b",
    ]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"requirements.txt": "numpy"}, ["ARG PYTHON=3.11", "COPY requirements.txt ./"]),
        ({"requirements.txt": "a", ".python-version": "3.9"}, ["ARG PYTHON=3.9", "FROM python:3.11-slim AS runner"]),
        ({"src/requirements.txt": "a"}, ["COPY src/requirements.txt src/"]),
        ({"requirements.txt": "x @ git+https://example.org/x"}, ["install --yes --no-install-recommends git"]),
        ({"requirements.txt": "a", "src/shop/__init__.py": ""}, ["PYTHONPATH=/work:/work/src"]),
        ({"pyproject.toml": "[project]\nname='x'\ndependencies=['a']\n"}, ["--requirement pyproject.toml", "UV_DEFAULT_INDEX"]),
        ({"environment.yml": "dependencies: [numpy]\n"}, ["\n# FROM mambaorg/micromamba:2 AS stage\n"]),
        ({"environment.yml": "dependencies: [r-base, numpy]\n"}, ["\nFROM mambaorg/micromamba:2 AS stage\n", "--file environment.yml"]),
        ({"renv.lock": '{"R": {"Version": "4.3.1"}}'}, ["FROM rocker/r-ver:4.3.1 AS stage", "renv::restore"]),
        ({"renv.lock": "[" * 9}, ["FROM rocker/r-ver:4 AS stage"]),
        ({"Project.toml": "", "Manifest.toml": 'julia_version = "1.10.2"\n'}, ["FROM julia:1.10 AS stage", "COPY Project.toml Manifest.toml"]),
        ({"train.py": "import sklearn, json\nfrom PIL import ImagePlan\nimport helper\n", "helper.py": ""}, ["requirements.txt"]),
        ({"run.sh": "echo"}, ["python3 -m venv /opt/venv"]),
    ],
)  # fmt: skip
def test_a_containerfile_is_written_from_the_package_list(folder, files, words):
    text = image(folder(files)).files["Containerfile"]
    assert targets(text) == {"stage", "runner"}
    assert [word for word in words if word not in text] == []


def test_packages_come_from_imports_without_a_package_list(folder):
    files = {
        "train.py": "import sklearn, json\nfrom PIL import ImagePlan\nfrom . import x\nimport helper\n",
        "helper.py": "import yaml\n",
        "broken.py": "import (\n",
        "tests/test_x.py": "import pytest\n",
        ".venv/lib/y.py": "import torch\n",
    }
    found = image(folder(files))
    assert found.files["requirements.txt"].splitlines()[1:] == ["pillow", "pyyaml", "scikit-learn"]
    assert "what the code imports" in found.notes[0]


def test_imported_packages_go_to_another_file_if_requirements_exist(folder):
    found = image(folder({"requirements.txt": "-e .\n", "train.py": "import yaml\n"}))
    assert set(found.files) == {"Containerfile", "requirements-rondel.txt"}


def test_dvc_is_not_added_to_the_packages(folder):
    found = image(folder({"dvc.yaml": "stages: {}\n", "train.py": "import numpy\n"}))
    assert "dvc" not in "".join(found.files.values()).replace("requirements", "")


@pytest.mark.parametrize(
    ("requirements", "added"), [("numpy", True), ("mlflow==2.9", False), ("mlflow-skinny", False)]
)
def test_mlflow_is_added_if_it_starts_stages_and_is_not_listed(folder, requirements, added):
    root = folder({"requirements.txt": requirements})
    text = image(root, MLProject(), mlflow=True).files["Containerfile"]
    assert ("pip install --quiet mlflow" in text) is added
    assert "pip install --quiet mlflow" not in image(root).files["Containerfile"]


def test_code_that_imports_mlflow_without_listing_it_is_reported(folder):
    found = image(folder({"requirements.txt": "numpy", "src/train.py": "import mlflow\n"}))
    assert "src/train.py imports mlflow, which is not in requirements.txt" in found.notes
