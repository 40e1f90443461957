"""What COPY takes: .dockerignore, wildcards, modes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rondel.containerfile import ContainerfileError, CopyStep, SourceMissing, ignore_rules, select
from rondel.containerfile.copying import symbolic_mode
from rondel.engine.store import View
from rondel.engine.store.view import Lower
from rondel.files.patterns import Patterns

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def view(tmp_path: Path) -> View:
    for name in ("a.txt", "b.txt", "[x]", "d/e/f", "d/g", "d/h.md", "deep/x/y.txt", "deep/z/y.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "link").symlink_to("a.txt")
    (tmp_path / "out").symlink_to("/etc")
    return View([Lower(str(tmp_path))])


def chosen(view: View, *sources: str, ignore: tuple[str, ...] = (), **options: object) -> list[str]:
    step = CopyStep(line=1, text="", sources=sources, destination="/x", **options)  # type: ignore[arg-type]
    return [item.target for item in select(view, "/", step, ignore_rules("\n".join(ignore)))]


def test_a_directory_gives_its_content(view: View) -> None:
    assert chosen(view, "d") == ["", "e", "e/f", "g", "h.md"]
    assert chosen(view, "d/", "a.txt", into_directory=True) == ["", "e", "e/f", "g", "h.md", "a.txt"]


def test_a_single_file_may_take_the_destination_name(view: View) -> None:
    assert chosen(view, "a.txt") == [""]
    assert chosen(view, "a.txt", into_directory=True) == ["a.txt"]


def test_wildcards_match_one_part_each(view: View) -> None:
    assert chosen(view, "*.txt", into_directory=True) == ["a.txt", "b.txt"]
    assert chosen(view, "?.txt", into_directory=True) == ["a.txt", "b.txt"]
    assert chosen(view, "[a].txt") == [""]
    assert chosen(view, "[^a].txt") == [""]
    assert chosen(view, "deep/*/y.txt", into_directory=True) == ["y.txt", "y.txt"]
    assert chosen(view, "no*", into_directory=True) == []
    assert chosen(view, "[[]x]") == [""]


def test_parents_are_kept_from_the_pivot_on(view: View) -> None:
    assert chosen(view, "deep/*/y.txt", parents=True, into_directory=True) == ["deep/x/y.txt", "deep/z/y.txt"]
    assert chosen(view, "deep/./*/y.txt", parents=True, into_directory=True) == ["x/y.txt", "z/y.txt"]
    assert chosen(view, "./deep/x/./y.txt", parents=True, into_directory=True) == ["y.txt"]


def test_excluded_files_stay_out(view: View) -> None:
    assert chosen(view, "d", exclude=("*.md", "e")) == ["", "g"]
    assert chosen(view, "d", exclude=("**/f",)) == ["", "e", "g", "h.md"]
    assert chosen(view, "a.txt", "b.txt", exclude=("a.*",), into_directory=True) == ["b.txt"]
    assert chosen(view, "d", exclude=("e", "!e/f")) == ["", "e", "e/f", "g", "h.md"]
    assert chosen(view, "d", exclude=("e", "!e/none")) == ["", "g", "h.md"]


def test_excluded_paths_are_those_that_are_kept_with_parents(view: View) -> None:
    assert chosen(view, "d", parents=True, exclude=("d/e", "g")) == ["d", "d/g", "d/h.md"]
    assert chosen(view, "deep/./x", "d", parents=True, exclude=("x/y.txt", "d/**")) == ["x", "d"]
    assert chosen(view, "deep/*/y.txt", parents=True, exclude=("deep/x/y.txt",)) == ["deep/z/y.txt"]
    assert chosen(view, "d", parents=True, exclude=("d", "!d/g")) == ["d", "d/g"]
    assert chosen(view, "d", "a.txt", parents=True, exclude=("d",)) == ["a.txt"]


def test_missing_and_ignored_sources_are_the_same(view: View) -> None:
    for source, ignore in (("absent", ()), ("a.txt", ("a.txt",)), ("d/g", ("d",))):
        with pytest.raises(SourceMissing, match=f"lstat /{source}: no such file or directory"):
            chosen(view, source, ignore=ignore)
    assert chosen(view, "*.txt", ignore=("a.*",), into_directory=True) == ["b.txt"]


def test_sources_stay_inside_the_context(view: View) -> None:
    with pytest.raises(SourceMissing):
        chosen(view, "../../etc/passwd")
    with pytest.raises(SourceMissing):
        chosen(view, "out/passwd")
    assert chosen(view, "../a.txt") == [""]


def test_a_link_named_itself_gives_its_target(view: View) -> None:
    step = CopyStep(line=1, text="", sources=("link",), destination="/x")
    (item,) = select(view, "/", step, Patterns())
    assert item.entry.is_file


@pytest.mark.parametrize(
    ("lines", "ignored", "seen"),
    [
        (["*.log"], ["a.log"], ["deep/a.log"]),
        (["**/*.log"], ["a.log", "deep/a.log"], ["a.txt"]),
        (["# comment", "", "  a  "], ["a", "a/b"], ["# comment"]),
        (["/a"], ["a", "a/b"], ["b/a"]),
        (["a/"], ["a", "a/b"], []),
        (["*", "!keep"], ["a"], ["keep", "keep/b"]),
        (["a", "!a/b"], ["a/c"], ["a/b"]),
        (["\ufeffa"], ["a"], ["b"]),
        (["a?c"], ["abc"], ["a/c", "ac"]),
        (["**"], ["a", "a/b"], []),
    ],
)
def test_dockerignore_rules(lines: list[str], ignored: list[str], seen: list[str]) -> None:
    rules = ignore_rules("\n".join(lines))
    assert [path for path in ignored + seen if rules.matches(path)] == ignored


def test_a_bad_pattern_is_named() -> None:
    with pytest.raises(ContainerfileError, match=r"\.dockerignore:2: \[a: syntax error in pattern"):
        ignore_rules("b\n[a\n")


def test_a_directory_is_there_only_for_what_comes_back(view: View) -> None:
    assert chosen(view, ".", ignore=("*", "!d/e")) == ["", "d", "d/e", "d/e/f"]
    assert chosen(view, ".", ignore=("*", "!d/none")) == [""]


@pytest.mark.parametrize(
    ("text", "mode", "directory", "made"),
    [
        ("0640", 0o777, False, 0o640),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, True, 0o755),
        ("u=rwX,go=rX", 0o711, False, 0o755),
        ("a+x", 0o644, False, 0o755),
        ("go-rwx", 0o777, False, 0o700),
        ("u+s,g+s,+t", 0o755, False, 0o7755),
        ("g=u", 0o740, False, 0o770),
        ("+r", 0o200, False, 0o644),
    ],
)
def test_symbolic_modes(text: str, mode: int, directory: bool, made: int) -> None:
    assert symbolic_mode(text, mode, directory=directory) == made


def test_chmod_of_coreutils_agrees(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    for text in ("u=rwX,go=rX", "a=r", "u-w,o+x", "ug+w,o-r", "a+X", "o=g"):
        for mode in (0o600, 0o755, 0o411, 0o7777):
            path.chmod(mode)
            assert os.system(f"chmod {text} {path}") == 0
            assert symbolic_mode(text, mode, directory=False) == path.stat().st_mode & 0o7777, (
                text,
                oct(mode),
            )
