"""Sockets that move batches of datagrams between each other: what goes which way, and what is counted."""

import ctypes
import errno
import runpy
import select
import socket
import struct
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import CannotListenError

from socks5.net import (
    batch,
    batch_calls,
    datagram_ports,
    datagram_turns,
)
from socks5.net.batch_calls import is_available
from socks5.net.batch_keys import Route, header_key, sender_key, sockaddr
from socks5.net.datagram_ports import SINGLES, SinglePort, kernel_drops
from socks5.net.datagram_turns import SHARE, SINGLE
from socks5.net.slots import SLOTS
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from tests.sockets.batch.world import (
    BUFFER,
    HOST,
    PAYLOADS,
    Kernel,
    Plain,
    World,
    handled,
    header,
    host,
)
from tests.support.failures import Failures

pytestmark = pytest.mark.skipif(not is_available(), reason="recvmmsg is Linux's")


def test_an_answer_for_a_socket_that_is_closed_is_gone(world: World) -> None:
    target = world.target()
    world.near.stopListening()
    target.send(b"too late", host(world.far))
    world.far.ready(1)
    assert (world.answers(), world.left, world.missing, world.lost) == ([], [], [], 0)


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
    for count in (3, 5):
        world.poller.doRead()
        assert len(world.missing) == count


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
