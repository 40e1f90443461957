"""Makes the hub catch everything that leaves a session's namespaces (nfnetlink, nf_tables' tproxy).

Two rules in the hub's namespace pass every TCP connection and every datagram for an outside
address to local listeners, which still see the original destination. The machine's own rules
stay untouched, no program is needed, and an ordinary user may do it, since the namespace
belongs to that user.
"""

from __future__ import annotations

import os
import socket
import struct

_NETFILTER = 12
_NF_TABLES, _BEGIN, _END, _ERROR = 10 << 8, 16, 17, 2
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_NESTED = 0x8000
_IPV4 = 2
_REGISTER, _SECOND = 1, 2
_EQUAL, _NOT_EQUAL = 0, 1
_DESTINATION_OFFSET, _NETWORK_HEADER, _META_L4PROTO = 16, 1, 16
_PREROUTING, _BEFORE_ROUTING, _ACCEPT = 0, -150, 1
_NAME = "rondel"


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _nested(kind: int, *parts: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(parts))


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _step(name: str, *data: bytes) -> bytes:
    return _nested(1, _text(1, name), _nested(2, *data))


def _load(register: int, data: bytes) -> bytes:
    return _step("immediate", _number(1, register), _nested(2, _attribute(1, data)))


def _compare(how: int, data: bytes) -> bytes:
    return _step("cmp", _number(1, _REGISTER), _number(2, how), _nested(3, _attribute(1, data)))


def _rule(protocol: int, own: bytes, address: str, port: int) -> bytes:
    """A rule: packets of a protocol go to a local socket, unless their address begins with ``own``."""
    steps = (
        _step(
            "payload",
            _number(1, _REGISTER),
            _number(2, _NETWORK_HEADER),
            _number(3, _DESTINATION_OFFSET),
            _number(4, len(own)),
        ),
        _compare(_NOT_EQUAL, own),
        _step("meta", _number(1, _REGISTER), _number(2, _META_L4PROTO)),
        _compare(_EQUAL, bytes([protocol])),
        _load(_REGISTER, socket.inet_aton(address)),
        _load(_SECOND, struct.pack(">H", port)),
        _step("tproxy", _number(1, _IPV4), _number(2, _REGISTER), _number(3, _SECOND)),
        _step("immediate", _number(1, 0), _nested(2, _nested(2, _number(1, _ACCEPT)))),
    )
    return _text(1, _NAME) + _text(2, _NAME) + _nested(4, *steps)


def catch(own: bytes, address: str, ports: dict[int, int]) -> None:
    """Install the rules in the thread's current namespace; ``ports`` by protocol number.

    Raises OSError if the kernel has no tproxy.
    """
    hook = _nested(4, _number(1, _PREROUTING), _number(2, _BEFORE_ROUTING))
    messages = [
        (_NEW_TABLE, _CREATE, _text(1, _NAME)),
        (_NEW_CHAIN, _CREATE, _text(1, _NAME) + _text(3, _NAME) + hook + _text(7, "filter")),
        *(
            (_NEW_RULE, _CREATE | _APPEND, _rule(protocol, own, address, port))
            for protocol, port in ports.items()
        ),
    ]
    batch = _border(_BEGIN)
    for number, (kind, flags, body) in enumerate(messages, 1):
        header = struct.pack("BBH", _IPV4, 0, 0)
        kind |= _NF_TABLES  # noqa: PLW2901
        batch += (
            struct.pack("IHHII", 20 + len(body), kind, _REQUEST | _ACK | flags, number, 0) + header + body
        )
    _send(batch + _border(_END), len(messages))


def _border(kind: int) -> bytes:
    return struct.pack("IHHII", 20, kind, _REQUEST, 0, 0) + struct.pack(">BBH", 0, 0, _NF_TABLES >> 8)


def _send(batch: bytes, answers: int) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as sock:
        sock.settimeout(5)
        sock.send(batch)
        while answers > 0:
            data = sock.recv(65536)
            while data:
                length, kind = struct.unpack_from("IH", data)
                if kind == _ERROR:
                    answers -= 1
                    number = -struct.unpack_from("i", data, 16)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                data = data[(length + 3) & ~3 :]
