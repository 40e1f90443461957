"""Evaluates the model on data that was not used for training."""

import csv
import json
import pickle
from pathlib import Path

model = pickle.loads(Path("models/model.pkl").read_bytes())
with Path("data/test.csv").open(newline="") as file:
    rows = [[float(value) for value in row] for row in csv.reader(file)]
accuracy = model.score([row[:-1] for row in rows], [row[-1] for row in rows])
Path("metrics.json").write_text(json.dumps({"accuracy": accuracy}) + "\n")
print(f"accuracy {accuracy:.3f}")
