"""Trains the model."""

import csv
import pickle
from pathlib import Path

import yaml
from sklearn.tree import DecisionTreeClassifier

parameters = yaml.safe_load(Path("params.yaml").read_text())["train"]
with Path("data/train.csv").open(newline="") as file:
    rows = [[float(value) for value in row] for row in csv.reader(file)]
model = DecisionTreeClassifier(max_depth=parameters["depth"], random_state=parameters["seed"])
model.fit([row[:-1] for row in rows], [row[-1] for row in rows])
Path("models").mkdir(exist_ok=True)
Path("models/model.pkl").write_bytes(pickle.dumps(model))
