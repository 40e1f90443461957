"""``http``: content, names, checksums, credentials, and what is not sent twice."""

import hashlib
import http.server
import threading

import pytest

pytestmark = pytest.mark.anyio


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.seen.append(dict(self.headers) | {"path": self.path})
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/round" or self.path.startswith("/on/"):
            left = int(self.path.removeprefix("/on/")) if self.path.startswith("/on/") else None
            self.send_response(302)
            self.send_header(
                "Location", "/round" if left is None else f"/on/{left - 1}" if left > 1 else "/x"
            )
            self.end_headers()
            return
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"too little")
            return
        if self.headers.get("If-None-Match") == '"1"':
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"bytes")

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_file_has_the_url_s_name_and_is_private(query, web):
    data = await query('{http(url:"%s/a/data.bin?x=1"){name contents stat{permissions}}}' % web.url)
    assert data["http"] == {"name": "data.bin", "contents": "bytes", "stat": {"permissions": 0o600}}


async def test_name_and_permissions_can_be_chosen(query, web):
    data = await query('{http(url:"%s/",name:"tool",permissions:493){name stat{permissions}}}' % web.url)
    assert data["http"] == {"name": "tool", "stat": {"permissions": 0o755}}


async def test_right_checksum_passes_and_wrong_one_leaves_nothing(query, web, session):
    digest = "sha256:" + hashlib.sha256(b"bytes").hexdigest()
    data = await query('{http(url:"%s/x",checksum:"%s"){contents}}' % (web.url, digest))
    assert data["http"]["contents"] == "bytes"
    with pytest.raises(AssertionError, match=r"http checksum mismatch: expected sha256:0+, got sha256:"):
        await query('{http(url:"%s/y",checksum:"sha256:%s"){contents}}' % (web.url, "0" * 64))
    assert not list(session.store.scratch.glob("b*"))


async def test_unchanged_file_is_not_sent_again_in_another_session(query, web, session):
    from rondel.engine.evaluate.download import download

    first = await download(session, f"{web.url}/again")
    second = await download(session, f"{web.url}/again")
    assert first.digest == second.digest
    assert web.seen[-1]["If-None-Match"] == '"1"'


async def test_credentials_are_sent_and_not_remembered(query, web, session):
    secret = await query('{setSecret(name:"h",plaintext:"Bearer abc"){id}}')
    await query('{http(url:"%s/p",authHeader:"%s"){contents}}' % (web.url, secret["setSecret"]["id"]))
    assert web.seen[-1]["Authorization"] == "Bearer abc"
    assert session.store.index.get("http", f"{web.url}/p") is None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing", "invalid response status 404"),
        ("/short", '/short": '),
        ("/round", "stopped after 10 redirects"),
    ],
)
async def test_failures_say_what_happened(query, web, path, words):
    with pytest.raises(AssertionError, match=words):
        await query('{http(url:"%s%s"){contents}}' % (web.url, path))


@pytest.mark.parametrize(
    ("checksum", "words"),
    [
        ("nonsense", "invalid checksum digest format"),
        ("md5:" + "0" * 32, "unsupported digest algorithm"),
        ("sha256:abc", "invalid checksum digest length"),
    ],
)
async def test_what_is_no_checksum_is_refused(query, web, checksum, words):
    with pytest.raises(AssertionError) as caught:
        await query('{http(url:"%s/x",checksum:"%s"){contents}}' % (web.url, checksum))
    assert str(caught.value) == f'invalid checksum "{checksum}": {words}'


async def test_nine_redirects_are_followed_and_no_more(query, web):
    data = await query('{http(url:"%s/on/9",name:"f"){contents}}' % web.url)
    assert data["http"]["contents"] == "bytes"
    with pytest.raises(AssertionError, match="stopped after 10 redirects"):
        await query('{http(url:"%s/on/10",name:"f"){contents}}' % web.url)


async def test_nobody_there_is_told_so(query):
    with pytest.raises(AssertionError) as caught:
        await query('{http(url:"http://127.0.0.1:9/x?token=1"){contents}}')
    assert (
        str(caught.value) == 'Get "http://127.0.0.1:9/x": dial tcp 127.0.0.1:9: connect: connection refused'
    )


async def test_file_without_a_time_is_of_the_epoch(query, web, session):
    out = session.workdir / "out"
    await query(
        '{directory{withFile(path:"f",source:"%s"){export(path:"%s")}}}'
        % ((await query('{http(url:"%s/f"){id}}' % web.url))["http"]["id"], out)
    )
    assert (out / "f").stat().st_mtime == 0


async def test_other_schemes_are_refused(query):
    with pytest.raises(AssertionError, match="unsupported protocol scheme"):
        await query('{http(url:"file:///etc/passwd"){contents}}')
