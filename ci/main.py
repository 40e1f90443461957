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
        "roc_auc[origin=EWR] >= 0.60",
        "roc_auc[origin=JFK] >= 0.60",
        "roc_auc[origin=LGA] >= 0.60",
        "model_mb <= 50",
        "latency_ms <= 100",
        metrics="metrics.json",
        model="flight-delay",
        measure="python -m workload.latency",
    )


@pipeline.effect(needs=[evaluate])
async def register(ctx: StageContext) -> None:
    """Make the model a version in the registry, with its lineage: the challenger."""
    await ctx.register("flight-delay", alias="challenger", log="python -m workload.log")


@pipeline.effect(needs=[register], approval="production")
async def release(ctx: StageContext) -> None:
    """Make the challenger champion, if somebody approves and nothing speaks against it."""
    await ctx.promote("flight-delay")


if __name__ == "__main__":
    pipeline.main()
