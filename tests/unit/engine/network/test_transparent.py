"""Datagrams on their way out: which conversations are kept."""

import socket
import struct

import pytest

from rondel.engine.sandbox.relay import transparent


class Socket:
    """A socket that notes what is sent, and hands out what is queued."""

    def __init__(self, queue=()):
        self.queue = list(queue)
        self.sent = []
        self.closed = False

    def fileno(self):
        return id(self)

    def recvmsg(self, _size, _notes):
        if not self.queue:
            raise BlockingIOError
        return self.queue.pop(0)

    def send(self, data):
        self.sent.append(data)

    def close(self):
        self.closed = True

    def connect(self, address):
        self.address = address

    def setsockopt(self, *_):
        pass

    def bind(self, _address):
        pass


class Namespaces:
    """Makes such sockets, and keeps those of the host."""

    def __init__(self):
        self.out = []

    def socket(self, number, _family, _kind):
        made = Socket()
        if number is None:
            self.out.append(made)
        return made


class Loop:
    """Only notes who is watched."""

    def __init__(self):
        self.watched = {}

    def watch(self, fd, events, callback):
        if events:
            self.watched[fd] = callback
        else:
            del self.watched[fd]

    def each_tick(self, callback):
        self.tick = callback


def datagram(sender, port):
    meant = struct.pack("!HH4s8x", socket.AF_INET, port, socket.inet_aton("192.0.2.1"))
    return (
        b"question",
        [(socket.IPPROTO_IP, transparent._IP_RECVORIGDSTADDR, meant)],
        0,
        ("198.18.0.2", sender),
    )


def test_a_full_table_lets_the_conversation_go_that_was_silent_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transparent, "_MAX_FLOWS", 2)
    loop, namespaces = Loop(), Namespaces()
    door = Socket([datagram(1, 53), datagram(2, 53), datagram(1, 53), datagram(3, 53)])
    transparent.Datagrams(loop, namespaces, 7, door)
    loop.watched[door.fileno()](1)
    assert [made.closed for made in namespaces.out] == [False, True, False]
    assert [len(made.sent) for made in namespaces.out] == [2, 1, 1]
    assert len(loop.watched) == 3
    loop.tick(float("inf"))
    assert all(made.closed for made in namespaces.out)
