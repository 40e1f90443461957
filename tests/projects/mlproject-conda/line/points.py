"""Points beside the line that `params.yaml` names."""

from pathlib import Path

import numpy as np
import yaml


def make_points(count, noise, seed):
    """`count` points, each off the line by `noise` on average."""
    line = yaml.safe_load(Path("params.yaml").read_text())
    x = np.linspace(0.0, 1.0, count)
    y = line["slope"] * x + line["intercept"] + np.random.default_rng(seed).normal(0.0, noise, count)
    return x, y
