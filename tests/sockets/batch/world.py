"""What a test of batches has: ports at both sides, their owner, which records, and sockets beyond."""

import ctypes
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from socks5.net.batch import BatchPort
from socks5.net.batch_down import DownPort
from socks5.net.batch_held import HeldDownPort, HeldUpPort
from socks5.net.batch_keys import Route, header_key, sender_key, sockaddr
from socks5.net.batch_up import UpPort
from socks5.net.datagram_ports import SinglePort
from socks5.net.datagram_turns import Turns
from socks5.net.poller import Poller
from socks5.net.slots import SLOTS
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from tests.sockets.clients import Datagrams, Network
from tests.sockets.wires import Unwatched
from tests.support.reactor import SteppedClock

HOST = "127.0.0.1"
UDP_SEGMENT, UDP_GRO = 103, 104
BUFFER = 1 << 18
FAMILIES = {
    "IPv4": (HOST, HOST),
    "IPv6": ("::1", "::1"),
    "IPv4 to IPv6": (HOST, "::1"),
    "IPv6 to IPv4": ("::1", HOST),
}
"""Where the client is, and where its targets."""

PAYLOADS = [b"%d" % number * (number % 30) for number in range(3 * SLOTS + 5)]


def _can_segment() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
        except OSError:
            return False
        return True


segmenting = pytest.mark.skipif(not _can_segment(), reason="the kernel has no UDP_GRO")


class Plain(Datagrams):
    """A plain UDP socket at the far end."""

    def all(self) -> list[bytes]:
        """Everything received so far."""
        return [data for data, _ in self.all_with_senders()]

    def all_with_senders(self) -> list[tuple[bytes, tuple[str, int]]]:
        """The same, with where it came from."""
        found = []
        while self._take():
            data, sender = self._taken
            found.append((data, sender[:2]))
        return found

    def send_segments(self, data: bytes, size: int, to: tuple[str, int]) -> None:
        """Send *data* as datagrams of *size* octets, which reach the other socket as one."""
        self.socket.sendmsg([data], [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("H", size))], 0, to)


class World:
    """A port at the client's side, one at the targets', and their owner, which records.

    :param here: where the client is.
    :param there: where targets are.
    :param kind: of the ports: "batch", or "held": under limits.
    """

    def __init__(self, network: Network, here: str, there: str, kind: str) -> None:
        self.network = network
        self.here = here
        self.there = there
        self.poller = Poller(Unwatched())
        self.up_routes: dict[int, Route] = {}
        self.down_routes: dict[int, Route] = {}
        self.missing: list[tuple[bool, bytes, tuple[str, int]]] = []
        self.left: list[tuple[bool, int, int]] = []
        self.lost = 0
        self.unreached: list[tuple[str, int]] = []
        self.on_missed: Callable[[bytes], object] = lambda data: None
        self.clock = SteppedClock()
        self.share = Turns(self.clock).share_of(HOST)
        self._ports: list[Any] = []
        self.is_held = False
        self.held_back: list[int] = []
        self.near = self.port(True, kind)
        self.far = self.port(False, kind)
        self.client = self.plain(here)

    def port(self, is_up: bool, kind: str = "batch", buffer: int = BUFFER, where: str = "") -> Any:
        where = where or (self.here if is_up else self.there)
        common = self.poller, where, 0, is_up, self, self.share, buffer
        if kind == "batch":
            kind_of, routes = (UpPort, self.up_routes) if is_up else (DownPort, self.down_routes)
            made: Any = kind_of(*common, routes)
        elif kind == "held":
            made = (
                HeldUpPort(*common, self.up_routes)
                if is_up
                else HeldDownPort(*common, self.down_routes)
            )
            made.hold_back = self
        else:
            made = SinglePort(*common)
        self._ports.append(made)
        return made

    def plain(self, where: str = "") -> Plain:
        """Somebody where the targets are."""
        plain: Plain = self.network.datagrams(where or self.there, Plain)
        return plain

    def close(self) -> None:
        for port in self._ports:
            port.stopListening()

    # The owner

    def __call__(self, count: int) -> bool:
        if self.is_held and count:
            self.held_back.append(count)
        return self.is_held

    def missed(self, is_up: bool, data: bytes, sender: tuple[str, int]) -> None:
        self.missing.append((is_up, data, sender))
        self.on_missed(data)

    def moved(self, is_up: bool, count: int, octets: int) -> None:
        self.left.append((is_up, count, octets))

    def unreachable(self, target: tuple[str, int]) -> None:
        self.unreached.append(target)

    def unsendable(self, is_up: bool, count: int) -> None:
        self.lost += count

    # What a test does

    def target(self, port: BatchPort | None = None) -> Plain:
        """A target that the client may send to, and that may answer."""
        target = self.plain(host(port)[0] if port else "")
        self.approve(target, port)
        return target

    def approve(self, target: Plain, port: BatchPort | None = None) -> None:
        """For the client's socket of now."""
        client = self.client.host
        far, name = port or self.far, sockaddr(*target.host)
        self.up_routes[header_key(header(target))] = Route(far, name, sender_key(*client))
        down = Route(self.near, sockaddr(*client), header=header(target))
        self.down_routes[sender_key(*target.host)] = down

    def ask(self, target: Plain, *payloads: bytes) -> None:
        for payload in payloads:
            self.client.send(header(target) + payload, host(self.near))

    def go(self, turns: int = 3) -> None:
        """Let the poller tell the ports."""
        for _ in range(turns):
            self.poller.doRead()
            self.clock.turn()

    def answers(self) -> list[tuple[bytes, tuple[str, int]]]:
        """What reached the client: payloads, and the senders that the headers name."""
        decoded = [Datagram.decode(data) for data in self.client.all()]
        return [(each.payload, (each.address.text, each.address.port)) for each in decoded]


def header(target: Plain) -> bytes:
    return Datagram(Address(*target.host), b"").encode()


def host(port: BatchPort) -> tuple[str, int]:
    where = port.getHost()
    return where.host, where.port


def handled(world: World, count: int) -> list[int]:
    """How many go to the owner each time, until it has so many."""
    found = []
    while (before := len(world.missing)) < count:
        world.poller.doRead()
        found.append(len(world.missing) - before)
        world.clock.turn()
    return found


class Kernel:
    """The C library, with a kernel that takes nothing more, or not after so many calls."""

    def __init__(self, number: int, after: int = 0) -> None:
        library = ctypes.PyDLL(None, use_errno=True)
        library.sendmsg.restype = ctypes.c_ssize_t
        self._number = number
        self._after = after
        self.sendmmsg = partial(self._take, library.sendmmsg)
        self.sendmsg = partial(self._take, library.sendmsg)

    def _take(self, call: Any, *arguments: Any) -> int:
        self._after -= 1
        if self._after >= 0:
            taken: int = call(*arguments)
            return taken
        ctypes.set_errno(self._number)
        return -1
