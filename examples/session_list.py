"""A SOCKS5 proxy whose sessions can be listed, watched and ended, over a UNIX socket that only its user may open.

    python examples/session_list.py 1080 control.sock

The proxy listens on 127.0.0.1; port 0 is one that is free. Talk to it with ``nc -U control.sock``: ``list``,
``watch``, ``kick 3`` for a session, ``kick 192.0.2.1`` for all of a client.
"""

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from socks5 import IManagedSession, ISessions, Reason, ServerFactory, as_text, listen


class Control(LineOnlyReceiver):
    """What one person asks."""

    delimiter = b"\n"
    stop_watching: Callable[[], None] | None = None

    def __init__(self, sessions: ISessions) -> None:
        self.sessions = sessions

    def lineReceived(self, line: bytes) -> None:
        """One command."""
        match line.decode("ascii", "replace").split():
            case ["list"]:
                for session in self.sessions:
                    self.tell(session)
            case ["watch"] if self.stop_watching is None:
                self.stop_watching = self.sessions.watch(opened=self.tell, closed=self.tell)
            case ["kick", number] if number.isdecimal():
                self.kick(self.sessions.find(number=int(number)))
            case ["kick", client]:
                self.kick(self.sessions.find(client=client))
            case _:
                self.say("list, watch, kick NUMBER, kick ADDRESS")

    def tell(self, session: IManagedSession) -> None:
        """A line for a session: the one that an access log would have."""
        self.say(as_text(session.info()))

    def kick(self, sessions: list[IManagedSession]) -> None:
        """End sessions: what is written already may still arrive for two seconds."""
        self.say(f"ends {len(sessions)}")
        for session in sessions:
            session.close(Reason.KICKED, within=2)

    def say(self, line: str) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(line.encode() + b"\n")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The person has left."""
        if self.stop_watching is not None:
            self.stop_watching()


class ControlFactory(Factory[Control]):
    """Has a :class:`Control` for each connection."""

    def __init__(self, sessions: ISessions) -> None:
        self.sessions = sessions

    def buildProtocol(self, addr: Any) -> Control:
        """Somebody has connected."""
        return Control(self.sessions)


async def main(reactor: Any, proxy_port: str, path: str) -> None:
    """Listen until it is interrupted."""
    factory = ServerFactory(reactor)
    control = UNIXServerEndpoint(reactor, path, mode=0o600)
    await control.listen(ControlFactory(factory.sessions))
    port = await listen(reactor, f"tcp:{proxy_port}:interface=127.0.0.1", factory)
    print("proxy", port.getHost())
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
