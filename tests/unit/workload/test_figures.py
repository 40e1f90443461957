"""The pictures are real, complete and the same each time."""

import numpy as np

from workload import figures, scores

RANDOM = np.random.default_rng(5)
LATE = RANDOM.integers(0, 2, 500)
PROBABILITY = np.clip(LATE * 0.3 + RANDOM.random(500) * 0.6, 0, 1)


def draw(folder):
    return figures.draw_all(
        folder,
        roc=scores.roc_curve(LATE, PROBABILITY),
        precision_recall=scores.precision_recall_curve(LATE, PROBABILITY),
        calibration=scores.calibration_curve(LATE, PROBABILITY, 5),
        confusion=scores.confusion(LATE, PROBABILITY, 0.5),
        roc_auc=0.7,
        average_precision=0.4,
        late_share=0.5,
        threshold=0.5,
    )


def test_four_pictures_are_drawn_the_same_each_time(tmp_path):
    first, second = draw(tmp_path / "a"), draw(tmp_path / "b")
    assert [path.name for path in first] == ["roc.png", "pr.png", "calibration.png", "confusion.png"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes().startswith(b"\x89PNG")
        assert one.read_bytes() == other.read_bytes()
