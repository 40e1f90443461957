"""The model: how it is built, and how it is stored so that equal models are equal files."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from workload.errors import DataInvalid

if TYPE_CHECKING:
    import pandas as pd

    from workload.params import Features, Train

MODEL = Path("models/flight-delay.skops")
TRUSTED_TYPES = (
    "functools.partial",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
)
"""What the file may hold beyond skops' own list; anything else is refused when it is read."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip archive can state
_MEMBER = re.compile(r"(\d+)\.npy")


def build(features: Features, train: Train) -> Pipeline:
    """The untrained pipeline: categories to numbers, then gradient-boosted trees.

    Unknown categories (a destination first flown to after training) count as
    missing, which the trees handle by themselves, as they do empty weather.
    """
    encode = ColumnTransformer(
        [
            (
                "categories",
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                list(features.categorical),
            ),
            ("numbers", "passthrough", list(features.numeric)),
        ]
    )
    trees = HistGradientBoostingClassifier(
        max_iter=train.max_iter,
        learning_rate=train.learning_rate,
        max_leaf_nodes=train.max_leaf_nodes,
        min_samples_leaf=train.min_samples_leaf,
        l2_regularization=train.l2_regularization,
        categorical_features=list(range(len(features.categorical))),
        early_stopping=False,
        random_state=train.seed,
    )
    return Pipeline([("encode", encode), ("trees", trees)])


def fit(features: Features, train: Train, frame: pd.DataFrame, late: pd.Series) -> Pipeline:
    """Train a pipeline on these flights; ``late`` is 0 or 1 for each."""
    columns = [*features.categorical, *features.numeric]
    model = build(features, train).fit(frame[columns], late)
    # scikit-learn keeps how many threads it binned with: the machine's business, not the model's.
    model.named_steps["trees"]._bin_mapper.n_threads = 1  # noqa: SLF001
    return model


def dumps(model: Pipeline) -> bytes:
    """The model as a skops archive, the same bytes for the same model.

    skops names array files and marks shared objects by memory address and stamps
    members with the time of writing. Addresses are replaced by numbers in order
    of first mention, times by a fixed one; readers notice neither.
    """
    source = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model)))
    numbers: dict[str, int] = {}
    schema = _renumbered(json.loads(source.read("schema.json")), numbers)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(source.namelist(), key=lambda name: _order(name, numbers)):
            if name != "schema.json":
                _write(archive, _renamed(name, numbers), source.read(name))
        _write(archive, "schema.json", json.dumps(schema, separators=(",", ":")).encode())
    return target.getvalue()


def load(path: Path = MODEL) -> Pipeline:
    """Read a stored model; raises ``DataInvalid`` when it is missing or holds foreign types."""
    if not path.is_file():
        raise DataInvalid(f"{path} is missing: `dvc pull {path}` brings it, `dvc repro train` makes it")
    foreign = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED_TYPES)
    if foreign:
        raise DataInvalid(f"{path} holds types that no model of ours has: {', '.join(sorted(foreign))}")
    return skops.io.load(path, trusted=list(TRUSTED_TYPES))


def _renumbered(node: Any, numbers: dict[str, int]) -> Any:
    if isinstance(node, list):
        return [_renumbered(item, numbers) for item in node]
    if not isinstance(node, dict):
        return node
    renumbered: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            renumbered[key] = numbers.setdefault(str(value), len(numbers) + 1)
        elif key == "file" and isinstance(value, str):
            renumbered[key] = _renamed(value, numbers)
        else:
            renumbered[key] = _renumbered(value, numbers)
    return renumbered


def _renamed(name: str, numbers: dict[str, int]) -> str:
    member = _MEMBER.fullmatch(name)
    return f"{numbers.setdefault(member[1], len(numbers) + 1)}.npy" if member else name


def _order(name: str, numbers: dict[str, int]) -> tuple[int, str]:
    member = _MEMBER.fullmatch(name)
    return (numbers.get(member[1], 0), "") if member else (0, name)


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, date_time=_EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, content)
