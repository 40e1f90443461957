"""The Dagger API: schema, queries, and a resolver for each field.

How to add a field (images, builds, services, git and http have their own modules,
listed in :mod:`rondel.engine.api.resolvers`)::

    from rondel.engine.api.registry import Context, Keyed, field
    from rondel.engine.values import Container, Directory

    @field("Container", "withRootfs", directory=Directory)
    async def with_rootfs(ctx: Context, self: Container, *, directory: Directory) -> Container:
        return self.with_fs(...)

The decorator names type and field as in the schema. Every argument of the schema is passed as
a keyword in snake_case (a Python keyword gets a trailing underscore: ``from_``), with the
schema's default, or None. ``directory=Directory`` declares that this ID, or list of IDs, refers
to such values: the resolver receives the values. Input objects are dicts with snake_case
keys, enum values are strings. A resolver returns

- for an object type a value (each Python type belongs to one schema type; register the pair
  with :func:`register_type`), a list of values, or an existing object (``ctx.obj`` is the
  receiver's, ``await ctx.call(obj, "field", arg=...)`` calls another field);
- for ``ID`` fields such as ``sync`` the object with that ID: ``return ctx.obj``;
- ``Keyed(value, key=...)`` to identify the value in the keys of commands by this key (content
  read from outside: ``host.directory``, an image's digest) instead of by the call;
  ``pin=True`` makes that key part of the object's ID as well.

``ctx.key`` is the digest of this call with everything that it depends on: use it for a node's
key. Fields that return objects are called once per session for the same receiver and
arguments, unless ``memo=False``. Fields that return scalars are called each time.
``run_pending=True`` first runs the commands that a container depends on. ``ctx.session`` is the
:class:`rondel.engine.evaluate.Session`. Errors are :class:`rondel.errors.EngineError`.
"""
