"""Reads what an MLflow server has of a run of the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpx

from rondel.tracking.server_state import ServerFolder

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.record import Capsule


class Server:
    """The server of one run of the pipeline; ``root`` is the project whose own server it is."""

    def __init__(self, capsule: Capsule, root: Path | None = None) -> None:
        assert capsule.mlflow is not None
        self._uri = capsule.mlflow.uri
        self._client = httpx.Client(
            base_url=f"{capsule.mlflow.uri}/api/2.0/mlflow/",
            headers={"Authorization": f"Bearer {own_token(root)}"} if root else {},
            trust_env=False,
            timeout=30,
        )
        self._capsule = capsule

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def run(self, run_id: str) -> dict[str, Any]:
        """A run by its ID."""
        found: dict[str, Any] = self._client.get("runs/get", params={"run_id": run_id}).json()["run"]
        return found

    def parent(self) -> dict[str, Any]:
        """The run of the pipeline."""
        assert self._capsule.mlflow is not None
        return self.run(self._capsule.mlflow.run_id)

    def stage(self, name: str) -> dict[str, Any]:
        """The run of a stage."""
        record = self._capsule.stage(name)
        assert record.mlflow is not None
        return self.run(record.mlflow.run_id)

    def below(self, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The runs that are nested in a run, by name."""
        info = run["info"]
        asked = {
            "experiment_ids": [info["experiment_id"]],
            "filter": f"tags.`mlflow.parentRunId` = '{info['run_id']}'",
        }
        found = self._client.post("runs/search", json=asked).json().get("runs", [])
        return {each["info"]["run_name"]: each for each in found}

    def models(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """The models that a run logged."""
        asked = {
            "experiment_ids": [run["info"]["experiment_id"]],
            "filter": f"source_run_id = '{run['info']['run_id']}'",
        }
        found: list[dict[str, Any]] = (
            self._client.post("logged-models/search", json=asked).json().get("models", [])
        )
        return found

    def file(self, model: dict[str, Any], name: str) -> str:
        """A file of a logged model."""
        path = f"ajax-api/2.0/mlflow/logged-models/{model['info']['model_id']}/artifacts/files"
        return self._client.get(f"{self._uri}/{path}", params={"artifact_file_path": name}).text


def own_token(root: Path) -> str:
    """The token of a project's own server."""
    return ServerFolder.of(root).login.read_text().strip()


def values(run: dict[str, Any], kind: str) -> dict[str, Any]:
    """The ``params``, ``metrics`` or ``tags`` of a run, by name."""
    return {pair["key"]: pair["value"] for pair in run["data"].get(kind, [])}
