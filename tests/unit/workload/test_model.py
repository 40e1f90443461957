"""Equal models are equal files, and a foreign file is refused."""

import dataclasses
import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.isotonic import IsotonicRegression

from workload import model
from workload.errors import DataInvalid
from workload.params import Features


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(7)
    carrier = random.choice(["AA", "B6", "UA"], 400)
    hour = random.integers(0, 24, 400).astype("float64")
    return pd.DataFrame({"carrier": carrier, "hour": hour, "late": (hour > 15).astype("int64")})


FEATURES = Features(categorical=("carrier",), numeric=("hour",))


def fitted(frame, settings, **changes):
    train = dataclasses.replace(settings.train, max_iter=5, **changes)
    return model.fit(FEATURES, train, frame, frame["late"])


def test_two_fits_on_the_same_data_give_the_same_bytes(frame, settings):
    assert model.dumps(fitted(frame, settings)) == model.dumps(fitted(frame, settings))


def test_another_setting_gives_other_bytes(frame, settings):
    assert model.dumps(fitted(frame, settings)) != model.dumps(fitted(frame, settings, max_leaf_nodes=3))


def test_the_archive_holds_no_time_and_no_address(frame, settings):
    archive = zipfile.ZipFile(io.BytesIO(model.dumps(fitted(frame, settings))))
    assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    numbers = [int(name.removesuffix(".npy")) for name in archive.namelist() if name.endswith(".npy")]
    assert numbers == sorted(numbers)
    assert max(numbers) < 5000


def test_a_stored_model_predicts_as_before(frame, settings, tmp_path):
    made = fitted(frame, settings)
    path = tmp_path / "model.skops"
    path.write_bytes(model.dumps(made))
    columns = ["carrier", "hour"]
    assert np.array_equal(model.load(path).predict_proba(frame[columns]), made.predict_proba(frame[columns]))


def test_unknown_categories_and_missing_numbers_are_predicted(frame, settings):
    unseen = pd.DataFrame({"carrier": ["ZZ"], "hour": [np.nan]})
    assert fitted(frame, settings).predict_proba(unseen).shape == (1, 2)


def test_a_file_with_foreign_types_is_refused_by_name(tmp_path):
    class Foreign(IsotonicRegression):
        pass

    path = tmp_path / "model.skops"
    path.write_bytes(skops.io.dumps({"model": DummyClassifier(), "other": Foreign()}))
    with pytest.raises(DataInvalid, match="Foreign"):
        model.load(path)


def test_a_missing_model_says_how_to_get_it(tmp_path):
    with pytest.raises(DataInvalid, match="dvc repro train"):
        model.load(tmp_path / "model.skops")
