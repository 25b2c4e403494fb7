"""What a session has of limits: from its request, which may be refused for them, to its end.

The limits of a rule are known with the rule: at once, or once an address is. A session then enters those as well,
before it is dialled; of several addresses the first one's count, for others have to agree with it. An association
enters those of every rule that allows a target, for what it moves to and from the targets of that rule.
"""

from __future__ import annotations

from typing import Any, Protocol

from socks5.access import Access, Reason, Verdict
from socks5.interfaces import ILease, ILimits
from socks5.net.poller import Poller
from socks5.policy.leases import Together
from socks5.relay.metered_passing import MeteredPassing

_DENIED = Verdict(False)


class Client(Protocol):
    """A session, as far as it is looked at here."""

    access: Access
    entered: Entered | None

    def close(self, reason: Reason) -> None:
        """See :meth:`socks5.interfaces.IManagedSession.close`."""


def enter(session: Client, limits: ILimits, verdict: Verdict) -> str:
    """Let a session in whose request is allowed so far, unless a limit is reached.

    :param verdict: on its request.
    :returns: which; "": it is in.
    """
    session.entered = entered = Entered(session, limits)
    if entered.add("") and verdict.limits:
        entered.judged(verdict)
    return entered.refused


class Entered:
    """Of one session.

    :param session: that.
    :param limits: what it enters.
    :ivar refused: the limit that has refused it last; "" if none has.
    """

    __slots__ = (
        "_first",
        "_is_turned_away",
        "_leases",
        "_limits",
        "_metered",
        "_session",
        "refused",
    )

    def __init__(self, session: Client, limits: ILimits) -> None:
        self._session = session
        self._limits = limits
        self._leases: dict[str, ILease] = {}  # by rule
        self._metered: list[ILease] = []
        self._first: tuple[str, ...] | None = None
        self._is_turned_away = False
        self.refused = ""

    def add(self, rule: str) -> bool:
        """Enter the limits of a rule; "": those of the server, of the listener and of the user's groups.

        :returns: whether it is in.
        """
        access = self._session.access
        if access.rule != rule:
            access = access._replace(rule=rule)
        lease = self._limits.enter(access)
        if lease is None:
            self.refused = self._limits.why(access)
            return False
        self.refused = ""
        self._leases[rule] = lease
        if lease.is_metered:
            self._metered.append(lease)
            lease.ended = self._used_up
        return True

    def _used_up(self) -> None:
        self._session.close(Reason.LIMIT)

    def judged(self, verdict: Verdict) -> Verdict:
        """A verdict allows the request, or an address of its target.

        :returns: it, unless one of its limits is reached.
        """
        if self._first is None:
            self._is_turned_away = bool(verdict.limits) and not self.add(verdict.rule)
            if self._is_turned_away:
                return _DENIED
            self._first = verdict.limits
        return verdict

    def judged_datagram(self, verdict: Verdict) -> Verdict:
        """The same of a datagram's target."""
        if verdict.limits and verdict.rule not in self._leases and not self.add(verdict.rule):
            return _DENIED
        return verdict

    @property
    def meter(self) -> ILease | None:
        """What is told of octets; None: nobody wants to know."""
        metered = self._metered
        if len(metered) > 1:
            return Together(metered)
        return metered[0] if metered else None

    def joined(self, poller: Poller, client: Any, target: Any) -> None:
        """The two ends of an ordinary session have become one: if anybody wants to know what they pass on, no more than
        may be told later goes the short way.
        """
        if self._metered:
            poller.hand_over(client.fd, MeteredPassing(client))
            poller.hand_over(target.fd, MeteredPassing(target))

    def moved(self, up: int, down: int) -> None:
        """An ordinary session has ended, which has passed on so many octets."""
        for each in self._metered:
            each.moved(up, down)

    @property
    def meter_of_datagrams(self) -> ILease:
        """The same for an association, which may enter more later."""
        return Together(self._metered)

    def meter_of_rule(self, rule: str) -> ILease | None:
        """See :meth:`socks5.interfaces.ISession.meter_of_rule`."""
        lease = self._leases.get(rule) if rule else None
        if lease is None or not lease.is_metered:
            return None
        if lease in self._metered:
            self._metered.remove(lease)
        return lease

    @property
    def slowed(self) -> float:
        """Seconds that the session had to wait so far: at the least, where not all of it had to."""
        return Together([*self._leases.values()]).slowed

    def leave(self, reason: str, text: str) -> str:
        """The session is over.

        :returns: what its record shows beside the reason: what the limits say, if it is because of them, else *text*.
        """
        leases = self._leases.values()
        for each in leases:
            each.leave(has_begun=not self._is_turned_away)
        return (reason == Reason.LIMIT and Together([*leases]).why) or text
