from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import subprocess
import sys
import time

import pytest

from rondel.data.webdav import Upload, WebdavServer, remove_stale_uploads, serve_folder
from rondel.errors import DataError


def place(folder, content: bytes):
    digest = hashlib.md5(content).hexdigest()
    path = folder / "files" / "md5" / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_an_upload_appears_whole(tmp_path):
    target = place(tmp_path, b"data")
    upload = Upload(target, 4)
    upload.write(b"da")
    assert not target.exists()
    upload.write(b"ta")
    upload.close()
    assert target.read_bytes() == b"data"
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize(("written", "length"), [(b"dat", 4), (b"DATA", 4)])
def test_an_upload_that_is_cut_short_or_damaged_never_appears(tmp_path, written, length):
    target = place(tmp_path, b"data")
    upload = Upload(target, length)
    upload.write(written)
    with pytest.raises(ValueError, match="incomplete or damaged"):
        upload.close()
    assert os.listdir(target.parent) == []


def test_old_left_overs_are_removed_and_young_ones_kept(tmp_path):
    target = place(tmp_path, b"data")
    old, young = target.parent / ".rondel-upload-1", target.parent / ".rondel-upload-2"
    for path in (old, young, target):
        path.write_text("x")
    os.utime(old, (0, 0))
    os.utime(target, (0, 0))
    remove_stale_uploads(tmp_path, time.time())
    assert not old.exists()
    assert young.exists()
    assert target.exists()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote")
    with serve_folder(folder) as found:
        yield folder, found


def request(found, method, path, body=None, *, token=None, headers=None):
    login = base64.b64encode(f"rondel:{token or found.token}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": f"Basic {login}", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_objects_go_in_and_come_out(served):
    folder, found = served
    target = place(folder, b"some data")
    path = f"/{target.relative_to(folder)}"
    assert request(found, "PUT", path, b"some data")[0] == 201
    assert target.read_bytes() == b"some data"
    assert request(found, "GET", path) == (200, b"some data")
    assert request(found, "PUT", path, b"some data")[0] == 204


def test_a_folder_that_is_there_may_be_made_again(served):
    folder, found = served
    assert request(found, "MKCOL", "/made")[0] == 201
    assert (folder / "made").is_dir()
    assert request(found, "MKCOL", "/made")[0] in {201, 405}


def test_damaged_objects_are_refused(served):
    folder, found = served
    target = place(folder, b"right")
    assert request(found, "PUT", f"/{target.relative_to(folder)}", b"wrong")[0] >= 400
    assert not target.exists()


def test_a_wrong_token_sees_nothing(served):
    folder, found = served
    assert request(found, "PROPFIND", "/", token="guess")[0] == 401
    target = place(folder, b"x")
    assert request(found, "PUT", f"/{target.relative_to(folder)}", b"x", token="guess")[0] == 401
    assert not target.exists()


def test_nothing_outside_of_the_folder_is_served(served):
    folder, found = served
    (folder.parent / "outside.txt").write_text("secret")
    for path in ("/../outside.txt", "/%2e%2e/outside.txt", "/made/../../outside.txt"):
        began = time.monotonic()
        status, body = request(found, "GET", path)
        assert status == 400
        assert b"secret" not in body
        assert time.monotonic() - began < 5, "the client waited for a text that never came"


def test_a_link_in_the_folder_leads_nowhere(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/key").write_text("canary")
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote/files").symlink_to(tmp_path / "outside")
    with serve_folder(tmp_path / "remote") as found:
        status, body = request(found, "GET", "/files/key")
        assert status >= 400
        assert b"canary" not in body
        assert request(found, "PUT", "/files/new", b"x")[0] >= 400
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["key"]


def test_the_token_stands_in_no_command_line(tmp_path):
    server = WebdavServer(tmp_path)
    try:
        token = server.ready().token
        with open(f"/proc/{server._process.pid}/cmdline", "rb") as file:
            assert token.encode() not in file.read()
        with open(f"/proc/{server._process.pid}/environ", "rb") as file:
            assert token.encode() not in file.read()
    finally:
        server.stop()
    assert server._process.poll() is not None
    server.stop()


def test_it_ends_with_its_parent_however_that_ends(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from rondel.data.webdav import WebdavServer\n"
        f"server = WebdavServer(Path({str(tmp_path)!r})); print(server.ready().port, server._process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port, pid = map(int, parent.stdout.readline().split())
        parent.kill()
    deadline = time.monotonic() + 20
    while listens(port):
        assert time.monotonic() < deadline, f"process {pid} still serves"
        time.sleep(0.05)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError):
        WebdavServer(tmp_path / "file" / "below")


def test_a_server_that_does_not_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "wsgidav").mkdir()
    (tmp_path / "wsgidav" / "__init__.py").write_text("raise ImportError('not today')\n")
    server = WebdavServer(tmp_path / "remote")
    try:
        with pytest.raises(DataError, match="not today"):
            server.ready()
    finally:
        server.stop()
