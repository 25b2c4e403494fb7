"""Listening: what a string becomes, what stands over a port, and what the factory knows of it."""

import socket
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from zope.interface.verify import verifyObject

from socks5 import TCP, Listen, ListenerPolicy, Networks, ServerFactory
from socks5 import listen as listen_for
from socks5.net.haproxy import HeaderFactory
from socks5.net.listening import listen_from, listen_with, served
from socks5.net.openers import IServedPort
from socks5.net.places import Inherited
from socks5.net.tls import TLSFactory
from tests.support.certificates import self_signed

BALANCERS = ListenerPolicy(proxies=Networks.parse("127.0.0.1"))
OFFICE = ListenerPolicy(clients=Networks.parse("192.0.2.0/24"))


def test_what_is_wrong_with_a_string_is_said_with_what_was_expected() -> None:
    expected = r"^expected ADDRESS:PORT, such as .*, or a server endpoint of Twisted's: Unkn"
    with pytest.raises(ValueError, match=expected):
        listen_for(reactor, "tpc:1080", ServerFactory(reactor))
    with pytest.raises(ValueError, match="cert=FILE is missing: expected tls:PORT:cert=FILE"):
        listen_for(reactor, "tls:1443", ServerFactory(reactor))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("127.0.0.1:1080", TCP(1080, "127.0.0.1")),
        ("0.0.0.0:0", TCP(0, "0.0.0.0")),
        ("[::1]:65535", TCP(65535, "::1")),
    ],
)
def test_an_address_and_a_port_are_understood(text: str, where: TCP) -> None:
    assert listen_from(text, OFFICE) == Listen(where, policy=OFFICE)


@pytest.mark.parametrize("text", ["127.0.0.1:65536", "127.0.0:1080", "[127.0.0.1]:1080", "[:]:1"])
def test_an_address_with_a_slip_is_no_endpoint_either(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected ADDRESS:PORT with an IP address and a port"):
        listen_from(text)


def stack_of(at: Listen) -> list[Any]:
    """The factories over a port, from it upwards."""
    server, opener = ServerFactory(reactor), MagicMock()
    opener.open.return_value.getHost.return_value = None
    listen_with(opener, at, server)
    (_, factory), _ = opener.open.call_args
    found = [factory]
    while (factory := getattr(factory, "wrappedFactory", None)) is not None:
        found.append(factory)
    return ["server" if each is server else type(each) for each in found]


def test_a_header_stands_next_to_the_port_then_tls_then_the_listener(tmp_path: Path) -> None:
    tls = listen_from(f"tls:0:cert={self_signed(tmp_path)}").tls
    assert stack_of(Listen(TCP(0))) == ["server"]
    listener = type(ServerFactory(reactor).at(OFFICE))
    assert stack_of(Listen(TCP(0), policy=OFFICE)) == [listener]
    assert stack_of(Listen(TCP(0), tls)) == [TLSFactory, "server"]
    assert stack_of(Listen(TCP(0), tls, BALANCERS)) == [HeaderFactory, TLSFactory, listener]
    above, *_, below = reversed(stack_of(listen_from("haproxy:unix:/run/a", BALANCERS)))
    assert (above, below) == (listener, HeaderFactory)


def test_a_policy_that_the_factory_cannot_keep_is_refused() -> None:
    with pytest.raises(ValueError, match="the authenticator has"):
        stack_of(Listen(TCP(0), policy=ListenerPolicy(methods=(2,))))


@pytest.mark.parametrize("description", ["tcp:1080", "haproxy:tcp:1080"])
def test_a_port_that_cannot_be_had_is_a_failure(description: str) -> None:
    opener = MagicMock()
    opener.open.side_effect = CannotListenError("", 1080, OSError())
    failed: list[Any] = []
    listen_with(opener, listen_from(description), ServerFactory(reactor)).addErrback(failed.append)
    assert [failure.type for failure in failed] == [CannotListenError]


KINDS = {
    "tcp": "tcp:0:interface=127.0.0.1",
    "tls": "tls:0:interface=127.0.0.1:cert={pem}",
    "ssl": "ssl:0:privateKey={pem}:interface=127.0.0.1",
    "haproxy": "haproxy:tcp:0:interface=127.0.0.1",
    "unix": "unix:{path}",
}


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted does
@pytest.mark.parametrize("end", ["stopListening", "finish"])
@pytest.mark.parametrize("policy", [ListenerPolicy(), BALANCERS])
@pytest.mark.parametrize("kind", [*KINDS, "inherited"])
@pytest_twisted.ensureDeferred
async def test_a_port_of_every_kind_keeps_the_session_limit_and_is_known_while_it_is_open(
    kind: str, policy: ListenerPolicy, end: str, tmp_path: Path
) -> None:
    factory: Any = ServerFactory(reactor)
    pem, path = self_signed(tmp_path), tmp_path / "socket"
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        at = (
            Listen(Inherited("of us", inherited.fileno()), policy=policy)
            if kind == "inherited"
            else listen_from(KINDS[kind].format(pem=pem, path=path), policy)
        )
        port = await listen_for(reactor, at, factory)
    [listening] = factory.limit.listeners
    where = port.getHost()
    assert (listening.getHost(), listening.reactor) == (where, reactor)
    assert verifyObject(IServedPort, port)
    assert kind == "unix" or (where.host, where.port) in factory.listeners
    await getattr(port, end)()
    assert factory.limit.listeners == set()
    assert kind == "unix" or (where.host, where.port) not in factory.listeners
    port.stopListening()  # twice is harmless


@pytest_twisted.ensureDeferred
async def test_a_port_of_somebody_elses_just_closes_and_an_address_is_told_of_one_that_is_closed() -> (
    None
):
    opener = MagicMock()
    theirs = reactor.listenTCP(0, Factory(), interface="127.0.0.1")  # type: ignore[attr-defined]
    opener.open.return_value = theirs
    port = await listen_with(opener, Listen(TCP(0)), ServerFactory(reactor))
    where = port.getHost()
    assert where == theirs.getHost()
    serves = theirs.factory
    port.serve(served(Listen(TCP(0)), ServerFactory(reactor), None, reactor))
    assert theirs.factory is serves
    await port.finish()
    assert port.getHost() == where
    assert not theirs.connected
