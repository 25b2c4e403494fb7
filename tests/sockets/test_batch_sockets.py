"""Sockets that move batches of datagrams between each other: what goes which way, and what is counted."""

import ctypes
import errno
import runpy
import select
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from twisted.internet.error import CannotListenError

from socks5.net import (
    batch,
    batch_calls,
    batch_down,
    batch_up,
    datagram_ports,
    datagram_turns,
    slots,
)
from socks5.net.batch import BatchPort
from socks5.net.batch_calls import is_available
from socks5.net.batch_down import DownPort
from socks5.net.batch_held import HeldDownPort, HeldUpPort
from socks5.net.batch_keys import Route, header_key, sender_key, sockaddr
from socks5.net.batch_up import UpPort
from socks5.net.datagram_ports import SINGLES, SinglePort, kernel_drops
from socks5.net.datagram_turns import SHARE, SINGLE, Turns
from socks5.net.poller import Poller
from socks5.net.slots import SLOTS
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from tests.sockets.clients import Datagrams, Network, family_of
from tests.sockets.wires import Unwatched, free_port
from tests.support.failures import Failures
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

pytestmark = pytest.mark.skipif(not is_available(), reason="recvmmsg is Linux's")


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


@pytest.fixture(params=[*FAMILIES, "IPv4, under limits"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    families, _, limits = request.param.partition(", ")
    with ExitStack() as stack:
        made = World(Network(stack), *FAMILIES[families], "held" if limits else "batch")
        stack.callback(made.close)
        yield made


@pytest.fixture(params=["batch", "single"])
def port(request: pytest.FixtureRequest, world: World) -> Any:
    """A port of each kind, towards targets: all keep one contract."""
    return world.port(False, request.param)


def test_an_answer_for_a_socket_that_is_closed_is_gone(world: World) -> None:
    target = world.target()
    world.near.stopListening()
    target.send(b"too late", host(world.far))
    world.far.ready(1)
    assert (world.answers(), world.left, world.missing, world.lost) == ([], [], [], 0)


PAYLOADS = [b"%d" % number * (number % 30) for number in range(3 * SLOTS + 5)]


@pytest.mark.parametrize(
    "hosts", [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"), ("fe80::1", "fe80::2")]
)
def test_keys_tell_targets_and_fragments_apart(hosts: tuple[str, str]) -> None:
    targets = (hosts[0], 53), (hosts[1], 53), (hosts[0], 54)
    headers = [Datagram(Address(*target), b"").encode() for target in targets]
    headers.append(Datagram(Address(*targets[0]), b"", 1).encode())
    assert len({header_key(each) for each in headers}) == 4
    assert header_key(headers[0] + b"payload") == header_key(headers[0])
    assert len({sender_key(*target) for target in targets}) == 3


# ---------------------------------------------------------------- routes


def test_batches_pass_in_order_up_without_headers_and_down_with_them(world: World) -> None:
    """For and from several targets."""
    targets = [world.target() for _ in range(3)]
    for turn in range(3):  # the second time over, slots hold what another target left there
        expected: list[list[bytes]] = [[], [], []]
        answers = []
        for number, payload in enumerate(PAYLOADS):
            whose = (number + turn) % 3
            world.ask(targets[whose], payload)
            targets[whose].send(payload, host(world.far))
            expected[whose].append(payload)
            answers.append((payload, targets[whose].host))
        world.go()
        assert [target.all() for target in targets] == expected
        assert world.answers() == answers
    moved = 3 * len(PAYLOADS), 3 * len(b"".join(PAYLOADS))
    for is_up in (True, False):
        counted = [each[1:] for each in world.left if each[0] is is_up]
        assert tuple(map(sum, zip(*counted, strict=True))) == moved
    assert len(world.left) < moved[0] / 5
    assert (world.missing, world.lost) == ([], 0)


def test_a_batch_may_leave_by_several_ports(world: World) -> None:
    other = world.port(False)
    targets = [world.target(), world.target(other)]
    for number in range(10):
        world.ask(targets[number // 2 % 2], b"%d" % number)
    world.go()
    for target, port, numbers in zip(targets, (world.far, other), ("014589", "2367"), strict=True):
        expected = [(number.encode(), host(port)) for number in numbers]
        assert target.all_with_senders() == expected


def test_a_batch_may_be_for_targets_of_both_families(world: World) -> None:
    """A header of the one is longer than that of the other."""
    other = world.port(False, where=HOST if world.there == "::1" else "::1")
    targets = [world.target(), world.target(other)]
    ports = {targets[0]: world.far, targets[1]: other}
    for turn in range(2):  # the second time over, slots hold what the other one left there
        sent: dict[Plain, list[bytes]] = {target: [] for target in targets}
        for number in range(SLOTS):
            target, payload = targets[(number // 3 + turn) % 2], b"%d" % number
            world.ask(target, payload)
            sent[target].append(payload)
        world.go()
        for target, port in ports.items():
            assert target.all_with_senders() == [(each, host(port)) for each in sent[target]]
            for payload in sent[target]:
                target.send(payload, host(port))
            world.go()
            assert world.answers() == [(payload, target.host) for payload in sent[target]]
    assert (world.missing, world.lost) == ([], 0)


# ---------------------------------------------------------------- what has none


def test_an_owner_may_make_a_route(world: World) -> None:
    target = world.plain()

    def make(data: bytes) -> None:
        world.approve(target)

    world.on_missed = make
    world.ask(target, b"1", b"2", b"3")
    world.go()
    assert [data for _, data, _ in world.missing] == [header(target) + b"1"]
    assert target.all() == [b"2", b"3"]


def test_what_has_no_route_or_no_header_goes_to_the_owner_in_order(world: World) -> None:
    """A slot keeps what it held: a datagram that is too short must not be read with the octets of another."""
    target, stranger, near_one = world.target(), world.plain(), world.plain(world.here)
    world.ask(target, *[b"x"] * SLOTS)
    world.go(20)
    cut_off = [header(target)[:size] for size in (5, 9, -1)]
    unknown = [header(stranger) + b"1", b"", b"x", *cut_off]
    for data in unknown:
        world.client.send(data, host(world.near))
        world.ask(target, b"y")
    mine = header(target) + b"mine"
    near_one.send(mine, host(world.near))
    for data in (b"2", b""):
        stranger.send(data, host(world.far))
    world.go()
    assert target.all() == [*[b"x"] * SLOTS, *[b"y"] * len(unknown)]
    assert world.missing == [
        *((True, data, world.client.host) for data in unknown),
        (True, mine, near_one.host),
        *((False, data, stranger.host) for data in (b"2", b"")),
    ]


def test_a_route_is_for_one_port_of_the_clients(world: World) -> None:
    """Answers go to that one, too."""
    first, target = world.client, world.target()
    second = world.client = world.plain(world.here)
    other = world.target()
    world.ask(other, b"1")
    world.ask(target, b"2")
    world.client = first
    world.ask(target, b"3")
    world.ask(other, b"4")
    for payload in (b"5", b"6"):
        target.send(payload, host(world.far))
        other.send(payload, host(world.far))
    world.go(10)
    assert (target.all(), other.all()) == ([b"3"], [b"1"])
    assert world.missing == [
        (True, header(target) + b"2", second.host),
        (True, header(other) + b"4", first.host),
    ]
    assert first.all() == [header(target) + payload for payload in (b"5", b"6")]
    assert second.all() == [header(other) + payload for payload in (b"5", b"6")]


# ---------------------------------------------------------------- what cannot be sent


def test_what_cannot_be_sent_is_counted_and_the_rest_goes(world: World) -> None:
    target = world.target()
    nowhere = Address(world.there, 0)
    key = header_key(Datagram(nowhere, b"").encode())
    world.up_routes[key] = Route(
        world.far, sockaddr(world.there, 0), sender_key(*world.client.host)
    )
    for payload in (b"1", b"2"):
        world.ask(target, payload)
        world.client.send(Datagram(nowhere, payload).encode(), host(world.near))
    world.ask(target, b"3")
    world.go()
    assert target.all() == [b"1", b"2", b"3"]
    assert world.lost == 2
    assert sum(octets for _, _, octets in world.left) == 3


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


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kernel], None]:
    """Use another kernel."""

    def replace(kernel: Kernel) -> None:
        monkeypatch.setattr(batch, "sendmsg", kernel.sendmsg)
        for module in (batch, batch_up, batch_down):
            monkeypatch.setattr(module, "sendmmsg", kernel.sendmmsg)

    return replace


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_what_a_full_buffer_does_not_take_is_dropped_and_counted(
    world: World, use: Callable[[Kernel], None], number: int
) -> None:
    use(Kernel(number))
    target = world.target()
    world.ask(target, *PAYLOADS[:10])
    world.go()
    assert (world.lost, world.left, target.all()) == (10, [], [])


def test_what_leaves_does_not_wake_us(world: World) -> None:
    target = world.target()
    world.ask(target, b"1")
    world.go(1)
    assert target.all() == [b"1"]
    assert select.select([world.poller], [], [], 0) == ([], [], [])


# ---------------------------------------------------------------- what is watched


def test_a_change_of_what_is_watched_is_told_before_anything_leaves(world: World) -> None:
    target, changes = world.target(), memoryview(bytearray(8)).cast("Q")
    told = []

    def change() -> None:
        told.append(target.all())
        world.up_routes.clear()

    changes[0] = 7
    world.near.watch(changes, change)
    world.ask(target, b"1")
    world.go()
    changes[0] = 8
    world.near.watch(changes, change)  # still: what was seen then counts
    world.ask(target, b"2")
    world.go()
    assert told == [[b"1"]]
    assert [data for _, data, _ in world.missing] == [header(target) + b"2"]


# ---------------------------------------------------------------- others' turn, bugs, the end


def handled(world: World, count: int) -> list[int]:
    """How many go to the owner each time, until it has so many."""
    found = []
    while (before := len(world.missing)) < count:
        world.poller.doRead()
        found.append(len(world.missing) - before)
        world.clock.turn()
    return found


@pytest.mark.parametrize(("is_up", "data"), [(True, b"x"), (True, b""), (False, b"x")])
def test_a_flood_of_single_datagrams_stops_at_the_clients_share(
    world: World, is_up: bool, data: bytes
) -> None:
    """Of all its sockets together."""
    ports = [world.port(is_up) for _ in range(2)]
    sender = world.client if is_up else world.plain()
    for port in ports * 50:
        sender.send(data, host(port))
    most = SHARE // SINGLE
    world.poller.doRead()
    world.poller.doRead()
    assert most // 2 < len(world.missing) <= most + SINGLES
    counts = handled(world, 100)
    assert max(counts) <= most + SINGLES
    assert len(counts) <= 12


@pytest.mark.parametrize("stops_at", ["its turn", "its client's share"])
def test_a_flood_by_routes_lets_others_have_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch, stops_at: str
) -> None:
    target = world.target()
    world.ask(target, *PAYLOADS)  # the first ones are received in small batches
    world.go(20)
    assert target.all() == PAYLOADS
    if stops_at == "its turn":
        monkeypatch.setattr(batch, "ROUNDS", 1)
        goes_on = world.poller.doRead
    else:
        monkeypatch.setattr(datagram_turns, "SHARE", SLOTS)
        world.share.left = SLOTS
        goes_on = world.clock.turn
    world.ask(target, *PAYLOADS)
    world.poller.doRead()
    assert target.all() == PAYLOADS[:SLOTS]
    for start in (SLOTS, 2 * SLOTS):
        goes_on()
        assert target.all() == PAYLOADS[start : start + SLOTS]
    world.go()
    assert target.all() == PAYLOADS[3 * SLOTS :]


def test_a_port_stops_at_the_clients_share(world: World, port: Any) -> None:
    sender = world.network.datagrams(host(port)[0])
    for number in range(60):
        sender.send(b"%d" % number, host(port))
    world.poller.doRead()
    assert 0 < len(world.missing) <= SHARE // SINGLE + SINGLES
    world.go(20)
    assert world.missing == [(False, b"%d" % number, sender.host) for number in range(60)]


def test_a_port_of_single_datagrams_lets_others_have_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_ports, "SINGLES", 3)
    port = world.port(False, "single")
    sender = world.plain()
    for number in range(5):
        sender.send(b"%d" % number, host(port))
    for handled in (3, 5):
        world.poller.doRead()
        assert len(world.missing) == handled


@pytest.mark.parametrize("is_bug", [False, True])
def test_a_port_may_be_stopped_by_a_datagram(
    world: World, port: Any, failures: Failures, is_bug: bool
) -> None:
    def stop(data: bytes) -> None:
        port.stopListening()
        if is_bug:
            raise ZeroDivisionError

    world.on_missed = stop
    sender = world.network.datagrams(host(port)[0])
    for _ in range(2):
        sender.send(b"x", host(port))
    world.go()
    assert len(world.missing) == 1
    assert len(failures.take(ZeroDivisionError)) == is_bug


def test_a_port_that_waits_and_is_stopped_stays_so(world: World, port: Any) -> None:
    world.share.left = 0
    world.network.datagrams(host(port)[0]).send(b"x", host(port))
    world.poller.doRead()
    port.stopListening()
    world.go()
    assert world.missing == []


def no_socket(*arguments: Any) -> Any:
    raise OSError(errno.EMFILE, "")


@pytest.mark.parametrize(
    ("host", "make", "number"),
    [
        ("fe80::7%lo", socket.socket, errno.EADDRNOTAVAIL),
        ("fe80::7%no-such", socket.socket, errno.ENODEV),
        (HOST, no_socket, errno.EMFILE),
    ],
    ids=["not ours", "no such zone", "no descriptor"],
)
def test_a_port_that_cannot_be_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch, host: str, make: Any, number: int
) -> None:
    """The system would call an address without its zone invalid (EINVAL)."""
    monkeypatch.setattr(socket, "socket", make)
    with pytest.raises(CannotListenError) as raised:
        SinglePort(world.poller, host, 0, True, world, world.share, BUFFER)
    assert raised.value.socketError.errno == number


def test_what_the_kernel_drops_is_counted(world: World) -> None:
    port = world.port(True, "single", 1)
    for _ in range(2):
        for _ in range(100):
            world.client.send(b"x", host(port))
        world.go(20)
        lost = port.take_lost()
        assert 0 < lost < 100
        assert len(world.missing) == 100 - lost
        world.missing.clear()
        assert port.take_lost() == 0


def test_what_the_kernel_drops_is_counted_beyond_its_number_s_32_bits_or_not_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        pass
    assert kernel_drops(gone) == 0
    dropped = iter([0xFFFFFFFE, 3])
    monkeypatch.setattr(datagram_ports, "kernel_drops", lambda sock: next(dropped))
    assert [world.near.take_lost() for _ in range(2)] == [0xFFFFFFFE, 5]


def test_a_bug_costs_its_batch_and_the_socket_lives(world: World, failures: Failures) -> None:
    target, unknown = world.target(), world.plain()
    world.ask(target, *PAYLOADS)
    world.go(20)
    target.all()
    world.on_missed = lambda data: 1 / 0
    world.ask(unknown, b"x")
    for _ in range(SLOTS):
        world.ask(target, b"lost")
    world.ask(target, b"next")
    world.go()
    assert failures.take(ZeroDivisionError) == ["division by zero"]
    assert world.lost == 1
    assert target.all() == [b"lost", b"next"]


def test_an_owner_may_stop_in_the_middle_of_a_batch(world: World) -> None:
    target = world.target()
    near = host(world.near)
    world.on_missed = lambda data: world.close()
    world.ask(target, b"before")
    world.client.send(b"stop", near)
    for payload in PAYLOADS[:SLOTS]:
        world.client.send(header(target) + payload, near)
    world.go()
    assert target.all() == [b"before"]
    assert world.lost == 0


# ---------------------------------------------------------------- received as one


def can_segment() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
        except OSError:
            return False
        return True


segmenting = pytest.mark.skipif(not can_segment(), reason="the kernel has no UDP_GRO")


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@segmenting
@pytest.mark.parametrize("octets", [200, 250, 64 * 100, 64 * 1000])
def test_segments_pass_as_they_came(
    world: World, monkeypatch: pytest.MonkeyPatch, octets: int
) -> None:
    """Up without their headers, in their place among the others, and the last may be shorter; down with a header
    each, which may make them more than one message holds. What is remembered of them is bounded.
    """
    monkeypatch.setattr(slots, "DESCRIBED", 1)
    size = octets // 64 if octets > 1000 else 100
    target = world.target()
    pieces = cut(MANY[:octets], size)
    world.ask(target, b"before")
    stream = b"".join(header(target) + piece for piece in pieces)
    world.client.send_segments(stream, size + len(header(target)), host(world.near))
    world.ask(target, b"after")
    target.send_segments(MANY[:octets], size, host(world.far))
    world.go()
    assert target.all() == [b"before", *pieces, b"after"]
    assert world.answers() == [(piece, target.host) for piece in pieces]
    assert (True, len(pieces), octets) in world.left
    assert sum(count for _, count, _ in world.left) == 2 * len(pieces) + 2
    assert sum(octets for _, _, octets in world.left) == 2 * octets + 11
    assert len(world.left) <= 5
    assert (world.missing, world.lost) == ([], 0)


@segmenting
@pytest.mark.parametrize("world", ["IPv4, under limits"], indirect=True)
def test_what_is_held_back_is_counted_each_and_the_rest_passes(world: World) -> None:
    target = world.target()
    pieces = cut(MANY[:250], 100)
    stream = b"".join(header(target) + piece for piece in pieces)
    for is_held in (True, False):
        world.is_held = is_held
        if is_held:  # whoever holds back forgets the routes
            world.up_routes.clear()
            world.down_routes.clear()
        else:
            world.approve(target)
        world.ask(target, b"one")
        world.go()
        world.ask(target, b"two", b"three")
        world.client.send_segments(stream, 100 + len(header(target)), host(world.near))
        world.go()
        target.send(b"one", host(world.far))
        target.send_segments(MANY[:250], 100, host(world.far))
        world.go()
        assert sum(world.held_back) == 10
    assert target.all() == [b"one", b"two", b"three", *pieces]
    assert [data for data, _ in world.answers()] == [b"one", *pieces]
    assert (world.missing, world.lost) == ([], 0)


@segmenting
@pytest.mark.parametrize(
    "segments",
    [
        [(0, b"same size"), (1, b"same size"), (0, b"same size")],
        [(0, b"payload"), (0, b"")],
        [(0, b"payload"), (2, b"rest")],
    ],
    ids=["several targets", "the last without payload", "the last without header"],
)
def test_segments_that_are_not_alike_go_one_by_one(
    world: World, segments: list[tuple[int, bytes]]
) -> None:
    """The first one's header does not speak for the others, and the kernel cuts no datagram without octets."""
    targets = [world.target(), world.target()]
    heads = [*map(header, targets), b""]
    pieces = [heads[target] + payload for target, payload in segments]
    world.client.send_segments(b"".join(pieces), len(pieces[0]), host(world.near))
    world.go()
    assert ([each.all() for each in targets], world.left) == ([[], []], [])
    assert [data for _, data, _ in world.missing] == pieces


@segmenting
@pytest.mark.parametrize("is_up", [False, True])
def test_segments_without_a_route_go_one_by_one(world: World, is_up: bool) -> None:
    unknown = world.plain()
    sender, port = (world.client, world.near) if is_up else (unknown, world.far)
    sender.send_segments(MANY[:250], 100, host(port))
    world.go()
    assert world.missing == [(is_up, data, sender.host) for data in cut(MANY[:250], 100)]


@segmenting
def test_a_flood_of_segments_one_by_one_stops_at_the_clients_share(world: World) -> None:
    """Of aggregates that each hold dozens, one is received at a time."""
    unknown = world.plain()
    piece = header(unknown) + b"x"
    for _ in range(20):
        world.client.send_segments(piece * 50, len(piece), host(world.near))
    assert max(handled(world, 1000)) <= 2 * 50
    assert world.share.left <= 0


@segmenting
def test_headers_of_segments_do_not_stay_for_others(world: World) -> None:
    """A slot remembers whose header is in front of it."""
    one, other = world.target(), world.target()
    for _ in range(2):
        one.send(b"1", host(world.far))
        world.go()
        other.send_segments(b"2" * 20, 10, host(world.far))
        world.go()
        assert world.answers() == [(b"1", one.host), *[(b"2" * 10, other.host)] * 2]


@segmenting
@pytest.mark.parametrize("is_up", [False, True])
@pytest.mark.parametrize(
    ("number", "lost", "missed"),
    [(errno.EAGAIN, 3, 0), (errno.ENOBUFS, 3, 0), (errno.EINVAL, 0, 3)],
)
def test_segments_that_the_kernel_does_not_take(
    world: World,
    use: Callable[[Kernel], None],
    is_up: bool,
    number: int,
    lost: int,
    missed: int,
) -> None:
    """A full buffer drops them; a kernel that cannot cut them leads to sending them one by one."""
    use(Kernel(number))
    target = world.target()
    if is_up:
        piece = header(target) + b"segment"
        world.client.send_segments(piece * 3, len(piece), host(world.near))
    else:
        target.send_segments(b"segment" * 3, 7, host(world.far))
    world.go()
    assert (world.lost, len(world.missing), world.left) == (lost, missed, [])


@segmenting
def test_segments_are_not_sent_twice(world: World, use: Callable[[Kernel], None]) -> None:
    """If the kernel takes the first part of them only."""
    use(Kernel(errno.EPERM, after=1))
    target = world.target()
    target.send_segments(MANY[: 64 * 1020], 1020, host(world.far))
    world.go()
    pieces = cut(MANY[: 64 * 1020], 1020)
    received = world.answers()
    assert received == [(piece, target.host) for piece in pieces[: len(received)]]
    assert 0 < len(received) < 64
    assert (world.lost, world.missing) == (64 - len(received), [])


@segmenting
def test_more_segments_than_can_be_sent_at_once_go_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer kernels take more from a sender than older ones cut."""
    target = world.target()
    monkeypatch.setattr(batch_up, "MAX_SEGMENTS", 2)
    monkeypatch.setattr(batch_down, "MAX_SEGMENTS", 2)
    piece = header(target) + b"segment"
    world.client.send_segments(piece * 3, len(piece), host(world.near))
    target.send_segments(b"segment" * 3, 7, host(world.far))
    world.go()
    assert [data for _, data, _ in world.missing] == [piece] * 3
    assert world.answers() == [(b"segment", target.host)] * 3


class Old(socket.socket):
    """A socket of a kernel without UDP_GRO."""

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        if (level, option) == (socket.SOL_UDP, UDP_GRO):
            raise OSError(errno.ENOPROTOOPT, "")
        super().setsockopt(level, option, *value)


@pytest.mark.parametrize("is_far", [False, True])
def test_without_segmenting_everything_passes_all_the_same(world: World, is_far: bool) -> None:
    """One socket is enough not to be able to."""
    with patch.object(socket, "socket", Old):
        old = world.port(not is_far)
    target = world.target(old if is_far else None)
    near = host(world.near if is_far else old)
    piece = header(target) + b"segment"
    world.client.send_segments(piece * 3, len(piece), near)
    world.go()
    passed = [data.removeprefix(header(target)) for _, data, _ in world.missing] + target.all()
    assert passed == [b"segment"] * 3


MANY = bytes(number % 251 for number in range(65536))


# ---------------------------------------------------------------- where it is not


@pytest.mark.parametrize("lacking", ["linux", "64 bits", "recvmmsg", "sendmmsg"])
def test_a_system_without_the_calls_says_so(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    if lacking == "linux":
        monkeypatch.setattr(sys, "platform", "freebsd15")
    elif lacking == "64 bits":
        monkeypatch.setattr(struct, "calcsize", lambda form: 4)
    have = {"recvmmsg", "sendmmsg", "sendmsg"} - {lacking}
    library = SimpleNamespace(**{name: SimpleNamespace() for name in have})
    monkeypatch.setattr(ctypes, "PyDLL", lambda *_, **__: library)
    assert not runpy.run_path(batch_calls.__file__)["is_available"]()


# ---------------------------------------------------------------- what ICMP says


def closed_port(host: str) -> tuple[str, int]:
    """Where nobody listens."""
    return host, free_port(host, socket.SOCK_DGRAM)


def raw(port: Any) -> socket.socket:
    """The socket of a port."""
    return socket.fromfd(port.fd, family_of(host(port)[0]), socket.SOCK_DGRAM)


def test_an_owner_hears_of_a_target_that_is_not_reached_if_it_wants_to(
    world: World, port: Any
) -> None:
    """In its place among what arrives."""
    nowhere = closed_port(host(port)[0])
    port.write(b"lost", nowhere)
    world.poller.doRead()
    assert world.unreached == []
    port.hear_errors()
    port.hear_errors()
    answering = world.network.datagrams(host(port)[0], Plain)
    answering.send(b"before", host(port))
    port.write(b"lost", nowhere)
    answering.send(b"behind", host(port))
    world.poller.doRead()
    assert world.unreached == [nowhere]
    assert [data for _, data, _ in world.missing] == [b"before", b"behind"]


def filled(world: World, port: Any) -> int:
    """Fill the receive buffer of a port that hears errors, and let one come, for which there is no room then.

    :returns: how many datagrams wait to be read.
    """
    port.hear_errors()
    count, sender = 100, world.plain()
    for _ in range(count):
        sender.send(b"x", host(port))
    with raw(port) as sock:
        sock.sendto(b"lost", closed_port(world.there))
    return count - port.take_lost()


def test_what_is_heard_of_one_target_loses_nothing_of_another(world: World) -> None:
    """The kernel reports an error with whatever is done to the socket next."""
    nowhere, target = closed_port(world.there), world.plain()
    world.far.hear_errors()
    world.far.write(b"lost", nowhere)
    world.far.write(b"one", target.host)
    world.far.write(b"lost", nowhere)
    world.approve(target)
    world.ask(target, b"two")
    world.near.ready(1)
    assert target.all() == [b"one", b"two"]
    assert world.unreached == [nowhere, nowhere]
    assert world.lost == 0


@pytest.mark.parametrize("kind", ["batch", "single"])
def test_what_has_arrived_is_read_though_an_error_has_no_room(world: World, kind: str) -> None:
    """The kernel reports the error once, in place of a datagram, and nothing more that could wake us arrives."""
    port = world.port(False, kind, 1)
    world.poller.doRead()
    waiting = filled(world, port)
    assert 0 < waiting < 100
    world.go(20)
    assert len(world.missing) == waiting


def test_an_error_that_has_no_room_loses_no_datagram_of_another_target(world: World) -> None:
    far, target = world.port(False, buffer=1), world.plain()
    world.approve(target, far)
    filled(world, far)
    far.write(b"one", target.host)
    with raw(far) as sock:
        sock.sendto(b"lost", closed_port(world.there))
    world.ask(target, b"two")
    world.near.ready(1)
    assert target.all() == [b"one", b"two"]
    assert world.lost == 0


def test_a_datagram_that_is_too_large_for_its_way_leads_nowhere_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errno, "EMSGSIZE", errno.ECONNREFUSED)
    world.far.hear_errors()
    world.far.write(b"lost", closed_port(world.there))
    world.poller.doRead()
    assert world.unreached == []


def test_so_many_errors_are_read_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram_ports, "MOST_ERRORS", 2)
    world.far.hear_errors()
    nowhere = closed_port(world.there)
    for _ in range(5):
        world.far.write(b"lost", nowhere)
    world.poller.doRead()
    assert world.unreached == [nowhere] * 5
