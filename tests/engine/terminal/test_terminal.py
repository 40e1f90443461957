"""A shell on the user's terminal, from a session that was started in one, and from one that was not."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

CLIENT = """
import base64, json, os, urllib.request
query = {"query": os.environ["QUERY"]}
login = base64.b64encode((os.environ["DAGGER_SESSION_TOKEN"] + ":").encode()).decode()
url = "http://127.0.0.1:%s/query" % os.environ["DAGGER_SESSION_PORT"]
headers = {"Content-Type": "application/json", "Authorization": "Basic " + login}
request = urllib.request.Request(url, data=json.dumps(query).encode(), headers=headers)
print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).read().decode())
if os.isatty(0):
    print("foreground", os.tcgetpgrp(0) == os.getpgrp())
"""


SHELL = '{container{from(address:"host"){terminal(cmd:["sh"]){id}}}}'
SERVICE = (
    '{container{from(address:"host"){withEnvVariable(name:"OF",value:"the service"){'
    'withDefaultArgs(args:["sh","-c","echo there > /made; exec sleep 600"]){'
    "asService{terminal{hostname}}}}}}}"
)


def command():
    return [sys.executable, "-m", "rondel.engine.server.launcher", sys.executable, "-c", CLIENT]


def converse(door, child, *, prompt, reply, seconds=60):
    """What a program on the other side of a pseudo-terminal writes; ``reply`` is typed at the prompt."""
    seen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([door], [], [], 0.2)[0]:
            try:
                data = os.read(door, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
        if reply and prompt in seen:
            os.write(door, reply)
            reply = b""
    os.waitpid(child, 0)
    return seen.decode(errors="replace")


def test_shell_of_a_container_is_used_from_the_session_s_terminal(tmp_path):
    child, door = pty.fork()
    if child == 0:
        os.environ |= {"RONDEL_ENGINE_HOME": str(tmp_path / "store"), "QUERY": SHELL}
        os.execv(sys.executable, command())
    fcntl.ioctl(door, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    seen = converse(
        door, child, prompt=b"# ", reply=b"echo in $((6*7)) $(hostname); sleep 1; stty size; exit\n"
    )
    os.close(door)
    assert "in 42 dagger" in seen
    assert "33 99" in seen
    assert '"terminal"' in seen
    assert "foreground True" in seen


def test_shell_of_a_service_is_inside_its_running_container(tmp_path):
    child, door = pty.fork()
    if child == 0:
        os.environ |= {"RONDEL_ENGINE_HOME": str(tmp_path / "store"), "QUERY": SERVICE, "TERM": "vt100"}
        os.execv(sys.executable, command())
    fcntl.ioctl(door, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    seen = converse(
        door, child, prompt=b"# ",
        reply=b"cat /made; echo $OF $TERM $((6*7)); cat /proc/1/comm /proc/2/comm; sleep 1; stty size; exit\n",
    )  # fmt: skip
    os.close(door)
    assert "there\r\nthe service vt100 42\r\n" in seen
    assert "sleep\r\n33 99" in seen
    assert '"hostname"' in seen
    assert "foreground True" in seen


def test_session_without_a_terminal_says_so(tmp_path):
    done = subprocess.run(
        ["setsid", "--wait", *command()],
        env=os.environ | {"RONDEL_ENGINE_HOME": str(tmp_path / "store"), "QUERY": SHELL},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "this session has no terminal" in done.stdout
    assert "EXEC_ERROR" not in done.stdout
