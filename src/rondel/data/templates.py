"""Resolves templates in ``dvc.yaml`` with DVC.

``${…}``, ``vars``, ``foreach`` and ``matrix`` are a small language that only DVC
defines. DVC runs in a separate process, because importing it here would slow down
every run. The result is cached in ``.rondel/cache`` by the content of its sources.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.data.params import changed_text
from rondel.errors import ConfigurationError
from rondel.files.atomic import write_atomic
from rondel.files.yaml_file import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FORMAT = 2
_RESOLVE_SCRIPT = """
import json, sys
from dvc.repo import Repo
from dvc.parsing import DataResolver
from dvc.utils.serialize import load_yaml
repo = Repo(uninitialized=True)
file = sys.argv[1]
try:
    resolver = DataResolver(repo, repo.fs.abspath(repo.fs.parent(file) or "."), load_yaml(file))
    found = resolver.resolve()
    for key in ("metrics", "plots"):
        found[key] = getattr(resolver, "resolve_" + key, list)()
    print(json.dumps(found, default=str))
except Exception as error:
    causes = []
    while error is not None:
        causes.append(str(error))
        error = error.__cause__
    sys.exit("\\n".join(dict.fromkeys(causes)))
"""


def uses_templates(text: str, value: Mapping[str, Any]) -> bool:
    """Whether the file uses templates."""
    stages = value.get("stages") or {}
    loops = any(isinstance(body, dict) and ({"foreach", "matrix"} & body.keys()) for body in stages.values())
    return loops or "${" in text


def resolve_templates(root: Path, file: str, text: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``file`` with all templates resolved: stages, and metrics and plots at the top level.

    Templates see ``overrides`` (dotted keys of parameter files). Raises
    ConfigurationError with DVC's message, or if DVC is not installed.
    """
    sources = _sources(root, file, text, overrides)
    digest = hashlib.sha256(json.dumps([_FORMAT, file, sorted(sources.items())]).encode()).hexdigest()
    cache = root / ".rondel" / "cache" / "templates" / f"{digest}.json"
    try:
        answer: dict[str, Any] | None = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        answer = _ask_dvc(file, sources)
        write_atomic(cache, json.dumps(answer).encode())
    return answer or {}  # None for a file with templates but without stages


def _sources(root: Path, file: str, text: str, overrides: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the file itself and of all files with variables."""
    folder = posixpath.dirname(file)
    names = {posixpath.join(folder, "params.yaml")}
    value = parse_yaml(text, file)
    bodies = list((value.get("stages") or {}).values())
    for holder in [value, *bodies, *(body.get("do") for body in bodies if isinstance(body, dict))]:
        if not isinstance(holder, dict):
            continue
        wdir = str(holder.get("wdir") or ".")
        if "${" not in wdir:
            names.add(posixpath.normpath(posixpath.join(folder, wdir, "params.yaml")))
        for item in holder.get("vars") or ():
            if isinstance(item, str):
                path = re.sub(r":[^/]*$", "", item)
                names.add(posixpath.normpath(posixpath.join(folder, path)))
                names.add(posixpath.normpath(posixpath.join(folder, wdir, path)))
    sources = {file: text}
    changeable = _parameter_files(folder, bodies)
    for name in names:
        if not name.startswith("../") and (root / name).is_file():
            content = (root / name).read_text(encoding="utf-8")
            if overrides and (name in changeable or posixpath.basename(name) == "params.yaml"):
                content = changed_text(name, content, overrides)
            sources[name] = content
    return sources


def _parameter_files(folder: str, bodies: Iterable[Any]) -> set[str]:
    """The parameter files of stages; ``-P`` changes their values."""
    found: set[str] = set()
    for body in bodies:
        inner = body.get("do", body) if isinstance(body, dict) else None
        if not isinstance(inner, dict):
            continue
        wdir = str(inner.get("wdir") or ".")
        for item in inner.get("params") or ():
            for name in item if isinstance(item, dict) else ():
                found.add(posixpath.normpath(posixpath.join(folder, wdir, str(name))))
    return found


def _ask_dvc(file: str, sources: Mapping[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="rondel-dvc-") as folder:
        for name, content in sources.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        done = subprocess.run(
            [dvc_python(), "-c", _RESOLVE_SCRIPT, file],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env=None,
        )
    if done.returncode:
        raise ConfigurationError(
            "DVC can't resolve the templates", why=done.stderr.strip()[-2000:], place=file
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def dvc_python() -> str:
    """An interpreter that can import DVC: this one, or that of the ``dvc`` on the PATH."""
    if importlib.util.find_spec("dvc") is not None:
        return sys.executable
    found = shutil.which("dvc")
    if found:
        with Path(found).open("rb") as script:
            first = script.readline(512)
        if first.startswith(b"#!") and b"python" in first:
            return first[2:].decode().split()[0]
    raise ConfigurationError(
        "dvc.yaml uses templates, but DVC, which resolves them, is not installed",
        hint="install it: pip install 'rondel[mlops]'",
    )
