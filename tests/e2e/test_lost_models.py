"""What a server or a remote has lost: a model that DVC keeps is registered again, a lost one is told as that."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import test_champion_again
from mlflow_runs import own_token
from small_project import environ, run
from test_champion_again import FILES, TRAIN, commit

from rondel.record import Capsule, load

# It takes data out of the engine's own volume on this disk.
pytestmark = [pytest.mark.container, pytest.mark.embedded]

project = test_champion_again.project


def succeed(root: Path, *words: str) -> str:
    done = run(root, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def forget_server(root: Path) -> None:
    """As if the project had been cloned anew, or pointed to another server."""
    succeed(root, "rondel", "ui", "--stop")
    shutil.rmtree(root / ".rondel/mlflow")


def forget_data(root: Path, digest: str) -> None:
    """Take an object out of the remote and of this machine's DVC cache."""
    name = digest.removeprefix("md5:")
    stores = [root / ".rondel/remote", Path.home() / ".cache/rondel/engine/v"]
    found = [path for store in stores for path in store.rglob(f"{name[:2]}/{name[2:]}")]
    assert len(found) >= 2, found
    for path in found:
        path.unlink()


def predict(root: Path, capsule: Capsule, reference: str) -> Any:
    assert capsule.mlflow is not None
    program = f"import mlflow; print(mlflow.pyfunc.load_model('models:/{reference}').predict(['x'])[0])"
    server = {"MLFLOW_TRACKING_URI": str(capsule.mlflow.uri), "MLFLOW_TRACKING_TOKEN": own_token(root)}
    env = {**environ(), **server}
    command = [sys.executable, "-W", "ignore", "-c", program]
    return float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)


def test_what_a_server_and_a_remote_have_lost_is_no_dead_end(project: Path) -> None:
    succeed(project, "python", "ci/main.py", "register")
    value = float(load(project)[1].stage("evaluate").metrics["auc"])
    commit(project)
    forget_server(project)

    # The model that the other server saw is registered and released on this one, without training.
    succeed(project, "python", "ci/main.py", "release", "--approve-by", "ann")
    folder, capsule = load(project)
    digest = capsule.stage("train").outputs["model.txt"]
    assert capsule.stage("train").state == "cached"
    assert f"logged model.txt ({digest}) again" in folder.log("register").read_text()
    assert predict(project, capsule, "toy@champion") == pytest.approx(value)
    assert digest in succeed(project, "rondel", "models", "show", "toy")
    assert "registered before" not in folder.log("register").read_text()

    # Now the champion's file is lost, when it would have to be evaluated again.
    forget_data(project, digest)
    shutil.rmtree(project / ".rondel/mlflow/artifacts")
    (project / "train.py").write_text(TRAIN.format(value="0.95"))
    (project / "score.py").write_text(FILES["score.py"].replace('"of": 1', '"of": 2'))
    commit(project)
    done = run(project, "python", "ci/main.py", "release", "--approve-by", "ann")
    assert done.returncode == 11, done.stdout + done.stderr
    assert "not comparable with the champion (version 1): changed since its evaluation" in done.stderr
    assert "can't pull its file from the DVC remote" in done.stderr
    assert "rondel rollback toy" in done.stderr
    assert load(project)[1].stage("evaluate").verdicts[0].champion_measured == "stale"

    main = project / "ci/main.py"
    latency = '        "answer_ms <= 2 * champion.answer_ms",\n'  # nothing recorded can stand in for this one
    main.write_text(main.read_text().replace(latency, '        "stale champion: compare",\n'))
    commit(project)
    succeed(project, "python", "ci/main.py", "release", "--approve-by", "ann")
    folder, capsule = load(project)
    assert capsule.stage("evaluate").verdicts[0].champion_metrics["of"] == 1
    assert "toy@champion is now version 2" in folder.log("release").read_text()
