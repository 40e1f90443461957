"""What BuildKit's rules say of copies, triggers, repositories, agents and caches."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.images.building import built, out

if TYPE_CHECKING:
    from tests.engine.conftest import Queries

Context = Callable[..., Path]


def lines(text: str) -> list[str]:
    return text.strip().split("\n")


def test_what_is_copied_replaces_what_is_there(query: Queries, context: Context) -> None:
    root = context(
        Dockerfile="""
FROM host
RUN mkdir -p /t/dir/sub /real && chmod 700 /t/dir /t/dir/sub && echo old > /real/target && \\
    ln -s /real/target /t/link && ln -s /real /t/reallink && echo file > /t/wasfile && mkdir -p /t/merged/wasdir/x
COPY one.txt /t/link
COPY dir /t/dir
COPY dir /t/wasfile
COPY merged /t/merged
COPY one.txt two.txt /t/reallink
""",
        one_dot_txt="1", two_dot_txt="2", dir__sub__f="f", merged__wasdir="now a file",
    )  # fmt: skip
    (root / "dir/sub").chmod(0o750)
    assert lines(query(built(root, out(
        "test ! -L /t/link && cat /t/link /real/target", "stat -c '%a %n' /t/dir /t/dir/sub",
        "find /t/wasfile | sort | tr '\\n' ' '", "cat /t/merged/wasdir; echo; ls /real; stat -c %F /t/reallink",
    )))) == [
        "1old", "700 /t/dir", "750 /t/dir/sub", "/t/wasfile /t/wasfile/sub /t/wasfile/sub/f now a file",
        "one.txt", "target", "two.txt", "symbolic link",
    ]  # fmt: skip


def test_directories_keep_their_times_and_owners(query: Queries, context: Context) -> None:
    root = context(Dockerfile="FROM host\nCOPY --from=host /etc/hostname /x/\nCOPY d /d\nCOPY --chown=5:6 d/f /n/e/w/\n",
                   d__in__f="f", d__f="f")  # fmt: skip
    os.utime(root / "d/in", (1_000_000_000, 1_000_000_000))
    assert lines(query(built(root, out("stat -c %Y /d/in", "stat -c '%u:%g' /n /n/e /n/e/w /n/e/w/f")))) == [
        "1000000000", "0:0", "0:0", "5:6", "5:6",
    ]  # fmt: skip
    owned = (
        '{directory{withNewFile(path:"Dockerfile",contents:"FROM host\\nCOPY f /f\\nCOPY --chown=:9 f /g\\n"){'
        'withNewFile(path:"f",contents:""){chown(path:"f",owner:"7:8"){dockerBuild{'
        + out("stat -c '%u:%g' /f /g")
        + "}}}}}}"
    )
    assert lines(query(owned)) == ["7:8", "0:9"]


def test_an_ignore_file_that_is_empty_counts_as_none(query: Queries, context: Context) -> None:
    root = context(
        Dockerfile="FROM scratch\nCOPY . /\n",
        Dockerfile_dot_dockerignore="",
        _dot_dockerignore="*\n!a\n",
        a="",
        b="",
    )
    assert query(built(root, "rootfs{entries}")) == ["a"]


def test_scratch_as_the_source_of_a_mount_is_an_empty_directory(query: Queries, context: Context) -> None:
    root = context(
        Dockerfile="FROM host\nRUN --mount=from=scratch,target=/usr/games,rw --mount=from=scratch,target=/m "
        "touch /usr/games/f && ls -A /usr/games /m > /seen\n"
    )
    assert query(built(root, 'file(path:"/seen"){contents}')) == "/m:\n\n/usr/games:\nf\n"


def test_an_image_without_a_path_gets_the_usual_one(query: Queries, context: Context) -> None:
    root = context(Dockerfile="FROM scratch\nCOPY Dockerfile /\n")
    assert (
        query(built(root, 'envVariable(name:"PATH")'))
        == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    )


def test_triggers_run_in_builds_on_the_published_image(
    query: Queries, context: Context, registry: str
) -> None:
    base = context(Dockerfile="FROM scratch\nONBUILD COPY extra /got/\nHEALTHCHECK NONE\n")
    reference = query(built(base, f'publish(address:"{registry}/triggers:v1")'))
    without = context(Dockerfile=f"FROM {reference}\n")
    assert "lstat /extra: no such file or directory" in query.error(built(without, "sync"))["message"]
    child = context(Dockerfile=f"FROM {reference}\n", extra="mine")
    assert query(built(child, 'file(path:"/got/extra"){contents}')) == "mine"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A repository behind git's own daemon: branch main, branch other, tag v1."""
    work = tmp_path / "served" / "repo.git"
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]

    def git(*args: str) -> None:
        subprocess.run(["git", *identity, *args], cwd=work, check=True, capture_output=True)

    work.mkdir(parents=True)
    git("init", "-q", "-b", "main")
    for number, branch in enumerate(("main", "other")):
        git("checkout", "-q", "-B", branch)
        (work / "sub").mkdir(exist_ok=True)
        (work / "sub" / "f").write_text(f"{branch}\n")
        (work / f"only-{branch}").write_text("")
        git("add", ".")
        git("commit", "-qm", branch)
        if number == 0:
            git("tag", "v1")
    git("checkout", "-q", "main")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = subprocess.Popen(
        ["git", "daemon", "--export-all", f"--base-path={tmp_path / 'served'}", "--listen=127.0.0.1",
         f"--port={port}", "--reuseaddr"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"git://127.0.0.1:{port}/repo.git"
    os.killpg(daemon.pid, 9)
    daemon.wait()


def test_add_takes_repositories(query: Queries, context: Context, repository: str) -> None:
    root = context(
        Dockerfile=f"""
FROM host
ADD {repository} /head
ADD --keep-git-dir=true --chown=5:6 {repository}#other /other/
ADD {repository}#refs/tags/v1:sub /tag
ADD --exclude=only-* {repository}?branch=other /few
"""
    )
    assert lines(query(built(root, out(
        "ls -A /head /other /tag /few | tr '\\n' ' '", "cat /head/sub/f /other/sub/f /tag/f", "stat -c %u:%g /other/sub/f",
    )))) == [
        "/few: sub  /head: only-main sub  /other: .git only-main only-other sub  /tag: f main",
        "other", "main", "5:6",
    ]  # fmt: skip
    root = context(Dockerfile=f"FROM scratch\nADD {repository}#none /x\n")
    assert query.error(built(root, "platform"))["message"].startswith(
        f'Dockerfile:2: ADD {repository}#none /x: repository does not contain ref "none"'
    )
    root = context(Dockerfile=f"FROM scratch\nADD --checksum={'a' * 40} {repository}#main /x\n")
    assert "expected checksum to match aaaa" in query.error(built(root, "platform"))["message"]


def test_run_reaches_the_agent_that_the_build_was_given(
    query: Queries, context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def echo() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(connection.recv(100))

        threading.Thread(target=echo, daemon=True).start()
        talk = "import os,socket; s=socket.socket(socket.AF_UNIX); s.connect(os.environ['SSH_AUTH_SOCK']); s.sendall(b'hi'); print(s.recv(9))"
        root = context(
            Dockerfile=f"""
FROM host
RUN --mount=type=ssh,required python3 -c "{talk}" > /said
RUN env | grep -c SSH_AUTH_SOCK > /after; true
"""
        )
        agent = query(f'{{host{{unixSocket(path:"{path}"){{id}}}}}}')
        leaf = 'a:file(path:"/said"){contents} b:file(path:"/after"){contents}'
        found = query(built(root, leaf, f'(ssh:"{agent}")'))
        assert (found["a"]["contents"], found["b"]["contents"]) == ("b'hi'\n", "0\n")
        server.shutdown(socket.SHUT_RDWR)
    message = query.error(built(root, "platform"))["message"]
    assert message.startswith('Dockerfile:3: ssh mount "default" is required but no ssh socket mappings')


def test_caches_have_modes_and_are_those_of_the_api(query: Queries, context: Context) -> None:
    root = context(
        Dockerfile="""
FROM host
RUN --mount=type=cache,id=rules-mode,target=/c,mode=0700,uid=7,gid=8 stat -c '%a %u %g' /c > /mode
RUN --mount=type=cache,id=rules-shared,target=/c echo shared > /c/f
RUN --mount=type=cache,id=rules-shared,target=/c,readonly touch /c/x 2> /err; cat /c/f >> /mode
"""
    )
    leaf = 'a:file(path:"/mode"){contents} b:file(path:"/err"){contents}'
    found = query(built(root, leaf))
    assert lines(found["a"]["contents"]) == ["700 7 8", "shared"]
    assert "Read-only file system" in found["b"]["contents"]
    volume = query('{cacheVolume(key:"/rules-shared"){id}}')
    mounted = f'withMountedCache(path:"/v",cache:"{volume}"){{{out("cat /v/f")}}}'
    assert query(f'{{container{{from(address:"host"){{{mounted}}}}}}}') == "shared\n"


def test_health_checks_are_answered_as_go_writes_durations(query: Queries, context: Context) -> None:
    root = context(
        Dockerfile="FROM scratch\nHEALTHCHECK --interval=90s --timeout=1.5ms --start-period=1h CMD x\n"
    )
    fields = "dockerHealthcheck{interval timeout startPeriod startInterval retries}"
    assert query(built(root, fields)) == {
        "interval": "1m30s", "timeout": "1.5ms", "startPeriod": "1h0m0s", "startInterval": "0s", "retries": 0,
    }  # fmt: skip
    root = context(Dockerfile="FROM scratch\nHEALTHCHECK NONE\n")
    assert query(built(root, fields)) is None


def test_a_build_answers_the_output_of_its_latest_command(query: Queries, context: Context) -> None:
    root = context(
        Dockerfile="FROM host AS a\nRUN echo one\nRUN echo two; echo err >&2\nFROM a\nCOPY Dockerfile /\n"
    )
    assert query(built(root, "stdout stderr exitCode")) == {
        "stdout": "two\n",
        "stderr": "err\n",
        "exitCode": 0,
    }
