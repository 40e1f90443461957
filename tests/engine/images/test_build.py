"""Containerfiles built on this machine's own system."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from rondel.engine.images.model import sha256
from tests.engine.images.building import built, out

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Queries, Start

Build = Callable[..., Any]


def test_copy_follows_the_rules(query: Queries, context: Callable[..., Path]) -> None:
    root = context(
        Dockerfile="""
FROM host AS from
RUN mkdir -p /s/in && echo deep > /s/in/f && chown 7:8 /s/in/f && ln -s f /s/in/l
FROM host
COPY --from=from /s /preserved
COPY --from=0 --chown=nobody /s/in/f /owned
COPY --chmod=u=rwX,go= tree /modes
COPY --parents a/b/c.txt ./a/./b/ /parents/
COPY --exclude=*.md --exclude=sub tree /less/
COPY no*thing tree/x.txt /some/
COPY <<one.txt <<"two.txt" /docs/
value $HOME_OF
one.txt
value $HOME_OF
two.txt
WORKDIR /made/here
COPY tree/x.txt renamed
COPY tree/x.txt sub/dir/
""",
        a__b__c_dot_txt="c",
        tree__x_dot_txt="x",
        tree__r_dot_md="r",
        tree__sub__y="y",
    )
    text = query(built(root, out(
        "stat -c '%u:%g' /preserved/in/f", "readlink /preserved/in/l", "stat -c '%U:%G' /owned",
        "stat -c '%a' /modes /modes/sub /modes/x.txt | tr '\\n' ' '", "cd /parents; find . -type f | sort | tr '\\n' ' '",
        "cd /less; find . | sort | tr '\\n' ' '", "ls /some", "cat /docs/one.txt /docs/two.txt",
        "cat /made/here/renamed /made/here/sub/dir/x.txt",
    )))  # fmt: skip
    assert text.split("\n") == [
        "7:8", "f", "nobody:nogroup", "700 700 600 ./a/b/c.txt ./b/c.txt . ./x.txt x.txt", "value ", "value $HOME_OF", "xx",
    ]  # fmt: skip


def test_run_takes_mounts_and_leaves_nothing_of_them(query: Queries, context: Callable[..., Path]) -> None:
    root = context(
        Dockerfile="""
FROM host AS maker
RUN echo made > /m
FROM host
RUN --mount=type=secret,id=tok,env=TOK --mount=type=secret,id=tok printf %s "$TOK" | cmp - /run/secrets/tok && echo same > /r
RUN --mount=type=bind,from=maker,source=/m,target=/x/m --mount=target=/ctx,rw cat /x/m /ctx/f >> /r && touch /ctx/new
RUN --mount=type=tmpfs,target=/t touch /t/a && test -e /t/a
RUN --mount=type=cache,id=c,target=/c echo kept > /c/f
RUN --mount=type=cache,id=c,target=/other cat /other/f >> /r
RUN --network=none ! python3 -c "import socket; socket.create_connection(('127.0.0.1', 22), 1)" 2> /dev/null
RUN <<EOF
#!/usr/bin/env python3
open("/r", "a").write("script\\n")
EOF
RUN <<-EOF
	echo "$((40 + 2))" >> /r
	EOF
RUN cat <<A <<B >> /r
first
A
second
B
ARG LEAK=default
RUN echo "$LEAK" >> /r
""",
        f="ctx\n",
    )
    secret = query('{setSecret(name:"tok",plaintext:"s3cret"){id}}')
    leaf = 'r:file(path:"/r"){contents} envVariable(name:"LEAK") ' + out(
        "ls -A /run/secrets /ctx /t /c /other 2>/dev/null | grep -v : | tr -d '\\n'",
        "cat /run/secrets/tok || echo gone",
    ).replace("&& cat", "; cat")
    found = query(built(root, leaf, f'(secrets:["{secret}"],buildArgs:[{{name:"LEAK",value:"given"}}])'))
    assert found["r"]["contents"].split("\n") == [
        "same",
        "made",
        "ctx",
        "kept",
        "script",
        "42",
        "second",
        "given",
        "",
    ]
    assert found["envVariable"] is None
    assert "s3cret" not in str(found)
    assert found["withExec"]["stdout"].endswith("gone\n")


def test_an_unchanged_build_runs_nothing_in_another_session(
    start: Start, context: Callable[..., Path]
) -> None:
    root = context(
        Dockerfile="FROM host AS a\nCOPY f /f\nRUN cat /proc/sys/kernel/random/uuid > /id\n"
        "FROM host\nCOPY --from=a /id /id\nRUN cat /proc/sys/kernel/random/uuid >> /id\n",
        f="1",
        unrelated="1",
    )
    reading = 'file(path:"/id"){contents}'
    first = start()(built(root, reading))
    (root / "unrelated").write_text("2")
    assert start()(built(root, reading)) == first
    (root / "f").write_text("2")
    second = start()(built(root, reading))
    assert second.split("\n")[0] != first.split("\n")[0]


def test_stages_that_are_not_needed_are_not_built(query: Queries, context: Callable[..., Path]) -> None:
    root = context(Dockerfile="FROM host AS bad\nRUN exit 3\nFROM host AS good\nRUN echo fine > /x\n")
    assert query(built(root, 'file(path:"/x"){contents}')) == "fine\n"
    error = query.error(built(root, "platform", '(target:"bad")'))
    assert error["extensions"]["exitCode"] == 3
    assert error["extensions"]["cmd"] == ["/bin/sh", "-c", "exit 3"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "FROM host\n\nCOPY absent /x\n",
            "Dockerfile:3: COPY absent /x: lstat /absent: no such file or directory",
        ),
        ("FROM host\nCOPY hidden /x\n", "lstat /hidden: no such file or directory"),
        (
            "FROM host\nFRUN x\n",
            "dockerfile parse error on line 2: unknown instruction: FRUN (did you mean RUN?)",
        ),
        (
            "FROM host\nRUN --mount=type=secret,id=t,required true\n",
            'Dockerfile:2: secret "t" is required but no secret mappings were provided',
        ),
        (
            "FROM host\nCOPY --chown=nosuch f /x\n",
            "Dockerfile:2: COPY --chown=nosuch f /x: failed to resolve",
        ),
        ("FROM scratch\nCOPY f hidden/.. /x\n", "the destination must be a directory and end with a /"),
        ("FROM 127.0.0.1:1/redis\n", "Dockerfile:1: failed to resolve image"),
    ],
)
def test_mistakes_are_told_with_their_line(
    query: Queries, context: Callable[..., Path], text: str, words: str
) -> None:
    root = context(Dockerfile=text, f="f", hidden="h", _dot_dockerignore="hidden\n")
    assert words in query.error(built(root, "platform"))["message"]


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, bytes]]]:
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", files
    server.shutdown()
    server.server_close()


def test_add_unpacks_archives_and_fetches_urls(
    query: Queries, context: Callable[..., Path], web: tuple[str, dict[str, bytes]]
) -> None:
    url, files = web
    files["/d/file.bin?x=1"] = b"fetched"
    digest = sha256(b"fetched")
    root = context(
        Dockerfile=f"FROM scratch\nADD a.tar.gz b.tar.xz plain.txt /into/\nADD --unpack=false a.tar.gz /kept.tar.gz\n"
        f"ADD --checksum={digest} {url}/d/file.bin?x=1 /got/\nADD --chmod=755 {url}/d/file.bin?x=1 /named\n",
        plain_dot_txt="p",
    )
    (root / "in").mkdir()
    for kind in ("a.tar.gz", "b.tar.xz"):
        (root / "in" / kind[0]).write_text(kind)
        subprocess.run(["tar", "-caf", root / kind, "-C", root / "in", kind[0]], check=True)
    leaf = 'rootfs{glob(pattern:"**") a:file(path:"into/a"){contents} n:stat(path:"named"){permissions} g:stat(path:"got/file.bin"){permissions}}'
    found = query(built(root, leaf))
    assert found["glob"] == [
        "got/",
        "got/file.bin",
        "into/",
        "into/a",
        "into/b",
        "into/plain.txt",
        "kept.tar.gz",
        "named",
    ]
    assert found["a"]["contents"] == "a.tar.gz"
    assert (found["n"]["permissions"], found["g"]["permissions"]) == (0o755, 0o600)
    files["/d/file.bin?x=1"] = b"changed"
    (root / "Dockerfile").write_text(
        f"FROM scratch\nADD --checksum={digest} {url}/d/file.bin?x=1 /changed/\n"
    )
    assert "mismatch" in query.error(built(root, "platform"))["message"]


def test_ignored_files_are_out_of_sight(query: Queries, context: Callable[..., Path]) -> None:
    files = {"keep/a": "1", "drop/b": "1", "drop/back/c": "1", "x.log": "1", "deep/y.log": "1"}
    root = context(Dockerfile="FROM scratch\nCOPY . /\n", _dot_dockerignore="**/*.log\ndrop\n!drop/back\nDockerfile*\n.dockerignore\n",
                   **{name.replace("/", "__").replace(".", "_dot_"): text for name, text in files.items()})  # fmt: skip
    tree = 'rootfs{glob(pattern:"**")}'
    assert query(built(root, tree)) == ["deep/", "drop/", "drop/back/", "drop/back/c", "keep/", "keep/a"]
    (root / "Dockerfile.dockerignore").write_text("*\n!keep\n")
    assert query(built(root, tree)) == ["keep/", "keep/a"]
