"""The embedded engine alone, through the real client: against bare bubblewrap and a real engine.

``BENCH_DAGGER``, if set, is the command that runs another below a Dagger engine (``dagger run -s``): both
engines are then measured in one run. Without it, the figures of one recording stand for the real engine.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness import RESULTS, TOP, machine

BASE = os.environ.get("BENCH_BASE", "python:3.11-slim")
PARTS = ("first", "again", "heavy")
DAGGER = shlex.split(os.environ.get("BENCH_DAGGER", ""))
NOTE = (
    "The embedded engine with the real client, its store empty at first; one command is the median of five."
)
MEASURED = """\
The real engine was measured in the same run on the same machine: the second of two rounds, engine already up,
base image unpacked."""
QUOTED = """\
The figures of the real engine were recorded once, with v0.21.8 on a machine with the same two processors (its
second run, engine already up, base image unpacked); they are quoted, not measured here. The client's import says
how fast this machine was just then: on that one it took 0.61 to 0.84 s."""
# Seconds, or MB; from that recording.
RECORDED = {
    "connect": 0.62,
    "one command": 0.086,
    "chain of 30": 2.68,
    "the same chain and one command more": 0.12,
    "chain of 200": 19.2,
    "8 × sleep 0.5 at once": 0.83,
    "upload of 5,000 files": 1.15,
    "export of 5,000 files": 0.45,
    "256 MB written and exported": 2.03,
    "cache volume, 1,000 files": 0.20,
    "service asked over HTTP": 0.35,
    "100 commands at once": 4.92,
    "memory of the engine": 170.0,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure: what was measured, the real engine's, and what was asked for."""

    what: str
    value: float | str
    unit: str
    real: float | None = None
    limit: str = ""

    def cells(self) -> str:
        """The row of the Markdown table."""
        value = f"{self.value:.3f}" if isinstance(self.value, float) else self.value
        real = f"{self.real:.3g}" if self.real is not None else ""
        ratio = f"{self.real / self.value:.1f} ×" if self.real and isinstance(self.value, float) else ""
        return f"| {self.what} | {value} | {self.unit} | {real} | {ratio} | {self.limit} |"


def measure() -> None:
    """Run the client's parts below ``rondel run``, as a pipeline is, on one store; then bubblewrap alone."""
    with tempfile.TemporaryDirectory() as folder:
        measured: dict[str, float | str] = {}
        real = _real(Path(folder) / "real") if DAGGER else RECORDED
        imports = [_import_of_client()]
        for part in PARTS:
            measured |= _part(part, Path(folder))
            imports.append(_import_of_client())
        bare = _python("benchmarks.bare", folder)
    save(rows(measured, real, bare, min(imports)))


def _real(folder: Path) -> dict[str, float]:
    """The same calls on the Dagger engine that ``BENCH_DAGGER`` reaches; the first round warms it."""
    folder.mkdir()
    for _ in range(2):
        found = _measured([*DAGGER, sys.executable, "-m", "benchmarks.client", "first"], folder)
    # Its base image was there already.
    return {w: value for w, value in found.items() if isinstance(value, float) and w != "base image ready"}


def _import_of_client() -> float:
    """Seconds that another interpreter needs to import the client: how fast this machine is just now."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import dagger"], check=True)
    return time.perf_counter() - begun


def rows(
    measured: dict[str, float | str], real: dict[str, float], bare: dict[str, float | str], imported: float
) -> list[Row]:
    """All figures with what they are compared with."""
    found = [
        Row(what=what, value=value, unit="MB" if "memory" in what else "s" if isinstance(value, float) else "",
            real=real.get(what), limit=LIMITS.get(what, ""))
        for what, value in measured.items()
    ]  # fmt: skip
    alone, each, connect = bare["best"], measured["one command of a chain of 30"], measured["connect"]
    assert isinstance(alone, float)
    assert isinstance(each, float)
    assert isinstance(connect, float)
    found.append(Row(what="the client's import alone", value=imported, unit="s"))
    found.append(Row(what="connect / the client's import", value=connect / imported, unit="×"))
    found.append(Row(what="bare bwrap, the same mounts", value=alone, unit="s"))
    over = Row(what="a command over bare bwrap", value=each - alone, unit="s", limit="0.015")
    return [*found, over, Row(what="a command / bare bwrap", value=each / alone, unit="×")]


LIMITS = {
    "connect": "0.5",
    "one command": "a third of the real engine's",
    "chain of 30": "a third of the real engine's",
    "chain of 200": "a third of the real engine's",
    "100 commands at once": "a third of the real engine's",
    "unchanged 50,000 files in a new session": "1",
    "memory of the engine after 1,000 commands": "120",
}


def _part(part: str, folder: Path) -> dict[str, float | str]:
    rondel = str(Path(sys.executable).with_name("rondel"))
    return _measured([rondel, "run", sys.executable, "-m", "benchmarks.client", part], folder)


def _python(module: str, folder: str) -> dict[str, float | str]:
    return _measured([sys.executable, "-m", module], Path(folder))


def _measured(command: list[str], folder: Path) -> dict[str, float | str]:
    answer = folder / "answer.json"
    environment = {
        **os.environ,
        "RONDEL_ENGINE": "embedded",
        "RONDEL_ENGINE_HOME": str(folder / "store"),
        "PYTHONPATH": str(TOP),
        "BENCH_BASE": BASE,
        "BENCH_FOLDER": str(folder),
        "BENCH_ANSWER": str(answer),
        "BENCH_STARTED": repr(time.time()),
    }
    subprocess.run(command, check=True, env=environment, cwd=folder)
    found: dict[str, float | str] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def save(found: list[Row]) -> None:
    """Write the results as JSON and Markdown, and show them."""
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine(), "rows": [asdict(row) for row in found]}
    (RESULTS / "engine.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    head = "| what | value | unit | real engine | faster by | at most |\n|---|---:|---|---:|---:|---:|"
    described = ", ".join(f"{key} {value}" for key, value in machine().items())
    table = "\n".join(row.cells() for row in found)
    text = f"{NOTE}\n{MEASURED if DAGGER else QUOTED}\n\n{head}\n{table}\n\nMeasured by `python -m benchmarks engine` on: {described}.\n"
    (RESULTS / "engine.md").write_text(text, encoding="utf-8")
    print(text)
