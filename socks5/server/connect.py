"""CONNECT (RFC 1928 section 4): dial the target, reply, hand both streams to a relay."""

from __future__ import annotations

from zope.interface import implementer

from socks5.interfaces import ICommand
from socks5.outbound.direct import DirectDialer
from socks5.server.stream_command import StreamCommand


@implementer(ICommand)
class Connect(StreamCommand):
    """One CONNECT."""

    __slots__ = ()

    def start(self) -> None:
        """See :meth:`socks5.interfaces.ICommand.start`."""
        session = self.session
        access, dialer, settings = session.access, session.dialer, session.settings
        if type(dialer) is DirectDialer:
            self.waiting = dialer.dial_for(self, access, access.target, session.judge, settings)
            return
        self.waiting = dialling = dialer.dial(
            access, access.target, session.judge, settings=settings, near=session.near
        )
        dialling.addCallbacks(self.came, self.failed)
