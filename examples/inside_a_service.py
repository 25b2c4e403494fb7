"""A SOCKS5 proxy inside an existing Twisted application, for the servers of this machine only.

    python examples/inside_a_service.py [PROXY_PORT [ECHO_PORT]]

Both listen on 127.0.0.1; port 0 is one that is free. Try it with ``nc -X 5 -x 127.0.0.1:1080 127.0.0.1 7777``.
"""

import sys
from ipaddress import ip_address

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.wire import Echo
from twisted.python.log import startLogging

from socks5 import Access, IRules, Reason, Rules, ServerFactory, Verdict, listen


class OnlyThisMachine(Rules):
    """What the application lets clients reach."""

    def judge(self, access: Access, address: str | None) -> Verdict:
        """Asked for each request, with *address* None, and again for each address behind a name."""
        if address is not None and not ip_address(address).is_loopback:
            return Verdict(False, "elsewhere")
        return super().judge(access, address)


class Proxy(Service):
    """The proxy, as a part of the application."""

    log = Logger()

    def __init__(self, endpoint: str, rules: IRules) -> None:
        self.endpoint, self.factory = endpoint, ServerFactory(reactor, rules=rules)

    def startService(self) -> Deferred[None]:
        """Listen; the log says where."""
        Service.startService(self)
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        """The part of it that takes time."""
        self.port = await listen(reactor, self.endpoint, self.factory)
        self.log.info("the proxy listens on {where}", where=self.port.getHost())

    def stopService(self) -> Deferred[None]:
        """Stop listening, and let the proxy end its sessions: what has been sent still arrives."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self.stop())

    async def stop(self) -> None:
        """The part of it that takes time."""
        await maybeDeferred(self.port.stopListening)
        await self.factory.close_sessions(Reason.SHUTDOWN, grace=2)


def application(proxy_port: str = "1080", echo_port: str = "7777") -> MultiService:
    """The application: an echo server, and now a proxy as well."""
    echo = serverFromString(reactor, f"tcp:{echo_port}:interface=127.0.0.1")
    proxy = Proxy(f"tcp:{proxy_port}:interface=127.0.0.1", OnlyThisMachine())
    application = MultiService()
    application.addService(StreamServerEndpointService(echo, Factory.forProtocol(Echo)))
    application.addService(proxy)
    return application


if __name__ == "__main__":
    startLogging(sys.stdout)
    service = application(*sys.argv[1:])
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
