"""The image of a run that is repeated: its base by digest from the registry, or rebuilt with every difference named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from capsule_project import git, pipeline, rondel
from fakeregistry import FakeRegistry
from small_image import put_base

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Its registry is on this machine's loopback, without TLS: an engine elsewhere does not reach it.
pytestmark = [pytest.mark.container, pytest.mark.embedded]

MAIN = """\
from rondel import Pipeline, StageContext

pipeline = Pipeline()


@pipeline.stage
async def look(ctx: StageContext) -> None:
    await ctx.sh("cat /release; exit 3")


if __name__ == "__main__":
    pipeline.main()
"""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    fake = FakeRegistry()
    yield fake
    fake.close()


@pytest.fixture
def project(tmp_path: Path, registry: FakeRegistry) -> Iterator[Path]:
    root = tmp_path / "project"
    files = {
        "ci/main.py": MAIN,
        "Containerfile": f"ARG TAG=1\nFROM {registry.host}/base:$TAG AS stage\nRUN cat /release > /seen\n",
        "pyproject.toml": '[project]\nname = "images"\n',
        ".gitignore": "/.rondel/\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    yield root
    rondel(root, "ui", "--stop", code=None)


def test_the_recorded_image_comes_first_and_another_one_is_told(
    project: Path, registry: FakeRegistry, tmp_path: Path
) -> None:
    old = put_base(registry, f"first of {tmp_path}\n")
    pipeline(project, "look", code=10)
    failed = load(project)[1]
    image = failed.stage("look").image
    assert image is not None
    assert image.base == f"{registry.host}/base:1@{old}"
    # The tag moves on, as tags do.
    new = put_base(registry, f"second of {tmp_path}\n")

    done = rondel(project, "reproduce", failed.id)
    assert "the same outcome" in done.stdout
    assert "another image" not in done.stdout
    folder, again = load(project)
    assert "first of" in folder.log("look").read_text()
    assert again.stage("look").image == image

    # Another machine, and a registry that has cleaned up.
    del registry.manifests[old]
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = rondel(project, "reproduce", failed.id, env=elsewhere, code=30)
    assert f"base:1@{old} of the original run is not available" in done.stdout + done.stderr
    assert (
        f"another image: the image's base was {image.base}, and is {registry.host}/base:1@{new}"
        in done.stdout
    )
    assert "second of" in load(project)[0].log("look").read_text()


def test_a_result_keeps_the_digest_that_made_it_when_the_tag_moves(
    project: Path, registry: FakeRegistry, tmp_path: Path
) -> None:
    main = project / "ci/main.py"
    main.write_text(MAIN.replace("; exit 3", ""))
    old = put_base(registry, f"first of {tmp_path}\n")
    pipeline(project, "look")
    first = load(project)[1].stage("look").image
    assert first is not None
    assert first.base == f"{registry.host}/base:1@{old}"
    new = put_base(registry, f"second of {tmp_path}\n")

    pipeline(project, "look")
    record = load(project)[1].stage("look")
    assert (record.state, record.image) == ("cached", first)

    main.write_text(MAIN.replace("; exit 3", "; echo seen"))
    pipeline(project, "look")
    folder, capsule = load(project)
    record = capsule.stage("look")
    assert record.state == "ran"
    assert record.image is not None
    assert record.image.base == f"{registry.host}/base:1@{new}"
    assert "second of" in folder.log("look").read_text()

    # A digest in the recipe counts, as all of it does.
    recipe = project / "Containerfile"
    recipe.write_text(recipe.read_text().replace("base:$TAG", f"base:$TAG@{old}"))
    pipeline(project, "look")
    folder, capsule = load(project)
    record = capsule.stage("look")
    assert record.state == "ran"
    assert "the image's containerfile changed" in record.reason
    assert record.image is not None
    assert old in str(record.image.base)
    assert "first of" in folder.log("look").read_text()
