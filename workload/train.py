"""Stage ``train``: fit the model on the training months and store it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workload import errors, model, params, prepare, schemas, tracking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pandas as pd
    from sklearn.pipeline import Pipeline

FROM_FILE = "params.yaml"
"""The value of a flag that means: what ``params.yaml`` says (MLproject needs a default)."""


def overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """The model parameters given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m workload.train", description=__doc__)
    for name, kind in params.Train.__annotations__.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_number_or_file(float if kind == "float" else int),
            help=f"instead of train.{name} of params.yaml",
        )
    given = vars(parser.parse_args(list(arguments)))
    return {name: value for name, value in given.items() if value is not None}


def _number_or_file(number: type[int | float]) -> Callable[[str], float | None]:
    def parse(text: str) -> float | None:
        return None if text == FROM_FILE else number(text)

    parse.__name__ = number.__name__  # argparse names it: "invalid int value: 'many'"
    return parse


def main(arguments: Sequence[str] = ()) -> None:
    """Fit, store and log the model."""
    settings = params.load().with_train(**overrides(arguments))
    frame = read(settings)
    fitted = model.fit(settings.features, settings.train, frame, frame[schemas.TARGET])
    store(model.dumps(fitted), model.MODEL)
    print(f"{model.MODEL}: {settings.train.max_iter} trees from {len(frame):,} flights")
    log(settings, frame, fitted)


def read(settings: params.Params) -> pd.DataFrame:
    """The flights of the training months; raises ``DataInvalid`` if they are not as they should be."""
    frame = schemas.validate(
        prepare.read(prepare.TRAIN), schemas.prepared(settings.features), str(prepare.TRAIN)
    )
    schemas.require_months(frame, settings.prepare.train_months, str(prepare.TRAIN))
    return frame


def log(settings: params.Params, frame: pd.DataFrame, fitted: Pipeline) -> None:
    """Log the stored model, with what it was trained from and how."""
    columns = [*settings.features.categorical, *settings.features.numeric]
    with tracking.run("train"):
        tracking.log_parameters(tracking.parameters(settings, "prepare", "features", "train"))
        tracking.log_metrics({"train_rows": len(frame), "train_late_share": frame[schemas.TARGET].mean()})
        tracking.log_dataset(frame[[*columns, schemas.TARGET]], prepare.TRAIN, schemas.TARGET, "training")
        tracking.log_model(fitted, frame[columns], model.MODEL)


def store(content: bytes, path: Path) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


if __name__ == "__main__":
    import sys

    errors.run(lambda: main(sys.argv[1:]))
