"""Grey squares as PGM files, dark ones and light ones in turn."""

import random
from pathlib import Path

import yaml

params = yaml.safe_load(Path("params.yaml").read_text())
Path("pictures").mkdir(exist_ok=True)
dice = random.Random(1)
for number in range(params["pictures"]):
    base = 60 if number % 2 else 180
    pixels = [str(base + dice.randint(-30, 30)) for _ in range(params["side"] ** 2)]
    name = f"{'dark' if number % 2 else 'light'}-{number:03}.pgm"
    Path("pictures", name).write_text(f"P2 {params['side']} {params['side']} 255\n{' '.join(pixels)}\n")
