"""What include, exclude and .gitignore leave of a tree."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rondel.engine.evaluate.filters import Filter, walk
from rondel.errors import EngineError
from rondel.files.patterns import compile_glob


@dataclass(frozen=True)
class Item:
    name: str
    is_dir: bool


def kept(
    tree: dict[str, str],
    *,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    gitignore: bool = False,
    above: tuple[tuple[str, str], ...] = (),
) -> list[str]:
    """The kept paths of a tree that is given by its files (and directories, with a slash)."""

    def scan(prefix: str) -> list[Item]:
        names: dict[str, bool] = {}
        for path in tree:
            if path.startswith(prefix) and path != prefix:
                name, slash, _ = path[len(prefix) :].partition("/")
                names[name] = names.get(name, False) or bool(slash)
        return [Item(name, names[name]) for name in sorted(names)]

    chosen = Filter(include, exclude, gitignore=gitignore)
    found = walk(chosen, chosen.root(above), scan, lambda e: e.is_dir, lambda p: tree.get(f"{p}.gitignore"))
    return [path + ("/" if item.is_dir else "") for path, item in found]


TREE = dict.fromkeys(["a.py", "a.txt", "sub/b.py", "sub/b.txt", "sub/deep/c.py", "void/"], "")


@pytest.mark.parametrize(
    ("include", "paths"),
    [
        (["*.py"], ["a.py"]),
        (["**/*.py"], ["a.py", "sub/", "sub/b.py", "sub/deep/", "sub/deep/c.py"]),
        (["sub"], ["sub/", "sub/b.py", "sub/b.txt", "sub/deep/", "sub/deep/c.py"]),
        (["sub/"], ["sub/", "sub/b.py", "sub/b.txt", "sub/deep/", "sub/deep/c.py"]),
        (["nothing"], []),
        (["sub/deep/c.py", "a.txt"], ["a.txt", "sub/", "sub/deep/", "sub/deep/c.py"]),
        (["**/*.py", "!sub/**"], ["a.py"]),
    ],
)
def test_include_keeps_what_matches_and_its_parents(include: list[str], paths: list[str]) -> None:
    assert kept(TREE, include=tuple(include)) == paths


@pytest.mark.parametrize(
    ("exclude", "paths"),
    [
        (["*.py"], ["a.txt", "sub/", "sub/b.py", "sub/b.txt", "sub/deep/", "sub/deep/c.py", "void/"]),
        (["**/*.py"], ["a.txt", "sub/", "sub/b.txt", "sub/deep/", "void/"]),
        (["sub"], ["a.py", "a.txt", "void/"]),
        (["**/*.py", "!sub/b.py"], ["a.txt", "sub/", "sub/b.py", "sub/b.txt", "sub/deep/", "void/"]),
        (["*"], []),
        (["**/deep", "!sub"], ["a.py", "a.txt", "sub/", "sub/b.py", "sub/b.txt", "void/"]),
        (["*", "!sub/deep/c.py"], ["sub/", "sub/deep/", "sub/deep/c.py"]),
        (
            ["  ", ""],
            ["a.py", "a.txt", "sub/", "sub/b.py", "sub/b.txt", "sub/deep/", "sub/deep/c.py", "void/"],
        ),
    ],
)
def test_exclude_drops_what_matches_with_all_below(exclude: list[str], paths: list[str]) -> None:
    assert kept(TREE, exclude=tuple(exclude)) == paths


def test_exclude_wins_over_include() -> None:
    paths = kept(TREE, include=("sub/**",), exclude=("**/*.txt",))
    assert paths == ["sub/", "sub/b.py", "sub/deep/", "sub/deep/c.py"]


def test_gitignore_files_hold_from_where_they_lie() -> None:
    tree = dict.fromkeys(
        ["a.log", "keep.log", "build/x", "sub/only-root", "only-root", "sub/a.tmp", "a.tmp"], ""
    )
    tree |= {".gitignore": "*.log\nbuild/\n!keep.log\n/only-root\n", "sub/.gitignore": "*.tmp\n"}
    assert kept(tree, gitignore=True) == [
        ".gitignore",
        "a.tmp",
        "keep.log",
        "sub/",
        "sub/.gitignore",
        "sub/only-root",
    ]


def test_gitignore_files_above_count_too() -> None:
    tree = {"a.log": "", "b.txt": "", "x": ""}
    above = (("repo/in", "*.log\n"), ("in", "/in/x\n"))
    assert kept(tree, gitignore=True, above=above) == ["b.txt"]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*", ".hid", True),
        ("*", "a/b", False),
        ("s/**", "s/t/c", True),
        ("s/**", "s", False),
        ("**/*.py", "a.py", True),
        ("./a.py", "a.py", True),
        ("/a.py", "a.py", False),
        ("s/", "s", True),
        ("[a-c].py", "b.py", True),
        ("[^a].py", "b.py", True),
        ("a?c", "a/c", False),
        (r"\*", "*", True),
        ("a.b", "axb", False),
    ],
)
def test_globs_match_whole_paths(pattern: str, path: str, matches: bool) -> None:
    assert compile_glob(pattern)(path) == matches


@pytest.mark.parametrize(
    ("pattern", "message"), [("[", "syntax error"), ("", "empty pattern"), ("a\\", "syntax")]
)
def test_bad_globs_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        compile_glob(pattern)
