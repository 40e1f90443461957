"""Splits the data into training and test data."""

import csv
from pathlib import Path

import yaml
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

parameters = yaml.safe_load(Path("params.yaml").read_text())["prepare"]
flowers = load_iris()
rows = [[*features, label] for features, label in zip(flowers.data.tolist(), flowers.target.tolist())]
parts = train_test_split(rows, test_size=parameters["test_size"], random_state=parameters["seed"])
Path("data").mkdir(exist_ok=True)
for name, part in zip(("train", "test"), parts):
    with Path(f"data/{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows(part)
