"""Laws of layers: an overlay tree and its tar say the same."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rondel.engine.images.compression import GzipWriter, decompressed
from rondel.engine.images.model import InvalidImageError
from rondel.engine.images.pack import LayerStack, pack
from rondel.engine.images.tarheader import header
from rondel.engine.images.unpack import unpack
from rondel.engine.store.view import Lower, View

NAMES = st.text(st.sampled_from("ab.-é☃"), min_size=1, max_size=3).filter(
    lambda name: name not in (".", "..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
KINDS = st.sampled_from(("file", "directory", "symlink", "hardlink", "whiteout", "opaque"))
ENTRIES = st.lists(st.tuples(PATHS, KINDS, st.binary(max_size=600), PATHS), max_size=12)
HOSTILE = st.lists(
    st.tuples(
        st.sampled_from(("..", "/", "a", "b", "./", "a/../..", ".wh.a", ".wh..wh..opq", "a/b")),
        KINDS,
        st.binary(max_size=20),
        st.sampled_from(("/etc", "..", "a", "b/c", "/")),
    ),
    max_size=10,
)


def archive(entries: list[tuple[str, str, bytes, str]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, kind, data, target in entries:
            info = tarfile.TarInfo(path)
            info.mode = 0o755
            if kind == "directory":
                info.type = tarfile.DIRTYPE
            elif kind in ("symlink", "hardlink"):
                info.type = tarfile.SYMTYPE if kind == "symlink" else tarfile.LNKTYPE
                info.linkname = target
            elif kind in ("whiteout", "opaque"):
                head, _, name = path.rpartition("/")
                info.name = f"{head}/.wh.{name}" if kind == "whiteout" else f"{path}/.wh..wh..opq"
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def packed(*layers: Path) -> bytes:
    buffer = io.BytesIO()
    pack(LayerStack(layers), buffer)
    return buffer.getvalue()


def shown(*layers: Path) -> list[tuple[str, int, str | None, bytes]]:
    return [
        (entry.path, stat.S_IFMT(entry.mode), entry.link, entry.real.read_bytes() if entry.is_file else b"")
        for entry in View([Lower(str(layer)) for layer in layers]).walk()
    ]


def unpacked(data: bytes, target: Path, lower: View | None = None) -> bool:
    target.mkdir()
    try:
        unpack(io.BytesIO(data), target, lower)
    except InvalidImageError:
        return False
    return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ENTRIES)
def test_a_packed_layer_unpacks_to_the_same_bytes(entries: list[tuple[str, str, bytes, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        assume(unpacked(archive(entries), root / "a"))
        once = packed(root / "a")
        assert unpacked(once, root / "b")
        assert packed(root / "b") == once


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ENTRIES, ENTRIES, ENTRIES)
def test_layers_packed_together_show_what_they_show_apart(
    bottom: list[tuple[str, str, bytes, str]],
    middle: list[tuple[str, str, bytes, str]],
    top: list[tuple[str, str, bytes, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        layers: list[Path] = []
        for number, entries in enumerate((bottom, middle, top)):
            target = root / str(number)
            lower = View([Lower(str(layer)) for layer in layers]) if layers else None
            if not unpacked(archive(entries), target, lower):
                return
            layers.append(target)
        assert unpacked(packed(*layers[1:]), root / "joined", View([Lower(str(layers[0]))]))
        assert shown(layers[0], root / "joined") == shown(*layers)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE)
def test_nothing_is_written_outside_of_the_target(entries: list[tuple[str, str, bytes, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "sentinel").write_text("s")
        before = sorted(os.listdir("/")), sorted(os.listdir("/etc"))
        unpacked(archive(entries), root / "in")
        assert sorted(os.listdir(root)) == ["in", "sentinel"]
        assert (root / "sentinel").read_text() == "s"
        assert (sorted(os.listdir("/")), sorted(os.listdir("/etc"))) == before


TEXTS = st.text(st.sampled_from("ab/.-é☃\udc80"), max_size=8) | st.integers(95, 105).map("n".__mul__)
NUMBERS = st.sampled_from((0, 1, 1000, 8**7 - 1, 8**7, 8**11 - 1, 8**11, 8**12))


@settings(max_examples=300, deadline=None)
@given(
    TEXTS,
    st.sampled_from((tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)),
    st.integers(0, 0o7777),
    st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS | st.just(-1)),
    TEXTS,
    st.dictionaries(st.just("SCHILY.xattr.user.a"), st.text(max_size=3)),
)
def test_headers_are_those_of_tarfile(
    name: str,
    kind: bytes,
    mode: int,
    numbers: tuple[int, int, int, int],
    link: str,
    attributes: dict[str, str],
) -> None:
    uid, gid, size, mtime = numbers
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.pax_headers = kind, mode, link, attributes
    info.uid, info.gid, info.size, info.mtime = numbers
    made = header(
        name, kind, mode=mode, uid=uid, gid=gid, size=size, mtime=mtime, link=link, attributes=attributes
    )
    assert made == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=3000), st.lists(st.integers(1, 700), max_size=8))
def test_gzip_does_not_depend_on_how_it_was_cut(data: bytes, cuts: list[int]) -> None:
    outputs = []
    for steps in (cuts, []):
        sink, rest = io.BytesIO(), data
        with GzipWriter(sink) as writer:
            for step in steps:
                writer.write(rest[:step])
                rest = rest[step:]
            writer.write(rest)
        outputs.append(sink.getvalue())
    assert outputs[0] == outputs[1]
    assert decompressed(io.BytesIO(outputs[0])).read() == data


def test_a_link_in_the_way_of_a_directory_keeps_its_time_inside() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "outside" / "b").mkdir(parents=True)
        os.utime(root / "outside" / "b", ns=(1, 1))
        entries = [("a/b", "directory", b"", ""), ("a", "symlink", b"", str(root / "outside"))]
        unpacked(archive(entries), root / "in")
        assert (root / "outside" / "b").stat().st_mtime_ns == 1
