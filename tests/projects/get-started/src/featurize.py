"""Counts the words of each ticket, of a vocabulary that the training part decides."""

import collections
import csv
import json
import sys
from pathlib import Path

import yaml
from words import words


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def main(source, target):
    params = yaml.safe_load(Path("params.yaml").read_text())["featurize"]
    parts = {name: read(Path(source, f"{name}.tsv")) for name in ("train", "test")}
    seen = collections.Counter(
        word for row in parts["train"] for word in words(row["text"], params["ngrams"])
    )
    vocabulary = sorted(sorted(seen), key=seen.get, reverse=True)[: params["max_features"]]
    Path(target).mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        lines = []
        for row in rows:
            counted = collections.Counter(words(row["text"], params["ngrams"]))
            lines.append({"label": row["label"], "counts": [counted[word] for word in vocabulary]})
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        Path(target, f"{name}.jsonl").write_text(text)
    print(f"{len(vocabulary)} features")


if __name__ == "__main__":
    main(*sys.argv[1:])
