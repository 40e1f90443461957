"""Layers against a model: whatever is done in drafts, views and merges show what a plain dictionary says."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rondel.engine.store import PathError, Snapshot, Store

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
STEP = st.one_of(
    st.tuples(st.just("write"), PATHS, st.binary(max_size=4)),
    st.tuples(st.just("mkdir"), PATHS, st.none()),
    st.tuples(st.just("remove"), PATHS, st.none()),
)
LAYERS = st.lists(st.lists(STEP, max_size=6), min_size=1, max_size=6)
Model = dict[str, bytes | None]


def below(path: str, model: Model) -> list[str]:
    return [known for known in model if known == path or known.startswith(f"{path}/")]


def apply(model: Model, kind: str, path: str, data: bytes | None) -> bool:
    """Do a step to the model; whether it is possible."""
    parents = ["/" + "/".join(path[1:].split("/")[:n]) for n in range(1, path.count("/"))]
    if kind == "remove":
        for known in below(path, model):
            del model[known]
        return True
    if any(model.get(parent, None) is not None for parent in parents):
        return False
    for parent in parents:
        model.setdefault(parent, None)
    if kind == "mkdir" and path in model and model[path] is None:
        return True
    for known in below(path, model):
        del model[known]
    model[path] = data if kind == "write" else None
    return True


async def check(layers: list[list[tuple[str, str, bytes | None]]], root: Path) -> None:
    store = Store.open(root)
    try:
        model: Model = {}
        snapshot = Snapshot()
        for steps in layers:
            async with store.draft(snapshot) as draft:
                for kind, path, data in steps:
                    possible = apply(model, kind, path, data)
                    try:
                        if kind == "write":
                            draft.write(path, data or b"")
                        elif kind == "mkdir":
                            draft.mkdir(path)
                        else:
                            draft.remove(path)
                    except PathError:
                        assert not possible
                    else:
                        assert possible
                assert shown(draft.view) == model
                snapshot = await draft.commit()
        assert shown(store.view(snapshot)) == model
        for most in (2, 3):
            assert shown(store.view(await store.compact(snapshot, most=most))) == model
        out = root / "out"
        await store.export(store.view(snapshot), "/", out)
        found = {
            f"/{path.relative_to(out)}": None if path.is_dir() else path.read_bytes()
            for path in out.rglob("*")
        }
        assert found == model
    finally:
        store.close(sync=False)


def shown(view) -> Model:
    return {entry.path: None if entry.is_dir else entry.real.read_bytes() for entry in view.walk()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LAYERS)
def test_views_merges_and_exports_show_what_was_done(layers):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(layers, Path(folder)))
