"""Fits a line by least squares and logs it."""

import argparse

import mlflow
import numpy as np

from line.points import make_points


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, required=True)
    parser.add_argument("--noise", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    x, y = make_points(arguments.points, arguments.noise, arguments.seed)
    slope, intercept = np.polyfit(x, y, 1)
    error = float(np.sqrt(np.mean((slope * x + intercept - y) ** 2)))
    with mlflow.start_run():
        mlflow.log_metrics({"slope": float(slope), "intercept": float(intercept), "rmse": error})
    print(f"slope {slope:.3f}, intercept {intercept:.3f}, rmse {error:.3f}")


if __name__ == "__main__":
    main()
