"""TLS under sessions: what a string for it becomes, and is refused with; who gets none, and arbitrary octets."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from socks5 import listen
from socks5.net.certificate_files import Files, Unusable
from socks5.net.certificate_names import NAMES
from socks5.net.certificates import Certificates
from socks5.net.places import TCP
from socks5.net.tls import TLSFactory, tls_endpoint
from socks5.net.tls_strings import FORM, tls_from
from socks5.server.factory import ServerFactory
from tests.support import sessions
from tests.support.certificates import Authority
from tests.support.options import asked, refusal
from tests.support.transports import CLIENT, SERVER, FakeTransport


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Certificates in the working directory: ``server.pem`` and ``ca.pem``."""
    monkeypatch.chdir(tmp_path)
    Authority(tmp_path, "ca").server()
    return tmp_path


# ---------------------------------------------------------------- strings

OPEN = "tls:1443:cert=server.pem"
CERTIFIED = f"{OPEN}:clients=ca.pem"
OPTIONAL = f"{CERTIFIED}:client-certificates=optional"


def test_a_certificate_is_enough_and_everything_can_be_said(here: Path) -> None:
    pem, ca, odd = (str(here / name) for name in ("server.pem", "ca.pem", r"a:b=c\d.pem"))
    for description, expected in (
        (OPEN, Files(pem, pem)),
        (CERTIFIED, Files(pem, pem, ca, names=tuple(NAMES))),
        (f"{CERTIFIED}:client-certificates=required", Files(pem, pem, ca)),
        (
            f"{OPTIONAL}:key=ca.pem:client-name=email",
            Files(pem, ca, ca, is_required=False, names=("email",)),
        ),
        (r"tls:1443:cert=a\:b=c\\d.pem", Files(odd, odd)),
    ):
        assert tls_from(description) == (TCP(1443), expected)


@pytest.mark.parametrize(
    "description",
    ["tcp:1443", "", "ssl:1443:cert=x", "tls:.:1443", "tls:folder.pem/..:1443", r"tls\:1443"],
)
def test_another_string_is_for_twisted(description: str, here: Path) -> None:
    (here / "folder.pem").mkdir()
    assert tls_from(description) is tls_endpoint(MemoryReactorClock(), description) is None


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ("tls:1443", f"cert=FILE is missing: expected {FORM}, or tls:DIRECTORY:PORT"),
        ("tls:1443:cert=", "cert=FILE is missing: "),
        ("tls", "no port: expected a folder of PEM files with keys and certificates, or tls:PORT:"),
        ("tls:", "no port: expected a folder of PEM files with keys and certificates"),
        ("tls:server.pem:1443", "server.pem: expected a folder of PEM files"),
        ("tls:/proc:1443", "/proc: expected a folder of PEM files"),
        ("tls:cert=server.pem", f"expected one port, from 0 to 65535, in {FORM}"),
        ("tls:65536:cert=server.pem", "expected one port"),
        ("tls:1443:127.0.0.1:cert=server.pem", "expected one port"),
        ("tls:1443:cert=server.pem:certKey=x", f"certKey=: expected {FORM}"),
        ("tls:1443:cert=none.pem", "cert={here}/none.pem: No such file or directory"),
        ("tls:1443:cert=server.pem:key=ca.pem", "key={here}/ca.pem: no whole key in it"),
        (
            "tls:1443:cert=server.pem:client-certificates=optional",
            "client-certificates= is about clients' certificates: expected clients=FILE with it",
        ),
        ("tls:1443:cert=server.pem:client-name=cn", "client-name= is about clients'"),
        (
            "tls:1443:cert=server.pem:clients=ca.pem:client-certificates=no",
            "client-certificates=no: expected required or optional",
        ),
        (
            "tls:1443:cert=server.pem:clients=ca.pem:client-name=ou",
            "client-name=ou: expected email or dns or uri or cn",
        ),
    ],
)
def test_what_is_wrong_is_said(description: str, sentence: str, here: Path) -> None:
    expected = sentence.replace("{here}", str(here))
    with pytest.raises(Unusable) as raised:
        listen(MemoryReactorClock(), description, ServerFactory(Clock()))
    assert str(raised.value).startswith(expected)
    sentence = refusal("--listen", description, "--open")
    assert sentence.startswith(f"--listen {description}: {expected}")


@pytest.mark.parametrize("description", [OPEN, OPTIONAL])
def test_without_required_certificates_another_decision_is_needed(description: str) -> None:
    certified = CERTIFIED.replace("1443", "1")
    asked("--listen", certified, "--listen", f"{OPEN}:interface=127.0.0.1")
    options = ["--listen", certified, "--listen", description]
    assert refusal(*options).startswith(f"--listen {description}: others than this machine could")
    asked(*options, "--open")


# ---------------------------------------------------------------- over TLS


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


def test_a_client_for_whom_there_is_no_protocol_gets_none() -> None:
    class Full(Factory):
        def buildProtocol(self, addr: Any) -> None:
            return None

    assert factory_over(Full()).buildProtocol(None) is None
    assert factory_over(Factory.forProtocol(Protocol)).buildProtocol(None) is not None


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
