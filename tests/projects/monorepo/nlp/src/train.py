"""The words that each desk sees more often than the others do."""

import collections
import json
from pathlib import Path

import yaml

top = yaml.safe_load(Path("params.yaml").read_text())["top"]
counts = {path.stem: collections.Counter(path.read_text().split()) for path in sorted(Path("desks").glob("*.txt"))}
everywhere = sum(counts.values(), collections.Counter())
model = {
    desk: sorted(own, key=lambda word: (-own[word] / everywhere[word], word))[:top] for desk, own in counts.items()
}
Path("model.json").write_text(json.dumps(model, indent=2) + "\n")
