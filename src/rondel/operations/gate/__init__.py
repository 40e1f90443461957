"""Judge a model by rules over its metrics."""
