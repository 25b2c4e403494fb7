"""BIND (RFC 1928 section 4): have a port opened for one peer, reply twice, hand both streams to a relay."""

from __future__ import annotations

from typing_extensions import override
from zope.interface import implementer

from socks5.access import Reason
from socks5.interfaces import ICommand, IPeerPort, ISession
from socks5.protocol.messages import ReplyCode
from socks5.server.stream_command import StreamCommand


@implementer(ICommand)
class Bind(StreamCommand):
    """One BIND."""

    __slots__ = ("_port",)

    def __init__(self, session: ISession) -> None:
        super().__init__(session)
        self._port: IPeerPort | None = None

    def start(self) -> None:
        """See :meth:`socks5.interfaces.ICommand.start`."""
        session = self.session
        access = session.access
        self.waiting = opening = session.dialer.await_peer(
            access, access.target, session.judge, settings=session.settings, near=session.near
        )
        opening.addCallback(self._listening).addErrback(self.failed)

    def _listening(self, port: IPeerPort) -> None:
        self.waiting, self._port = None, port
        self.upstream = getattr(port, "upstream", "")
        port.peer.addCallbacks(self.came, self.failed)
        self.session.reply(ReplyCode.SUCCEEDED, port.bound)

    @override
    def stop(self, reason: Reason, within: float) -> None:
        """See :meth:`socks5.interfaces.ICommand.stop`."""
        if self._port is not None:
            self._port.close()
        super().stop(reason, within)
