"""Edits that go through many files leave the engine free to answer meanwhile."""

import threading

import anyio
import pytest

from rondel.engine.evaluate import Session
from rondel.engine.evaluate.operations import edited
from rondel.engine.store import Draft, Store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize(
    ("method", "op", "params"),
    [
        ("copy_tree", "dir.copy", [{"dst": "/", "src": "/"}]),
        ("write", "file.copy", ["/g", "/f", 0o600, ""]),
        ("remove", "dir.filter", ["/", [], ["f"], False]),
        ("remove", "path.remove", [["/f"]]),
        ("set_meta", "meta.times", ["/", 5]),
        ("set_meta", "meta.owner", ["/", "0"]),
        ("remove", "changes.apply", ["/", "/", [], ["f"]]),
    ],
)
async def test_the_engine_goes_on_while_an_edit_works(tmp_path, monkeypatch, method, op, params):
    begun, free = threading.Event(), threading.Event()
    real = getattr(Draft, method)

    def slow(self, *args, **options):
        begun.set()
        assert free.wait(10), "nobody could go on"
        return real(self, *args, **options)

    store = Store.open(tmp_path)
    rest = {"include": [], "exclude": [], "gitignore": False, "owner": "", "mode": None}
    params = [p | rest if isinstance(p, dict) else p for p in params]
    async with anyio.create_task_group() as tasks:
        session = Session(store=store, sandbox=None, tasks=tasks)
        file = edited("file.write", None, "/f", "text", 0o644, "")
        await session.view(file)
        monkeypatch.setattr(Draft, method, slow)
        inputs = (file,) if op in {"dir.copy", "file.copy"} else ()
        async with anyio.create_task_group() as work:
            work.start_soon(session.view, edited(op, file, *params, inputs=inputs))
            with anyio.fail_after(10):
                while not begun.is_set():
                    await anyio.sleep(0.001)
            free.set()
        await session.aclose()
    store.close()
