"""Every example in README and docs is executed, or says why it is not.

Python examples are pipelines: they are loaded and listed in a copy of the
project. Shell examples are run there, line by line as one script.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PAGES = [
    *(TOP / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((TOP / "docs").rglob("*.md")),
]
PROJECT = (
    "ci",
    "workload",
    ".dvc",
    "Containerfile",
    "MLproject",
    "dvc.yaml",
    "params.yaml",
    "pyproject.toml",
    "uv.lock",
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(<!-- not run: (.+?) -->)?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    page: str
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def examples() -> list[Example]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 1
            found.append(Example(page.relative_to(TOP).as_posix(), line, match[1], match[2], match[4]))
    return found


FOLLOWED = "<!-- followed, from an empty folder, by tests/e2e/test_howto.py -->"
"""On pages whose commands are one walk, which runs as a whole."""

WALKS = {page.relative_to(TOP).as_posix() for page in PAGES if FOLLOWED in page.read_text(encoding="utf-8")}
EXECUTED = [each for each in examples() if each.reason is None and each.page not in WALKS]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project's own files, as a git repository."""
    folder = tmp_path_factory.mktemp("project")
    for name in PROJECT:
        source = TOP / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache")
            )
        else:
            shutil.copy(source, folder / name)
    identity = ["-c", "user.name=Docs", "-c", "user.email=docs@example.com"]
    for command in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "-m", "Copy"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def run(command: list[str], project: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CI": "", "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=project, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", [each for each in EXECUTED if each.language == "python"], ids=str)
def test_python_examples_are_pipelines_that_load_and_are_listed(example, project):
    code = example.code
    if "pipeline.main()" not in code:
        code += '\nif __name__ == "__main__":\n    pipeline.main()\n'
    (project / "example.py").write_text(code, encoding="utf-8")
    run([sys.executable, "example.py", "--list"], project)


@pytest.mark.parametrize("example", [each for each in EXECUTED if each.language == "sh"], ids=str)
def test_shell_examples_run(example, project):
    run(["sh", "-eu", "-c", example.code], project)


def test_every_reason_is_one():
    assert all(len(each.reason or "long enough") > 10 for each in examples())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(TOP).as_posix())
def test_relative_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitLab and GitHub give to a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
