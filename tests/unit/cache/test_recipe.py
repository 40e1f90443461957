from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from rondel.cache import host_parts, read_recipe
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recipe(root: Path, **more: str) -> dict[str, str]:
    return read_recipe(
        root, "Containerfile", target="stage", build_args=tuple(more.items()), hash_file=hash_file
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Containerfile").write_text("FROM python AS stage\nCOPY lock src ./\n")
    (tmp_path / "lock").write_text("1")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a")
    (tmp_path / "other").write_text("o")
    return tmp_path


def test_only_what_the_image_is_made_from_counts(root: Path) -> None:
    before = recipe(root)
    (root / "other").write_text("changed")
    (root / "src" / "__pycache__").mkdir()
    (root / "src" / "__pycache__" / "a.pyc").write_text("x")
    assert recipe(root) == before
    assert {name for name in before if name.startswith("file ")} == {"file lock", "file src/a.py"}


@pytest.mark.parametrize(
    ("path", "entry"),
    [("lock", "file lock"), ("src/a.py", "file src/a.py"), ("Containerfile", "containerfile")],
)
def test_a_change_of_an_ingredient_shows(root: Path, path: str, entry: str) -> None:
    before = recipe(root)
    (root / path).write_text((root / path).read_text() + "\n#")
    after = recipe(root)
    assert {name for name in after if after[name] != before[name]} == {entry}


def test_build_arguments_count(root: Path) -> None:
    assert recipe(root, PYTHON="3.12")["arg PYTHON"] == "3.12"


def test_a_missing_containerfile_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no Containerfile") as caught:
        recipe(tmp_path)
    assert caught.value.hint is not None


def test_a_missing_source_is_named(root: Path) -> None:
    (root / "lock").unlink()
    with pytest.raises(ConfigurationError, match="lock does not exist"):
        recipe(root)


def test_the_machine_is_known_by_distribution_and_interpreter() -> None:
    parts = host_parts(hash_file)
    assert {"python", "prefix", "libc"} <= set(parts)


def test_the_text_of_the_targets_own_stages_counts(root: Path) -> None:
    stages = {
        "": "# syntax=docker/dockerfile:1\nARG BASE=python\n",
        "one": "\nFROM ${BASE} AS one\nCOPY lock /\n# about two\n",
        "two": "\n \nFROM debian AS two\nCOPY other /\n",
        "stage": "\nFROM two AS stage\nCOPY --from=0 /lock /\n",
    }
    (root / "Containerfile").write_text("".join(stages.values()))

    def keyed(target: str) -> str:
        found = read_recipe(root, "Containerfile", target=target, build_args=(), hash_file=hash_file)
        return found["containerfile"]

    def text(*names: str) -> str:
        return hashlib.sha256("".join(stages[name] for name in names).encode()).hexdigest()

    assert keyed("stage") == text("", "one", "two", "stage")
    assert keyed("TWO") == text("", "two")
    assert keyed("one") == text("", "one")
    assert keyed("") == keyed("stage")


def test_a_link_counts_by_what_it_leads_to(root: Path) -> None:
    (root / "src" / "file").symlink_to("../other")
    (root / "src" / "folder").symlink_to("..")
    found = recipe(root)
    assert found["file src/file"] == hash_file(root / "other")
    assert found["file src/folder"] == "link to .."


def test_a_source_that_is_ignored_is_named(root: Path) -> None:
    (root / ".dockerignore").write_text("lock\n")
    with pytest.raises(ConfigurationError, match=r"lock is left out by \.dockerignore"):
        recipe(root)


@pytest.mark.parametrize(
    ("text", "ignored", "place", "what"),
    [
        ("FROM python AS stage\nCOPPY a b\n", "", "Containerfile:2", "unknown instruction: COPPY"),
        ("FROM python AS other\n", "", "Containerfile", "target stage"),
        ("FROM python AS stage\n", "a\n[\n", ".dockerignore:2", "syntax error in pattern"),
        ("FROM python AS stage\nCOPY --exclude=[ src /\n", "", "Containerfile", "syntax error in pattern"),
    ],
)
def test_what_cannot_be_built_is_named_before_anything_starts(
    root: Path, text: str, ignored: str, place: str, what: str
) -> None:
    (root / "Containerfile").write_text(text)
    (root / ".dockerignore").write_text(ignored)
    with pytest.raises(ConfigurationError, match=what) as caught:
        recipe(root)
    assert str(caught.value.place).removeprefix(f"{root}/") == place
