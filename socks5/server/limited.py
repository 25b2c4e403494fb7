"""What a session has of limits: from its request, which may be refused for them, to its end.

The limits of a rule are known with the rule: at once, or once an address is. A session then enters those as well,
before it is dialled; of several addresses the first one's count, for others have to agree with it. An association
enters those of every rule that allows a target, for what it moves to and from the targets of that rule.
"""

from __future__ import annotations

from typing import Protocol

from typing_extensions import override

from socks5.access import Access, Verdict
from socks5.limits import ILease, ILimits
from socks5.policy.leases import Together

_DENIED = Verdict(False)


class Client(Protocol):
    """A session, as far as it is looked at here."""

    access: Access
    entered: ILease | None

    def used_up(self) -> None:
        """A quota is."""


def enter(session: Client, limits: ILimits, verdict: Verdict) -> str:
    """Let a session in whose request is allowed so far, unless a limit is reached.

    :param verdict: on its request.
    :returns: which; "": it is in.
    """
    access = session.access
    lease = limits.enter(access._replace(rule="") if access.rule else access)
    if lease is None:
        return limits.why(access)
    session.entered = lease
    if lease.is_metered:
        lease.ended = session.used_up
    if verdict.limits:
        entered = of_rules(session, limits)
        entered.judged(verdict)
        return entered.refused
    return ""


def of_rules(session: Client, limits: ILimits | None) -> Entered:
    """What a session that has entered has of limits, and may have of those of rules.

    :param limits: those, if there are any.
    """
    lease = session.entered
    assert lease is not None
    if isinstance(lease, Entered):
        return lease
    session.entered = entered = Entered(session, limits, lease)
    return entered


def meter_of(lease: ILease | None) -> ILease | None:
    """What is told of octets that a session moves, which has this of limits; None: nobody wants to know."""
    if lease is None or not lease.is_metered:
        return None
    return lease.meter if isinstance(lease, Entered) else lease


def refused_by(lease: ILease | None) -> str:
    """The limit of a rule that has refused a session last, which has this of limits; "" if none has."""
    refused: str = getattr(lease, "refused", "")
    return refused


class Entered(Together):
    """Of one session that rules with limits may be for, as one lease.

    :param session: that.
    :param limits: what it enters.
    :param lease: what it has of those that are no rule's.
    :ivar refused: the limit that has refused it last; "" if none has.
    """

    __slots__ = (
        "_by_rule",
        "_first",
        "_is_turned_away",
        "_limits",
        "_metered",
        "_session",
        "refused",
    )

    def __init__(self, session: Client, limits: ILimits | None, lease: ILease) -> None:
        self._session = session
        self._limits = limits
        self._by_rule: dict[str, ILease] = {}
        self._metered = [lease] if lease.is_metered else []
        super().__init__([lease])
        self._first: tuple[str, ...] | None = None
        self._is_turned_away = False
        self.refused = ""

    def _add(self, rule: str) -> bool:
        """Enter the limits of a rule.

        :returns: whether it is in.
        """
        session = self._session
        if self._limits is None:
            return True
        access = session.access._replace(rule=rule)
        lease = self._limits.enter(access)
        if lease is None:
            self.refused = self._limits.why(access)
            return False
        self.refused = ""
        self._by_rule[rule] = lease
        self._leases.append(lease)
        if lease.is_metered:
            self._metered.append(lease)
            lease.ended = session.used_up
        return True

    def judged(self, verdict: Verdict) -> Verdict:
        """A verdict allows the request, or an address of its target.

        :returns: it, unless one of its limits is reached.
        """
        if self._first is None:
            self._is_turned_away = bool(verdict.limits) and not self._add(verdict.rule)
            if self._is_turned_away:
                return _DENIED
            self._first = verdict.limits
        return verdict

    def judged_datagram(self, verdict: Verdict) -> Verdict:
        """The same of a datagram's target."""
        if verdict.limits and verdict.rule not in self._by_rule and not self._add(verdict.rule):
            return _DENIED
        return verdict

    @property
    def meter(self) -> ILease:
        """What is told of octets."""
        metered = self._metered
        return metered[0] if len(metered) == 1 else Together(metered)

    @property
    def meter_of_datagrams(self) -> ILease:
        """The same for an association, which may enter more later."""
        return Together(self._metered)

    def meter_of_rule(self, rule: str) -> ILease | None:
        """See :meth:`socks5.interfaces.ISession.meter_of_rule`."""
        lease = self._by_rule.get(rule)
        if lease is None or not lease.is_metered:
            return None
        if lease in self._metered:
            self._metered.remove(lease)
        return lease

    @override
    def leave(self, up: int = 0, down: int = 0, has_begun: bool = True) -> None:
        """See :meth:`socks5.limits.ILease.leave`."""
        super().leave(up, down, has_begun and not self._is_turned_away)
