"""Fits a naive Bayes classifier."""

import collections
import json
import math
import sys
from pathlib import Path

import yaml


def main(source, target):
    smoothing = yaml.safe_load(Path("params.yaml").read_text())["train"]["smoothing"]
    by_label = collections.defaultdict(list)
    for line in Path(source, "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        by_label[row["label"]].append(row["counts"])
    total = sum(map(len, by_label.values()))
    model = {}
    for label, rows in sorted(by_label.items()):
        sums = [sum(column) + smoothing for column in zip(*rows)]
        weights = [math.log(each / sum(sums)) for each in sums]
        model[label] = {"prior": math.log(len(rows) / total), "weights": weights}
    Path(target).write_text(json.dumps(model) + "\n")
    print(f"learned {', '.join(model)} from {total} tickets")


if __name__ == "__main__":
    main(*sys.argv[1:])
