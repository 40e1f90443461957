"""Measures the classifier on tickets that it has not seen."""

import collections
import csv
import json
import sys
from pathlib import Path


def predict(model, counts):
    scores = {
        label: each["prior"] + sum(weight * count for weight, count in zip(each["weights"], counts))
        for label, each in model.items()
    }
    return max(scores, key=scores.get)


def main(source, features):
    model = json.loads(Path(source).read_text())
    rows = [json.loads(line) for line in Path(features, "test.jsonl").read_text().splitlines()]
    pairs = collections.Counter((row["label"], predict(model, row["counts"])) for row in rows)
    right = sum(count for (label, guess), count in pairs.items() if label == guess)
    recall = {
        label: pairs[label, label] / max(1, sum(pairs[label, guess] for guess in model)) for label in model
    }
    folder = Path("eval")
    folder.mkdir(exist_ok=True)
    metrics = {"accuracy": right / len(rows), "recall": recall}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    with (folder / "recall.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("label", "recall"), *recall.items()])
    with (folder / "confusion.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("actual", "predicted", "count"), *((*pair, pairs[pair]) for pair in sorted(pairs))])
    print(f"accuracy {metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
