"""Splits the tickets into those to learn from and those to be tested on."""

import csv
import random
import sys
from pathlib import Path

import yaml


def main(source):
    params = yaml.safe_load(Path("params.yaml").read_text())["prepare"]
    with open(source, newline="") as file:
        tickets = list(csv.DictReader(file, delimiter="\t"))
    random.Random(params["seed"]).shuffle(tickets)
    tested = round(len(tickets) * params["split"])
    folder = Path("data/prepared")
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("test", tickets[:tested]), ("train", tickets[tested:])):
        with (folder / f"{name}.tsv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "label", "text"], delimiter="\t")
            writer.writeheader()
            writer.writerows(part)
        print(f"{name}: {len(part)} tickets")


if __name__ == "__main__":
    main(*sys.argv[1:])
