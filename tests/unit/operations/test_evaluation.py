"""The parts of an evaluation, its model, and when a champion's metrics are comparable."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import anyio
import pytest

from rondel.data import DvcProject, load_project
from rondel.errors import StageFailed
from rondel.gates import metrics_from_mapping, parse_rules
from rondel.operations.evaluation import champion_model, evaluation_program, model_of, read_evaluation
from rondel.operations.gate.run import GateRunner
from rondel.registry.champion import Champion
from rondel.registry.lineage import Lineage

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.gates import ChampionMetrics
    from rondel.operations.evaluation import Evaluation

DVC_YAML = """\
stages:
  prepare: {cmd: prep, deps: [raw.txt], outs: [train.csv, test.csv]}
  train: {cmd: fit, deps: [train.csv], outs: [model.bin]}
  evaluate:
    cmd: score
    deps: [score.py, test.csv, model.bin]
    params: [evaluate]
    metrics: [{metrics.json: {cache: false}}]
"""
ENTRY: dict[str, Any] = {
    "cmd": "score",
    "deps": [
        {"path": "model.bin", "hash": "md5", "md5": "c1", "size": 2_500_000},
        {"path": "score.py", "hash": "md5", "md5": "aa"},
        {"path": "test.csv", "hash": "md5", "md5": "bb"},
    ],
    "params": {"params.yaml": {"evaluate": {"threshold": 0.5}}},
}


@pytest.fixture
def project(tmp_path: Path) -> DvcProject:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("evaluate: {threshold: 0.5}\n")
    return load_project(tmp_path)


@pytest.fixture
def evaluation(project: DvcProject) -> Evaluation:
    return read_evaluation(project, project.stages["evaluate"], ENTRY, image={"target": "stage"})


def test_an_evaluation_is_data_code_parameters_command_and_image(evaluation: Evaluation) -> None:
    assert (evaluation.model, evaluation.model_hash) == ("model.bin", "md5:c1")
    assert evaluation.size_metric() == {"model_mb": 2.5}
    assert set(evaluation.parts) == {
        "data test.csv", "code score.py", "parameter evaluate.threshold", "command", "image target",
    }  # fmt: skip
    assert evaluation.differences(evaluation.parts) == []
    other = {
        "of a later Rondel": "1",
        **evaluation.parts,
        "data test.csv": "md5:00",
        "image target": "runner",
    }
    assert evaluation.differences(other) == ["data test.csv", "image target", "of a later Rondel"]


def test_another_model_is_the_same_evaluation(project: DvcProject, evaluation: Evaluation) -> None:
    deps = [{**dep, "md5": "zz"} if dep["path"] == "model.bin" else dep for dep in ENTRY["deps"]]
    other = read_evaluation(
        project, project.stages["evaluate"], {**ENTRY, "deps": deps}, image={"target": "stage"}
    )
    assert evaluation.differences(other.parts) == []


def test_an_ambiguous_model_must_be_named(tmp_path: Path) -> None:
    text = DVC_YAML.replace("deps: [train.csv], outs: [model.bin]", "deps: [other.csv], outs: [model.bin]")
    (tmp_path / "dvc.yaml").write_text(text)
    (tmp_path / "other.csv").write_text("1")
    project = load_project(tmp_path)
    found, why = model_of(project, project.stages["evaluate"])
    assert found is None
    assert "test.csv, model.bin" in why
    assert "model_file=" in why
    named = read_evaluation(project, project.stages["evaluate"], ENTRY, model="model.bin")
    assert named.model_hash == "md5:c1"
    wrong = read_evaluation(project, project.stages["evaluate"], ENTRY, model="else.bin")
    assert (wrong.model, wrong.unclear) == (None, "evaluate does not depend on else.bin")


def test_the_plan_puts_the_champions_file_in_place(project: DvcProject, evaluation: Evaluation) -> None:
    program = evaluation_program(evaluation, project, swap="md5:c0", evaluate=True, collect=["metrics.json"])
    assert program.models == (
        {"lock": "dvc.lock", "stage": "train", "wdir": ".", "path": "model.bin", "md5": "c0"},
    )
    assert (program.commands, program.remove) == (("score",), ("metrics.json",))
    assert program.needs == ("test.csv", "model.bin")


def test_a_champion_without_the_models_hash_cannot_be_measured(evaluation: Evaluation) -> None:
    assert champion_model({"model.bin": "md5:c0"}, evaluation) == ("md5:c0", "")
    assert champion_model({}, evaluation) == (None, "its lineage has no hash of model.bin")


class Judge(GateRunner):
    """A gate whose container measures what it is told to."""

    def __init__(self, found: dict[str, float] | StageFailed) -> None:
        self.asked: list[tuple[str, bool]] = []
        self._found = found
        self.runtime = SimpleNamespace(  # type: ignore[assignment]
            recorder=SimpleNamespace(step=lambda _text: None),
            environment=SimpleNamespace(tracking=SimpleNamespace(endpoint=None)),
        )
        of_file = metrics_from_mapping({"roc_auc": 0.7}, source="metrics.json")
        self._files = SimpleNamespace(read=lambda _metrics: of_file)  # type: ignore[assignment]

    async def _evaluate_champion(  # type: ignore[override]
        self,
        model: str,
        found: Champion,
        evaluation: Evaluation,
        digest: str,
        *,
        whole: bool,
        **_rest: object,
    ) -> dict[str, float]:
        self.asked.append((digest, whole))
        if isinstance(self._found, StageFailed):
            raise self._found
        return self._found


def judged(
    monkeypatch: pytest.MonkeyPatch,
    evaluation: Evaluation,
    lineage: Lineage,
    judge: Judge,
    rule: str = "roc_auc >= champion.roc_auc",
) -> ChampionMetrics:
    champion = Champion(model="m", version="3", metrics={"roc_auc": 0.6}, tags=lineage.tags())

    class Client:
        def __init__(self, _endpoint: object) -> None: ...
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_error: object) -> None: ...

    async def fetch(_client: object, _model: str) -> Champion:
        return champion

    monkeypatch.setattr("rondel.tracking.TrackingClient", Client)
    monkeypatch.setattr("rondel.registry.champion.fetch_champion", fetch)
    challenger = metrics_from_mapping({"roc_auc": 0.7, "latency_ms": 5}, source="metrics.json")
    found = anyio.run(judge._champion_metrics, "m", evaluation, challenger, parse_rules([rule]), "measure it")
    assert found is not None
    return found


@pytest.fixture
def lineage(evaluation: Evaluation) -> Lineage:
    return Lineage(outputs={"model.bin": "md5:c0"}, evaluation=evaluation.parts)


def test_a_champion_of_the_same_evaluation_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, evaluation: Evaluation, lineage: Lineage
) -> None:
    judge = Judge({})
    found = judged(monkeypatch, evaluation, lineage, judge)
    assert (found.measured, found.metrics, judge.asked) == ("recorded", {"roc_auc": 0.6}, [])


def test_changed_data_measures_the_champion_again(
    monkeypatch: pytest.MonkeyPatch, evaluation: Evaluation, lineage: Lineage
) -> None:
    before = Lineage(outputs=lineage.outputs, evaluation={**evaluation.parts, "data test.csv": "md5:old"})
    judge = Judge({"roc_auc": 0.65})
    found = judged(monkeypatch, evaluation, before, judge)
    assert (found.measured, found.metrics, judge.asked) == ("again", {"roc_auc": 0.65}, [("md5:c0", True)])
    assert "data test.csv" in found.note


def test_a_measured_metric_of_the_champion_is_measured_beside_the_challengers(
    monkeypatch: pytest.MonkeyPatch, evaluation: Evaluation, lineage: Lineage
) -> None:
    judge = Judge({"latency_ms": 4})
    found = judged(monkeypatch, evaluation, lineage, judge, "latency_ms <= 2 * champion.latency_ms")
    assert judge.asked == [("md5:c0", False)]
    assert (found.measured, found.metrics) == ("recorded", {"roc_auc": 0.6, "latency_ms": 4})


def test_the_same_model_is_not_evaluated_twice(
    monkeypatch: pytest.MonkeyPatch, evaluation: Evaluation
) -> None:
    judge = Judge({})
    found = judged(monkeypatch, evaluation, Lineage(outputs={"model.bin": "md5:c1"}), judge)
    assert (found.measured, found.metrics["roc_auc"], judge.asked) == ("same", 0.7, [])


def test_a_champion_that_cannot_be_measured_again_is_stale_and_says_why(
    monkeypatch: pytest.MonkeyPatch, evaluation: Evaluation, lineage: Lineage
) -> None:
    before = Lineage(outputs=lineage.outputs, evaluation={**evaluation.parts, "code score.py": "md5:old"})
    found = judged(monkeypatch, evaluation, before, Judge(StageFailed("its file could not be pulled")))
    assert found.measured == "stale"
    assert found.note == (
        "changed since its evaluation: code score.py; it can't be evaluated again: its file could not be pulled"
    )


def test_a_champion_without_a_recorded_evaluation_is_compared_by_its_recorded_metrics(
    monkeypatch: pytest.MonkeyPatch, evaluation: Evaluation
) -> None:
    found = judged(monkeypatch, evaluation, Lineage(), Judge({}))
    assert (found.measured, found.metrics) == ("recorded", {"roc_auc": 0.6})
    assert "does not record its evaluation" in found.note
