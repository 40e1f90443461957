"""Finding a project's package list, the most exact one first."""

from __future__ import annotations

import pytest

from rondel.data.mlproject import read_mlproject
from rondel.errors import ConfigurationError
from rondel.scaffold.packages import find_packages
from rondel.scaffold.python_version import best_version, python_for
from rondel.scaffold.requirements import choose_files

PEP621 = '[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.12"\ndependencies = ["PyYAML>=6"]\n'
POETRY = '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = ">=3.9,<3.11"\npyyaml = "^6"\n'
CONDA = "dependencies:\n  - python=3.10\n  - pyyaml=6.0\n"
LOCK = 'version = 1\n[[package]]\nname = "mlflow_skinny"\n'


@pytest.mark.parametrize(
    ("files", "source", "copied"),
    [
        ({"requirements.txt": "pyyaml"}, "requirements.txt", ("requirements.txt",)),
        ({"requirements/base.txt": "a", "requirements/dev.txt": "b"}, "requirements/base.txt", ("requirements/base.txt",)),
        ({"requirements-train.txt": "a", "requirements-serve.txt": "b"}, "requirements-train.txt", None),
        ({"src/requirements.txt": "pyyaml"}, "src/requirements.txt", ("src/requirements.txt",)),
        ({"pyproject.toml": PEP621}, "pyproject.toml", ("pyproject.toml",)),
        ({"pyproject.toml": POETRY}, "pyproject.toml", ("pyproject.toml",)),
        ({"pyproject.toml": PEP621, "uv.lock": LOCK}, "uv.lock", ("pyproject.toml", "uv.lock")),
        ({"pyproject.toml": POETRY, "poetry.lock": LOCK}, "poetry.lock", ("pyproject.toml", "poetry.lock")),
        ({"pyproject.toml": POETRY, "poetry.lock": LOCK, "requirements.txt": "a"}, "poetry.lock", None),
        ({"Pipfile": "[packages]\na='*'\n", "Pipfile.lock": "{}"}, "Pipfile.lock", ("Pipfile", "Pipfile.lock")),
        ({"Pipfile": "[packages]\na='*'\nb='>=1'\n"}, "Pipfile", ("requirements.txt",)),
        ({"environment.yml": CONDA}, "environment.yml", ("requirements.txt",)),
        ({"conda.yaml": CONDA}, "conda.yaml", ("requirements.txt",)),
        ({"python_env.yaml": "dependencies: [a]\n"}, "python_env.yaml", ("requirements.txt",)),
        ({"python_env.yaml": "dependencies: [-r r.in]\n", "r.in": "a"}, "python_env.yaml", ("r.in",)),
        ({"setup.py": "setup()", "README.md": ""}, "setup.py", ("setup.py", "README.md")),
        ({"setup.cfg": "[options]\n"}, "setup.cfg", ("setup.cfg",)),
        ({"requirements.txt": "-e .\n", "setup.py": "setup()"}, "setup.py", ("setup.py",)),
        ({"requirements.txt": "", "environment.yml": CONDA}, "requirements.txt", None),
    ],
)  # fmt: skip
def test_each_package_list_is_found(folder, files, source, copied):
    found = find_packages(folder(files), None)
    assert found is not None
    assert found.source == source
    assert copied is None or found.copies == copied
    assert f"the image has the packages of {source}" in found.notes[0]


def test_a_folder_without_package_list_has_none(folder):
    assert (
        find_packages(folder({"README.md": "", "pyproject.toml": "[tool.x]\n", "setup.txt": ""}), None)
        is None
    )


def test_subfolders_with_stages_share_an_image(folder):
    files = {"nlp/dvc.yaml": "stages: {}\n", "cv/dvc.yaml": "stages: {}\n", "cv/requirements.txt": "torch\n"}
    more = {"nlp/requirements.txt": "spacy\n", "nlp/setup.py": "", "docs/requirements.txt": "mkdocs\n"}
    found = find_packages(folder({**files, **more}), None)
    assert found is not None
    assert found.copies == ("cv/requirements.txt", "nlp/requirements.txt")
    assert found.names == {"torch", "spacy"}
    assert "not used: nlp/setup.py" in found.notes[0]


@pytest.mark.parametrize("key", ["conda_env", "python_env"])
def test_the_environment_in_mlproject_comes_first(folder, key):
    files = {
        "MLproject": f"name: x\n{key}: deep/env.yaml\n",
        "deep/env.yaml": "dependencies: [a]\n",
        "requirements.txt": "b",
    }
    root = folder(files)
    found = find_packages(root, read_mlproject(root))
    assert found is not None
    assert (found.source, found.copies) == ("deep/env.yaml", ("requirements-rondel.txt",))
    assert found.written == {
        "requirements-rondel.txt": "# `rondel init` made this from deep/env.yaml. The stages' image installs it.\na\n"
    }
    assert "not used: requirements.txt" in found.notes[0]


def test_included_files_are_copied_and_the_project_itself_is_not_installed(folder):
    files = {
        "requirements.txt": "-r reqs/more.txt\n-e .\nnumpy\n",
        "reqs/more.txt": "-c limits.txt\nmlflow[extras]>=2 ; python_version > '3'\n-r ../requirements.txt\n",
        "reqs/limits.txt": "numpy<2\n",
    }
    found = find_packages(folder(files), None)
    assert found is not None
    assert found.copies == ("requirements.txt", "reqs/more.txt", "reqs/limits.txt")
    assert found.names == {"numpy", "mlflow"}
    assert found.install[0].startswith("sed -i")
    assert any("current code through PYTHONPATH" in note for note in found.notes)


def test_packages_of_a_repository_need_git(folder):
    assert find_packages(folder({"requirements.txt": "x @ git+https://example.org/x\n"}), None).git


def test_a_file_that_windows_wrote_is_read(folder):
    root = folder({})
    (root / "requirements.txt").write_bytes("numpy==1.26\r\n".encode("utf-16"))
    assert find_packages(root, None).names == {"numpy"}


def test_a_lock_file_lists_the_packages(folder):
    assert "mlflow-skinny" in find_packages(folder({"pyproject.toml": PEP621, "uv.lock": LOCK}), None).names


def test_a_workspaces_members_are_copied(folder):
    text = PEP621 + '[tool.uv.workspace]\nmembers = ["libs/*"]\n'
    files = {
        "pyproject.toml": text,
        "uv.lock": LOCK,
        "libs/a/pyproject.toml": "[project]\n",
        "libs/README.md": "",
    }
    assert find_packages(folder(files), None).copies == ("pyproject.toml", "uv.lock", "libs/a/pyproject.toml")


def test_invalid_toml_is_an_error_with_its_place(folder):
    with pytest.raises(ConfigurationError) as caught:
        find_packages(folder({"pyproject.toml": "[a\n"}), None)
    assert caught.value.place == "pyproject.toml"


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["requirements-dev.txt", "requirements-prod.txt"], ["requirements-prod.txt"]),
        (["requirements.txt", "requirements-extra.txt"], ["requirements.txt"]),
        (["requirements/cv.txt", "requirements/nlp.txt", "requirements/docs.txt"], ["requirements/cv.txt", "requirements/nlp.txt"]),
        (["requirements-dev.txt"], []),
    ],
)  # fmt: skip
def test_requirements_files_for_stages_are_chosen(files, kept):
    assert choose_files(files) == (kept, [file for file in files if file not in kept])


@pytest.mark.parametrize(
    ("written", "version"),
    [
        (">=3.9", "3.11"), ("^3.9", "3.11"), (">=3.8,<3.11", "3.10"), (">=3.12", "3.12"), ("~3.10", "3.10"), ("3.10.*", "3.10"),
        (">=3.8.1,<4.0", "3.11"), ("!=3.11.*", "3.12"), ("<3", None), (">=2.7, !=3.0.*", "3.11"), ("~=3.9.2", "3.9"),
        (">=3.9,<3.12.3", "3.11"), ("^3.8 || ^3.12", "3.11"), (">3.11", "3.12"), ("<=3.10", "3.10"),
    ],
)  # fmt: skip
def test_the_python_version_is_one_that_the_project_allows(written, version):
    assert best_version(written) == version


def test_the_python_version_is_found_where_tools_write_it(folder):
    assert python_for(folder({".python-version": "3.10.4\n", "pyproject.toml": PEP621})) == "3.10"


def test_without_a_version_file_the_metadata_decides(folder):
    assert python_for(folder({"pyproject.toml": POETRY})) == "3.10"


@pytest.mark.parametrize(
    "more",
    [{"Pipfile": "[packages]\na='*'\n"}, {"conda.yaml": CONDA}, {"python_env.yaml": "dependencies: [a]\n"}],
)
def test_an_existing_requirements_file_is_not_overwritten(folder, more):
    found = find_packages(folder({"requirements.txt": "-e .\n", **more}), None)
    assert list(found.written) == ["requirements-rondel.txt"]
