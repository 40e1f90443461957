"""One file of texts for each desk."""

import csv
import sys
from pathlib import Path

with open(sys.argv[1], newline="") as file:
    rows = list(csv.DictReader(file, delimiter="\t"))
Path("desks").mkdir(exist_ok=True)
for desk in sorted({row["label"] for row in rows}):
    texts = [row["text"] for row in rows if row["label"] == desk]
    Path("desks", f"{desk}.txt").write_text("\n".join(texts) + "\n")
