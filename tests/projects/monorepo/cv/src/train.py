"""The threshold half-way between the mean of the dark pictures and that of the light ones."""

import json
import statistics
from pathlib import Path

means = {path.name: statistics.mean(map(int, path.read_text().split()[4:])) for path in sorted(Path("pictures").iterdir())}
dark = statistics.mean(mean for name, mean in means.items() if name.startswith("dark"))
light = statistics.mean(mean for name, mean in means.items() if name.startswith("light"))
threshold = (dark + light) / 2
right = sum((mean < threshold) == name.startswith("dark") for name, mean in means.items())
Path("threshold.json").write_text(json.dumps({"threshold": threshold}) + "\n")
Path("metrics.json").write_text(json.dumps({"accuracy": right / len(means)}) + "\n")
