"""``serve`` starts servers on real sockets, and sees to it that they leave nothing behind."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest_twisted
from twisted.internet.endpoints import serverFromString

from socks5.settings import Settings
from tests.fakes import FakeResolver
from tests.sessions import Records
from tests.sockets.clients import Factory, Proxy
from tests.sockets.wires import until


@pytest_twisted.async_yield_fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Proxy]]]:
    """Start a server.

    Parameters of the function: ``settings``; ``endpoint``, where it listens; those of ServerFactory.
    """
    from twisted.internet import reactor

    before = {*reactor.getReaders(), *reactor.getWriters()}
    proxies: list[Proxy] = []
    with ExitStack() as stack:

        async def listen(
            settings: Settings | None = None,
            endpoint: str = "tcp:0:interface=127.0.0.1",
            **parameters: Any,
        ) -> Proxy:
            parameters.setdefault("access_log", Records())
            parameters.setdefault("resolver", FakeResolver({b"localhost": ["127.0.0.1", "::1"]}))
            factory = Factory(reactor, settings=settings, **parameters)
            port = await serverFromString(reactor, endpoint).listen(factory)
            proxies.append(Proxy(stack, factory, port))
            return proxies[-1]

        yield listen
        for proxy in proxies:
            await proxy.port.stopListening()
            await proxy.factory.close_sessions("the test is over", 1)
    await until(lambda: {*reactor.getReaders(), *reactor.getWriters()} <= before)
