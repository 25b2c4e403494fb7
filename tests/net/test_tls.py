"""The endpoint string for TLS: what it becomes, what is refused and with which words, what is Twisted's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage
from zope.interface.verify import verifyObject

from socks5.app import exposure
from socks5.app.exposure import is_authenticated, is_exposed
from socks5.app.options import Options
from socks5.net.certificates import NAMES, Files, Unusable
from socks5.net.tls import FORM, TLSEndpoint, TLSFactory, tls_endpoint
from tests.support import sessions
from tests.support.certificates import Authority
from tests.support.transports import CLIENT, SERVER, FakeTransport


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Certificates in the working directory: ``server.pem`` and ``ca.pem``."""
    monkeypatch.chdir(tmp_path)
    authority = Authority(tmp_path, "ca")
    authority.server()
    return tmp_path


def endpoint(description: str, reactor: Any = None) -> TLSEndpoint:
    made = tls_endpoint(reactor or MemoryReactorClock(), description)
    assert made is not None
    return made


# ---------------------------------------------------------------- what a string becomes


def test_a_certificate_is_enough(here: Path) -> None:
    path = str(here / "server.pem")
    made = endpoint("tls:1443:cert=server.pem")
    verifyObject(IStreamServerEndpoint, made)
    assert made.certificates.files == Files(cert=path, key=path)
    assert not made.is_authenticated


def test_everything_can_be_said(here: Path) -> None:
    text = "tls:1443:cert=server.pem:key=server.pem:clients=ca.pem:client-name=email"
    made = endpoint(f"{text}:client-certificates=optional")
    path = str(here / "server.pem")
    expected = Files(path, path, str(here / "ca.pem"), is_required=False, names=("email",))
    assert made.certificates.files == expected
    assert not made.is_authenticated


@pytest.mark.parametrize("must", ["", ":client-certificates=required"])
def test_certificates_of_clients_are_required_unless_told_otherwise(must: str) -> None:
    made = endpoint(f"tls:1443:cert=server.pem:clients=ca.pem{must}")
    assert made.is_authenticated
    assert made.certificates.files.names == tuple(NAMES)


def test_a_colon_in_a_value_is_written_with_a_backslash(here: Path) -> None:
    (here / "server.pem").rename(here / "a:b=c\\d.pem")
    made = endpoint(r"tls:1443:cert=a\:b=c\\d.pem")
    assert made.certificates.files.cert == str(here / "a:b=c\\d.pem")


@pytest.mark.parametrize(
    ("option", "interface"),
    [("", ""), (":interface=127.0.0.1", "127.0.0.1"), (r":interface=\:\:1", "::1")],
)
def test_it_listens_by_tcp(option: str, interface: str) -> None:
    reactor = MemoryReactorClock()
    endpoint(f"tls:1443:cert=server.pem{option}", reactor).listen(Factory())
    [(port, factory, _, where)] = reactor.tcpServers
    assert (port, where) == (1443, interface)
    assert isinstance(factory, TLSFactory)


@pytest.mark.parametrize(
    "description",
    ["tcp:1443", "", "ssl:1443:cert=x", "tls:.:1443", "tls:folder.pem/..:1443", r"tls\:1443"],
)
def test_another_string_is_for_twisted(description: str, here: Path) -> None:
    (here / "folder.pem").mkdir()
    assert tls_endpoint(MemoryReactorClock(), description) is None


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ("tls:1443", f"cert=FILE is missing: expected {FORM}, or tls:DIRECTORY:PORT"),
        ("tls:1443:key=server.pem", "cert=FILE is missing: "),
        ("tls:1443:cert=", "cert=FILE is missing: "),
        ("tls", "no port: expected a folder of PEM files with keys and certificates, or tls:PORT:"),
        ("tls:", "no port: expected a folder of PEM files with keys and certificates"),
        ("tls:server.pem:1443", "server.pem: expected a folder of PEM files"),
        ("tls:none:1443", "none: expected a folder of PEM files"),
        ("tls:/proc:1443", "/proc: expected a folder of PEM files"),
        ("tls:cert=server.pem", f"expected one port, from 0 to 65535, in {FORM}"),
        ("tls:https:cert=server.pem", "expected one port"),
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
        tls_endpoint(MemoryReactorClock(), description)
    assert str(raised.value).startswith(expected)
    with pytest.raises(usage.UsageError) as refused:
        Options().parseOptions(["--listen", description])
    assert str(refused.value).startswith(f"--listen {description}: {expected}")


# ---------------------------------------------------------------- who can reach it

OPEN = "tls:1443:cert=server.pem"
CERTIFIED = f"{OPEN}:clients=ca.pem"
OPTIONAL = f"{CERTIFIED}:client-certificates=optional"
LOCAL = ":interface=127.0.0.1"


@pytest.mark.parametrize("description", [OPEN, CERTIFIED, OPTIONAL])
def test_it_is_exposed_by_its_interface(description: str) -> None:
    assert is_exposed(description)
    assert is_exposed(f"{description}:interface=192.0.2.1")
    assert is_exposed(rf"{description}:interface=\:\:")
    assert not is_exposed(f"{description}{LOCAL}")
    assert not is_exposed(rf"{description}:interface=\:\:1")


def test_it_is_authenticated_if_it_requires_certificates() -> None:
    assert is_authenticated(CERTIFIED)
    assert not any(map(is_authenticated, [OPEN, OPTIONAL, "tcp:1080"]))


@pytest.mark.parametrize("descriptions", [[CERTIFIED], [CERTIFIED, OPEN + LOCAL], [OPEN + LOCAL]])
def test_required_certificates_are_a_decision(descriptions: Sequence[str]) -> None:
    Options().parseOptions([word for text in descriptions for word in ("--listen", text)])


@pytest.mark.parametrize("description", [OPEN, OPTIONAL])
def test_without_them_another_decision_is_needed(description: str) -> None:
    options = ["--listen", CERTIFIED, "--listen", description]
    with pytest.raises(usage.UsageError, match="others than this machine could reach") as raised:
        Options().parseOptions(options)
    assert description in str(raised.value)
    Options().parseOptions([*options, "--open"])


def test_the_service_listens_there() -> None:
    [(name, made)] = exposure.listeners_at(MemoryReactorClock(), [OPEN])
    assert name == OPEN
    assert isinstance(made, TLSEndpoint)


# ---------------------------------------------------------------- the factory


def test_a_client_for_whom_there_is_no_protocol_gets_none() -> None:
    class Full(Factory):
        def buildProtocol(self, addr: Any) -> None:
            return None

    made = endpoint(OPEN)
    assert made.wrap(Full()).buildProtocol(None) is None
    assert made.wrap(Factory.forProtocol(Protocol)).buildProtocol(None) is not None


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
    protocol = endpoint(CERTIFIED, server.reactor).wrap(server.factory).buildProtocol(CLIENT)
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
