"""The pipeline and what it imports are what their files say, whatever Python's bytecode cache holds.

An edit of the same length whose file has the same time is one that Python's own loader takes for none.
"""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from rondel.errors import ConfigurationError
from rondel.pipeline import Stage, load_pipeline
from rondel.pipeline.source import RESTARTED, is_project_file

MAIN = """\
{first}
from rondel import Pipeline
{then}
pipeline = Pipeline()


@pipeline.stage(name=NAME)
async def work(ctx) -> None:
    await ctx.sh("true")


if __name__ == "__main__":
    pipeline.main()
"""

FIRST = {
    "a module": ("from helpers import NAME", {"ci/helpers.py": 'NAME = "aaa"\n'}),
    "a module of a package": (
        "from shared.names import NAME",
        {"ci/shared/__init__.py": "", "ci/shared/names.py": 'NAME = "aaa"\n'},
    ),
    "a relative import": (
        "from shared import NAME",
        {"ci/shared/__init__.py": "from .names import NAME\n", "ci/shared/names.py": 'NAME = "aaa"\n'},
    ),
    "a package's own file": ("from shared import NAME", {"ci/shared/__init__.py": 'NAME = "aaa"\n'}),
    "a namespace package": ("from shared.names import NAME", {"ci/shared/names.py": 'NAME = "aaa"\n'}),
    "what a module imports": (
        "from helpers import NAME",
        {"ci/helpers.py": "from deep import NAME\n", "ci/deep.py": 'NAME = "aaa"\n'},
    ),
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def edit(file: Path, old: str, new: str) -> None:
    """Change a file so that neither its size nor its time tells."""
    before = file.stat()
    text = file.read_text()
    assert old in text
    assert len(old) == len(new)
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def compiled(root: Path) -> None:
    """Have bytecode of each module in place, as Python leaves it."""
    for file in (root / "ci").rglob("*.py"):
        py_compile.compile(str(file), doraise=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path, {"pyproject.toml": '[project]\nname = "p"\n', "Containerfile": "FROM x AS stage\n"})
    return tmp_path


def run(
    root: Path, *words: str, script: tuple[str, ...] = ("ci/main.py",)
) -> subprocess.CompletedProcess[str]:
    left_out = ("DAGGER", "MLFLOW", "CI", "RONDEL", "PYTHONDONTWRITE", "PYTHONPYCACHE", "GITLAB", "JENKINS")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return subprocess.run(
        [sys.executable, *script, *words],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def listed(root: Path, *, script: tuple[str, ...] = ("ci/main.py",)) -> str:
    done = run(root, "--list", script=script)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[1].split()[0]


@pytest.mark.parametrize("before", [True, False], ids=["before rondel", "after rondel"])
@pytest.mark.parametrize("kind", FIRST)
def test_a_run_sees_an_edit_that_python_does_not(project: Path, kind: str, *, before: bool) -> None:
    line, files = FIRST[kind]
    main = MAIN.format(first=line if before else "", then="" if before else line)
    write(project, {**files, "ci/main.py": main})
    assert listed(project) == "aaa"
    compiled(project)
    file = next(project / name for name, text in files.items() if "aaa" in text)
    edit(file, "aaa", "bbb")
    assert listed(project) == "bbb"
    assert listed(project) == "bbb"


def test_python_itself_would_not_have_seen_it(project: Path) -> None:
    write(
        project, {"ci/helpers.py": 'NAME = "aaa"\n', "ci/plain.py": "import helpers\nprint(helpers.NAME)\n"}
    )
    assert run(project, script=("ci/plain.py",)).stdout == "aaa\n"
    edit(project / "ci/helpers.py", "aaa", "bbb")
    assert run(project, script=("ci/plain.py",)).stdout == "aaa\n"


def test_a_pipeline_that_is_started_as_a_module_is_read_from_its_source(project: Path) -> None:
    write(project, {"ci/main.py": MAIN.format(first='NAME = "aaa"', then="")})
    assert listed(project, script=("-m", "ci.main")) == "aaa"
    compiled(project)
    edit(project / "ci/main.py", "aaa", "bbb")
    assert listed(project, script=("-m", "ci.main")) == "bbb"


def test_a_pipeline_in_a_module_of_its_own_is_read_from_its_source(project: Path) -> None:
    made = MAIN.format(first='NAME = "aaa"', then="").partition("if __name__")[0]
    write(project, {"ci/made.py": made, "ci/main.py": "from made import pipeline\npipeline.main()\n"})
    assert listed(project) == "aaa"
    edit(project / "ci/made.py", "aaa", "bbb")
    assert listed(project) == "bbb"


def test_a_module_that_a_stage_imports_when_it_runs_is_read_from_its_source(project: Path) -> None:
    main = "from rondel import Pipeline\npipeline = Pipeline()\n\ndef late() -> str:\n    import helpers\n"
    main += "    return helpers.NAME\n\nif __name__ == '__main__':\n    print(late())\n"
    write(project, {"ci/helpers.py": 'NAME = "aaa"\n', "ci/main.py": main})
    assert run(project).stdout == "aaa\n"
    compiled(project)
    edit(project / "ci/helpers.py", "aaa", "bbb")
    assert run(project).stdout == "bbb\n"


def test_a_key_is_made_from_the_code_that_runs(project: Path) -> None:
    main = MAIN.format(first="from helpers import command", then='NAME = "work"')
    main = main.replace('ctx.sh("true")', "ctx.sh(command())")
    write(
        project,
        {
            "ci/helpers.py": 'def command() -> str:\n    return "one"\n',
            "ci/main.py": main.replace("    pipeline.main()", "    from rondel.cache import code_parts\n")
            + "    from pathlib import Path\n"
            + '    Path("ci/helpers.py").write_text("# another text\\n\\n" + Path("ci/helpers.py").read_text())\n'
            + '    print(sorted(code_parts(work.body, Path.cwd()).items()))\n    pipeline.main(["--list"])\n',
        },
    )
    first = run(project)
    assert first.returncode in {0, 20}, first.stderr
    write(project, {"ci/helpers.py": 'def command() -> str:\n    return "one"\n'})
    assert run(project).stdout.splitlines()[0] == first.stdout.splitlines()[0]
    write(project, {"ci/helpers.py": 'def command() -> str:\n    return "two"\n'})
    assert run(project).stdout.splitlines()[0] != first.stdout.splitlines()[0]


def test_a_program_that_is_not_the_projects_is_not_started_again(project: Path) -> None:
    write(project, {"ci/main.py": MAIN.format(first="from helpers import NAME", then="")})
    write(project, {"ci/helpers.py": 'NAME = "aaa"\n'})
    assert listed(project) == "aaa"
    edit(project / "ci/helpers.py", "aaa", "bbb")
    code = "import sys; sys.path.insert(0, 'ci'); import main; main.pipeline.main(['--list'])"
    done = run(project, script=("-c", code))
    assert done.returncode == ConfigurationError.exit_code
    assert "Python has loaded outdated code for ci/helpers.py" in done.stderr
    assert "start this program again" in done.stderr
    assert "bbb" in run(project, script=("-c", code)).stdout


def test_old_code_that_comes_back_ends_in_an_error_not_in_a_loop(project: Path) -> None:
    # As a tool would that puts the old bytecode back each time.
    first = "from pathlib import Path\nimport helpers\nfrom helpers import NAME"
    put_back = "    Path(helpers.__cached__).write_bytes(Path('saved.pyc').read_bytes())\n"
    main = MAIN.format(first=first, then="").replace("    pipeline.main()", f"{put_back}    pipeline.main()")
    write(project, {"ci/helpers.py": 'NAME = "aaa"\n'})
    py_compile.compile(str(project / "ci/helpers.py"), cfile=str(project / "saved.pyc"), doraise=True)
    write(project, {"ci/main.py": main})
    edit(project / "ci/helpers.py", "aaa", "bbb")
    done = run(project, "--list")
    assert done.returncode == ConfigurationError.exit_code
    assert "Python loads outdated code for ci/helpers.py" in done.stderr
    assert "→ remove " in done.stderr


def test_starting_again_leaves_no_trace_in_the_environment(project: Path) -> None:
    told = f"import atexit, os\natexit.register(lambda: print('left', os.environ.get({RESTARTED!r})))"
    main = MAIN.format(first="from helpers import NAME", then=told)
    write(project, {"ci/helpers.py": 'NAME = "aaa"\n', "ci/main.py": main})
    listed(project)
    edit(project / "ci/helpers.py", "aaa", "bbb")
    assert run(project, "--list").stdout.splitlines()[-1] == "left None"


# -- loading it, as `rondel ci` does


def names(stages: tuple[Stage, ...]) -> list[str]:
    return [stage.name for stage in stages]


@pytest.mark.parametrize("kind", FIRST)
def test_a_load_sees_an_edit_that_python_does_not(project: Path, kind: str) -> None:
    line, files = FIRST[kind]
    write(project, {**files, "ci/main.py": MAIN.format(first=line, then="")})
    compiled(project)
    file = next(project / name for name, text in files.items() if "aaa" in text)
    edit(file, "aaa", "bbb")
    assert names(load_pipeline(project / "ci/main.py").stages()) == ["bbb"]
    edit(file, "bbb", "ccc")
    assert names(load_pipeline(project / "ci/main.py").stages()) == ["ccc"]


def test_a_load_sees_an_edit_of_the_pipeline_itself(project: Path) -> None:
    write(project, {"ci/main.py": MAIN.format(first='NAME = "aaa"', then="")})
    compiled(project)
    edit(project / "ci/main.py", "aaa", "bbb")
    assert names(load_pipeline(project / "ci/main.py").stages()) == ["bbb"]


def test_each_project_has_its_own_modules_of_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        files = {"pyproject.toml": "", "ci/helpers.py": f'NAME = "{name}"\n'}
        write(
            tmp_path / name, {**files, "ci/main.py": MAIN.format(first="from helpers import NAME", then="")}
        )
    for name in ("one", "two", "one"):
        assert names(load_pipeline(tmp_path / name / "ci/main.py").stages()) == [name]


def test_a_load_leaves_no_bytecode(project: Path) -> None:
    line, files = FIRST["a relative import"]
    write(project, {**files, "ci/main.py": MAIN.format(first="", then=line)})
    load_pipeline(project / "ci/main.py")
    assert not list(project.rglob("*.pyc"))


def test_ci_check_sees_an_edit_that_python_does_not(project: Path) -> None:
    write(project, {"ci/helpers.py": 'NAME = "aaa"\n'})
    write(project, {"ci/main.py": MAIN.format(first="", then="from helpers import NAME")})
    rondel = (str(Path(sys.executable).with_name("rondel")),)
    done = run(project, "ci", "generate", "gitlab", "--layout", "stages", script=rondel)
    assert done.returncode == 0, done.stderr
    options = '[project]\nname = "p"\n[tool.rondel.ci]\nlayout = "stages"\n'
    (project / "pyproject.toml").write_text(options)
    assert run(project, "ci", "check", script=rondel).returncode == 0
    compiled(project)
    edit(project / "ci/helpers.py", "aaa", "bbb")
    done = run(project, "ci", "check", script=rondel)
    assert done.returncode == 1
    assert "bbb" in done.stdout


# -- what is the project's


def test_installed_code_is_not_the_projects(tmp_path: Path) -> None:
    for name, expected in {
        "ci/main.py": True,
        "src/pkg/a.py": True,
        ".venv/lib/python3.12/site-packages/pkg/a.py": False,
        "../elsewhere/a.py": False,
    }.items():
        assert is_project_file(tmp_path / name, tmp_path.resolve()) is expected


def test_rondels_own_code_is_not_the_projects() -> None:
    import rondel

    file = Path(rondel.__file__).resolve()
    assert not is_project_file(file, file.parents[2])
