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

from socks5 import ServerFactory


class Listener(Service):
    """Any factory on any endpoint, as a part of an application."""

    def __init__(self, name: str, endpoint: str, factory: Factory) -> None:
        self.name, self.factory = name, factory
        self.endpoint = serverFromString(reactor, endpoint)

    @inlineCallbacks
    def startService(self) -> Any:
        """Listen, and say where."""
        super().startService()
        self.listening = yield self.endpoint.listen(self.factory)
        if isinstance(self.factory, ServerFactory):
            self.factory.listens_on(
                self.listening
            )  # so that no client connects to it through itself
        print(self.name, self.listening.getHost().port, flush=True)

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop listening, and let the proxy end its sessions: what has been sent still arrives."""
        super().stopService()
        yield self.listening.stopListening()
        if isinstance(self.factory, ServerFactory):
            yield self.factory.close_sessions("shutdown", grace=2)


def application(proxy_port: str = "1080", echo_port: str = "7777") -> MultiService:
    """The application: an echo server, and now a proxy as well."""
    application = MultiService()
    for name, port, factory in [
        ("echo", echo_port, Factory.forProtocol(Echo)),
        ("proxy", proxy_port, ServerFactory(reactor)),
    ]:
        endpoint = f"tcp:{port}:interface=127.0.0.1"
        Listener(name, endpoint, factory).setServiceParent(application)
    return application


if __name__ == "__main__":
    service = application(*sys.argv[1:])
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
