"""`rondel init` adopts a folder with any contents, or says what is wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rondel.errors import ConfigurationError
from rondel.scaffold import new_files, scan_project

PIPELINE = "stages:\n  a: {cmd: x, outs: [o]}\n  'b\"c': {cmd: y, deps: [o]}\n"
FILES = (
    "dvc.lock", "params.yaml", "conda.yaml", "python_env.yaml", "environment.yml", "requirements.txt",
    "requirements/base.txt", "src/requirements.txt", "pyproject.toml", "uv.lock", "poetry.lock", "Pipfile",
    "Pipfile.lock", "setup.py", "setup.cfg", "renv.lock", "Project.toml", "Manifest.toml", "Dockerfile", "Containerfile",
    ".gitignore", ".dvc/config", ".dvc/config.local", ".dvcignore", "sub/dvc.yaml", "sub/.dvc/config", "data/x.dvc",
    ".python-version", "train.py", "MLproject", "dvc.yaml",
)  # fmt: skip
TEXTS = (
    b"", b"\x00\x01", b"\xff", b"[", b"{", b"a: [1\n", b"- x\n", b"a: b\n", b"<<<<<<< HEAD\n", b"import (\n", b"!\n",
    b"dependencies: [numpy=1, {pip: [a]}]\n", b"dependencies: {a: 1}\n", b"dependencies: [[1]]\n",
    b"[tool.poetry]\nx=1\n[tool.poetry.dependencies]\npython='^3'\na='*'\n", b"[tool]\nrondel={name='x'}\n",
    b"[project]\nname=3\ndependencies='x'\n", b"[project]\ndependencies=[1,'b']\noptional-dependencies=3\ndynamic=3\n",
    b"[tool.uv.workspace]\nmembers=3\n[project]\nname='x'\n", b"FROM a\n", b"FROM a AS b\nCOPY . .\n",
    b"conda_env: conda.yaml\nentry_points: {m: {command: 3, parameters: {a: float}}}\n", b"entry_points: 4\n",
    b"docker_env: {image: 'a b'}\n", b"stages: 3\n", b"stages: {a: 3}\n", b"outs: 3\n", b"outs: [{path: 3}]\ndeps: 3\n",
    b"[core]\n  remote = x\n", b"[core\n", b"-r requirements.txt\n-e .\n", b"[packages]\na={version='1'}\n", b"packages=3\n",
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(FILES), st.sampled_from(TEXTS), max_size=6), st.booleans())
def test_no_file_ends_in_a_traceback(files: dict[str, bytes], good: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / ".git").write_text("no repository\n")  # so that no git above takes part
        for name, content in {**files, **({"dvc.yaml": PIPELINE.encode()} if good else {})}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        try:
            found = scan_project(root)
        except ConfigurationError:
            return
        text = new_files(found)["ci/main.py"]
        compile(text, "ci/main.py", "exec")
        assert ('pipeline.dvc("a")' in text) is ("a" in found.dvc)
