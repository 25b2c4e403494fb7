"""What a session has of limits: from its request, which may be refused for them, to its end."""

from __future__ import annotations

from typing import Protocol

from socks5.access import Access, Reason
from socks5.interfaces import ILease, ILimits


class Client(Protocol):
    """A session, as far as it is looked at here."""

    access: Access
    entered: Entered | None

    def close(self, reason: Reason) -> None:
        """See :meth:`socks5.interfaces.IManagedSession.close`."""


def enter(session: Client, limits: ILimits) -> str:
    """Let a session in whose request is allowed so far, unless a limit is reached.

    :returns: which; "": it is in.
    """
    lease = limits.enter(session.access)
    if lease is None:
        return limits.why(session.access)
    session.entered = Entered(session, lease)
    return ""


class Entered:
    """Of one session.

    :param session: that.
    :param lease: its part in the limits of the server, of its listener and of its user's groups.
    """

    __slots__ = ("_lease",)

    def __init__(self, session: Client, lease: ILease) -> None:
        self._lease = lease
        if lease.is_metered:
            lease.ended = lambda: session.close(Reason.LIMIT)

    @property
    def meter(self) -> ILease | None:
        """What is told of octets; None: nobody wants to know."""
        return self._lease if self._lease.is_metered else None

    @property
    def slowed(self) -> float:
        """Seconds that the session had to wait so far."""
        return self._lease.slowed

    def leave(self, reason: str, text: str) -> str:
        """The session is over.

        :returns: what its record shows beside the reason: what the limits say, if it is because of them, else *text*.
        """
        lease = self._lease
        lease.leave()
        return lease.why if reason == Reason.LIMIT and lease.why else text
