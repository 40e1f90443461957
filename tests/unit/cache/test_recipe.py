from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from rondel.cache import Recipe, host_parts, read_recipe
from rondel.cache.recipe import copied_sources, needed_text
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_sources_of_copy_add_and_bind_mounts_are_found() -> None:
    text = """\
    # COPY commented.txt /
    FROM python AS one
    COPY pyproject.toml uv.lock ./
    copy --chown=1:1 "with space.txt" \\
         src/ /src/
    COPY --from=one /a /b
    COPY ["json form.txt", "/x"]
    ADD https://example.com/a.tar.gz /a
    ADD local.tar.gz /a
    RUN --mount=type=cache,target=/c --mount=type=bind,source=conf,target=/conf true
    RUN --mount=type=bind,from=one,source=/x,target=/y true
    """
    assert copied_sources(text) == (
        "pyproject.toml",
        "uv.lock",
        "with space.txt",
        "src",
        "json form.txt",
        "local.tar.gz",
        "conf",
    )


def test_what_a_variable_names_may_be_anything_in_the_context(root: Path) -> None:
    (root / "Containerfile").write_text("FROM python\nARG WHAT=src\nCOPY ${WHAT} ./\n")
    assert copied_sources("COPY ${WHAT} $MORE/x ./") == (".",)
    before = recipe(root)
    (root / "other").write_text("changed")
    assert recipe(root).parts["file other"] != before.parts["file other"]


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recipe(root: Path, **more: str) -> Recipe:
    return read_recipe(
        root, "Containerfile", target="stage", build_args=tuple(more.items()), hash_file=hash_file
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Containerfile").write_text("FROM python\nCOPY lock src ./\n")
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
    assert {name for name in before.parts if name.startswith("file ")} == {"file lock", "file src/a.py"}


@pytest.mark.parametrize(
    ("path", "entry"),
    [("lock", "file lock"), ("src/a.py", "file src/a.py"), ("Containerfile", "containerfile")],
)
def test_a_change_of_an_ingredient_shows(root: Path, path: str, entry: str) -> None:
    before = recipe(root).parts
    (root / path).write_text((root / path).read_text() + "\n#")
    after = recipe(root).parts
    assert {name for name in after if after[name] != before[name]} == {entry}


def test_build_arguments_count(root: Path) -> None:
    assert recipe(root, PYTHON="3.12").parts["arg PYTHON"] == "3.12"


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


def test_only_the_targets_own_stages_count() -> None:
    text = """\
ARG PYTHON=3.11
FROM python:${PYTHON} AS base
COPY base.txt .
FROM base AS Tool
COPY tool.txt .
FROM debian AS unused
COPY unused.txt .
FROM base AS stage
COPY --from=tool /x /x
RUN --mount=type=bind,from=mounted,target=/m true
COPY stage.txt .
FROM scratch AS mounted
COPY mounted.txt .
FROM stage AS runner
COPY runner.txt .
"""
    needed = needed_text(text, "stage")
    assert copied_sources(needed) == ("base.txt", "tool.txt", "stage.txt", "mounted.txt")
    assert needed.startswith("ARG PYTHON=3.11\nFROM python")
    assert needed_text(text, "runner").endswith("COPY runner.txt .\n")
    assert needed_text(text, "no-such-target") == text
