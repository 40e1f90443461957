"""Layers: tar to overlay directory and back, with everything hostile kept inside."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from rondel.engine.images.compression import GzipWriter, decompressed, detect
from rondel.engine.images.model import InvalidImageError
from rondel.engine.images.pack import LayerStack, pack
from rondel.engine.images.unpack import OPAQUE_ATTRIBUTE, Unpacked, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

Member = tuple[str, dict[str, Any], bytes]


def member(name: str, data: bytes = b"", **fields: Any) -> Member:
    return name, fields, data


def directory(name: str, **fields: Any) -> Member:
    return member(name, type=tarfile.DIRTYPE, **({"mode": 0o755} | fields))


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    return member(name, type=kind, linkname=to)


def archive(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, fields, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Lower:
    """A plain directory as what lies below a layer."""

    root: Path

    def lookup(self, path: str, *, follow: bool = True) -> Any:
        real = self.root / path.strip("/")
        try:
            status = real.lstat()
        except FileNotFoundError:
            return None

        target = str(Path(real).readlink()) if stat.S_ISLNK(status.st_mode) else None
        return SimpleNamespace(
            real=real, mode=status.st_mode, uid=status.st_uid, gid=status.st_gid,
            mtime_ns=status.st_mtime_ns, link=target,
        )  # fmt: skip


@pytest.fixture
def layer(tmp_path: Path) -> Callable[..., Path]:
    count = 0

    def make(*members: Member, lower: Path | None = None, **options: Any) -> Path:
        nonlocal count
        count += 1
        target = tmp_path / f"layer{count}"
        target.mkdir()
        unpack(io.BytesIO(archive(*members, **options)), target, Lower(lower) if lower else None)
        return target

    return make


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def packed(*layers: Path, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pack(LayerStack(layers, **options), buffer)
    return buffer.getvalue()


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


# --- from tar


def test_files_directories_and_links_become_a_tree(layer: Callable[..., Path]) -> None:
    root = layer(
        directory("d", mode=0o750, mtime=5),
        member("d/f", b"text", mode=0o4755, mtime=7),
        link("d/s", "../nowhere"),
        link("hard", "d/f", tarfile.LNKTYPE),
        member("pipe", type=tarfile.FIFOTYPE),
    )
    assert (root / "d/f").read_bytes() == b"text"
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o4755
    assert (root / "d/f").stat().st_mtime == 7
    assert (root / "d").stat().st_mtime == 5
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750
    assert str(Path(root / "d/s").readlink()) == "../nowhere"
    assert (root / "hard").stat().st_ino == (root / "d/f").stat().st_ino
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)


def test_the_diff_id_is_the_digest_of_the_whole_plain_stream(tmp_path: Path) -> None:
    data = archive(member("a", b"1")) + bytes(10_000)
    (tmp_path / "t").mkdir()
    done = unpack(io.BytesIO(data), tmp_path / "t")
    assert done == Unpacked("sha256:" + hashlib.sha256(data).hexdigest(), entries=1, size=1)


@pytest.mark.parametrize(
    "name", ["../../escape", "/../escape", "a/../../escape", "//escape", "./.././escape"]
)
def test_names_never_lead_out(layer: Callable[..., Path], name: str) -> None:
    root = layer(member(name, b"x"))
    assert (root / "escape").read_bytes() == b"x"
    assert not (root.parent / "escape").exists()
    assert not Path("/escape").exists()


@pytest.mark.parametrize("target", ["/", "/tmp", "../../..", "/proc/self/root"])
def test_links_among_the_parents_are_followed_inside_only(layer: Callable[..., Path], target: str) -> None:
    root = layer(link("out", target), member("out/inner/file", b"x"))
    found = list(root.rglob("file"))
    assert len(found) == 1
    assert found[0].resolve().is_relative_to(root)
    assert not Path("/inner").exists()
    assert not Path("/tmp/inner").exists()
    assert not (root.parent / "inner").exists()


def test_a_hard_link_cannot_reach_outside(layer: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    with pytest.raises(InvalidImageError, match="hard link"):
        layer(link("h", "../secret", tarfile.LNKTYPE))
    with pytest.raises(InvalidImageError, match="hard link"):
        layer(link("out", "/"), link("h", f"out{tmp_path}/secret", tarfile.LNKTYPE))


def test_a_link_loop_ends(layer: Callable[..., Path]) -> None:
    with pytest.raises(InvalidImageError, match="too many symbolic links"):
        layer(link("a", "b"), link("b", "a"), member("a/x", b""))


def test_the_last_entry_of_a_name_wins(layer: Callable[..., Path]) -> None:
    root = layer(
        directory("d"), member("d/x", b"1"), member("d", b"file"),
        member("f", b"1"), directory("f"), member("f/y", b"2"),
        link("s", "/etc/passwd"), member("s", b"mine"),
    )  # fmt: skip
    assert (root / "d").read_bytes() == b"file"
    assert (root / "f/y").read_bytes() == b"2"
    assert not (root / "s").is_symlink()
    assert (root / "s").read_bytes() == b"mine"


def test_devices_are_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    data = archive(
        member("dev/kmem", type=tarfile.CHRTYPE, devmajor=1, devminor=2),
        member("dev/sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0),
        member("dev/zero", type=tarfile.CHRTYPE, devmajor=0, devminor=0),
    )
    done = unpack(io.BytesIO(data), tmp_path / "t")
    assert done.devices == ["/dev/kmem", "/dev/sda", "/dev/zero"]
    assert list((tmp_path / "t/dev").iterdir()) == []


def test_whiteouts_become_overlay_marks(layer: Callable[..., Path]) -> None:
    root = layer(
        member("a/.wh.gone"), member("b/.wh..wh..opq"), member("b/new", b""), member(".wh..wh.plnk"),
        member(".wh.back"), directory("back"), member("c/x", b""), member(".wh.c"),
    )  # fmt: skip
    assert is_whiteout(root / "a/gone")
    assert os.getxattr(root / "b", OPAQUE_ATTRIBUTE) == b"y"
    assert (root / "b/new").is_file()
    assert os.getxattr(root / "back", OPAQUE_ATTRIBUTE) == b"y"
    assert os.getxattr(root / "c", OPAQUE_ATTRIBUTE) == b"y"
    assert (root / "c/x").exists()
    assert sorted(p.name for p in root.iterdir()) == ["a", "b", "back", "c"]


@pytest.mark.parametrize("name", [".wh.", ".wh...", ".wh..", "d/.wh..."])
def test_odd_whiteouts_do_nothing(layer: Callable[..., Path], name: str) -> None:
    root = layer(directory("d"), member(name))
    assert [p.name for p in root.rglob("*")] == ["d"]


def test_parents_look_as_in_the_layers_below(layer: Callable[..., Path]) -> None:
    base = layer(
        directory("opt", mode=0o700, mtime=3), link("lib", "usr/lib"), directory("usr/lib", mode=0o711)
    )
    top = layer(member("opt/f", b""), member("lib/so", b"x"), lower=base)
    assert stat.S_IMODE((top / "opt").stat().st_mode) == 0o700
    assert (top / "opt").stat().st_mtime == 3
    assert not (top / "lib").exists()
    assert (top / "usr/lib/so").read_bytes() == b"x"
    assert stat.S_IMODE((top / "usr/lib").stat().st_mode) == 0o711


def test_a_hard_link_to_a_file_below_brings_it_up(layer: Callable[..., Path]) -> None:
    base = layer(member("bin/a", b"tool", mode=0o755, mtime=9))
    top = layer(link("bin/b", "bin/a", tarfile.LNKTYPE), lower=base)
    assert (top / "bin/b").read_bytes() == b"tool"
    assert (top / "bin/b").stat().st_ino == (top / "bin/a").stat().st_ino
    assert stat.S_IMODE((top / "bin/a").stat().st_mode) == 0o755
    assert (top / "bin/a").stat().st_mtime == 9


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_very_long_and_foreign_names(layer: Callable[..., Path], format: int) -> None:  # noqa: A002
    name = "/".join(["d" * 120] * 8) + "/ünïcode ☃"
    root = layer(member(name, b"x"), link("l", "t" * 300), format=format)
    assert (root / name).read_bytes() == b"x"
    assert str(Path(root / "l").readlink()) == "t" * 300


def test_sparse_files_keep_their_holes(tmp_path: Path) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"middle")
    for kind in ("gnu", "posix"):
        made = tmp_path / f"{kind}.tar"
        assert os.system(f"tar -C {tmp_path} --sparse --format={kind} -cf {made} sparse") == 0
        target = tmp_path / kind
        target.mkdir()
        with made.open("rb") as stream:
            unpack(stream, target)
        assert (target / "sparse").read_bytes() == source.read_bytes()
        assert (target / "sparse").stat().st_blocks * 512 < 3 << 20


def test_overlay_marks_cannot_be_smuggled_in(layer: Callable[..., Path]) -> None:
    root = layer(directory("d", pax_headers={
        "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.note": "kept",
    }))  # fmt: skip
    assert os.listxattr(root / "d") == ["user.note"]


@pytest.mark.parametrize("data", [b"not a tar", archive(member("a", b"x" * 2000))[:900], b"\x01" * 1024])
def test_damaged_streams_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t").mkdir()
    with pytest.raises(InvalidImageError):
        unpack(io.BytesIO(data), tmp_path / "t")


# --- to tar


def test_packing_undoes_unpacking(layer: Callable[..., Path]) -> None:
    members = [
        directory("a", mode=0o700, mtime=1), member("a/.wh.gone", mode=0, mtime=0),
        directory("b", mtime=2), member("b/.wh..wh..opq", mode=0, mtime=0), member("b/f", b"x" * 70_000, mode=0o4711),
        link("s", "../q" * 60), link("z", "b/f", tarfile.LNKTYPE),
    ]  # fmt: skip
    once = packed(layer(*members))
    assert names(once)[1:] == ["a", "a/.wh.gone", "b", "b/.wh..wh..opq", "b/f", "s", "z"]
    target = layer(directory("unused")).parent / "again"
    target.mkdir()
    done = unpack(io.BytesIO(once), target)
    assert packed(target) == once
    assert done.diff_id == "sha256:" + hashlib.sha256(once).hexdigest()


def test_the_order_of_making_does_not_show(layer: Callable[..., Path]) -> None:
    files = [member(f"d/{n}", n.encode(), mtime=1) for n in "cab"]
    parents = [directory(".", mtime=1), directory("d", mtime=1)]
    assert packed(layer(*parents, *files)) == packed(layer(*parents, *reversed(files)))


def test_several_layers_are_packed_as_one(layer: Callable[..., Path]) -> None:
    one = layer(
        member("d/a", b"1"),
        member("d/b", b"1"),
        member("e/x", b"1"),
        member("f/deep/y", b"1"),
        member("g", b"1"),
    )
    two = layer(member("d/.wh.a"), member("d/c", b"2"), member("e/.wh..wh..opq"), member("e/z", b"2"),
                member(".wh.f"), directory("g"), member("g/h", b""))  # fmt: skip
    three = layer(member("f/new", b"3"), member("d/b", b"3"), lower=None)
    data = packed(one, two, three)
    assert names(data)[1:] == [
        "d", "d/.wh.a", "d/b", "d/c", "e", "e/.wh..wh..opq", "e/z", "f", "f/.wh..wh..opq", "f/new",
        "g", "g/.wh..wh..opq", "g/h",
    ]  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        content = tar.extractfile("d/b")
        assert content is not None
        assert content.read() == b"3"


def test_host_directories_are_grafted_in_below_the_layers(layer: Callable[..., Path], tmp_path: Path) -> None:
    host = tmp_path / "host"
    (host / "bin").mkdir(parents=True)
    (host / "bin/tool").write_text("t")
    (host / "bin/old").write_text("o")
    (host / "secret").mkdir()
    (host / "secret/key").write_text("k")
    top = layer(member("usr/bin/.wh.old"), member("usr/bin/new", b"n"))
    data = packed(top, grafts={"/usr": host, "/opt/py": host / "bin"}, hidden=frozenset(("/usr/secret",)))
    assert names(data)[1:] == [
        "opt/py", "opt/py/old", "opt/py/tool", "usr", "usr/bin", "usr/bin/new", "usr/bin/.wh.old", "usr/bin/tool",
    ]  # fmt: skip


def test_what_vanishes_from_the_host_meanwhile_is_left_out(
    layer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = tmp_path / "host"
    (host / "d").mkdir(parents=True)
    for name in ("before", "listed", "opened"):
        (host / "d" / name).write_text(name)
    listdir, open_ = os.listdir, os.open

    def one_goes(folder: str) -> list[str]:
        names = listdir(folder)
        if "listed" in names:
            (host / "d/listed").unlink()
        return names

    def another_goes(path: str, flags: int) -> int:
        if path.endswith("/opened"):
            (host / "d/opened").unlink()
        return open_(path, flags)

    own = layer(member("usr/d/own", b"o"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", one_goes)
        patched.setattr(os, "open", another_goes)
        data = packed(own, grafts={"/usr": host})
    assert names(data)[1:] == ["usr", "usr/d", "usr/d/before", "usr/d/own"]


def test_what_vanishes_from_a_layer_is_an_error(
    layer: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = layer(member("f", b"1"))
    listdir = os.listdir
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", lambda folder: [*listdir(folder), "gone"])
        with pytest.raises(FileNotFoundError):
            packed(made)


def test_a_link_to_what_may_not_be_read_stays_out_with_it(
    layer: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = layer(member("a", b"secret"), link("b", "a", tarfile.LNKTYPE), member("c", b"1"))
    open_ = os.open

    def closed(path: str, flags: int) -> int:
        if path.endswith(("/a", "/b")):
            raise PermissionError(13, "Permission denied", path)
        return open_(path, flags)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", closed)
        data = packed(made)
    assert names(data)[1:] == ["c"]


def test_an_owner_that_does_not_exist_here_is_told_of_all_links(layer: Callable[..., Path]) -> None:
    made = layer(member("a", b"1"), link("b", "a", tarfile.LNKTYPE), directory("d"))
    for name in ("a", "d"):
        os.setxattr(made / name, "user.rondel.owner", b"7:8")
        os.setxattr(made / name, "user.kept", b"x")
    with tarfile.open(fileobj=io.BytesIO(packed(made))) as tar:
        told = {
            entry.name: (entry.uid, entry.gid, "SCHILY.xattr.user.kept" in entry.pax_headers) for entry in tar
        }
    assert (told["a"], told["b"], told["d"]) == ((7, 8, True), (7, 8, False), (7, 8, True))
    assert len(told) == 4


@pytest.mark.parametrize("size", [0, 1, 511, 512, (1 << 20) - 512, (1 << 20) - 511, 1 << 20, 5 << 19])
def test_files_around_the_border_of_a_piece(layer: Callable[..., Path], size: int) -> None:
    content = os.urandom(size)
    data = packed(layer(member("a", content, mtime=1), member("b", b"next", mtime=1)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        told = [tar.extractfile(name) for name in "ab"]
        assert [file.read() for file in told if file] == [content, b"next"]
    assert len(data) % 10240 == 0


# --- compression


def test_compressions_are_told_apart_and_read() -> None:
    plain = b"plain" + os.urandom(1000) * 3
    for kind, data in {"gzip": gzip.compress(plain), "zstd": zstandard.compress(plain), "": plain}.items():
        assert detect(data[:6]) == kind
        assert decompressed(io.BytesIO(data)).read() == plain


def test_gzip_of_several_members_reads_back_and_never_changes() -> None:
    plain = bytes(range(256)) * 20_000
    outputs = set()
    for step in (1 << 10, 1 << 20, 3_000_001):
        sink = io.BytesIO()
        with GzipWriter(sink) as writer:
            for start in range(0, len(plain), step):
                writer.write(plain[start : start + step])
        outputs.add(sink.getvalue())
    assert len(outputs) == 1
    assert gzip.decompress(outputs.pop()) == plain


def test_empty_input_is_still_gzip() -> None:
    sink = io.BytesIO()
    with GzipWriter(sink):
        pass
    assert gzip.decompress(sink.getvalue()) == b""
