"""Which files of a directory a build reads: those of the key, and those that are uploaded."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from rondel.containerfile import (
    BindUse,
    BuildContext,
    ContainerfileError,
    ContextSource,
    CopyStep,
    RunStep,
    SourceMissing,
    StageSource,
    read_context,
)
from rondel.engine.evaluate.filters import Filter, walk
from rondel.engine.images.model import ImageConfig
from rondel.engine.images.stage_plan import StagePlan, plan_stage

if TYPE_CHECKING:
    from pathlib import Path

FILES = (
    "a.txt", "b.txt", "conf/c.toml", "deep/x/y.txt", "deep/z/y.txt", "docs/d.md", "src/m.md", "src/m.py",
    "src/__pycache__/m.pyc", ".git/HEAD", "web/node_modules/n.js", "with space.txt", "lib/.venv/v",
)  # fmt: skip
HIDDEN = {"src/__pycache__/m.pyc", ".git/HEAD", "lib/.venv/v"}
WHOLE = sorted({*FILES, "Containerfile"} - HIDDEN)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def read(root: Path, text: str, *, target: str = "", ignore: str = "", **args: str) -> BuildContext:
    (root / "Containerfile").write_text(text)
    if ignore:
        (root / ".dockerignore").write_text(ignore)
    return read_context(root, "Containerfile", text, target=target, build_args=args.items())


def uploaded(context: BuildContext, to: Path) -> Path:
    """What an engine gets of a directory with the context's include and exclude."""
    root = context.root
    chosen = Filter(context.include, context.exclude)

    def scan(prefix: str) -> list[os.DirEntry[str]]:
        return sorted(os.scandir(root / prefix), key=lambda entry: entry.name)

    to.mkdir()
    for path, entry in walk(
        chosen, chosen.root(), scan, lambda e: e.is_dir(follow_symlinks=False), lambda _: None
    ):
        if entry.is_dir(follow_symlinks=False):
            (to / path).mkdir()
        else:
            shutil.copy(root / path, to / path, follow_symlinks=False)
    return to


BUILDS = [
    # variables
    ("FROM p\nARG SRC=src\nCOPY ${SRC} /app", ["src/m.md", "src/m.py"]),
    ("ARG SRC=docs\nFROM p\nARG SRC\nCOPY $SRC /app", ["docs/d.md"]),
    ("FROM p\nENV DIR=conf\nADD $DIR/*.toml /app/", ["conf/c.toml"]),
    ("FROM p\nARG GIVEN=a.txt\nCOPY $GIVEN /", ["b.txt"]),
    ("FROM p AS base\nENV DIR=conf\nFROM base\nCOPY $DIR /conf", ["conf/c.toml"]),
    ("FROM p\nARG A=doc B=${A}s\nCOPY $B /", ["docs/d.md"]),
    ("FROM scratch\nCOPY ${OF_NO_BASE:-docs} /", ["docs/d.md"]),
    ("FROM p\nCOPY $OF_THE_BASE /", WHOLE),
    ("FROM p\nENV DIR=$OF_THE_BASE/conf\nCOPY $DIR /", WHOLE),
    ("FROM p\nRUN --mount=type=bind,source=$OF_THE_BASE,target=/m true", WHOLE),
    ("FROM p\nARG KIND=b\nCOPY --chown=$OF_THE_BASE --chmod=$OF_THE_BASE ${KIND}.txt /", ["b.txt"]),
    # documents
    ("FROM p\nRUN <<EOF\nCOPY missing /\nEOF\nCOPY a.txt /", ["a.txt"]),
    ("FROM p\nCOPY <<EOF /etc/motd\nADD missing /\nEOF", []),
    ("FROM p\nCOPY <<EOF a.txt /etc/\ntext\nEOF", ["a.txt"]),
    # syntax
    ("FROM p\nCOPY a.txt \\\n# COPY missing /\n\n  b.txt /", ["a.txt", "b.txt"]),
    ("# escape=`\nFROM p\nCOPY a.txt `\n  b.txt /", ["a.txt", "b.txt"]),
    ('FROM p\nCOPY ["with space.txt", "a.txt", "/x/"]', ["a.txt", "with space.txt"]),
    ('FROM p\ncopy "with space.txt" /', ["with space.txt"]),
    # places
    ("FROM q AS one\nFROM p\nCOPY --from=one /missing /\nCOPY --from=image /missing /", []),
    ("FROM p\nADD https://example.com/x.tgz https://example.com/r.git#main:x git@host:r.git /x/", []),
    ("FROM p\nRUN --mount=type=bind,src=conf,dst=/c --mount=type=cache,dst=/x true", ["conf/c.toml"]),
    ("FROM p\nRUN --mount=target=/ctx,readwrite true", WHOLE),
    ("FROM q AS one\nFROM p\nRUN --mount=type=bind,from=one,source=/missing,target=/m true", []),
    ("FROM p\nRUN --mount=type=secret,id=missing,mode=$OF_THE_BASE true", []),
    ("FROM p\nCOPY ../a.txt /./docs/ /x/", ["a.txt", "docs/d.md"]),
    ("FROM p\nCOPY . /", WHOLE),
    ("FROM p\nCOPY .git/HEAD /", [".git/HEAD"]),
    # choices
    ("FROM p\nCOPY ?.txt no* /x/", ["a.txt", "b.txt"]),
    ("FROM p\nCOPY --parents deep/./*/y.txt /", ["deep/x/y.txt", "deep/z/y.txt"]),
    ("FROM p\nCOPY --exclude=*.md src /src", ["src/m.py"]),
    ("FROM p\nCOPY --parents --exclude=src/m.py src /", ["src/m.md"]),
    # triggers
    ("FROM p AS base\nONBUILD COPY a.txt /\nCOPY b.txt /\nFROM base", ["a.txt", "b.txt"]),
    ("FROM p\nONBUILD COPY a.txt /\nCOPY b.txt /", ["b.txt"]),
    # stages
    ("FROM q AS unused\nCOPY missing /\nFROM p\nCOPY a.txt /", ["a.txt"]),
]


@pytest.mark.parametrize(("text", "files"), BUILDS)
def test_a_build_reads_what_its_steps_copy(root: Path, tmp_path: Path, text: str, files: list[str]) -> None:
    context = read(root, text, GIVEN="b.txt")
    assert context.files() == files
    there = read_context(
        uploaded(context, tmp_path / "there"), "Containerfile", text, build_args=[("GIVEN", "b.txt")]
    )
    assert there.files() == files


@pytest.mark.parametrize("text", [text for text, _ in BUILDS if "OF_THE_BASE" not in text])
def test_a_build_copies_what_was_read_before_its_base_was_known(root: Path, text: str) -> None:
    context = read(root, text, GIVEN="b.txt")
    plans: dict[int, StagePlan] = {}
    for stage in context.outline.needed:
        under = plans.get(stage.base.index) if isinstance(stage.base, StageSource) else None
        config, scope = (under.config, under.scope) if under else (ImageConfig(), None)
        plans[stage.index] = plan_stage(context.outline, stage, config, scope)
    steps = [step for plan in plans.values() for step in plan.steps]
    copied = [step.sources for step in steps if isinstance(step, CopyStep) and step.origin == ContextSource()]
    mounts = [use for step in steps if isinstance(step, RunStep) for use in step.uses]
    bound = [
        (use.subpath.lstrip("/") or ".",)
        for use in mounts
        if isinstance(use, BindUse) and use.source == ContextSource()
    ]
    assert sorted(copied + bound) == sorted(step.sources for step in context.copies)


@pytest.mark.parametrize(
    ("copied", "ignore", "files"),
    [
        ("src docs", "**/*.md\n", ["src/m.py"]),
        ("src docs", "# all\n*.md\n/src/*\n!src/m.py\n", ["docs/d.md", "src/m.py"]),
        ("src", "!src/m.py\nsrc/m.md\nsrc/*.py\n", []),
        ("src", "src\n!src/m.md\n", ["src/m.md"]),
        (".", "*\n!conf\n", ["conf/c.toml"]),
        ("*.txt", "b.*\n", ["a.txt", "with space.txt"]),
        ("a.txt", "Containerfile\n.dockerignore\n", ["a.txt"]),
        ("deep", "**/x\n!deep\n", ["deep/z/y.txt"]),
    ],
)
def test_what_is_ignored_is_neither_read_nor_uploaded(
    root: Path, tmp_path: Path, copied: str, ignore: str, files: list[str]
) -> None:
    text = f"FROM p\nCOPY {copied} /x/\n"
    context = read(root, text, ignore=ignore)
    assert context.files() == files
    there = uploaded(context, tmp_path / "there")
    assert read_context(there, "Containerfile", text).files() == files
    sent = {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}
    assert sent == {*files, "Containerfile", ".dockerignore"}


def test_a_containerfiles_own_ignore_file_counts_before_the_common_one(root: Path, tmp_path: Path) -> None:
    (root / "Containerfile.dockerignore").write_text("src/m.md\n")
    context = read(root, "FROM p\nCOPY src /\n", ignore="src/m.py\n")
    assert context.files() == ["src/m.py"]
    assert read_context(
        uploaded(context, tmp_path / "there"), "Containerfile", "FROM p\nCOPY src /\n"
    ).files() == ["src/m.py"]
    (root / "Containerfile.dockerignore").write_text("")
    assert read(root, "FROM p\nCOPY src /\n").files() == ["src/m.md"]


def test_a_bind_mount_sees_no_ignored_files(root: Path) -> None:
    text = "FROM p\nRUN --mount=type=bind,source=src,target=/m true\n"
    assert read(root, text, ignore="**/*.md\n").files() == ["src/m.py"]


@pytest.mark.parametrize("name", ["!odd", "sp ", "back\\slash", "#hash"])
def test_odd_names_are_uploaded(root: Path, tmp_path: Path, name: str) -> None:
    (root / name).write_text("odd")
    text = f'FROM p\nCOPY ["{name}", "/x"]\n'.replace("\\", "\\\\\\\\")
    context = read(root, text)
    assert context.files() == [name]
    assert read_context(uploaded(context, tmp_path / "there"), "Containerfile", text).files() == [name]


def test_what_a_link_leads_to_is_uploaded_with_it(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to("conf")
    (root / "src/inner").symlink_to("../a.txt")
    text = "FROM p\nCOPY link src /x/\n"
    context = read(root, text)
    assert context.files() == ["link/c.toml", "src/inner", "src/m.md", "src/m.py"]
    there = uploaded(context, tmp_path / "there")
    assert (there / "link/c.toml").read_text() == "conf/c.toml"
    assert read_context(there, "Containerfile", text).files() == context.files()


def test_sources_stay_inside(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (root / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(SourceMissing):
        read(root, "FROM p\nCOPY out /x\n").files()


def test_pipes_are_no_files(root: Path) -> None:
    os.mkfifo(root / "src/pipe")
    assert read(root, "FROM p\nCOPY src /x\n").files() == ["src/m.md", "src/m.py"]


@pytest.mark.parametrize(("ignore", "ignored"), [("", False), ("gone\n", False), ("a.txt\n", True)])
def test_a_source_that_is_not_there_is_named(root: Path, ignore: str, ignored: bool) -> None:
    with pytest.raises(SourceMissing) as caught:
        read(root, "FROM p\nCOPY a.txt gone /x/\n", ignore=ignore).files()
    assert (caught.value.source, caught.value.ignored) == ("a.txt" if ignored else "gone", ignored)


def test_the_platform_is_this_machines(root: Path) -> None:
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    (root / f"bin-{arch}").write_text("x")
    text = f"FROM p AS {arch}\nCOPY a.txt /\nFROM $TARGETARCH\nARG TARGETARCH\nCOPY bin-$TARGETARCH /\n"
    assert read(root, f"ARG TARGETARCH\n{text}").files() == ["a.txt", f"bin-{arch}"]


def test_a_mistake_is_named_with_its_line(root: Path) -> None:
    with pytest.raises(ContainerfileError, match=r"Containerfile:2: unknown instruction: COPPY"):
        read(root, "FROM p\nCOPPY a b\n")
