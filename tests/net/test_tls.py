"""TLS under sessions: who gets none, arbitrary octets, and the endpoint for other programs."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from socks5.net.certificate_files import Files
from socks5.net.certificates import Certificates
from socks5.net.tls import TLSFactory, tls_endpoint
from tests.support import sessions
from tests.support.certificates import Authority
from tests.support.transports import CLIENT, SERVER, FakeTransport


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates in the working directory: ``server.pem`` and ``ca.pem``."""
    monkeypatch.chdir(tmp_path)
    Authority(tmp_path, "ca").server()


def factory_over(upper: Any, clock: Any = None) -> TLSFactory:
    path = str(Path("server.pem").absolute())
    certificates = Certificates(Files(path, path, str(Path("ca.pem").absolute())), clock)
    return TLSFactory(certificates, upper, clock)


@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
def test_an_endpoint_listens_by_tcp(interface: str) -> None:
    reactor = MemoryReactorClock()
    escaped = interface.replace(":", "\\:")
    made = tls_endpoint(reactor, f"tls:1443:cert=server.pem:interface={escaped}")
    assert made is not None
    verifyObject(IStreamServerEndpoint, made)
    made.listen(Factory())
    [(port, factory, _, where)] = reactor.tcpServers
    assert (port, where) == (1443, interface)
    assert isinstance(factory, TLSFactory)


def test_a_string_for_twisted_is_no_endpoint_here() -> None:
    assert tls_endpoint(MemoryReactorClock(), "tcp:1443") is None


def test_a_client_for_whom_there_is_no_protocol_gets_none() -> None:
    class Full(Factory):
        def buildProtocol(self, addr: Any) -> None:
            return None

    assert factory_over(Full()).buildProtocol(None) is None
    assert factory_over(Factory.forProtocol(Protocol)).buildProtocol(None) is not None


# ---------------------------------------------------------------- arbitrary octets
HELLO = bytes.fromhex("16 0301 0040 01 00003c 0303")


@given(
    st.sampled_from([b"", b"\x05\x01\x00", b"\x16", b"\x16\x03\x01", HELLO]),
    st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_octets_do_harm(begin: bytes, pieces: list[bytes]) -> None:
    """No session begins, nothing is raised or logged as a failure, and the client's leaving is the end."""
    server = sessions.Server()
    protocol = factory_over(server.factory, server.reactor).buildProtocol(CLIENT)
    transport = FakeTransport(server.reactor, host=SERVER, peer=CLIENT)
    transport.connect(protocol)
    for piece in (begin, *pieces):
        if piece and transport.connected:
            transport.deliver(piece)
        server.reactor.turn()
    if transport.connected:
        transport.deliver_end()
        server.reactor.turn()
    assert server.counters.open_connections == 0
    assert (server.records, server.counters.requests.total()) == ([], 0)
