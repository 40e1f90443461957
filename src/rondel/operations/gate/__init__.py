"""``ctx.gate``: judge a model by rules over its metrics."""
