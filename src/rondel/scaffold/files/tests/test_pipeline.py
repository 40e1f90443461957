"""Tests the pipeline's stages without running them."""

from ci.main import pipeline


def test_the_model_is_measured_before_it_goes_on():
    needs = {stage.name: stage.needs for stage in pipeline.stages()}
    assert needs == {"prepare": (), "train": ("prepare",), "evaluate": ("train",)}
