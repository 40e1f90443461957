"""A container runtime's image store, through a program that stands for docker and its kin."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rondel.engine.images.runtime import RuntimeFailed, find_runtime

pytestmark = pytest.mark.anyio

_PROGRAM = """#!/bin/sh
cd "$(dirname "$0")" || exit
case "$1" in
info) exit {answers} ;;
load) cp "$3" by-id && echo "{said}" ;;
tag) [ "$2" = "sha256:0123" ] && mv by-id "$(echo "$3" | tr / _)" ;;
save) cp "$(echo "$4" | tr / _)" "$3" 2>/dev/null || {{ echo "no such image: $4" >&2; exit 4; }} ;;
esac
"""

Make = Callable[..., Path]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def program(tmp_path: Path) -> Make:
    def make(name: str, *, said: str = "Loaded image ID: sha256:0123", answers: int = 0) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(_PROGRAM.format(said=said, answers=answers))
        path.chmod(0o755)
        return path

    return make


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin:/bin", **more}


async def test_an_image_goes_in_under_a_name_and_comes_out_by_it(tmp_path: Path, program: Make) -> None:
    program("podman")
    runtime = await find_runtime(environ(tmp_path, RONDEL_ENGINE_RUNTIME="podman"))
    (tmp_path / "in.tar").write_text("image")
    await runtime.load(tmp_path / "in.tar", "docker.io/mine/it:v1")
    await runtime.save("docker.io/mine/it:v1", tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_text() == "image"


async def test_the_first_runtime_that_answers_is_taken(tmp_path: Path, program: Make) -> None:
    program("docker", answers=1)
    expected = program("podman")
    assert (await find_runtime({"PATH": str(expected.parent)})).program == str(expected)


async def test_no_runtime_is_told_with_what_was_tried(tmp_path: Path, program: Make) -> None:
    with pytest.raises(RuntimeFailed, match="no container runtime is installed: docker, podman"):
        await find_runtime({"PATH": str(tmp_path)})
    with pytest.raises(RuntimeFailed, match="no container runtime is installed: mine"):
        await find_runtime(environ(tmp_path, RONDEL_ENGINE_RUNTIME="mine"))
    folder = program("docker", answers=1).parent
    with pytest.raises(RuntimeFailed, match=r"no container runtime answers\n.*docker info failed"):
        await find_runtime({"PATH": str(folder)})


async def test_what_a_runtime_complains_of_is_told(tmp_path: Path, program: Make) -> None:
    program("nerdctl", said="done")
    runtime = await find_runtime(environ(tmp_path, RONDEL_ENGINE_RUNTIME="nerdctl"))
    with pytest.raises(RuntimeFailed, match=r"nerdctl save failed: exit status 4\n.*no such image: a/b:c"):
        await runtime.save("a/b:c", tmp_path / "out.tar")
    (tmp_path / "in.tar").write_text("image")
    with pytest.raises(RuntimeFailed, match="unexpected output"):
        await runtime.load(tmp_path / "in.tar", "a/b:c")
