"""Ports that keep what they do to themselves, where there is no poller for one of ours."""

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.logger import Logger, globalLogPublisher, textFileLogObserver

from socks5.net.foreign import EndpointReactor
from socks5.net.openers import PortOpener
from socks5.net.places import TCP, UNIX
from socks5.net.quiet_ports import DATAGRAMS, listen_tcp_quietly, listen_udp_quietly
from tests.support.sessions import session_limit


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What an observer of the log writes."""
    file = io.StringIO()
    observer = textFileLogObserver(file)
    globalLogPublisher.addObserver(observer)
    yield file
    globalLogPublisher.removeObserver(observer)


class QuietFactory(Factory):
    noisy = False


class Datagrams(DatagramProtocol):
    """Notes them."""

    noisy = False

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))


def of_an_endpoint(path: str) -> Any:
    """A port under a wrapper of Twisted's, which announces itself, unless told not to."""
    asking: Any = EndpointReactor(PortOpener(reactor, session_limit(1)), "")
    ports: list[Any] = []
    endpoint = serverFromString(asking, "haproxy:tcp:0:interface=127.0.0.1")
    endpoint.listen(QuietFactory()).addCallback(ports.append)
    return ports[0]


LISTEN: dict[str, Callable[[str], Any]] = {
    "TCP": lambda path: listen_tcp_quietly(reactor, 0, QuietFactory(), "127.0.0.1"),
    "UDP": lambda path: listen_udp_quietly(reactor, 0, Datagrams(), "127.0.0.1", 65535),
    "clients by TCP": lambda path: PortOpener(reactor, session_limit(1)).open(
        TCP(0, "127.0.0.1"), Factory()
    ),
    "clients by UNIX socket": lambda path: PortOpener(reactor, session_limit(1)).open(
        UNIX(path), Factory()
    ),
    "clients of an endpoint": of_an_endpoint,
}


@pytest.mark.parametrize("kind", LISTEN)
@pytest_twisted.ensureDeferred
async def test_a_port_says_nothing_by_itself(
    kind: str, tmp_path: Path, written: io.StringIO
) -> None:
    port = LISTEN[kind](str(tmp_path / "socket"))
    await port.stopListening()
    assert written.getvalue() == ""


@pytest_twisted.ensureDeferred
async def test_what_is_said_meanwhile_is_heard(written: io.StringIO) -> None:
    factory: Any = QuietFactory()
    factory.stopFactory = lambda: Logger().info("the factory stops")
    await listen_tcp_quietly(reactor, 0, factory, "127.0.0.1").stopListening()
    assert "the factory stops" in written.getvalue()


@pytest.mark.parametrize("payload", [b"", b"x"])
@pytest_twisted.ensureDeferred
async def test_a_datagram_port_lets_others_have_their_turn(payload: bytes) -> None:
    """However short the datagrams are."""
    datagrams = Datagrams()
    port = listen_udp_quietly(reactor, 0, datagrams, "127.0.0.1", 65535)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port.getHost().port))
        for _ in range(DATAGRAMS + 3):
            sender.send(payload)
        port.doRead()
        assert datagrams.received == [(payload, sender.getsockname())] * DATAGRAMS
        for _ in range(2):
            port.doRead()
        assert len(datagrams.received) == DATAGRAMS + 3
    await port.stopListening()
