"""Strings for Twisted's endpoints: what they describe, what is said of those that describe nothing, who opens them."""

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import endpoints
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.net import foreign
from socks5.net.foreign import Asking, EndpointReactor, kind_of, where_of
from socks5.net.openers import IPortOpener
from socks5.net.places import TCP, UNIX, Foreign, Inherited
from tests.support.certificates import self_signed


@pytest.fixture(autouse=True)
def pem_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate, server.pem, and one that is none in the working directory."""
    monkeypatch.chdir(tmp_path)
    self_signed(tmp_path)
    Path("not.pem").write_text("nothing\n")


@pytest.mark.parametrize(
    ("description", "where"),
    [
        ("tcp:1080", TCP(1080, "", 50)),
        ("tcp: 1080:127.0.0.1:100000", TCP(1080, "127.0.0.1", 100_000)),
        (r"\tcp:1080:interface=\:\:1:backlog=5", TCP(1080, "::1", 5)),
        ("tcp6:1080", TCP(1080, "::", 50)),
        (r"TCP6:1080:interface=\:\:1", TCP(1080, "::1", 50)),
        ("unix:/run/a\\:b.sock", UNIX("/run/a:b.sock", backlog=50)),
        ("unix:a:mode=660:lockfile=0:backlog=7", UNIX("a", 0o660, False, 7)),
        ("ssl:1080:interface=127.0.0.1", Foreign("ssl:1080:interface=127.0.0.1", False)),
        ("haproxy:tcp:1080:interface=127.0.0.1", Foreign("haproxy:tcp:1080:interface=127.0.0.1")),
        ("HAProxy:unix:a", Foreign("HAProxy:unix:a", True)),
        ("stdio:", Foreign("stdio:", True)),
    ],
)
def test_a_string_is_what_twisted_takes_it_for(description: str, where: Any) -> None:
    assert where_of(description) == where


def test_a_socket_of_systemd_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    description = "systemd:domain=INET:name=proxy"
    numbers: list[int] = []
    monkeypatch.setattr(
        foreign,
        "serverFromString",
        lambda reactor, _: endpoints.AdoptedStreamServerEndpoint(
            reactor, numbers[-1], socket.AF_INET
        ),
    )
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        numbers.append(inherited.fileno())
        found = where_of(description)
    assert isinstance(found, Inherited)
    assert (found.name, found.descriptor) == (description, numbers[-1])
    numbers.append(1_000_000)  # which is none
    assert where_of(description) == Foreign(description)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ("xyz", "Unknown endpoint type: 'xyz'"),
        ("tcp", "missing 1 required positional argument: 'port'"),
        ("tcp:1:nosuch=1", "got an unexpected keyword argument 'nosuch'"),
        ("tcp:http", "invalid literal for int() with base 10: 'http'"),
        ("systemd:domain=INET:index=7", "no such socket is inherited"),
        ("ssl:1:privateKey=/nonexistent", "No such file or directory: /nonexistent"),
        ("ssl:1:privateKey=not.pem", "no PEM key and certificate in that file"),
        (f"unix:{'f' * 108}", "the path of a UNIX socket has at most 107 octets"),
    ],
)
def test_what_describes_nothing_is_said_in_words(description: str, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared below
        where_of(description)
    assert str(raised.value) == sentence


def test_an_error_without_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(foreign, "serverFromString", crash)
    with pytest.raises(ValueError, match=r"^AssertionError$"):
        where_of("odd:")


def test_the_kind_is_what_twisted_takes_for_it() -> None:
    assert [kind_of(text) for text in ("TCP:1", r"\s\ystemd:x", "", "x")] == [
        *("tcp", "systemd", "", "x"),
    ]


@implementer(IPortOpener)
class Noting:
    """Gives back what it was asked to open."""

    reactor = Clock()

    def open(self, where: Any, factory: Any) -> Any:
        return where, factory


def test_whatever_an_endpoint_asks_its_reactor_for_the_opener_opens() -> None:
    verifyObject(IPortOpener, Asking())
    inner = Factory()
    reactor = EndpointReactor(Noting(), "elsewhere:", lambda factory: ("below", factory))  # type: ignore[arg-type, return-value]
    for asked, where in [
        (reactor.listenTCP(1080, inner, 5, interface="127.0.0.1"), TCP(1080, "127.0.0.1", 5)),
        (reactor.listenUNIX("/run/a", inner, mode=0o600), UNIX("/run/a", 0o600, False, 50)),
        (reactor.adoptStreamPort(3, socket.AF_INET, inner), Inherited("elsewhere:", 3)),
    ]:
        assert asked == (where, ("below", inner))
    over_tls: Any = reactor.listenSSL(1080, inner, CertificateOptions())
    assert over_tls[0] == TCP(1080, "", 50)
    assert isinstance(over_tls[1][1], TLSMemoryBIOFactory)
    assert over_tls[1][1].wrappedFactory is inner
    assert reactor.seconds == Noting.reactor.seconds
