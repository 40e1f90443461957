"""The Dagger API: schema, queries, and a resolver for each field.

How a field is added (images, builds, services, git and http have modules of their own,
listed in :mod:`rondel.engine.api.resolvers`)::

    from rondel.engine.api.registry import Context, Keyed, field
    from rondel.engine.values import Container, Directory

    @field("Container", "withRootfs", directory=Directory)
    async def with_rootfs(ctx: Context, self: Container, *, directory: Directory) -> Container:
        return self.with_fs(...)

The decorator names type and field as the schema does; every argument of the schema comes as
a keyword in snake_case (a Python keyword gets an underscore at its end: ``from_``), with the
schema's default, or None. ``directory=Directory`` says that this ID, or list of IDs, stands
for such values: the resolver gets the values. Input objects come as dicts with snake_case
keys, enum values as strings. A resolver answers

- for an object type a value (the Python type is the type's own; register the pair with
  :func:`register_type`), a list of values, or an object that exists already (``ctx.obj`` is
  the receiver's, ``await ctx.call(obj, "field", arg=...)`` calls another field);
- for ``ID`` fields such as ``sync`` the object whose ID is meant: ``return ctx.obj``;
- ``Keyed(value, key=...)`` to say what stands for the value in the keys of commands (content
  read from outside: ``host.directory``, an image's digest) instead of the call itself;
  ``pin=True`` makes that key part of the object's ID as well.

``ctx.key`` is the digest of this call with all that it stands on: use it for a node's key.
Fields that answer objects are called once per session for the same receiver and arguments,
unless ``memo=False``. Fields that answer scalars are called each time. ``settle=True`` runs
the commands that a container stands on first. ``ctx.session`` is the
:class:`rondel.engine.evaluate.Session`. Errors are :class:`rondel.errors.EngineError`.
"""
