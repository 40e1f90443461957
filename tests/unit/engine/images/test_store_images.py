"""Images between archives and the store: what goes out comes in again, once."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rondel.engine.images import model, platforms
from rondel.engine.images.archive import Packed, root_of, write_archive
from rondel.engine.images.export import Format, groups, pack_image
from rondel.engine.images.layout import open_images
from rondel.engine.images.model import ImageConfig, InvalidImageError
from rondel.engine.images.pull import chain_ids, pull
from rondel.engine.images.sources import NoSuchPlatform, choose
from rondel.engine.store import Snapshot, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio
CONFIG = ImageConfig(platform=platforms.parse("linux/amd64"), env=("A=1",))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    opened = Store.open(tmp_path / "one"), Store.open(tmp_path / "two")
    yield opened
    for store in opened:
        store.close(sync=False)


async def made(store: Store, count: int = 3) -> Snapshot:
    snapshot = Snapshot()
    for number in range(count):
        async with store.draft(snapshot) as draft:
            if number:
                draft.remove(f"/d/{number - 1}")
            draft.write(f"/d/{number}", f"file {number}".encode(), mtime_ns=10**9, mode=0o640)
            draft.symlink(f"/d/{number}", "/latest", mtime_ns=10**9)
            snapshot = await draft.commit()
    return snapshot


def written(store: Store, packed: list[Packed], path: Path) -> Path:
    with path.open("wb") as file:
        write_archive(packed, file, store.blobs.path)
    return path


async def imported(store: Store, path: Path, platform: str = "linux/amd64") -> Any:
    images = open_images(path)
    found = await choose(images.choose(), platforms.parse(platform), images.read, images, "archive")
    return found, await pull(store, found)


@pytest.mark.parametrize(
    "form", [Format(), Format("zstd", forced=True), Format("none", forced=True, docker=True)]
)
async def test_an_archive_brings_the_same_files(
    stores: tuple[Store, Store], tmp_path: Path, form: Format
) -> None:
    one, two = stores
    packed = await pack_image(one, await made(one), CONFIG, form)
    found, snapshot = await imported(two, written(one, [packed], tmp_path / "i.tar"))
    view = two.view(snapshot)
    assert [entry.path for entry in view.walk()] == ["/d", "/d/2", "/latest"]
    assert view.read("/latest") == b"file 2"
    assert view.resolve("/d/2").mode & 0o777 == 0o640
    assert found.config.env == ("A=1",)
    assert found.config.diff_ids == ImageConfig.from_bytes(packed.config).diff_ids


async def test_the_same_image_is_the_same_bytes(stores: tuple[Store, Store], tmp_path: Path) -> None:
    one, _ = stores
    snapshot = await made(one)
    first = written(one, [await pack_image(one, snapshot, CONFIG, Format())], tmp_path / "1.tar").read_bytes()
    second = written(
        one, [await pack_image(one, snapshot, CONFIG, Format())], tmp_path / "2.tar"
    ).read_bytes()
    assert first == second


async def test_layers_that_came_from_an_image_keep_their_digest(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    one, two = stores
    packed = await pack_image(one, await made(one), CONFIG, Format("zstd", forced=True))
    _, snapshot = await imported(two, written(one, [packed], tmp_path / "i.tar"))
    async with two.draft(snapshot) as draft:
        draft.write("/more", b"m")
        more = await draft.commit()
    again = await pack_image(two, more, CONFIG, Format())
    assert again.manifest.layers[:3] == packed.manifest.layers
    assert again.manifest.layers[3].media_type.endswith("+gzip")


async def test_known_layers_are_not_unpacked_again(stores: tuple[Store, Store], tmp_path: Path) -> None:
    one, two = stores
    path = written(one, [await pack_image(one, await made(one), CONFIG, Format())], tmp_path / "i.tar")
    _, first = await imported(two, path)
    _, second = await imported(two, path)
    assert first == second
    _, own = await imported(one, path)
    assert own.layers == (await made_layers(one, path)).layers


async def made_layers(store: Store, path: Path) -> Snapshot:
    images = open_images(path)
    found = await choose(images.choose(), platforms.parse("linux/amd64"), images.read, images, "archive")
    return Snapshot(tuple(store.index.get("chain", chain) for chain in chain_ids(found.config.diff_ids)))


async def test_concurrent_pulls_unpack_once(stores: tuple[Store, Store], tmp_path: Path) -> None:
    one, two = stores
    path = written(one, [await pack_image(one, await made(one), CONFIG, Format())], tmp_path / "i.tar")
    seen = []

    async def act() -> None:
        seen.append((await imported(two, path))[1])

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(act)
    assert len(set(seen)) == 1
    assert len(list((two.root / "l").iterdir())) == 3


async def test_several_platforms_share_an_archive(stores: tuple[Store, Store], tmp_path: Path) -> None:
    one, two = stores
    images = []
    for name in ("linux/amd64", "linux/arm64"):
        async with one.draft(Snapshot()) as draft:
            draft.write("/name", name.encode())
            snapshot = await draft.commit()
        images.append(
            await pack_image(one, snapshot, replace(CONFIG, platform=platforms.parse(name)), Format())
        )
    path = written(one, images, tmp_path / "i.tar")
    for name in ("linux/amd64", "linux/arm64"):
        _, snapshot = await imported(two, path, name)
        assert two.view(snapshot).read("/name") == name.encode()
    with pytest.raises(NoSuchPlatform, match="no match for platform"):
        await imported(two, path, "linux/s390x")
    assert root_of(images)[0].media_type == model.OCI_INDEX


async def test_a_wrong_diff_id_is_refused_and_leaves_nothing(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    one, two = stores
    packed = await pack_image(one, await made(one, 1), CONFIG, Format())
    config = CONFIG.with_layers(("sha256:" + "0" * 64,)).to_bytes()
    lying = Packed(
        replace(packed.manifest, config=model.Descriptor.of(config, model.OCI_CONFIG)),
        config,
        packed.platform,
    )
    path = written(one, [lying], tmp_path / "i.tar")
    with pytest.raises(BaseException) as caught:
        await imported(two, path)
    errors = getattr(caught.value, "exceptions", (caught.value,))
    assert all(isinstance(error, InvalidImageError) for error in errors)
    assert not list((two.root / "l").iterdir())
    assert not [p for p in two.scratch.iterdir() if p.is_dir()]


async def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    for number, data in enumerate((b"not a tar", b"", b"\x1f\x8bnot gzip")):
        path = tmp_path / str(number)
        path.write_bytes(data)
        with pytest.raises(InvalidImageError):
            open_images(path)
    other = tmp_path / "other.tar"
    with tarfile.open(other, "w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    with pytest.raises(InvalidImageError, match="neither"):
        open_images(other)


def test_a_long_chain_is_packed_in_groups() -> None:
    layers = [f"{number}" for number in range(350)]
    made = groups(layers)
    assert len(made) <= 100
    assert [layer for group in made for layer in group] == layers
    assert all(len(group) == 1 for group in made[:50])
    assert groups(layers[:80]) == [(layer,) for layer in layers[:80]]


def test_chain_ids_are_those_of_the_specification() -> None:
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain_ids((one, two)) == (one, "sha256:" + hashlib.sha256(f"{one} {two}".encode()).hexdigest())
