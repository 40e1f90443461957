"""``--commit``: commits the results of a run to the branch that it ran for, and pushes them."""
