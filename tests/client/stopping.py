"""A program whose reactor stops while it waits for proxies at every stage. It prints how that ends, as JSON."""

import json
import socket
import sys
from contextlib import ExitStack
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.python.failure import Failure

from socks5.client import Proxy
from tests.support.through import LOGIN, METHOD, OK

reactor: Any = the_reactor

SAYS: dict[str, list[bytes]] = {
    "tls": [],
    "method": [],
    "login": [LOGIN],
    "reply": [METHOD],
    "second hop": [METHOD, OK],
    "peer": [METHOD, OK],
    "udp": [METHOD],
    "web": [METHOD],
    "through": [METHOD, OK],
}
"""What a proxy says, each at its time, until it says nothing more."""

outcomes: dict[str, str] = {}
waiting = {*SAYS}


def stands(name: str) -> None:
    """One waits where it should. When all do, the reactor stops."""
    waiting.discard(name)
    if not waiting:
        reactor.callLater(0, reactor.stop)


class Scripted(Protocol):
    """A proxy."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = [*SAYS[name]]

    def dataReceived(self, data: bytes) -> None:
        if self._left:
            self.transport.write(self._left.pop(0))  # type: ignore[union-attr]
        else:
            stands(self._name)


class Client(Protocol):
    """Notes its end."""

    def connectionMade(self) -> None:
        stands("through")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        outcomes["through"] = reason.type.__name__  # type: ignore[union-attr]


class Silent:
    """Looks nothing up."""

    def resolveHostName(self, receiver: Any, *asked: Any) -> Any:
        receiver.resolutionBegan(self)


def full(stack: ExitStack) -> int:
    """A port whose queue is full, so that nobody answers there."""
    listening, waiting = (stack.enter_context(socket.socket()) for _ in "12")
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    waiting.connect(listening.getsockname())
    return int(listening.getsockname()[1])


def listen(name: str) -> int:
    factory: Any = Factory()
    factory.noisy = False
    factory.buildProtocol = lambda addr: Scripted(name)
    return int(reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port)


def note(name: str, found: Any) -> None:
    if isinstance(found, Failure):
        stage = getattr(found.value, "stage", "")
        outcomes[name] = f"{found.type.__name__} {stage}".strip()  # type: ignore[union-attr]


def begin(name: str, port: int) -> Any:
    """Wait for a proxy there."""
    url = f"socks5://alice:secret@127.0.0.1:{port}"
    proxy = Proxy.from_url(reactor, url)
    if name == "tls":
        proxy = Proxy.from_url(reactor, url.replace("5", "5s", 1))
    elif name == "second hop":
        proxy = Proxy.chain(reactor, [url, "socks5://second.example"])
    elif name == "resolve":
        reactor.installNameResolver(Silent())
        proxy = Proxy.from_url(reactor, url, rdns=False)
    if name == "peer":
        port_of = proxy.bind(Factory.forProtocol(Client))
        return port_of.addCallback(lambda port: (stands(name), port.when_accepted())[1])
    if name == "udp":
        return proxy.associate().open()
    if name == "web":
        return proxy.agent().request(b"GET", b"http://www.example.org/")
    factory: Any = Factory.forProtocol(Client)
    factory.noisy = False
    return proxy.endpoint("www.example.org", 443).connect(factory)


if __name__ == "__main__":
    globalLogPublisher.addObserver(textFileLogObserver(sys.stderr))
    with ExitStack() as stack:
        ports = {"connect": full(stack), **{name: listen(name) for name in SAYS}, "resolve": 1}
        for name, port in ports.items():
            begin(name, port).addBoth(lambda found, name=name: note(name, found))
        reactor.run()
    sys.stdout.write(json.dumps(outcomes) + "\n")
