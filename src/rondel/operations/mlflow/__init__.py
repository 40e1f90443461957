"""Run an entry point of the ``MLproject`` file: ``ctx.mlflow``."""
