"""The pipeline: `dagger run python ci/main.py evaluate`."""

from rondel import Pipeline, StageContext

pipeline = Pipeline()

prepare = pipeline.dvc("prepare")
train = pipeline.dvc("train", needs=[prepare])


@pipeline.stage(needs=[train])
async def evaluate(ctx: StageContext) -> None:
    """Measure the model, and fail if it is not good enough."""
    await ctx.dvc("evaluate")
    await ctx.gate("accuracy >= 0.8", metrics="metrics.json", model="@NAME@")


if __name__ == "__main__":
    pipeline.main()
