"""Conda environments, translated for pip."""

from __future__ import annotations

import pytest

from rondel.errors import ConfigurationError
from rondel.scaffold.conda import pip_version, read_conda, read_python_env


@pytest.mark.parametrize(
    ("written", "for_pip"),
    [
        ("", ""), ("=1.26", "==1.26.*"), ("=1", "==1.*"), ("=1.26.*", "==1.26.*"), ("=1.26.4", "==1.26.4"),
        ("=1.26.4=py310_0", "==1.26.4"), ("==1.2", "==1.2"), (">=1.2,<2", ">=1.2,<2"), (" >= 1.2 , < 2", ">=1.2,<2"),
        (">=1.2.*", ">=1.2"), (" 1.26.4 py310_0", "==1.26.4"), ("1.2|1.3", ""), ('[version=">=1"]', ""),
        ("=1.26=py310_0", "==1.26"), ("~=1.4.2", "~=1.4.2"), ("; rm -rf /", ""),
    ],
)  # fmt: skip
def test_versions_are_translated_for_pip(written, for_pip):
    assert pip_version(written) == for_pip


ENVIRONMENT = """\
name: x
channels: [conda-forge]
dependencies:
  - python=3.10.12
  - conda-forge::pytorch=2.1
  - scikit-learn>=1.3
  - py-opencv=4.8.0
  - cudatoolkit=11.8
  - libgcc-ng=13.2.0=h0
  - librosa
  - msgpack-python
  - mkl
  - git
  - pip
  - pip:
      - mlflow==2.9.2
      - -r more.txt
"""


def test_packages_get_the_names_of_the_python_index(folder):
    found = read_conda(folder({"environment.yml": ENVIRONMENT}), "environment.yml")
    assert found.python == "3.10"
    assert found.pip == (
        "torch==2.1.*", "scikit-learn>=1.3", "opencv-python-headless==4.8.0.*", "librosa", "msgpack", "mlflow==2.9.2",
    )  # fmt: skip
    assert (found.programs, found.tools, found.includes) == ((), ("git",), ("more.txt",))


def test_other_languages_are_listed(folder):
    root = folder({"e.yml": "dependencies: [r-base=4.3, r-dplyr, gdal, numpy]\n"})
    assert read_conda(root, "e.yml").programs == ("r-base", "r-dplyr", "gdal")


def test_mlflows_python_env_is_read(folder):
    text = (
        "python: '3.9.16'\nbuild_dependencies: [pip]\ndependencies:\n  - -r requirements.txt\n  - scipy>=1\n"
    )
    found = read_python_env(folder({"python_env.yaml": text}), "python_env.yaml")
    assert (found.python, found.pip, found.includes) == ("3.9", ("scipy>=1",), ("requirements.txt",))


@pytest.mark.parametrize("text", ["dependencies: 3\n", "- a\n", "dependencies: ['*!']\n", "a: [\n"])
def test_a_file_that_conda_would_refuse_is_an_error(folder, text):
    with pytest.raises(ConfigurationError) as caught:
        read_conda(folder({"e.yml": text}), "e.yml")
    assert (caught.value.place or "").startswith("e.yml")
