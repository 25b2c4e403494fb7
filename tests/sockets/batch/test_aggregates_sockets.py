"""What the kernel has received as one: it leaves as one, if it can."""

import errno
import socket
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest

from socks5.net import (
    batch_down,
    batch_up,
    slots,
)
from socks5.net.batch_calls import is_available
from tests.sockets.batch.world import UDP_GRO, Kernel, World, handled, header, host, segmenting

pytestmark = pytest.mark.skipif(not is_available(), reason="recvmmsg is Linux's")


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
