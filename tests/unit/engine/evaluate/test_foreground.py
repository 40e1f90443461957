"""Taking a terminal over for a shell, and giving it back."""

import os
import pty
import select
import sys

TAKES_OVER = """
import os, sys, termios
from rondel.engine.evaluate.terminal import in_foreground
print("ready", flush=True)
os.read(int(sys.argv[1]), 1)
before = termios.tcgetattr(0)
with in_foreground(0):
    print("got", os.read(0, 100), "\\r", flush=True)
print("as before", termios.tcgetattr(0) == before, flush=True)
"""


def test_what_was_typed_before_the_shell_was_there_is_for_the_shell():
    gate, opener = os.pipe()
    os.set_inheritable(gate, True)
    child, door = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", TAKES_OVER, str(gate)])
    seen = until(door, b"ready")
    os.write(door, b"exit 3\n")
    seen += until(door, b"exit 3")  # the terminal's echo: it has the line
    os.write(opener, b"x")
    seen += until(door, b"as before")
    os.waitpid(child, 0)
    for each in (gate, opener, door):
        os.close(each)
    assert b"got b'exit 3\\n'" in seen
    assert b"as before True" in seen


def until(door, text, seconds=20):
    """What the terminal shows, up to a line with ``text`` in it, or to its end."""
    seen = b""
    while text not in seen.rpartition(b"\n")[0]:
        assert select.select([door], [], [], seconds)[0], seen
        try:
            seen += os.read(door, 4096)
        except OSError:  # the program has ended
            break
    return seen
