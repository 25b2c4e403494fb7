"""A SOCKS5 proxy inside an existing Twisted application, next to the server that was there before.

    python examples/inside_a_service.py [PROXY_PORT [ECHO_PORT]]

Both listen on 127.0.0.1; port 0 is one that is free. Try it with ``curl --socks5 127.0.0.1:1080 ...``.
"""

import sys
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo

from socks5 import Reason, ServerFactory, listen


class EchoServer(Service):
    """What was there before."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = serverFromString(reactor, endpoint)

    @inlineCallbacks
    def startService(self) -> Any:
        """Listen, and say where."""
        super().startService()
        self.port = yield self.endpoint.listen(Factory.forProtocol(Echo))
        print("echo", self.port.getHost().port, flush=True)

    def stopService(self) -> Any:
        """Stop listening."""
        super().stopService()
        return self.port.stopListening()


class Proxy(Service):
    """The proxy, as a part of the application."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint, self.factory = endpoint, ServerFactory(reactor)

    @inlineCallbacks
    def startService(self) -> Any:
        """Listen, and say where."""
        super().startService()
        self.port = yield listen(reactor, self.endpoint, self.factory)
        print("proxy", self.port.getHost().port, flush=True)

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop listening, and let the proxy end its sessions: what has been sent still arrives."""
        super().stopService()
        yield self.port.stopListening()
        yield self.factory.close_sessions(Reason.SHUTDOWN, grace=2)


def application(proxy_port: str = "1080", echo_port: str = "7777") -> MultiService:
    """The application: an echo server, and now a proxy as well."""
    application = MultiService()
    EchoServer(f"tcp:{echo_port}:interface=127.0.0.1").setServiceParent(application)
    Proxy(f"tcp:{proxy_port}:interface=127.0.0.1").setServiceParent(application)
    return application


if __name__ == "__main__":
    service = application(*sys.argv[1:])
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
