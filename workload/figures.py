"""The pictures of an evaluation, drawn without a display and without a trace of when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

mpl.use("Agg")

_BLUE = "#1f5f8b"
_GREY = "#9aa5ad"
_OUTCOMES = ("on time", "late")


def draw_all(
    folder: Path,
    *,
    roc: pd.DataFrame,
    precision_recall: pd.DataFrame,
    calibration: pd.DataFrame,
    confusion: NDArray[np.int64],
    roc_auc: float,
    average_precision: float,
    late_share: float,
    threshold: float,
) -> list[Path]:
    """Draw the four pictures into ``folder``; returns their paths in a fixed order."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _save(_roc(roc, roc_auc), folder / "roc.png"),
        _save(_precision_recall(precision_recall, average_precision, late_share), folder / "pr.png"),
        _save(_calibration(calibration), folder / "calibration.png"),
        _save(_confusion(confusion, threshold), folder / "confusion.png"),
    ]


def _roc(curve: pd.DataFrame, roc_auc: float) -> Figure:
    figure, axes = _axes("False positive rate", "True positive rate", f"ROC curve, area {roc_auc:.3f}")
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="chance")
    axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], color=_BLUE, label="model")
    axes.legend(loc="lower right", frameon=False)
    return figure


def _precision_recall(curve: pd.DataFrame, average_precision: float, late_share: float) -> Figure:
    figure, axes = _axes("Recall", "Precision", f"Precision and recall, average {average_precision:.3f}")
    axes.axhline(late_share, color=_GREY, linestyle="--", linewidth=1, label=f"all late: {late_share:.1%}")
    axes.plot(curve["recall"], curve["precision"], color=_BLUE, label="model")
    axes.legend(loc="upper right", frameon=False)
    return figure


def _calibration(curve: pd.DataFrame) -> Figure:
    figure, axes = _axes("Predicted probability", "Share that was late", "Calibration, bins of equal size")
    most = float(np.ceil(max(curve["predicted"].max(), curve["observed"].max()) * 10) / 10)
    axes.plot([0, most], [0, most], color=_GREY, linestyle="--", linewidth=1, label="perfect")
    axes.plot(curve["predicted"], curve["observed"], color=_BLUE, marker="o", markersize=4, label="model")
    axes.set_xlim(0, most)
    axes.set_ylim(0, most)
    axes.legend(loc="lower right", frameon=False)
    return figure


def _confusion(counts: NDArray[np.int64], threshold: float) -> Figure:
    figure, axes = _axes("Called", "Was", f"Outcomes, late from {threshold:.0%} on")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        axes.text(
            column, row, f"{count:,}\n{share:.0%}", ha="center", va="center",
            color="white" if share > 0.5 else "black",
        )  # fmt: skip
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(1.5, -0.5)
    axes.set_xticks([0, 1], _OUTCOMES)
    axes.set_yticks([0, 1], _OUTCOMES)
    axes.grid(visible=False)
    return figure


def _axes(x: str, y: str, title: str, limits: Iterable[float] = (0, 1)) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(4.8, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y, title=title, xlim=tuple(limits), ylim=tuple(limits))
    axes.grid(visible=True, color="#e3e7ea", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Software": None})  # the version is no part of the picture
    return path
