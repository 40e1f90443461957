"""``ctx.mlflow``: run an entry point of the ``MLproject`` file."""
