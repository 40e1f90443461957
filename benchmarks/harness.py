"""Clean clones, timed commands and the place where results go."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOP = Path(__file__).resolve().parent.parent
RESULTS = TOP / "benchmarks" / "results"
PASSED_ON = (
    "PIP_",
    "UV_",
    "SSL_",
    "REQUESTS_",
    "CURL_",
    "HTTP",
    "http",
    "HTTPS",
    "https",
    "NO_PROXY",
    "no_proxy",
)
_END = 10.0


@dataclass(frozen=True, kw_only=True)
class Timed:
    """How long a command took (seconds), and what it said."""

    seconds: float
    output: str


@dataclass(frozen=True, kw_only=True)
class Clone:
    """A clean clone with a home and caches of its own."""

    path: Path
    environment: Mapping[str, str]

    def run(self, *command: str, check: bool = True, changes: Mapping[str, str] | None = None) -> Timed:
        """Run a command there; SystemExit with its output when it fails and ``check`` is set."""
        started = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.path, env={**self.environment, **(changes or {})}, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        seconds = time.perf_counter() - started
        if check and done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return Timed(seconds=seconds, output=done.stdout)

    def best(self, *command: str, times: int = 5, changes: Mapping[str, str] | None = None) -> float:
        """The shortest of several runs (seconds): what the command costs when nothing disturbs it."""
        return min(self.run(*command, changes=changes).seconds for _ in range(times))

    def capsule(self) -> dict[str, Any]:
        """The newest run's capsule."""
        newest = max((self.path / ".rondel" / "runs").iterdir())
        found: dict[str, Any] = json.loads((newest / "capsule.json").read_text(encoding="utf-8"))
        return found


@contextlib.contextmanager
def clean_clone() -> Iterator[Clone]:
    """A clone of HEAD below a temporary folder; ends its MLflow server and removes it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rondel-bench-"))
    try:
        subprocess.run(["git", "clone", "--quiet", TOP, folder / "clone"], check=True)
        home = folder / "home"
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if ".venv" not in part)
        clone = Clone(
            path=folder / "clone",
            environment={**kept, "HOME": str(home), "PATH": path, "LANG": "C.UTF-8"},
        )
        yield clone
        if (clone.path / ".venv/bin/rondel").exists():
            clone.run(".venv/bin/rondel", "ui", "--stop", check=False)
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def inside(clone: Clone) -> dict[str, str]:
    """The variables that put the clone's environment first on the PATH."""
    return {"PATH": f"{clone.path}/.venv/bin{os.pathsep}{clone.environment['PATH']}"}


@contextlib.contextmanager
def stopped_afterwards(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """End a process that was started with a session of its own, and all that it started."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(_END)


def tree_memory(pid: int) -> tuple[float, list[str]]:
    """Proportional memory (MB) of a process and its descendants, and what each is."""
    total, names = 0.0, []
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        try:
            rollup = Path(f"/proc/{current}/smaps_rollup").read_text(encoding="utf-8")
            command = (
                Path(f"/proc/{current}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            for task in Path(f"/proc/{current}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text(encoding="utf-8").split()]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        megabytes = (
            sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
        )
        total += megabytes
        names.append(f"{megabytes:.0f} MB {command[:70].strip()}")
    return total, names


def machine() -> dict[str, str | int]:
    """What the numbers were measured on, and how busy it was with other things."""
    return {
        "cpus": os.cpu_count() or 0,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load": f"{os.getloadavg()[2]:.1f}",
    }


def save(name: str, rows: Sequence[tuple[str, float | str, str]], note: str) -> None:
    """Write a result as JSON and as a Markdown table of (what, value, unit), and show it."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "machine": machine(),
        "rows": [dict(zip(("what", "value", "unit"), row, strict=True)) for row in rows],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    lines = [note, "", "| what | value | unit |", "|---|---:|---|"]
    for what, value, unit in rows:
        lines.append(
            f"| {what} | {value:.2f} | {unit} |"
            if isinstance(value, float)
            else f"| {what} | {value} | {unit} |"
        )
    described = ", ".join(f"{key} {value}" for key, value in machine().items())
    text = "\n".join([*lines, "", f"Measured by `python -m benchmarks {name}` on: {described}.", ""])
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)
