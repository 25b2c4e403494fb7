"""``serve`` starts servers on real sockets, ``world`` those of clients that go through proxies. Both see to it that
they leave none behind.
"""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock
from zope.interface import implementer

from socks5.net.foreign import EndpointReactor
from socks5.net.listening import listen_from, listen_with
from socks5.net.openers import IPortOpener, PortOpener
from socks5.net.places import TCP
from socks5.settings import ListenerPolicy, Settings
from tests.sockets.clients import Factory, Proxy
from tests.sockets.wires import OnClock, open_sockets, until
from tests.sockets.world import World
from tests.support.providers import FakeResolver, Records


class Elsewhere:
    """The reactor of another process: its ports are not those of this one."""

    def __getattr__(self, name: str) -> Any:
        from twisted.internet import reactor

        return getattr(reactor, name)


@implementer(IPortOpener)
class TwistedOpener:
    """Opens Twisted's ports, as a program may that embeds a factory."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def open(self, where: Any, factory: Any) -> Any:
        if isinstance(where, TCP):
            return self.reactor.listenTCP(where.port, factory, interface=where.interface)
        return self.reactor.listenUNIX(where.path, factory)


@pytest_twisted.async_yield_fixture(params=["twisted", "own"])
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Awaitable[Proxy]]]:
    """Start a server: on Twisted's ports, as in a program that embeds it, and on our own.

    Parameters of the function: ``settings``; ``endpoint``, where it listens, or what makes that
    for a reactor; ``clock``, whose time it has; ``is_elsewhere``, in another process as far as ports go;
    ``policy``, what stands before it; those of ServerFactory.
    """
    from twisted.internet import reactor

    before = open_sockets()
    proxies: list[Proxy] = []
    with ExitStack() as stack:

        async def listen(
            settings: Settings | None = None,
            endpoint: str | Callable[[Any], Any] = "tcp:0:interface=127.0.0.1",
            clock: Clock | None = None,
            is_elsewhere: bool = False,
            policy: ListenerPolicy | None = None,
            **parameters: Any,
        ) -> Proxy:
            parameters.setdefault("access_log", Records())
            parameters.setdefault("resolver", FakeResolver({b"localhost": ["127.0.0.1", "::1"]}))
            timed: Any = reactor if clock is None else OnClock(clock)
            timed = Elsewhere() if is_elsewhere else timed
            factory = Factory(timed, settings=settings, **parameters)
            opener: Any = TwistedOpener()
            if request.param == "own":
                opener = PortOpener(reactor, factory.limit)
            if isinstance(endpoint, str):
                known: Any = await listen_with(opener, listen_from(endpoint, policy), factory)
                port = known.port
            else:
                port = await endpoint(EndpointReactor(opener, "")).listen(factory)
            proxies.append(Proxy(stack, factory, port))
            return proxies[-1]

        yield listen
        for proxy in proxies:
            proxy.factory.reactor = reactor
            await proxy.port.stopListening()
            await proxy.factory.close_sessions("the test is over", 1)
    await until(lambda: open_sockets() <= before)


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    gc.collect()
    before = open_sockets()
    made = World(tmp_path)
    yield made
    await made.close()
    await until(lambda: open_sockets() <= before)
