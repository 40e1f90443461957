"""The few rtnetlink requests that join namespaces: links, addresses, routes (rtnetlink(7), veth(4)).

Written by hand, because many containers lack iproute2.
"""

from __future__ import annotations

import os
import socket
import struct

_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_IFNAME, _LINKINFO, _NET_NS_FD = 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_UP = 0x1
_TABLE_MAIN, _BY_BOOT, _SCOPE_LINK, _SCOPE_UNIVERSE, _UNICAST = 254, 3, 253, 0, 1
_SCOPE_HOST, _LOCAL = 254, 2
_ERROR = 2


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("BBHiII", socket.AF_UNSPEC, 0, 0, index, flags, flags)


def _request(kind: int, body: bytes, flags: int = 0) -> None:
    """Send one request in the thread's current namespace; raises OSError if the kernel refuses it."""
    header = struct.pack("IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.send(header + body)
        answer = sock.recv(65536)
    if struct.unpack_from("H", answer, 4)[0] == _ERROR:
        number = -struct.unpack_from("i", answer, 16)[0]
        if number:
            raise OSError(number, os.strerror(number))


def make_pair(name: str, peer: str, peer_namespace: int) -> None:
    """Create a pair of joined interfaces: one here, the other in the namespace of a descriptor."""
    there = (
        _link() + _attribute(_IFNAME, _text(peer)) + _attribute(_NET_NS_FD, struct.pack("i", peer_namespace))
    )
    data = _attribute(_INFO_DATA, _attribute(_VETH_PEER, there))
    info = _attribute(_LINKINFO, _attribute(_INFO_KIND, b"veth") + data)
    _request(_NEWLINK, _link() + _attribute(_IFNAME, _text(name)) + info, _CREATE | _EXCL)


def set_up(name: str) -> None:
    """Bring an interface up."""
    _request(_NEWLINK, _link(socket.if_nametoindex(name), _UP))


def add_address(name: str, address: str) -> None:
    """Give an interface one IPv4 address."""
    raw = socket.inet_aton(address)
    body = struct.pack("BBBBI", socket.AF_INET, 32, 0, _SCOPE_UNIVERSE, socket.if_nametoindex(name))
    body += _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw)
    _request(_NEWADDR, body, _CREATE | _EXCL)


def take_everything(name: str) -> None:
    """Treat all addresses without a more specific route as local to this namespace."""
    body = struct.pack("BBBBBBBBI", socket.AF_INET, 0, 0, 0, _TABLE_MAIN, _BY_BOOT, _SCOPE_HOST, _LOCAL, 0)
    body += _attribute(_RTA_OIF, struct.pack("i", socket.if_nametoindex(name)))
    _request(_NEWROUTE, body, _CREATE | _EXCL)


def add_route(
    name: str, to: str, *, prefix: int = 32, through: str | None = None, source: str | None = None
) -> None:
    """Add a route to a network through an interface: by a gateway, from a source address."""
    scope = _SCOPE_UNIVERSE if through else _SCOPE_LINK
    body = struct.pack("BBBBBBBBI", socket.AF_INET, prefix, 0, 0, _TABLE_MAIN, _BY_BOOT, scope, _UNICAST, 0)
    for kind, address in (
        (_RTA_DST, to if prefix else None),
        (_RTA_GATEWAY, through),
        (_RTA_PREFSRC, source),
    ):
        if address is not None:
            body += _attribute(kind, socket.inet_aton(address))
    body += _attribute(_RTA_OIF, struct.pack("i", socket.if_nametoindex(name)))
    _request(_NEWROUTE, body, _CREATE | _EXCL)
