"""Log the model that is there, as training did: ``python -m workload.log``.

For a server that never saw it: DVC keeps the model, MLflow what it was logged
with. No stage runs this.
"""

from __future__ import annotations

from workload import errors, model, params, train


def main() -> None:
    """Read the model and its training data, and log both."""
    settings = params.load()
    train.log(settings, train.read(settings), model.load())


if __name__ == "__main__":
    errors.run(main)
