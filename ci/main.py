"""The reference pipeline: flight delays, from the raw tables to a model that passed its gate.

``dagger run python ci/main.py train`` runs ``train`` and what it needs.
"""

from rondel import Pipeline, StageContext

pipeline = Pipeline()  # options: [tool.rondel] in pyproject.toml

prepare = pipeline.dvc("prepare")
train = pipeline.dvc("train", needs=[prepare])


@pipeline.stage(needs=[train])
async def evaluate(ctx: StageContext) -> None:
    """Measure the model on the month after training; only one that is good enough goes on."""
    await ctx.dvc("evaluate")
    await ctx.gate(
        "roc_auc >= 0.68",
        "log_loss <= 0.45",
        "roc_auc >= champion.roc_auc - 0.005",
        metrics="metrics.json",
        model="flight-delay",
    )


if __name__ == "__main__":
    pipeline.main()
