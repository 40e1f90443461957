"""Translates environments of conda and MLflow (``environment.yml``, ``python_env.yaml``) for pip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError
from rondel.files.yaml_file import read_yaml
from rondel.scaffold.requirements import normalized

if TYPE_CHECKING:
    from pathlib import Path

# Conda packages that have another name on the Python index.
_RENAMED = {
    "pytorch": "torch", "pytorch-cpu": "torch", "pytorch-gpu": "torch",
    "tensorflow-gpu": "tensorflow", "tensorflow-base": "tensorflow", "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost", "py-xgboost-gpu": "xgboost", "py-opencv": "opencv-python-headless",
    "opencv": "opencv-python-headless", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn",
    "pytables": "tables", "msgpack-python": "msgpack", "python-graphviz": "graphviz", "dask-core": "dask",
    "ruamel-yaml": "ruamel.yaml", "faiss": "faiss-cpu", "pyqt": "PyQt5", "python-snappy": "python-snappy",
    "jupyter-core": "jupyter-core", "psycopg2": "psycopg2-binary", "python-flatbuffers": "flatbuffers",
    "brotlipy": "brotlipy", "keras-base": "keras", "arrow-cpp": "pyarrow", "ray-core": "ray",
    "prophet": "prophet", "fbprophet": "prophet", "numpy-base": "numpy", "blas-devel": "",
}  # fmt: skip

# Packages that wheels bundle, and packages that only conda needs.
_BUNDLED = re.compile(
    r"^(?:pip|setuptools|wheel|conda|_.*|lib(?!rosa$|cst$|svm$|sass$|tmux$).*|ca-certificates|certifi-.*|openssl|zlib|"
    r"zstd|xz|bzip2|lz4-c|"
    r"readline|ncurses|tk|sqlite|ld_impl.*|mkl.*|openblas|blas.*|lapack|intel-openmp|llvm-openmp|icu|expat|gettext|"
    r"freetype|jpeg|libpng|lcms2|vs2015_runtime|vc|ucrt|python_abi|tzdata|pytorch-cuda|pytorch-mutex|cpuonly|"
    r"cudatoolkit|cudnn|cuda-.*|nccl|hdf5|gmp|mpfr|mpc|nettle|gnutls|giflib|yaml|tensorflow-estimator)$"
)
# Other languages and programs, which no wheel contains.
_PROGRAMS = re.compile(
    r"^(?:r-.*|r|rpy2|bioconductor-.*|julia|openjdk|java-.*|maven|perl.*|go|rust|ffmpeg|gdal|proj|geos|imagemagick|"
    r"texlive.*|samtools|bcftools|bedtools|blast|bwa|openmpi|mpich|octave|swi-prolog|postgresql|redis.*|spark|hadoop)$"
)
# Tools that stages seldom need, and that apt-get can install.
_TOOLS = re.compile(
    r"^(?:git|git-lfs|curl|wget|make|cmake|nodejs|pandoc|graphviz|gcc.*|gxx.*|gfortran.*|clang.*|compilers|"
    r"c-compiler|cxx-compiler)$"
)
_SPEC = re.compile(r"^(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(?P<version>.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageEnvironment:
    """The contents of an environment file. ``programs`` and ``tools`` are not on the Python index."""

    python: str | None = None
    pip: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()


def read_conda(root: Path, file: str) -> PackageEnvironment:
    """Read an environment file of conda. Raises ConfigurationError for one that conda would refuse."""
    python: str | None = None
    pip: dict[str, None] = {}
    programs: list[str] = []
    tools: list[str] = []
    includes: list[str] = []
    for item in _dependencies(root, file):
        if isinstance(item, dict):
            lines = item.get("pip")
            for line in lines if isinstance(lines, list) else []:
                _take(str(line), pip, includes)
            continue
        found = _SPEC.match(str(item).split("#")[0].strip())
        if found is None:
            raise ConfigurationError(f"{str(item)[:60]!r} is not a conda package", place=file)
        name = found["name"].lower()
        if name == "python":
            python = _minor(found["version"])
        elif _PROGRAMS.match(name):
            programs.append(name)
        elif _TOOLS.match(name):
            tools.append(name)
        elif not _BUNDLED.match(name) and (real := _RENAMED.get(name, _RENAMED.get(normalized(name), name))):
            version = pip_version(found["version"])
            # OpenCV's wheels have a build number as the fourth number.
            loose = real.startswith("opencv") and re.fullmatch(r"==\d+(\.\d+)+", version)
            pip[f"{real}{version}.*" if loose else f"{real}{version}"] = None
    return PackageEnvironment(
        python=python,
        pip=tuple(pip),
        programs=tuple(programs),
        tools=tuple(tools),
        includes=tuple(includes),
    )


def read_python_env(root: Path, file: str) -> PackageEnvironment:
    """Read MLflow's ``python_env.yaml``: requirements for pip, and the Python version."""
    value = read_yaml(root / file, file)
    pip: dict[str, None] = {}
    includes: list[str] = []
    for item in _dependencies(root, file):
        _take(str(item), pip, includes)
    python = value.get("python") if isinstance(value, dict) else None
    return PackageEnvironment(python=_minor(str(python or "")), pip=tuple(pip), includes=tuple(includes))


def _take(line: str, pip: dict[str, None], includes: list[str]) -> None:
    included = re.match(r"^(?:-r|--requirement)[ =]*(\S+)", line)
    if included:
        includes.append(included[1])
    elif line.strip():
        pip[line.strip()] = None


def _dependencies(root: Path, file: str) -> list[Any]:
    value = read_yaml(root / file, file) or {}
    items = value.get("dependencies") or [] if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise ConfigurationError("`dependencies` must be a list", place=file)
    return items


def pip_version(written: str) -> str:
    """Conda's version syntax for pip: ``=1.2`` means any 1.2, and ``=1.2.3=py38h1`` a build of 1.2.3."""
    text = re.sub(r"\[.*]$", "", written.strip()).strip()
    if not text or text == "*" or "|" in text:
        return ""
    fuzzy = re.match(r"^=\s*([0-9][^=\s,*]*)(\.\*)?(?:=(\S+))?$", text)
    if fuzzy:
        # With a build, or with three numbers, it is an exact version; otherwise a prefix.
        exact = fuzzy[3] or (fuzzy[1].count(".") >= 2 and not fuzzy[2])
        return f"=={fuzzy[1]}" if exact else f"=={fuzzy[1]}.*"
    if re.match(r"^[0-9]", text):
        # `numpy 1.26` and `numpy 1.26.4 py310_0`: a version, maybe with a build.
        version = text.split()[0]
        return f"=={version}" if "," not in version else ""
    parts = [re.sub(r"\s+", "", part) for part in text.split(",")]
    good = all(re.match(r"^(==|>=|<=|>|<|!=|~=)[0-9][0-9A-Za-z.*+!-]*$", part) for part in parts)
    return ",".join(re.sub(r"^(>=|<=|>|<)(.*?)\.?\*$", r"\1\2", part) for part in parts) if good else ""


def _minor(written: str) -> str | None:
    """``3.10`` for ``=3.10.4``, ``3.10.*`` and ``>=3.10,<3.11``: the first version in the text."""
    found = re.search(r"3\.\d+", written)
    return found[0] if found else None
