"""What ICMP says of datagrams that have left: whom it is told, and what it costs others."""

import errno
import socket
from typing import Any

import pytest

from socks5.net import (
    datagram_ports,
)
from socks5.net.batch_calls import is_available
from tests.sockets.batch.world import Plain, World, host
from tests.sockets.clients import family_of
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(not is_available(), reason="recvmmsg is Linux's")


def closed_port(host: str) -> tuple[str, int]:
    """Where nobody listens."""
    return host, free_port(host)


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
