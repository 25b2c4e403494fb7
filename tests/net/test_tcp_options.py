"""What the system is told of a TCP socket, and of a transport over one."""

import runpy
import socket
from typing import Any

import pytest
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from zope.interface import implementer

from socks5.net import tcp_options
from socks5.net.tcp_options import keep_alive, keep_transport_alive, prepare_transport
from tests.support.transports import FakeTransport


@implementer(ITCPTransport)
class Over:
    """A transport that shows its socket."""

    def __init__(self, sock: Any) -> None:
        self.socket = sock


class OldUnix(socket.socket):
    """A UNIX socket of Linux before 5.15."""

    def setsockopt(self, *option: Any) -> None:
        raise OSError


def test_a_transport_without_a_visible_socket_is_told_itself_if_it_is_over_tcp() -> None:
    transport = FakeTransport(Clock())
    prepare_transport(transport)
    keep_transport_alive(transport, 5)
    assert (transport.nodelay, transport.keepalive) == (True, True)
    keep_transport_alive(transport, 0)
    assert not transport.keepalive
    prepare_transport(object())
    keep_transport_alive(object(), 5)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_urgent_octets_stay_in_their_place_and_only_tcp_is_told_of_the_rest(family: int) -> None:
    with socket.socket(family) as sock:
        prepare_transport(Over(sock))
        keep_transport_alive(Over(sock), 5)
        is_tcp = family != socket.AF_UNIX
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is is_tcp
        if is_tcp:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        keep_transport_alive(Over(sock), 0)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_unix_socket_without_urgent_octets_serves_as_well() -> None:
    with OldUnix(socket.AF_UNIX) as sock:
        prepare_transport(Over(sock))


@pytest.mark.parametrize(("keepalive", "between"), [(180, 18), (5, 1)])
def test_a_silent_peer_is_asked_after_so_long_and_then_ten_times_as_often(
    keepalive: int, between: int
) -> None:
    with socket.socket() as sock:
        keep_alive(sock, keepalive)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == keepalive
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == between


def test_a_system_that_has_one_time_for_all_asks_at_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        usual = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):
            monkeypatch.delattr(socket, name, raising=False)
        runpy.run_path(tcp_options.__file__)["keep_alive"](sock, 4321)
        monkeypatch.undo()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == usual
