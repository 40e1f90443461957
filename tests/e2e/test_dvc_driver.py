"""The program that drives DVC, with a real DVC."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rondel.container_scripts import script
from rondel.data import load_project
from rondel.environment.data_container import fetch_plan, keep_plan
from rondel.operations.evaluation import evaluation_program, read_evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DVC = Path(sys.executable).with_name("dvc")
DVC_YAML = """\
stages:
  prepare:
    cmd: python prepare.py
    outs: [test.txt]
  train:
    cmd: python train.py
    deps: [test.txt, train.py]
    outs: [model.txt]
  evaluate:
    cmd: python score.py
    deps: [model.txt, score.py, test.txt]
    metrics:
      - metrics.json: {cache: false}
"""
SCORE = """\
import json
json.dump({"auc": float(open("model.txt").read()) * float(open("test.txt").read())}, open("metrics.json", "w"))
"""


def dvc(root: Path, *arguments: str) -> None:
    done = subprocess.run([str(DVC), *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project with two models in its remote, the second in place; and the hash of the first."""
    root = tmp_path_factory.mktemp("project")
    dvc(root, "init", "-q", "--no-scm")
    dvc(root, "remote", "add", "-q", "-d", "far", str(root.parent / "remote"))
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "prepare.py").write_text("open('test.txt', 'w').write('0.5')")
    (root / "score.py").write_text(SCORE)
    (root / "train.py").write_text("open('model.txt', 'w').write('0.9')")
    dvc(root, "repro", "-q")
    dvc(root, "push", "-q")
    first = load_project(root).lock["train"]["outs"][0]["md5"]
    (root / "train.py").write_text("open('model.txt', 'w').write('0.8')")
    dvc(root, "repro", "-q")
    dvc(root, "push", "-q")
    return root, f"md5:{first}"


@pytest.fixture
def workspace(project: tuple[Path, str], tmp_path: Path) -> Path:
    """As a container sees it: no data in the tree, nothing in the cache."""
    root = tmp_path / "work"
    shutil.copytree(project[0], root, ignore=shutil.ignore_patterns("cache", "tmp"))
    for name in ("model.txt", "test.txt"):
        (root / name).unlink()
    return root


def move(root: Path, out: Path, plan: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The result of the driver, and its output."""
    (root / "plan.json").write_text(json.dumps({**plan, "out": str(out)}))
    (root / "dvc_driver.py").write_text(script("dvc_driver"))
    done = subprocess.run(
        [sys.executable, "dvc_driver.py", "plan.json"],
        cwd=root,
        env={**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(out.parent / "site")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    assert done.returncode == min(result["code"], 100), done.stderr
    return result, done.stdout + done.stderr


def programs(root: Path, **wanted: Any) -> dict[str, Any]:
    """The plan of what is fetched to measure a model."""
    found = load_project(root)
    evaluation = read_evaluation(found, found.stages["evaluate"], found.lock["evaluate"])
    program = evaluation_program(evaluation, found, **wanted)
    return fetch_plan(program.needs, models=program.models, size=program.size, collect=program.collect)


def test_what_is_needed_is_put_in_place_and_nothing_else(workspace: Path, tmp_path: Path) -> None:
    result, said = move(workspace, tmp_path / "out", fetch_plan(["test.txt"]))
    assert result["code"] == 0, said
    assert (workspace / "test.txt").read_text() == "0.5"
    assert not (workspace / "model.txt").exists()


def test_another_model_is_put_in_the_place_of_the_one_in_the_lock(
    workspace: Path, project: tuple[Path, str], tmp_path: Path
) -> None:
    result, said = move(workspace, tmp_path / "out", programs(workspace, swap=project[1]))
    assert result["code"] == 0, said
    assert (workspace / "model.txt").read_text() == "0.9"
    assert result["bytes"] == 3


def test_a_model_that_the_remote_has_lost_is_told_apart_from_data(workspace: Path, tmp_path: Path) -> None:
    result, _ = move(workspace, tmp_path / "out", programs(workspace, swap="md5:" + "0" * 32))
    assert result["code"]
    assert result["phase"] == "model"


def test_what_a_command_made_is_kept_pushed_and_written_down(workspace: Path, tmp_path: Path) -> None:
    (workspace / "test.txt").write_text("0.5")
    (workspace / "train.py").write_text("# another program\n")
    (workspace / "model.txt").write_text("0.7")
    plan = keep_plan("train", ["model.txt"], push=True, collect=["dvc.lock"])
    result, said = move(workspace, tmp_path / "out", plan)
    assert result["code"] == 0, said
    entry = load_project(workspace).lock["train"]
    assert entry["outs"] == [
        {"path": "model.txt", "hash": "md5", "md5": hashlib.md5(b"0.7").hexdigest(), "size": 3}
    ]
    known = {dep["path"]: dep["md5"] for dep in entry["deps"]}
    assert known["train.py"] == hashlib.md5(b"# another program\n").hexdigest()
    assert (tmp_path / "out/files/dvc.lock").read_text() == (workspace / "dvc.lock").read_text()
    dvc(workspace, "status", "-q", "train")
    (workspace / "model.txt").unlink()
    shutil.rmtree(workspace / ".dvc/cache")
    dvc(workspace, "pull", "-q", "model.txt")
    assert (workspace / "model.txt").read_text() == "0.7"
    assert not (workspace / ".dvc/cache/runs").exists(), "DVC's run cache takes no part"


def test_the_driver_replaces_nothing_of_dvc() -> None:
    """A replaced internal could move with the next release of DVC, and nobody would see it."""
    assigned = [
        ast.unparse(target)
        for node in ast.walk(ast.parse(script("dvc_driver")))
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    assert "dep.hash_info" in " ".join(assigned), "the search finds assignments"
    assert not [name for name in assigned if name.startswith("dvc.") or name.split(".")[0][0].isupper()]


def test_an_output_that_is_not_there_is_named_and_nothing_is_written(workspace: Path, tmp_path: Path) -> None:
    before = (workspace / "dvc.lock").read_bytes()
    plan = keep_plan("train", ["model.txt"], push=True, collect=[])
    result, _ = move(workspace, tmp_path / "out", plan)
    assert result["code"]
    assert result["unmade"] == ["model.txt"]
    assert (workspace / "dvc.lock").read_bytes() == before


@pytest.fixture
def served() -> Iterator[Callable[[str], str]]:
    """A server that tells how its file changes, as DVC needs it: call it with the file's text, for its URL."""
    state = {"text": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            body = state["text"].encode()
            self.send_response(200)
            self.send_header("ETag", hashlib.md5(body).hexdigest())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(state["text"].encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def serve(text: str) -> str:
        state["text"] = text
        return f"http://127.0.0.1:{server.server_port}/far.csv"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_dependency_outside_of_the_project_is_asked_for(
    workspace: Path, tmp_path: Path, served: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    url = served("one")
    stages = {"load": {"cmd": "echo 1 > near.csv", "deps": [url], "outs": ["near.csv"]}}
    (workspace / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    dvc(workspace, "repro", "-q", "load")
    result, said = move(workspace, tmp_path / "one", fetch_plan([], ask="load"))
    assert (result["code"], result["changed"]) == (0, []), said
    served("two")
    result, said = move(workspace, tmp_path / "two", fetch_plan([], ask="load"))
    assert (result["code"], result["changed"]) == (0, [url]), said


def test_data_of_an_address_is_fetched_from_there_where_it_was_not_downloaded_yet(
    workspace: Path, tmp_path: Path, served: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    url = served("far")
    dvc(workspace, "import-url", "-q", url, "whole.csv")
    dvc(workspace, "import-url", "-q", "--no-download", url, "partial.csv")
    dvc(workspace, "push", "-q", "whole.csv")
    (workspace / "whole.csv").unlink()
    shutil.rmtree(workspace / ".dvc/cache", ignore_errors=True)
    assert not (workspace / "partial.csv").exists()
    needs = load_project(workspace).data_needed_for(["whole.csv", "partial.csv"])
    result, said = move(workspace, tmp_path, fetch_plan(needs))
    assert result["code"] == 0, said
    assert [(workspace / name).read_text() for name in ("whole.csv", "partial.csv")] == ["far", "far"]


def test_imported_data_is_fetched_from_where_it_came(workspace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run([*git, "init", "-q"], cwd=other, check=True)
    for number in ("one", "two"):
        (other / "data.txt").write_text(number)
        subprocess.run([*git, "add", "-A"], cwd=other, check=True)
        subprocess.run([*git, "commit", "-qm", number], cwd=other, check=True)
        if number == "one":
            dvc(workspace, "import", "-q", f"file://{other}", "data.txt")
    (workspace / "data.txt").unlink()
    shutil.rmtree(workspace / ".dvc/cache", ignore_errors=True)
    needs = load_project(workspace).data_needed_for(["data.txt"])
    result, said = move(workspace, tmp_path / "out", fetch_plan(needs))
    assert result["code"] == 0, said
    assert (workspace / "data.txt").read_text() == "one"
