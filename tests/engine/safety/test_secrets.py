"""Secrets in every shape that a pipeline gives them; then everything the engine left is searched for them."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from .conftest import LAUNCHER, Running, processes_with, until

LINES = "first line of {0}\nsecond line of {0}\n"


class Watched(Running):
    """A session whose standard error is kept."""

    def __init__(self, workdir, store, environ):
        self.mark = f"mark-{uuid.uuid4().hex}"
        self.log = (workdir / "engine.log").open("wb")
        self.store = store
        self.launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(workdir), str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | environ | {"RONDEL_TEST_MARK": self.mark},
        )
        self.line = json.loads(self.launcher.stdout.readline())


@pytest.fixture
def texts():
    """The secrets of a test, by how they reach the engine."""
    return {name: f"{name}-{uuid.uuid4().hex}+/x" for name in ("set", "many", "env", "file", "cmd", "token")}


@pytest.fixture
def running(tmp_path, texts):
    (tmp_path / "secret.txt").write_text(texts["file"] + "\n")
    (tmp_path / "tell.sh").write_text(f"echo {texts['cmd']}\n")
    made = Watched(tmp_path, tmp_path / "store", {"A_SECRET": texts["env"]})
    yield made
    if made.launcher.poll() is None:
        made.close()
    made.log.close()


def forms(text):
    return [text.encode(), base64.b64encode(text.encode())[:-4], text.encode().hex().encode()]


def everything(folder):
    """What lies below a folder, in file names and contents; databases also as they read."""
    for path in sorted(folder.rglob("*")):
        yield path, path.name.encode()
        if path.is_symlink():
            yield path, os.fsencode(path.readlink())
        elif path.is_file():
            yield path, path.read_bytes()
        if path.name == "index.db":
            db = sqlite3.connect(path)
            yield path, "\n".join(db.iterdump()).encode()
            db.close()


def processes():
    """The command line of every process, and of those that end meanwhile as much as there is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return b"\n".join(found)


def identifier(running, query):
    answer = running.query(query)
    assert answer.get("data"), answer
    value = answer["data"]
    while isinstance(value, dict):
        value = next(iter(value.values()))
    return value


def given(running, texts):
    """The IDs of one secret of each kind."""
    quoted = {name: json.dumps(text) for name, text in texts.items()}
    lines = json.dumps(LINES.format(texts["many"]))
    return {
        "set": identifier(running, "{setSecret(name:%s,plaintext:%s){id}}" % ('"a"', quoted["set"])),
        "many": identifier(running, "{setSecret(name:%s,plaintext:%s){id}}" % ('"b"', lines)),
        "env": identifier(running, '{secret(uri:"env://A_SECRET"){id}}'),
        "file": identifier(running, '{secret(uri:"file://secret.txt"){id}}'),
        "cmd": identifier(running, '{secret(uri:"cmd://sh tell.sh"){id}}'),
        "token": identifier(running, "{setSecret(name:%s,plaintext:%s){id}}" % ('"t"', quoted["token"])),
    }


SHOW = """
set -e
SLOWLY='
import sys, time
for letter in sys.stdin.read():
    sys.stdout.write(letter); sys.stdout.flush(); time.sleep(0.0005)
'
for name in SET MANY ENV FILE CMD; do
  eval value=\\$$name
  printf 'exact %s\\n' "$value"; printf '%s' "$value" >&2
  printf 'basic %s\\n' "$(printf 'user:%s' "$value" | base64 -w0)"
  printf '%s' "$value" | python3 -c "$SLOWLY"; echo
done
cat /run/secret; cp /run/secret /dev/shm/copy; wc -c < /run/secret
"""


def shown(running, ids, *, rest="", script=SHOW):
    """A command that has all the secrets and tells them to everybody."""
    with_variables = "".join(
        'withSecretVariable(name:"%s",secret:"%s"){' % (name.upper(), ids[name])
        for name in ("set", "many", "env", "file", "cmd")
    )
    query = (
        '{container{from(address:"host"){withMountedSecret(path:"/run/secret",source:"%s"){%s'
        'withExec(args:["bash","-c",%s]%s){stdout stderr combinedOutput id}%s'
        % (ids["set"], with_variables, json.dumps(script), rest, "}" * 9)
    )
    return running.post(json.dumps({"query": query}).encode())[1]


def test_no_secret_is_found_anywhere_afterwards(running, texts, tmp_path):
    ids = given(running, texts)
    answers = [json.dumps(ids).encode()]
    seen = []
    ended = threading.Event()

    def watch():
        while not ended.is_set():
            seen.append(processes())
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answers.append(shown(running, ids))
        answers.append(shown(running, ids, rest=',redirectStdout:"/out",redirectStderr:"/err"'))
        answers.append(shown(running, ids, script=SHOW + "exit 3"))
        answers.append(shown(running, ids, script=SHOW + "x=$(seq 300000); echo $x; printf '%s' $SET"))
        # Mistakes that repeat what was given.
        answers += [running.post(json.dumps({"query": text}).encode())[1] for text in mistakes(texts, ids)]
    finally:
        ended.set()
        watcher.join()
    assert any(b"exact ***" in answer for answer in answers)
    assert running.close() == 0
    until(lambda: not processes_with(running.mark))
    running.log.flush()
    for name, text in texts.items():
        for form in forms(text):
            for number, answer in enumerate(answers):
                assert form not in answer, f"{name} in answer {number}"
            assert not any(form in commands for commands in seen), f"{name} on a command line"
            for path, content in everything(tmp_path / "store"):
                assert form not in content, f"{name} in {path}"
            assert form not in (tmp_path / "engine.log").read_bytes(), f"{name} in the log"


def mistakes(texts, ids):
    quoted = json.dumps(texts["set"])
    container = '{container{from(address:"host"){%s}}}'
    yield "{setSecret(name:3,plaintext:%s){id}}" % quoted
    yield '{setSecret(name:"x",plaintext:%s,more:1){id}}' % quoted
    yield '{setSecret(name:"x",plaintext:%s){nope}}' % quoted
    yield '{setSecret(name:"x",plaintext:%s' % quoted
    yield container % (
        'withSecretVariable(name:"X",secret:"%s"){withExec(args:["$X"],expand:true){stdout}}' % ids["set"]
    )
    yield container % (
        'withMountedSecret(path:"/etc",source:"%s"){withExec(args:["true"]){stdout}}' % ids["set"]
    )
    yield '{git(url:"http://127.0.0.1:9/x.git",httpAuthToken:"%s"){head{commit}}}' % ids["token"]
    yield (
        '{container{withNewFile(path:"/f",contents:"f"){withRegistryAuth(address:"127.0.0.1:9",username:"me",secret:"%s"){'
        'publish(address:"127.0.0.1:9/x:y")}}}}' % ids["token"]
    )


def test_keys_and_ids_do_not_depend_on_a_secrets_text(running, texts):
    ids = given(running, texts)
    quiet = 'test -n "$SET" && date +%N'
    first = json.loads(shown(running, ids, script=quiet))
    again = given(running, {**texts, "set": "another-text-altogether"})
    assert again == ids
    assert json.loads(shown(running, ids, script=quiet)) == first


def files_in_memory(running, text):
    """The files with a text in the engine's own mount namespace, where the sandbox keeps secrets."""
    found = []
    for pid in processes_with(running.mark):
        # os.walk, unlike rglob, takes it that folders vanish meanwhile.
        for folder, _, names in os.walk(f"/proc/{pid}/root{running.store}"):
            for path in (Path(folder, name) for name in names if folder.endswith("/secrets")):
                try:
                    found += [path] if text.encode() in path.read_bytes() else []
                except OSError:  # the process or the file is gone
                    continue
    return found


def test_a_secrets_own_file_is_in_memory_and_gone_with_its_command(running, texts):
    ids = given(running, texts)
    script = "stat -f -c %T /run/secret; stat -c %a /run/secret; sleep 3"
    answers = []
    asking = threading.Thread(target=lambda: answers.append(shown(running, ids, script=script)))
    asking.start()
    until(lambda: files_in_memory(running, texts["set"]))
    assert not any(texts["set"].encode() in content for _, content in everything(running.store))
    asking.join(60)
    assert [stdout(json.loads(answer)) for answer in answers] == ["tmpfs\n400\n"]
    assert processes_with(running.mark)  # the session still runs, but not the command
    assert files_in_memory(running, texts["set"]) == []


def stdout(answer):
    """The output of the command that :func:`shown` runs."""
    assert "errors" not in answer, answer
    value = answer["data"]
    while "stdout" not in value:
        value = next(iter(value.values()))
    return value["stdout"]
