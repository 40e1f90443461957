from __future__ import annotations

from rondel.data import load_project, workspace_excludes, workspace_files


def test_ignored_files_and_data_stay_outside(project_root, git):
    for name in (
        "models/model.bin",
        "data/raw.csv",
        "data/prepared.csv",
        "src/__pycache__/x.pyc",
        ".dvc/tmp/lock",
    ):
        path = project_root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a\n")
    (project_root / "new.py").write_text("new")
    (project_root / ".dvc" / "config.local").write_text("secret")
    files = workspace_files(load_project(project_root))
    assert files == (
        ".dvc/.gitignore",
        ".dvc/config",
        ".gitignore",
        "data/.gitignore",
        "data/raw.csv.dvc",
        "dvc.lock",
        "dvc.yaml",
        "metrics.json",
        "new.py",
        "params.yaml",
        "src/prepare.py",
        "src/train.py",
    )


def test_a_tracked_file_that_gitignore_matches_belongs_to_the_workspace(project_root, git):
    (project_root / "models").mkdir()
    (project_root / "models" / "card.md").write_text("card")
    git("add", "-f", "models/card.md")
    (project_root / "models" / "model.bin").write_text("model")
    files = workspace_files(load_project(project_root))
    assert "models/card.md" in files
    assert "models/model.bin" not in files


def test_outputs_that_dvc_does_not_keep_belong_to_the_workspace_though_git_ignores_them(project_root, git):
    text = (project_root / "dvc.yaml").read_text()
    outs = "    outs:\n      - out/fit.parquet: {cache: false}\n      - fit.parquet: {cache: false}\n"
    (project_root / "dvc.yaml").write_text(f"{text}  fit:\n    cmd: fit\n{outs}")
    (project_root / ".gitignore").write_text("/.rondel/\n/models/\n*.parquet\n/out/\n")
    (project_root / "out").mkdir()
    for name in ("fit.parquet", "other.parquet", "out/fit.parquet", "out/other.txt"):
        (project_root / name).write_text("x")
    files = workspace_files(load_project(project_root))
    assert {"fit.parquet", "out/fit.parquet"} <= set(files)
    assert not {"other.parquet", "out/other.txt"} & set(files)


def test_names_with_pattern_characters_are_taken_literally(project_root, git):
    (project_root / ".gitignore").write_text("/.rondel/\n/models/\n/a\\[1\\].txt\n")
    for name in ("a[1].txt", "a1.txt"):
        (project_root / name).write_text("x")
    files = workspace_files(load_project(project_root))
    assert "a1.txt" in files
    assert "a[1].txt" not in files
    assert "a\\[1\\].txt" in workspace_excludes(load_project(project_root))


def test_without_git_the_gitignore_and_common_sense_hold(project_root):
    for name in ("models/model.bin", ".venv/bin/python", "node_modules/x.js", "src/a.pyc"):
        path = project_root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    files = workspace_files(load_project(project_root))
    assert "src/train.py" in files
    assert not {"models/model.bin", ".venv/bin/python", "node_modules/x.js", "src/a.pyc"} & set(files)


def test_no_bytecode_reaches_a_stage_but_that_of_a_module_without_source(project_root, git):
    (project_root / ".gitignore").write_text("/.rondel/\n")
    bytecode = (
        "src/__pycache__/train.cpython-311.pyc",
        "src/train.pyc",
        "src/deleted.pyc",
        "src/__pycache__/tracked.pyc",
        "src/beside.pyc",
        "src/vendored[1].pyc",
    )
    for name in (*bytecode, "src/beside.py"):
        (project_root / name).parent.mkdir(parents=True, exist_ok=True)
        (project_root / name).write_text("x")
    git("add", "-f", "src/__pycache__/tracked.pyc", "src/beside.pyc", "src/beside.py", "src/vendored[1].pyc")
    files = workspace_files(load_project(project_root))
    assert {name for name in files if name.endswith(".pyc")} == {"src/vendored[1].pyc"}
    assert {"src/beside.py", "src/train.py"} <= set(files)
