"""A machine of its own (unshare(1)) with a link-local address, on which a proxy and its client are. Writes what the
client sees, as JSON: the address in the reply, the target's datagram, and the answer.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress

from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram

HOST = "fe80::1"
TARGET = "2001:db8::1"
PORT = 1080
PATIENCE = 20.0

_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916  # netdevice(7)
_UP = 1


def set_up() -> int:
    """Give the loopback its addresses.

    :returns: its zone.
    """
    zone = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))
        for host in (HOST, TARGET):
            packed = socket.inet_pton(socket.AF_INET6, host)
            fcntl.ioctl(sock, _SIOCSIFADDR, struct.pack("16sIi", packed, 128, zone))
    return zone


def connected(zone: int) -> socket.socket:
    """A connection to the proxy, which may need a moment."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            control = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            control.connect((HOST, PORT, 0, zone))
        except ConnectionRefusedError:
            control.close()
            assert time.monotonic() < end, "the proxy does not listen"
            time.sleep(0.05)
        else:
            return control


def asked(
    client: socket.socket, query: bytes, where: tuple[str, int, int, int], target: socket.socket
) -> tuple[bytes, tuple[str, int, int, int]]:
    """What comes to the target, and from whom. A datagram may be lost, so the client asks again, as clients do."""
    for _ in range(5):
        client.sendto(query, where)
        target.settimeout(PATIENCE / 5)
        with suppress(TimeoutError):
            return target.recvfrom(100)
    raise TimeoutError


def exchange(zone: int) -> dict[str, str]:
    """One datagram to the target, and one back."""
    with (
        connected(zone) as control,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as target,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client,
    ):
        for sock in (control, target, client):
            sock.settimeout(PATIENCE)
        target.bind((TARGET, 0))
        control.sendall(b"\5\1\0\5\3\0" + Address("0.0.0.0", 0).encode())
        reply = b""
        while len(reply) < 24:
            octets = control.recv(24)
            assert octets, reply.hex()
            reply += octets
        found = Address.decode(reply[5:])
        assert found is not None
        bound = found[0]
        where = Address(TARGET, target.getsockname()[1])
        query = Datagram(where, b"ping").encode()
        up, source = asked(client, query, (bound.text, bound.port, 0, zone), target)
        target.sendto(b"pong", source)
        down, sender = client.recvfrom(100)
        assert sender[:2] == (bound.text, bound.port)
        return {
            "bound": bound.text,
            "up": up.decode(),
            "down": Datagram.decode(down).payload.decode(),
        }


if __name__ == "__main__":
    options = ["--port", str(PORT), "--interface", f"{HOST}%lo", "--open"]
    lo = set_up()
    with subprocess.Popen(
        [sys.executable, "-m", "socks5", *options], stdout=subprocess.DEVNULL
    ) as proxy:
        try:
            sys.stdout.write(json.dumps(exchange(lo)))
        finally:
            proxy.terminate()
