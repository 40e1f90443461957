"""Stage ``evaluate``: measure the model on the month after training and draw it."""

from __future__ import annotations

import json
from pathlib import Path

from workload import errors, figures, measure, model, params, prepare, schemas, scores, tracking

METRICS = Path("metrics.json")
REPORTS = Path("reports")
FIGURES = REPORTS / "figures"


def main() -> None:
    """Write metrics, curves and pictures, and log them."""
    settings = params.load()
    fitted = model.load()
    frame = schemas.validate(
        prepare.read(prepare.TEST), schemas.prepared(settings.features), str(prepare.TEST)
    )
    schemas.require_months(frame, settings.prepare.test_months, str(prepare.TEST))
    columns = [*settings.features.categorical, *settings.features.numeric]
    late = frame[schemas.TARGET].to_numpy()
    probability = fitted.predict_proba(frame[columns])[:, 1]

    threshold = settings.evaluate.threshold
    curves = {
        "roc": scores.roc_curve(late, probability),
        "precision_recall": scores.precision_recall_curve(late, probability),
        "calibration": scores.calibration_curve(late, probability, settings.evaluate.calibration_bins),
    }
    with tracking.run("evaluate"):
        # MLflow measures what it can; the rest, and the slices, are ours.
        measured = scores.report(late, probability, frame["origin"], threshold)
        measured |= measure.evaluate(fitted, frame, columns, threshold)
        METRICS.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
        REPORTS.mkdir(exist_ok=True)
        for name, curve in curves.items():
            curve.to_csv(REPORTS / f"{name}.csv", index=False)
        pictures = figures.draw_all(
            FIGURES,
            **curves,
            confusion=scores.confusion(late, probability, threshold),
            roc_auc=measured["roc_auc"],
            average_precision=measured["average_precision"],
            late_share=measured["late_share"],
            threshold=threshold,
        )
        print(f"{METRICS}: ROC-AUC {measured['roc_auc']:.3f}, log loss {measured['log_loss']:.3f}")
        tracking.log_parameters(tracking.parameters(settings, "evaluate"))
        tracking.log_metrics(scores.flat(measured))
        tracking.log_dataset(frame[[*columns, schemas.TARGET]], prepare.TEST, schemas.TARGET, "evaluation")
        tracking.log_figures(pictures)
        tracking.tag_model(model.MODEL)


if __name__ == "__main__":
    errors.run(main)
