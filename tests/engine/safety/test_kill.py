"""``kill -9`` of any part at any moment: the next session works, and nothing is left behind."""

import http.client
import os
import random
import signal
import threading
import time
import uuid

import pytest

from .conftest import processes_with, until

SOAK = [pytest.param(seed, marks=pytest.mark.soak) for seed in range(10, 110)]


def command(word, seconds):
    """A query whose command takes a while, and whose output shows whether it ran to its end."""
    script = f"echo {word} begins; echo half > /made; sleep {seconds}; echo whole > /made; echo {word} ends"
    return (
        '{container{from(address:"host"){withExec(args:["sh","-c","%s"]){stdout file(path:"/made"){contents}}}}}'
        % script
    )


def answer(word):
    return {
        "container": {
            "from": {"withExec": {"file": {"contents": "whole\n"}, "stdout": f"{word} begins\n{word} ends\n"}}
        }
    }


@pytest.mark.parametrize("seed", [*range(10), *SOAK])
def test_killed_part_leaves_nothing_and_the_next_session_works(session, store, seed):
    chance = random.Random(seed)
    victim = chance.choice(["client", "engine", "container"])
    word = f"w{uuid.uuid4().hex}"
    first = session()
    assert first.query("{defaultPlatform}")["data"]
    engine = first.engine
    query = command(word, 0.4)
    answers = []

    def ask():
        try:
            answers.append(first.query(query))
        except (OSError, http.client.HTTPException) as error:  # the engine was killed under it
            answers.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(chance.uniform(0, 1.0))
    if victim == "container":
        for pid in processes_with(word):
            if pid not in (engine, first.launcher.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
    else:
        os.kill(engine if victim == "engine" else first.launcher.pid, signal.SIGKILL)
    asking.join(60)
    assert answers
    if victim == "container":
        assert first.query("{defaultPlatform}")["data"]
        first.close()
    else:
        first.kill()
    until(lambda: not processes_with(first.mark))
    until(lambda: not processes_with(word))

    second = session()
    assert second.query(query).get("data") == answer(word)
    assert second.close() == 0
    home = store / "single" if (store / "single").exists() else store  # the latter where there is one ID only
    assert list((home / "t").iterdir()) == []
    assert list((home / "s").iterdir()) == []


def test_service_ends_with_its_killed_engine(session):
    word = f"w{uuid.uuid4().hex}"
    running = session()
    script = f"import http.server; http.server.test(port=8080) # {word}"
    made = running.query(
        '{container{from(address:"host"){withExposedPort(port:8080){asService(args:["python3","-c","%s"]){start}}}}}'
        % script
    )
    assert made["data"], made
    assert processes_with(word)
    os.kill(running.engine, signal.SIGKILL)
    until(lambda: not processes_with(word))
    until(lambda: not [pid for pid in processes_with(running.mark) if pid != running.launcher.pid])


def test_services_and_containers_end_with_their_session(session):
    word = f"w{uuid.uuid4().hex}"
    running = session()
    made = running.query(
        '{container{from(address:"host"){asService(args:["sh","-c","sleep 3600; echo %s"]){start}}}}' % word
    )
    assert made["data"], made
    assert processes_with(word)
    assert running.close() == 0
    assert not processes_with(word)
    assert not processes_with(running.mark)
