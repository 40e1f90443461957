"""Checks a slope against the line that `params.yaml` names."""

import argparse
import sys
from pathlib import Path

import mlflow
import yaml


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--slope", type=float, required=True)
    parser.add_argument("--tolerance", type=float, required=True)
    arguments = parser.parse_args()
    true = yaml.safe_load(Path("params.yaml").read_text())["slope"]
    off = abs(arguments.slope - true)
    with mlflow.start_run():
        mlflow.log_metric("off", off)
    if off > arguments.tolerance:
        sys.exit(f"the slope is off by {off:.3f}")


if __name__ == "__main__":
    main()
