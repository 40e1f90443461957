from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

from rondel.git.state import read_git
from rondel.record import Git, RunFolder
from rondel.record import snapshot as module
from rondel.record.snapshot import keep_code, sections
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def repository(root: Path) -> Path:
    root.mkdir()
    git(root, "init", "-q")
    for name in ("a.txt", "dir/b c.txt", "ü.txt", "gone.txt", "moved.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"{name}\n" * 5)
    (root / "binary.bin").write_bytes(bytes(range(256)))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    return root


def state(root: Path) -> Git:
    found = read_git(root)
    return Git(commit=found.commit, dirty=found.dirty, diff=found.diff, untracked=dict(found.untracked))


def test_a_diff_is_kept_by_file_and_applies_again(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    (root / "a.txt").write_text("other\n")
    (root / "dir/b c.txt").write_text("other\n")
    (root / "ü.txt").write_text("other\n")
    (root / "gone.txt").unlink()
    (root / "binary.bin").write_bytes(bytes(range(255, -1, -1)))
    git(root, "mv", "moved.txt", "new.txt")
    (root / "a.txt").chmod(0o755)
    run = RunFolder.of(root, "20261123-200000-aaaaaa")
    kept = keep_code(run, root, state(root), Masker())
    assert kept.diff == "code.diff"
    assert set(kept.changed) == {"a.txt", "dir/b c.txt", "ü.txt", "gone.txt", "binary.bin", "new.txt"}
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(root), str(clone))
    git(clone, "apply", "--index", "--binary", str(run.path / "code.diff"))
    assert (clone / "binary.bin").read_bytes() == (root / "binary.bin").read_bytes()
    assert (clone / "ü.txt").read_text() == "other\n"
    assert not (clone / "gone.txt").exists()
    assert (clone / "new.txt").exists()


def test_untracked_files_are_kept_by_content(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    (root / "run.sh").write_text("echo hi\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("/etc/passwd")
    run = RunFolder.of(tmp_path, "20261123-200000-aaaaaa")
    kept = keep_code(run, root, state(root), Masker())
    digest = hashlib.sha256(b"echo hi\n").hexdigest()
    assert kept.untracked["run.sh"] == digest
    stored = run.path / "untracked" / digest
    assert stored.read_text() == "echo hi\n"
    assert stored.stat().st_mode & 0o100
    assert kept.omitted == {"link": "it is a symbolic link"}


def test_secrets_in_code_are_left_out_and_named(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    (root / "a.txt").write_text("password = hunter2-hunter2\n")
    (root / "dir/b c.txt").write_text("harmless\n")
    (root / "config.py").write_text("KEY = 'hunter2-hunter2'\n")
    (root / ".env").write_text("ANYTHING=1\n")
    (root / ".env.example").write_text("ANYTHING=\n")
    run = RunFolder.of(tmp_path, "20261123-200000-aaaaaa")
    kept = keep_code(run, root, state(root), Masker(["hunter2-hunter2"]))
    assert set(kept.omitted) == {"a.txt", "config.py", ".env"}
    assert set(kept.changed) == {"dir/b c.txt"}
    for file in run.path.rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes()
    assert (run.path / "untracked" / kept.untracked[".env.example"]).exists()


def test_what_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(tmp_path / "project")
    monkeypatch.setattr(module, "LARGEST_FILE", 100)
    (root / "large").write_bytes(b"x" * 101)
    (root / "small").write_bytes(b"x" * 99)
    kept = keep_code(RunFolder.of(tmp_path, "20261123-200000-aaaaaa"), root, state(root), Masker())
    assert kept.omitted == {"large": "it is too large"}


def test_no_diff_has_no_sections() -> None:
    assert list(sections("")) == []
