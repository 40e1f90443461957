"""Hand the stage's container to the plain Dagger API: ``ctx.container``."""
