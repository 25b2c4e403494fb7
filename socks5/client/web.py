"""HTTP through proxies: an agent of twisted.web, for programs that use it or treq.

Only public names of twisted.web are used. Nothing else here imports it, but :meth:`socks5.client.endpoint.Proxy.agent`
when it is called.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer


class Way(Hashable, TypingProtocol):
    """What a :class:`~socks5.client.endpoint.Proxy` is here: equal to those whose connections are as good."""

    @property
    def reactor(self) -> Any:
        """IReactorTime, and what else endpoints need."""

    def endpoint(self, host: str | bytes, port: int, tls: Any = False) -> IStreamClientEndpoint:
        """See :meth:`socks5.client.endpoint.Proxy.endpoint`."""


@implementer(IAgentEndpointFactory)
class Endpoints:
    """How an agent reaches servers."""

    def __init__(self, way: Way, policy: IPolicyForHTTPS) -> None:
        self._way = way
        self._policy = policy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See :meth:`twisted.web.iweb.IAgentEndpointFactory.endpointForURI`.

        :raises twisted.web.error.SchemeNotSupported: it is neither http nor https.
        :raises ValueError: see :meth:`socks5.client.endpoint.Proxy.endpoint`.
        """
        return self.lead_to(uri.scheme, uri.host, uri.port)

    def lead_to(self, scheme: bytes, host: bytes, port: int) -> IStreamClientEndpoint:
        """The same without a URI."""
        # A zone is an error in text, and octets are taken as they are.
        target = host.decode("latin-1") if b":" in host else host
        if scheme == b"http":
            return self._way.endpoint(target, port)
        if scheme == b"https":
            return self._way.endpoint(target, port, self._policy.creatorForNetloc(host, port))
        raise SchemeNotSupported(f"{scheme!r}: expected http or https")


class PoolView:
    """A pool, as the agents of one way see it. They ask for (scheme, host, port), so that agents of two proxies would
    share connections, as would those of two users of one.
    """

    def __init__(self, way: Way, pool: HTTPConnectionPool) -> None:
        self._way = way
        self._pool = pool

    @property
    def persistent(self) -> bool:
        """Whether the pool keeps connections."""
        return bool(self._pool.persistent)

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """See :meth:`twisted.web.client.HTTPConnectionPool.getConnection`."""
        return self._pool.getConnection((self._way, key), endpoint)


def agent_by(way: Way, pool: HTTPConnectionPool | None, policy: IPolicyForHTTPS | None) -> IAgent:
    """See :meth:`socks5.client.endpoint.Proxy.agent`."""
    if pool is None:
        pool = HTTPConnectionPool(way.reactor, persistent=False)
    endpoints = Endpoints(way, policy or BrowserLikePolicyForHTTPS())
    view: Any = PoolView(way, pool)
    agent: IAgent = Agent.usingEndpointFactory(way.reactor, endpoints, view)
    return agent
