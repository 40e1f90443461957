"""``Jenkinsfile`` read by npm-groovy-lint with its rules for Jenkinsfiles; what they don't fit is in groovylintrc.json.

Left out are rules that a declarative file cannot keep (no constants for repeated texts, no classes to
compile statically), and one is given the depth that its own directives need.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from ci_project import TOOLS, TOP, installed, make_ci_project

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.container


def lint(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the linter says of each file in the folder. The JVM lives for seconds: its best compiler is not worth it."""
    tools = installed(
        "lint",
        ("node", "npm", "java"),
        ("lint/package.json", "lint/package-lock.json"),
        ["npm", "ci", "--no-audit", "--no-fund"],
    )
    program = tools / "node_modules" / "npm-groovy-lint" / "lib" / "index.js"
    done = subprocess.run(
        [
            *("node", str(program), "--noserver", "--output", "json", "--failon", "none"),
            *(
                "--config",
                str(TOOLS / "lint" / "groovylintrc.json"),
                "--javaoptions=-XX:TieredStopAtLevel=1,-Xmx512m",
            ),
            str(folder),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    return {name.removeprefix(f"{folder}/"): each["errors"] for name, each in found["files"].items()}


def test_what_is_generated_is_clean_and_what_is_wrong_is_found(tmp_path: Path) -> None:
    projects = {
        layout: make_ci_project(tmp_path / layout, "jenkins", layout=layout)
        for layout in ("single", "stages")
    }
    files = {"own": TOP, **projects}
    texts = {name: (root / "Jenkinsfile").read_text() for name, root in files.items()}
    body = texts["own"]
    texts["careless"] = body.replace(
        "void rondelReports() {", "void rondelReports() {\n    String unused = ''"
    )
    texts["broken"] = body.replace("    stages {", "    stages {{", 1)
    for name, text in texts.items():
        (tmp_path / "files" / name).mkdir(parents=True)
        (tmp_path / "files" / name / "Jenkinsfile").write_text(text)
    found = {name.removesuffix("/Jenkinsfile"): errors for name, errors in lint(tmp_path / "files").items()}
    assert [error["rule"] for error in found.pop("careless")] == ["UnusedVariable"]
    assert [error["rule"] for error in found.pop("broken")] == ["NglParseError"]
    assert {name: [error["rule"] for error in errors] for name, errors in found.items()} == {
        "own": [],
        "single": [],
        "stages": [],
    }
