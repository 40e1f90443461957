"""``rondel check --inputs`` with records of earlier runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.cache import DvcCacheEntry, make_key, save_entry
from rondel.cli.check import main
from rondel.errors import ConfigurationError, InputsUndeclared

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  a: {cmd: x, outs: [a.txt]}\n  b: {cmd: y, outs: [b.txt]}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kept(root: Path, address: str, undeclared: tuple[str, ...] | None) -> None:
    save_entry(root, DvcCacheEntry(key=make_key({}), run="r1", address=address, undeclared=undeclared))


def test_undeclared_files_have_their_own_exit_code(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(project, "a", ("src/helper.py",))
    kept(project, "b", ())
    with pytest.raises(InputsUndeclared) as caught:
        main(["--inputs"])
    assert caught.value.exit_code == 26
    assert caught.value.what.startswith("a read")
    said = capsys.readouterr().out
    assert "a in run r1:\n  src/helper.py\n" in said
    assert "b: all files that it read in run r1 are declared" in said
    assert main(["--inputs", "b"]) == 0


def test_unknown_inputs_are_reported_but_no_failure(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(project, "b", None)
    assert main(["--inputs"]) == 0
    said = capsys.readouterr().out
    assert "a: unknown, because it has not run here" in said
    assert "b: unknown, because run r1 could not trace it" in said


def test_an_unknown_stage_is_reported(project: Path) -> None:
    with pytest.raises(ConfigurationError, match="no stage 'c'"):
        main(["--inputs", "c"])
    with pytest.raises(ConfigurationError, match="nothing to check"):
        main([])


def test_a_project_without_dvc_stages_gets_an_explanation(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "dvc.yaml").unlink()
    assert main(["--inputs"]) == 0
    assert "dvc.yaml has no stages" in capsys.readouterr().out
