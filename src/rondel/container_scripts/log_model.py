"""Logs a folder in MLflow's format as a model of the run in ``MLFLOW_RUN_ID``.

Rondel copies this file into a stage's container and runs it with the Python
there. Arguments: the folder, and the name of the model.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

NO_MLMODEL = 65


def main(folder: str, name: str) -> int:
    """Log the folder; returns the exit code."""
    if not (Path(folder) / "MLmodel").is_file():
        print(f"{folder} has no MLmodel file")
        return NO_MLMODEL
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput

    client = MlflowClient()
    run = client.get_run(os.environ["MLFLOW_RUN_ID"]).info
    model = client.create_logged_model(run.experiment_id, name=name, source_run_id=run.run_id)
    client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
    print(f"{folder} is model {model.model_id}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
