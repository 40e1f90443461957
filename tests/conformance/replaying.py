"""Replays recorded cases against an engine and says where its answers differ.

A case has an optional `setup` on the host and steps; each step sends something and has a
recorded answer. Answers are compared after what changes from run to run was replaced, and
under the rules that the case gives for single paths.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).parent / "corpus"
BEYOND = Path(__file__).parent / "beyond"
ABSENT = "<absent>"
_PLACEHOLDER = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_TRACE = re.compile(r"\s*\[traceparent:[0-9a-f-]+\]")
_SCRATCH = re.compile(r"/tmp/(?:dagger-mount|rootfs)\d+|/\S+/snapshots/\d+/fs")
_EVERYWHERE = {
    "errors.*.locations": "ignore",
    "data.**.id": "nonempty",
    "data.**.sync": "nonempty",
    "data.**.start": "nonempty",
    "data.**.stop": "nonempty",
}


def is_embedded() -> bool:
    """Whether no other engine's session is given."""
    return "DAGGER_SESSION_PORT" not in os.environ


@dataclass(frozen=True)
class Case:
    """One recorded case. ``better`` is why another answer than the Dagger engine's own is expected."""

    id: str
    title: str
    area: str
    steps: list[dict[str, Any]]
    answers: list[Any]
    setup: dict[str, Any]
    quirk: str | None
    better: str | None = None

    @property
    def needs_registry(self) -> bool:
        return "${REGISTRY}" in json.dumps(self.steps)

    @property
    def sessions(self) -> int:
        return max(int(step.get("session", 1)) for step in self.steps)


def listed(name: str) -> dict[str, str]:
    """Cases and reasons of a file beside this one."""
    return yaml.safe_load((Path(__file__).parent / name).read_text("utf-8")) or {}


DEPARTURES = listed("departures.yaml")
SINGLE_ID = listed("single_id.yaml")


def load_cases() -> list[Case]:
    """All cases with their answers."""
    answers: dict[str, list[Any]] = {}
    for line in (CORPUS / "answers.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        answers.setdefault(record["id"], []).append(record["response"])
    return [
        Case(
            raw["id"],
            raw["title"],
            raw["area"],
            raw["steps"],
            answers[raw["id"]],
            raw.get("setup") or {},
            raw.get("quirk"),
        )
        for raw in yaml.safe_load((CORPUS / "cases.yaml").read_text("utf-8"))
    ]


def load_beyond() -> list[Case]:
    """The cases that were read off the source instead of recorded; each step holds its answer."""
    return [
        Case(
            raw["id"],
            raw["title"],
            raw.get("area", file.stem),
            [_in_base(step) for step in raw["steps"]],
            [step.get("answer") for step in raw["steps"]],
            raw.get("setup") or {},
            raw.get("quirk"),
            raw.get("better"),
        )
        for file in sorted(BEYOND.glob("*.yaml"))
        for raw in yaml.safe_load(file.read_text("utf-8"))
    ]


def _in_base(step: dict[str, Any]) -> dict[str, Any]:
    """A step whose `base` is what to ask of a container of the base image, as a query."""
    if "base" not in step:
        return step
    return {**step, "query": '{container{from(address:"${BASE}"){' + step["base"] + "}}}"}


@dataclass
class Door:
    """One session, reached over HTTP."""

    port: int
    token: str
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=120, trust_env=False))

    def query(self, step: dict[str, Any]) -> Any:
        body = {key: step[key] for key in ("query", "variables", "operationName") if key in step}
        reply = self.client.post(f"http://127.0.0.1:{self.port}/query", json=body, auth=(self.token, ""))
        return _body(reply)

    def raw(self, spec: dict[str, Any]) -> dict[str, Any]:
        auth = {"none": None, "wrong": ("wrong-token", "")}.get(spec.get("auth", ""), (self.token, ""))
        url = f"http://127.0.0.1:{self.port}{spec.get('path', '/query')}"
        reply = self.client.request(
            spec.get("method", "POST"),
            url,
            content=spec.get("body", ""),
            headers=spec.get("headers"),
            auth=auth,
        )
        kind = reply.headers.get("content-type", "").split(";")[0]
        return {"status": reply.status_code, "type": kind, "body": _body(reply)}

    def close(self) -> None:
        self.client.close()


def _body(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        return reply.text


# -- running a case


def replay(case: Case, doors: list[Door], base: str, registry: str, folder: Path) -> list[str]:
    """Run a case in an empty folder; every difference from the recorded answers, as a line of text."""
    in_cwd = case.setup.get("in_cwd")
    names = {
        "BASE": base,
        "REGISTRY": registry,
        "TMP": str(folder),
        "RUN": os.urandom(6).hex(),
        "REL": folder.name if in_cwd else "",
        "PORT": str(free_port()),
    }
    problems: list[str] = []
    with _prepared(case, names, folder):
        for number, (step, expected) in enumerate(zip(case.steps, case.answers, strict=True), 1):
            answer = _take(fill(step, names), doors, folder)
            for name, path in (step.get("save") or {}).items():
                names[name] = str(at(answer, path))
            if expected is None:
                wanted = fill(step.get("expect") or {}, names)
                found = unmet(wanted, neutral(answer, names), names)
                problems += [f"step {number}: {line}" for line in found]
                continue
            rules = with_base(fill(_rules(step), names), base)
            found = differences(with_base(expected, base), neutral(answer, names), rules, names)
            problems += [f"step {number}: {line}" for line in found]
    return problems


@contextlib.contextmanager
def _prepared(case: Case, names: dict[str, str], folder: Path) -> Iterator[None]:
    for name, text in (case.setup.get("files") or {}).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(fill(text, names), "utf-8")
    if "shell" in case.setup:
        _shell(fill(case.setup["shell"], names), folder, check=True)
    if "background" not in case.setup:
        yield
        return
    command = ["sh", "-c", "exec " + fill(case.setup["background"], names)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=folder, start_new_session=True, stdout=quiet, stderr=quiet)
    try:
        _wait_for(int(names["PORT"]))
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _take(step: dict[str, Any], doors: list[Door], folder: Path) -> Any:
    door = doors[step.get("session", 1) - 1]
    if "query" in step:
        return door.query(step)
    if "parallel" in step:
        with ThreadPoolExecutor(len(step["parallel"])) as pool:
            return list(pool.map(lambda query: door.query({"query": query}), step["parallel"]))
    if "http" in step:
        return door.raw(step["http"])
    return _shell(step["shell"], folder)


def _shell(command: str, folder: Path, *, check: bool = False) -> dict[str, Any]:
    env = os.environ | {"LC_ALL": "C", "GIT_CONFIG_GLOBAL": "/dev/null", "TZ": "UTC"}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=check,
    )
    return {"exit": done.returncode, "output": done.stdout}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


# -- comparing


def fill(value: Any, names: dict[str, str]) -> Any:
    """Put names in for their placeholders; unknown ones stay."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: names.get(match[1], match[0]), value)
    if isinstance(value, list):
        return [fill(item, names) for item in value]
    return {key: fill(item, names) for key, item in value.items()} if isinstance(value, dict) else value


def neutral(value: Any, names: dict[str, str]) -> Any:
    """Replace what differs from run to run. The base's name stays: it may be a word like any other."""
    if isinstance(value, str):
        text = _SCRATCH.sub("<ENGINE_TMP>", _TRACE.sub("", value))
        for name in ("TMP", "REL", "REGISTRY", "RUN"):
            if names.get(name):
                text = text.replace(names[name], f"<{name}>")
        return re.sub(rf"(?<!\d){names['PORT']}(?!\d)", "<PORT>", text)
    if isinstance(value, list):
        return [neutral(item, names) for item in value]
    return {key: neutral(item, names) for key, item in value.items()} if isinstance(value, dict) else value


def with_base(value: Any, base: str) -> Any:
    """A recorded answer or rule with the base's name in it, so far as it shows the base."""
    if isinstance(value, str):
        return value.replace("<BASE>", base)
    if isinstance(value, list):
        return [with_base(item, base) for item in value]
    return {key: with_base(item, base) for key, item in value.items()} if isinstance(value, dict) else value


def at(value: Any, path: str) -> Any:
    """Follow a dotted path; numbers index lists."""
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return ABSENT
    return value


def unmet(expected: dict[str, Any], answer: Any, names: dict[str, str]) -> list[str]:
    """Every expectation that an answer does not meet: the end of a path in it, and a value or a rule."""
    leaves = dict(_leaves(answer))
    problems = []
    for end, wanted in expected.items():
        found = [value for path, value in leaves.items() if f".{path}".endswith(f".{end}")]
        if len(found) != 1:
            problems.append(f"{end}: {len(found)} places in {answer!r}")
        elif isinstance(wanted, dict):
            problem = _broken(wanted, None, found[0], names)
            problems += [f"{end}: {problem}"] if problem else []
        elif found[0] != neutral(wanted, names):
            problems.append(f"{end}: expected {wanted!r}, got {found[0]!r}")
    if "message" not in expected and at(answer, "errors") not in (ABSENT, None):
        problems.append(f"an error: {answer['errors']!r}")
    return problems


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What is no object, by its path; lists both as a whole and by element."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
        return
    yield path, value
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")


def _rules(step: dict[str, Any]) -> dict[str, Any]:
    own = step.get("compare") or {}
    return own | {path: rule for path, rule in _EVERYWHERE.items() if path not in own}


def differences(
    expected: Any, actual: Any, rules: dict[str, Any], names: dict[str, str], path: str = ""
) -> list[str]:
    """Every place where an answer departs from the recorded one."""
    rule = next((rule for pattern, rule in rules.items() if _names_path(pattern, path)), "exact")
    if rule == "unordered":
        expected, actual = _sorted(expected), _sorted(actual)
    elif rule != "exact":
        problem = _broken(rule, expected, actual, names)
        return [f"{path}: {problem}"] if problem else []
    prefix = f"{path}." if path else ""
    if isinstance(expected, dict) and isinstance(actual, dict):
        keys = sorted(expected.keys() | actual.keys())
        pairs = [(key, expected.get(key, ABSENT), actual.get(key, ABSENT)) for key in keys]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(str(i), *both) for i, both in enumerate(zip(expected, actual, strict=True))]
    else:
        return [] if expected == actual else [f"{path}: expected {expected!r}, got {actual!r}"]
    return [line for key, a, b in pairs for line in differences(a, b, rules, names, f"{prefix}{key}")]


def _sorted(value: Any) -> Any:
    return sorted(map(json.dumps, value)) if isinstance(value, list) else value


def _names_path(pattern: str, path: str) -> bool:
    """`*` stands for one part of a path, `**` for one or more."""
    parts = [{"*": "[^.]*", "**": ".*"}.get(part, re.escape(part)) for part in pattern.split(".")]
    return re.fullmatch(r"\.".join(parts), path) is not None


def _broken(rule: Any, expected: Any, actual: Any, names: dict[str, str]) -> str | None:
    """What is wrong with a value under a rule, or None."""
    if rule == "ignore":
        return None
    if rule == "nonempty":
        both_given = expected is not None and actual not in (None, ABSENT)
        good = bool(actual) if both_given else actual == expected
        return None if good else f"expected something like {expected!r}, got {actual!r}"
    ((kind, wanted),) = rule.items()
    if kind in {"same", "differs"}:
        known = neutral(names.get(wanted, ABSENT), names)
        good = (str(actual) == known) == (kind == "same")
    elif kind == "any_of":
        good = actual in wanted
    elif kind == "contains":
        good = wanted in str(actual)
    else:
        good = re.search(wanted, str(actual), re.DOTALL) is not None
    return None if good else f"{kind} {wanted!r} does not hold for {actual!r}"
