"""The port for the peer of a BIND: who is let in, who is closed, and that the wait goes on."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from socks5.net import peer_port
from socks5.net.peer_port import PeerPort
from socks5.net.ports import RETRY_DELAY
from socks5.protocol.address import Address
from tests.support.failures import Failures
from tests.support.stepped import SteppedReactor, is_open

PEER, STRANGER = "127.0.0.1", "127.0.0.2"


class Peers:
    """A port for a peer, and who came."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.reactor = SteppedReactor(has_poller=True)
        self.asked: list[str] = []
        self.streams: list[Any] = []
        self.bugs: list[Exception] = []
        self.is_enough = False
        self.port = self.listen()

    def listen(self, number: int = 0) -> PeerPort:
        poller = self.reactor.poller
        assert poller is not None
        port = PeerPort(poller, "127.0.0.1", number, self.awaits, self.connected)
        self._stack.callback(port.stopListening)  # which may be called twice
        return port

    def awaits(self, host: str) -> bool:
        if self.bugs:
            raise self.bugs.pop()
        self.asked.append(host)
        return host == PEER

    def connected(self, stream: Any) -> None:
        self.streams.append(stream)
        self._stack.callback(stream.abortConnection)
        stream.receiver = self
        if self.is_enough:
            self.port.stopListening()

    def connectionLost(self, reason: Failure) -> None:
        """The test is over."""

    def connect(self, source: str = PEER) -> socket.socket:
        where = self.port.getHost()
        client = socket.create_connection((where.text, where.port), source_address=(source, 0))
        client.setblocking(False)
        return self._stack.enter_context(client)


@pytest.fixture
def peers() -> Iterator[Peers]:
    with ExitStack() as stack:
        yield Peers(stack)


def accepting_fails(monkeypatch: pytest.MonkeyPatch, *errors: int) -> None:
    """For the first clients, with these errors."""
    real, waiting = socket.socket.accept, list(errors)

    def accept(self: socket.socket) -> Any:
        if waiting:
            raise OSError(waiting[0], os.strerror(waiting.pop(0)))
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accept)


def test_the_awaited_peer_is_let_in_and_strangers_are_closed(peers: Peers) -> None:
    stranger, peer = peers.connect(STRANGER), peers.connect()
    peers.reactor.turn()
    assert peers.asked == [STRANGER, PEER]
    assert [is_open(stranger), is_open(peer)] == [False, True]
    assert [stream.far for stream in peers.streams] == [Address(*peer.getsockname())]


@pytest.mark.parametrize("strangers", [1, 3])
def test_strangers_let_others_have_their_turn(
    strangers: int, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_port, "BATCH", 2)
    peers.is_enough = True
    for source in [STRANGER] * strangers + [PEER] * 2:
        peers.connect(source)
    peers.reactor.turn()
    assert len(peers.asked) == 2
    peers.reactor.turn()
    peers.reactor.turn()
    assert peers.asked == [STRANGER] * strangers + [PEER], "who stops for the peer gets no other"
    assert len(peers.streams) == 1


def test_a_port_that_cannot_be_had_is_said(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotListenError):
        peers.listen(taken.getsockname()[1])

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(CannotListenError, match="Too many open files"):
        peers.listen()


def test_a_peer_for_whom_there_is_no_descriptor_waits(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_already = errno.ECONNABORTED
    accepting_fails(monkeypatch, left_already, errno.EMFILE, left_already, errno.EMFILE)
    client = peers.connect()
    with capturedLogs() as events:
        for _ in range(2):
            peers.reactor.turn()
            assert peers.streams == []
            peers.reactor.advance(RETRY_DELAY)
        peers.reactor.turn()
    assert len(peers.streams) == 1
    assert is_open(client)
    assert list(events) == []


def test_a_peer_that_cannot_be_let_in_is_logged_and_the_wait_goes_on(
    peers: Peers, failures: Failures
) -> None:
    peers.bugs.append(ZeroDivisionError("a bug"))
    clients = [peers.connect() for _ in range(2)]  # at once
    with capturedLogs() as events:
        peers.reactor.turn()
        peers.reactor.advance(RETRY_DELAY)
        peers.reactor.turn()
    assert [formatEvent(event) for event in events] == ["a peer could not be let in"]
    assert failures.take(ZeroDivisionError) == ["a bug"]
    assert [is_open(client) for client in clients] == [False, True]


def test_a_bug_at_the_end_of_such_a_port_is_logged_only(peers: Peers, failures: Failures) -> None:
    peers.port.stopListening()
    peers.port.crashed(Failure(ZeroDivisionError("a bug")))
    assert failures.take(ZeroDivisionError) == ["a bug"]
