"""What callers get, by its type: checked by mypy as a user of the package runs it, and never run."""

from collections import Counter
from collections.abc import Callable
from typing import assert_type

from twisted.internet import reactor
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConnector, IProtocol, IProtocolFactory
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.web.client import BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.iweb import IAgent

import socks5
from socks5 import (
    IManagedSession,
    IServedPort,
    IUser,
    PasswordAuthentication,
    Policy,
    Reason,
    Rules,
    ServerFactory,
    SessionInfo,
    Settings,
    Verdict,
    listen,
)
from socks5.client import (
    UDP,
    BindPort,
    ConnectionRefused,
    DatagramPort,
    Proxy,
    ProxyEndpoint,
    Tunnel,
    tunnel_of,
)

factory = ServerFactory(reactor)

assert_type(listen(reactor, "tcp:1080", factory), Deferred[IServedPort])
assert_type(factory.policy, Policy)
assert_type(factory.settings, Settings)
assert_type(factory.replace(Policy()), Deferred[int])
assert_type(factory.drain(within=60), Deferred[int])
assert_type(factory.close_sessions(Reason.SHUTDOWN, grace=2), Deferred[None])
assert_type(factory.sessions.find(user="alice"), list[IManagedSession])
assert_type(factory.sessions.watch(opened=print), Callable[[], None])

for session in factory.sessions:
    assert_type(session, IManagedSession)
    assert_type(session.number, int)
    assert_type(session.user, IUser | None)
    assert_type(session.access, socks5.Access)
    assert_type(session.access.user, IUser | None)
    assert_type(session.access.target, socks5.Address)
    assert_type(session.info(), SessionInfo)
    assert_type(session.info().user, str | None)
    assert_type(session.rejudge(Rules()), Deferred[bool])
    assert_type(Rules().judge(session.access, None), Verdict)
    if session.user is not None:
        assert_type(session.user.groups, frozenset[str])

assert_type(PasswordAuthentication.over(), PasswordAuthentication)
socks5.misspelt()  # type: ignore[attr-defined]  # an error, and not Any


class Client(Protocol):
    """A program's own."""


def through(factory: Factory[Client], other: IProtocolFactory) -> None:
    """A program that goes through proxies."""
    proxy = Proxy.from_url(reactor, "socks5://proxy.example", timeout=5)
    assert_type(proxy, Proxy)
    assert_type(Proxy.chain(reactor, [proxy, "http://second.example:8080"]), Proxy)
    assert_type(Proxy.over(reactor, proxy.endpoint("a.example", 1080), "alice", b"secret"), Proxy)
    assert_type(Proxy.from_environment(reactor), Proxy | None)
    assert_type(proxy.agent(), IAgent)
    assert_type(proxy.agent(HTTPConnectionPool(reactor), BrowserLikePolicyForHTTPS()), IAgent)
    assert_type(proxy.goes_direct("a.example", 443), bool)
    assert_type(proxy.bind(factory, peer="192.0.2.7"), Deferred[BindPort])
    assert_type(proxy.associate(announce="port"), UDP)
    assert_type(proxy.associate().open(), Deferred[UDP])
    endpoint = proxy.endpoint("a.example", 443, tls=True)
    assert_type(endpoint, ProxyEndpoint)
    assert_type(endpoint.connect(factory), Deferred[Client])
    assert_type(endpoint.connect(other), Deferred[IProtocol])
    assert_type(proxy.resolve("a.example"), Deferred[str])
    assert_type(proxy.resolve_ptr("192.0.2.1"), Deferred[bytes])
    tunnel = tunnel_of(Client().transport)
    assert_type(tunnel, Tunnel | None)
    try:
        pass
    except ConnectionRefused as error:
        assert_type(error.hop, int)
        assert_type(error.stage, str)
        assert_type(error.code, int)


def await_peer(port: BindPort) -> None:
    """One that awaits a peer there."""
    assert_type(port.when_accepted(), Deferred[IProtocol])
    assert_type(port.stopListening(), Deferred[None])
    assert_type(port.getHost(), IPv4Address | IPv6Address | HostnameAddress)


async def look_up(proxy: Proxy) -> None:
    """One that asks a name server through proxies."""
    async with proxy.associate() as udp:
        assert_type(udp, UDP)
        assert_type(udp.listenUDP(0, DatagramProtocol()), DatagramPort)
        assert_type(udp.connectTCP("192.0.2.53", 53, ClientFactory()), IConnector)
        assert_type(udp.dropped, Counter[str])
