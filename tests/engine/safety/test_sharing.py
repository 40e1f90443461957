"""Sessions side by side on one store, and clients that go away."""

import json
import socket
import threading
import uuid

from .conftest import processes_with, until


def test_identical_work_of_two_sessions_runs_once(session):
    word = uuid.uuid4().hex
    query = (
        '{container{from(address:"host"){withMountedCache(path:"/c",cache:"%s"){'
        'withExec(args:["sh","-c","sleep 0.5; echo ' + word + ' >> /c/runs; cat /c/runs"]){stdout}}}}}'
    )
    sessions = [session(), session()]
    texts = [
        query % running.query('{cacheVolume(key:"%s"){id}}' % word)["data"]["cacheVolume"]["id"]
        for running in sessions
    ]
    answers = [None, None]

    def ask(number):
        answers[number] = sessions[number].query(texts[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for found in answers:
        assert found["data"]["container"]["from"]["withMountedCache"]["withExec"]["stdout"] == f"{word}\n", (
            found
        )


def test_locked_volume_is_held_by_one_session_at_a_time(session):
    word = uuid.uuid4().hex
    sessions = [session(), session()]
    script = "test ! -e /c/busy || echo overlap; touch /c/busy; sleep 0.3; rm /c/busy; echo %s"
    answers = [None, None]

    def ask(number):
        volume = sessions[number].query('{cacheVolume(key:"%s",sharing:LOCKED){id}}' % word)
        identifier = volume["data"]["cacheVolume"]["id"]
        answers[number] = sessions[number].query(
            '{container{from(address:"host"){withMountedCache(path:"/c",cache:"%s"){'
            'withExec(args:["sh","-c","%s"]){stdout}}}}}' % (identifier, script % number)
        )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, found in enumerate(answers):
        assert (
            found["data"]["container"]["from"]["withMountedCache"]["withExec"]["stdout"] == f"{number}\n"
        ), found


def volume(running, name):
    answer = running.query('{cacheVolume(key:"%s",sharing:LOCKED){id}}' % name)
    return answer["data"]["cacheVolume"]["id"]


def two_volumes(one, other, command):
    return (
        '{container{from(address:"host"){withMountedCache(path:"/x",cache:"%s"){'
        'withMountedCache(path:"/y",cache:"%s"){withExec(args:["sh","-c","%s"]){stdout}}}}}}'
        % (one, other, command)
    )


def test_a_locked_volume_may_be_mounted_twice(session):
    running, word = session(), uuid.uuid4().hex
    twice = volume(running, word)
    found = running.query(two_volumes(twice, twice, f"echo {word} > /x/word; cat /y/word"))
    assert f"{word}\\n" in json.dumps(found)


def test_locked_volumes_that_are_mounted_in_either_order_do_not_wait_for_each_other(session):
    running, word = session(), uuid.uuid4().hex
    one, other = volume(running, f"{word}1"), volume(running, f"{word}2")
    texts = [
        two_volumes(*((one, other) if number % 2 else (other, one)), f"sleep 0.05; echo {number}")
        for number in range(12)
    ]
    answers = [None] * len(texts)

    def ask(number):
        answers[number] = running.query(texts[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, found in enumerate(answers):
        assert f'"{number}\\n"' in json.dumps(found), found


def hang_up(running, query):
    """Send a query and go away as soon as it is under way; the socket, still open."""
    body = json.dumps({"query": query}).encode()
    door = socket.create_connection(running.address)
    head = f"POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {running.authorization}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    door.sendall(head.encode() + body)
    return door


def sleeper(word):
    return '{container{from(address:"host"){withExec(args:["sh","-c","sleep 600; echo %s"]){stdout}}}}' % word


def test_work_ends_within_two_seconds_of_its_client(session):
    word = f"w{uuid.uuid4().hex}"
    running = session()
    door = hang_up(running, sleeper(word))
    until(lambda: processes_with(word))
    door.close()
    until(lambda: not processes_with(word), seconds=2.0)
    assert running.query("{defaultPlatform}")["data"]


def test_work_goes_on_while_somebody_else_waits_for_it(session):
    word = f"w{uuid.uuid4().hex}"
    running = session()
    first, second = hang_up(running, sleeper(word)), hang_up(running, sleeper(word))
    until(lambda: processes_with(word))
    running.query("{defaultPlatform}")  # both are under way: requests are taken in order
    first.close()
    running.query('{container{from(address:"host"){withExec(args:["sleep","0.5"]){exitCode}}}}')
    assert processes_with(word)
    second.close()
    until(lambda: not processes_with(word), seconds=2.0)
