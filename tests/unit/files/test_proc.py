"""Waiting looks at what a process does, not at the clock alone."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from rondel.files.proc import Patience, processor_time, stat_fields


@pytest.mark.parametrize(
    ("program", "works"), [("while True: pass", True), ("import time; time.sleep(60)", False)]
)
def test_a_process_is_waited_for_as_long_as_it_works(program: str, works: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    try:
        patience = Patience(process.pid, idle=2.5)
        began = time.monotonic()
        while not (over := patience.is_over()) and time.monotonic() - began < 8:
            time.sleep(0.1)
        assert over is not works
        assert (processor_time(process.pid) > 100) is works
    finally:
        process.kill()
        process.wait()
    assert processor_time(process.pid) == 0
    assert stat_fields(process.pid) is None
