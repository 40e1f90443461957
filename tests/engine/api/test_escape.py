"""What a reviewer would try through the API: ways out of a directory, an export, an archive."""

from __future__ import annotations

import ctypes
import io
import json
import os
import socket
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.conftest import Queries, Start

OUTSIDE = "nobody may see or change this"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "file"
    path.parent.mkdir()
    path.write_text(OUTSIDE)
    return path


@pytest.fixture
def query(start: Start, work: Path) -> Queries:
    return start(workdir=work)


def host(path: str, rest: str) -> str:
    return "{host{directory(path:%s,noCache:true){%s}}}" % (json.dumps(path), rest)


def test_links_in_an_uploaded_directory_stay_links(query: Queries, work: Path, outside: Path) -> None:
    (work / "absolute").symlink_to(outside)
    (work / "relative").symlink_to("../outside/file")
    (work / "folder").symlink_to(outside.parent)
    assert query(host(".", "entries")) == ["absolute", "folder", "relative"]
    for path in ("absolute", "relative", "folder/file", "folder/../outside/file"):
        answer = query.raw(host(".", 'file(path:"%s"){contents}' % path))
        assert "no such file" in answer["errors"][0]["message"], answer
        assert OUTSIDE not in json.dumps(answer)
    assert OUTSIDE not in str(query.raw(host(".", 'search(pattern:"nobody"){matchedLines}')))


def test_a_link_that_changes_while_it_is_uploaded_is_not_followed(
    query: Queries, work: Path, outside: Path
) -> None:
    inner = work / "inner"
    inner.mkdir()
    (inner / "file").write_text("mine")
    assert query(host(".", 'file(path:"inner/file"){contents}')) == "mine"
    (inner / "file").unlink()
    inner.rmdir()
    inner.symlink_to(outside.parent)
    assert "no such file" in query.error(host(".", 'file(path:"inner/file"){contents}'))["message"]


@pytest.mark.parametrize("wipe", ["true", "false"])
def test_an_export_never_goes_through_links_of_the_tree(
    query: Queries, work: Path, outside: Path, wipe: str
) -> None:
    made = query(
        '{directory{withSymlink(target:"%s",linkName:"out"){withNewFile(path:"plain",contents:"x"){'
        'export(path:"target",wipe:%s)}}}}' % (outside.parent, wipe)
    )
    assert Path(made) == work / "target"
    assert (work / "target" / "out").is_symlink()
    # Once more, onto what is there now: a directory where the link stands.
    query(
        '{directory{withNewFile(path:"out/file",contents:"changed"){export(path:"target",wipe:%s)}}}' % wipe
    )
    assert outside.read_text() == OUTSIDE
    assert not (work / "target" / "out").is_symlink()


def test_an_exported_file_replaces_a_link_inside_the_target(
    query: Queries, work: Path, outside: Path
) -> None:
    (work / "target").mkdir()
    (work / "target" / "file").symlink_to(outside)
    query('{directory{withNewFile(path:"file",contents:"new"){export(path:"target")}}}')
    assert outside.read_text() == OUTSIDE
    assert (work / "target" / "file").read_text() == "new"


def archive(path: Path) -> None:
    def add(name: str, *, content: bytes = b"x", **more: object) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content) if not more.get("type") else 0
        for key, value in more.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(content) if info.size else None)

    with tarfile.open(path, "w") as tar:
        add("good", content=b"good")
        add("../../../escaped")
        add("/../../absolute")
        add("link", type=tarfile.SYMTYPE, linkname=str(path.parent.parent))
        add("link/through")
        add("up", type=tarfile.SYMTYPE, linkname="../../../../../../tmp")
        add("up/through")
        add("hard", type=tarfile.LNKTYPE, linkname="../../../../../etc/shadow")
        add("device", type=tarfile.BLKTYPE, devmajor=8, devminor=0)
        add("set", content=b"#!/bin/sh\n", mode=0o6755)


def test_an_archive_writes_nothing_outside_and_brings_no_device(
    query: Queries, work: Path, tmp_path: Path
) -> None:
    (work / "Dockerfile").write_text("FROM scratch\nADD evil.tar /deep/down/\n")
    archive(work / "evil.tar")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    answer = query.raw(host(".", 'dockerBuild{rootfs{glob(pattern:"**")}}'))
    after = sorted(str(path) for path in tmp_path.rglob("*"))
    assert after == before
    assert not Path("/tmp/through").exists()
    if "errors" not in answer:
        found = answer["data"]["host"]["directory"]["dockerBuild"]["rootfs"]["glob"]
        assert "deep/down/good" in found
        assert "deep/down/device" not in found


def test_setuid_programs_come_back_without_the_bit(query: Queries, work: Path) -> None:
    query(
        '{container{from(address:"host"){withExec(args:["sh","-c","cp /bin/sh /sh; chmod 6755 /sh"]){'
        'file(path:"/sh"){export(path:"sh")}}}}}'
    )
    assert not (work / "sh").stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    os.chmod(work / "sh", 0o6755)
    mode = query('{container{from(address:"host"){withDirectory(path:"/src",source:"%s"){'
                 'withExec(args:["stat","-c","%%a","/src/sh"]){stdout}}}}}' % query(host(".", "id")))  # fmt: skip
    assert mode == "755\n"


def test_the_store_is_closed_to_everybody_else(home: Path, query: Queries) -> None:
    assert query('{directory{withNewFile(path:"f",contents:"x"){entries}}}') == ["f"]
    folder = home / "single" if (home / "single").exists() else home
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("path", ["../outside", "/proc/self/environ", "../../../../etc/shadow"])
def test_paths_of_a_directory_are_clamped_to_it(query: Queries, outside: Path, path: str) -> None:
    made = '{directory{withNewFile(path:"d/f",contents:"x"){directory(path:"d"){file(path:%s){contents}}}}}'
    message = query.error(made % json.dumps(path))["message"]
    assert "no such file" in message or "not a file" in message


def abstract_sockets_can_be_closed() -> bool:
    found = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)  # landlock's version
    return bool(found >= 6)


@pytest.mark.skipif(not abstract_sockets_can_be_closed(), reason="needs landlock of Linux 6.12")
def test_abstract_sockets_of_the_machine_are_out_of_reach(query: Queries) -> None:
    name = f"rondel-test-{os.getpid()}"
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX)\n"
        f"try: s.connect(chr(0) + '{name}'); print('connected')\n"
        "except OSError as error: print(error.errno)\n"
        # Its own are there for a container, as they are for any program.
        "own = socket.socket(socket.AF_UNIX); own.bind(chr(0) + 'own-%d' % __import__('os').getpid()); own.listen()\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(own.getsockname()); print('own')\n"
    )
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"\0{name}")
        door.listen()
        told = query(
            '{container{from(address:"host"){withExec(args:["python3","-c",%s]){stdout}}}}'
            % json.dumps(script)
        )
    assert told == "1\nown\n"


@pytest.mark.parametrize("field", ["contents", "digest", 'export(path:"out")', "size"])
def test_a_pipe_in_a_container_is_not_waited_for(query: Queries, field: str) -> None:
    made = '{container{from(address:"host"){withExec(args:["mkfifo","/pipe"]){file(path:"/pipe"){%s}}}}}'
    assert query.error(made % field)["message"] == "path /pipe is not a regular file"


def test_a_sparse_file_leaves_the_store_as_one(query: Queries, work: Path) -> None:
    query(
        '{container{from(address:"host"){withExec(args:["sh","-c","truncate -s 3G /big; echo end >> /big"]){'
        'file(path:"/big"){export(path:"big")}}}}}'
    )
    status = (work / "big").stat()
    assert status.st_size == 3 * 1024**3 + 4
    assert status.st_blocks * 512 < 1024**2
    with (work / "big").open("rb") as file:
        file.seek(3 * 1024**3)
        assert file.read() == b"end\n"


def test_the_session_is_closed_to_containers(query: Queries) -> None:
    script = (
        "import urllib.request, urllib.error\n"
        f"try: urllib.request.urlopen('http://127.0.0.1:{query.session.port}/query', b'{{}}')\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
        "import glob\n"
        "print(any('%s' in open(f, errors='replace').read() for f in glob.glob('/proc/[0-9]*/[ce]*[en]') if f.endswith(('cmdline', 'environ'))))"
    ).replace("%s", query.session.token[:8] + "' + '" + query.session.token[8:])
    told = query(
        '{container{from(address:"host"){withExec(args:["python3","-c",%s]){stdout}}}}' % json.dumps(script)
    )
    assert told == "401\nFalse\n"
