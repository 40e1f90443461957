"""``ctx.container``: use the stage's container with the plain Dagger API."""
