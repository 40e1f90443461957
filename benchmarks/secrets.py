"""What masking costs: how soon a masker is ready, and how fast output passes through it."""

from __future__ import annotations

import base64
import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import save
from rondel.secrets.masker import Masker

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 1_000_000
OUTPUT = 64_000_000
CHUNK = 65_536
ROUNDS = 5
LINE = b"2026-11-30 12:00:01 INFO epoch 12 loss 0.3341 accuracy 0.98 rate=1e-4 /work/data/flights.parquet\n"
NOTE = """\
The masker that the engine's log, the run's log, records, reports and the console share (`rondel.secrets`). Ready
means that the search for all forms of a secret of 1 MB is built. Output passes in chunks of 64 KiB with 20 secrets:
17 tokens, a private key, a JSON credential and a password with quotes. The best of five rounds counts."""


def measure() -> None:
    """Measure in this process; nothing is started."""
    source = random.Random(1)
    lines = [base64.b64encode(source.randbytes(48)) for _ in range(SIZE // 65)]
    key = b"\n".join(lines)
    before = _resident()
    masker = Masker([key])
    masker.search()
    rows: list[tuple[str, float | str, str]] = [("memory for a secret of 1 MB", _resident() - before, "MB")]
    for name, value in {
        "a key file of short lines": key,
        "one line of base64": base64.b64encode(source.randbytes(SIZE * 3 // 4)),
        "a JSON credential": json.dumps({"private_key": key.decode()}).encode(),
        "bytes": source.randbytes(SIZE),
        "one letter": b"x" * SIZE,
    }.items():
        seconds = _best(lambda value=value: Masker([value]).search())  # type: ignore[misc]
        rows.append((f"ready, 1 MB: {name}", seconds * 1000, "ms"))
    tokens = [base64.b64encode(source.randbytes(30)) for _ in range(17)]
    pem = b"-----BEGIN PRIVATE KEY-----\n" + b"\n".join(lines[:26]) + b"\n-----END PRIVATE KEY-----\n"
    document = json.dumps({"type": "service_account", "private_key": pem.decode()}, indent=2).encode()
    twenty = [*tokens, pem, document, b"p\"a&ss'w\\ord"]
    rows.append(("ready, 20 secrets", _best(lambda: Masker(twenty).search()) * 1000, "ms"))
    masker = Masker(twenty)
    masker.search()
    with_secrets = LINE * 100 + tokens[0] + b"\n"
    for name, output in {
        "lines of a log": LINE * (OUTPUT // len(LINE)),
        "lines of a log, a secret in each hundredth": with_secrets * (OUTPUT // len(with_secrets)),
        "base64, like the secrets": base64.b64encode(source.randbytes(OUTPUT * 3 // 4)),
        "zeros": bytes(OUTPUT),
    }.items():
        seconds = _best(lambda output=output: _pass(masker, output))  # type: ignore[misc]
        rows.append((f"passes: {name}", len(output) / 1e6 / seconds, "MB/s"))
    save("secrets", rows, NOTE)


def _pass(masker: Masker, output: bytes) -> None:
    stream = masker.stream()
    for at in range(0, len(output), CHUNK):
        stream.feed(output[at : at + CHUNK])
    stream.flush()


def _best(action: Callable[[], object]) -> float:
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return min(found)


def _resident() -> float:
    """The memory (MB) that this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
