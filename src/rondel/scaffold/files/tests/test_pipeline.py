"""The pipeline is what it is meant to be; nothing is run."""

from ci.main import pipeline


def test_the_model_is_measured_before_it_goes_on():
    needs = {stage.name: stage.needs for stage in pipeline.stages()}
    assert needs == {"prepare": (), "train": ("prepare",), "evaluate": ("train",)}
