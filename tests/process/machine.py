"""A machine of its own (unshare(1)) with several addresses, on which a proxy and its client are. Writes, as JSON, which
of the addresses that are named as arguments it takes for its own, and what the client of a link-local address sees:
the address in the reply, the target's datagram, and the answer.
"""

import fcntl
import json
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from socks5.net.own import is_own_address
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from tests.process.program import ASSOCIATE, MODULE, PATIENCE, client_of, poll, receive, running

HOST = "fe80::1"
TARGET = "2001:db8::1"
ADDRESSES = {"lo:1": ("198.51.100.1", "255.255.255.0"), "lo:2": ("198.51.100.2", "255.255.255.0")}
"""By name of the interface: the second is of the first one's network, so it is a secondary one."""

_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C  # netdevice(7)
_UP = 1


def set_up() -> int:
    """Give the loopback its addresses.

    :returns: its zone.
    """
    zone = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))
        for name, (host, mask) in ADDRESSES.items():
            for number, each in ((_SIOCSIFADDR, host), (_SIOCSIFNETMASK, mask)):
                about = (name.encode(), socket.AF_INET, socket.inet_aton(each))
                fcntl.ioctl(sock, number, struct.pack("16sH2x4s8x", *about))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for host in (HOST, TARGET):
            packed = socket.inet_pton(socket.AF_INET6, host)
            fcntl.ioctl(sock, _SIOCSIFADDR, struct.pack("16sIi", packed, 128, zone))
    return zone


def exchange(control: socket.socket, zone: int) -> dict[str, str]:
    """One datagram to the target, and one back."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as target,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client,
    ):
        target.bind((TARGET, 0))
        target.settimeout(PATIENCE / 5)
        client.settimeout(PATIENCE)
        control.sendall(bytes((5, 1, 0, 5, ASSOCIATE, 0)) + Address("0.0.0.0", 0).encode())
        found = Address.decode(receive(control, 24)[5:])
        assert found is not None
        bound = found[0]
        query = Datagram(Address(TARGET, target.getsockname()[1]), b"ping").encode()

        def asked() -> tuple[bytes, tuple[str, int, int, int]] | None:
            """What comes to the target. A datagram may be lost, so the client asks again, as clients do."""
            client.sendto(query, (bound.text, bound.port, 0, zone))
            with suppress(TimeoutError):
                return target.recvfrom(100)
            return None

        up, source = poll(asked, "a datagram")
        target.sendto(b"pong", source)
        down, sender = client.recvfrom(100)
        assert sender[:2] == (bound.text, bound.port)
        payload = Datagram.decode(down).payload.decode()
        return {"bound": bound.text, "up": up.decode(), "down": payload}


if __name__ == "__main__":
    lo = set_up()
    own = [host for host in sys.argv[1:] if is_own_address(host, unknown=False)]
    options = ["--port=0", f"--interface={HOST}%lo", "--open"]
    with TemporaryDirectory() as folder, running(Path(folder), [*MODULE, *options]) as proxy:
        [(_, port)] = proxy.wait_until_it_listens()
        with client_of((HOST, port, 0, lo), socket.AF_INET6) as connection:
            sys.stdout.write(json.dumps({"own": own, **exchange(connection, lo)}))
