"""How many tickets the words alone would send to the right desk."""

import json
from pathlib import Path

model = json.loads(Path("model.json").read_text())
right = total = 0
for path in sorted(Path("desks").glob("*.txt")):
    for line in path.read_text().splitlines():
        hits = {desk: len(set(words) & set(line.split())) for desk, words in model.items()}
        right += max(hits, key=hits.get) == path.stem
        total += 1
Path("metrics.json").write_text(json.dumps({"accuracy": right / total}) + "\n")
