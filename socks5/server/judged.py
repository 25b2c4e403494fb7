"""The layer of a session that asks the rules: for its request, for each address, and again when they are replaced."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from typing_extensions import override

from socks5.access import ALLOWED, NOBODY, Access, IUser, Reason, Verdict
from socks5.interfaces import ICommand, IDialer, IRules
from socks5.limits import ILease
from socks5.outbound.ways import Upstreams
from socks5.protocol.address import Address
from socks5.server.admission import Admission
from socks5.server.control import ControlConnection
from socks5.server.decisions import Decisions
from socks5.server.in_force import InForce
from socks5.server.limited import Entered, of_rules
from socks5.server.reconsidering import Reconsidering, renewed
from socks5.server.rejudging import given
from socks5.server.shared import Shared
from socks5.settings import Settings

FAREWELL = 1.0
"""Seconds that a session that is no longer allowed has to send what is written: two, with the look at the clock."""

LAST_PATIENCE = 1.0
"""Seconds that a command has to be through when it was stopped by force, before its session ends without it."""


class JudgedConnection(ControlConnection):
    """A control connection whose client asks for something."""

    __slots__ = ("_decisions", "access", "command", "entered", "policy", "rules", "shared", "user")

    # Set by the session, too.
    shared: Shared
    policy: InForce
    rules: IRules
    access: Access
    """Who asks for what: nobody for nothing, before the request."""
    command: ICommand | None
    """What it does."""
    user: IUser | None
    """Who is logged in."""
    method: str
    """How the client has said who it is."""
    admission: Admission | None
    _decisions: Decisions | None  # if there is something to be told
    entered: ILease | None
    """What it has of limits; None: there are none, or it has not asked yet, or is over."""

    @property
    @override
    def settings(self) -> Settings:
        """See :class:`socks5.interfaces.ISession`."""
        return self.policy.settings

    @property
    def dialer(self) -> IDialer:
        """See :class:`socks5.interfaces.ISession`. The upstreams are those of the rules by which this is judged."""
        began, now = self.policy, self.shared.in_force
        follows = began.has_usual_dialer and now.has_usual_dialer
        return now.dialer if follows and given(self.rules) is now.rules else began.dialer

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether the session has ended."""

    @abstractmethod
    def used_up(self) -> None:
        """See :attr:`socks5.limits.ILease.ended`."""

    @abstractmethod
    def close(self, reason: Reason = Reason.KICKED, within: float = 2.0, text: str = "") -> None:
        """See :meth:`socks5.interfaces.IManagedSession.close`."""

    @abstractmethod
    def forbid(self, reason: Reason, within: float, text: str = "") -> None:
        """What it does is no longer allowed: it ends, with that reply if one is awaited.

        :param within: seconds that it may take; a reply has the usual ones.
        """

    def judge(self, address: str | None, target: Address | None = None) -> Any:
        """See :meth:`socks5.interfaces.ISession.judge`."""
        access = self.access
        if target is not None:
            access = access._replace(target=target, is_datagram=True)
        verdict = self.rules.judge(access, address)
        if verdict is ALLOWED and self._decisions is None:
            return verdict
        if isinstance(verdict, Verdict):
            return self._note(verdict, address, target)
        later = cast("Deferred[Verdict]", verdict)
        return later.addCallback(self._note, address, target)

    def _note(self, verdict: Verdict, address: str | None, target: Address | None) -> Verdict:
        """Said of an address, or of None; of a datagram's target, or of the request."""
        if self._decisions is None:
            self._decisions = Decisions(self.shared.counters.rules)
        entered = self.entered
        if target is not None:
            if not self._is_last_word(verdict, address, target):
                return verdict
            self._decisions.of_datagram(verdict)
            if entered is not None and verdict.is_allowed:
                return self.under_rules().judged_datagram(verdict)
            return verdict
        self._decisions.of_request(verdict, address)
        if verdict.is_allowed and not self.access.rule:
            self._is_allowed_by(verdict)
        if entered is not None and address is not None and verdict.is_allowed:
            return self.under_rules().judged(verdict)
        return verdict

    def _is_last_word(self, verdict: Verdict, address: str | None, target: Address) -> bool:
        """Whether nothing more is asked about a datagram's target: if it is allowed, its address is, unless it is a
        name that an upstream resolves.
        """
        if address is not None or not verdict.is_allowed:
            return True
        via, dialer = verdict.via, self.dialer
        if via is None or not target.is_name:
            return False
        return not (isinstance(dialer, Upstreams) and dialer.wants_addresses(via))

    def under_rules(self) -> Entered:
        """What it has of limits, and may have of those of rules: it has entered."""
        return of_rules(self, self.shared.in_force.limits)

    def _is_allowed_by(self, verdict: Verdict) -> None:
        if verdict.rule != self.access.rule:
            self.access = self.access._replace(rule=verdict.rule)

    def rejudge(self, rules: IRules) -> Deferred[bool]:
        """See :meth:`socks5.interfaces.IManagedSession.rejudge`. The listener may have another name, too."""
        self.rules = rules
        if self.admission is not None and self.access is not NOBODY:
            self.access = self.access._replace(listener=self.admission.listener)
        if self.command is None:
            self.rules = Reconsidering(rules, self)
        if self.is_over or self.command is None:
            return succeed(True)  # it is judged when it asks, or again when the verdict comes
        return Deferred.fromCoroutine(self._rejudge(rules))

    def renew(self) -> bool:
        """Look whether the user is still one, and in which groups. If not, the session ends.

        :returns: whether it stays.
        """
        before = self.user
        if before is None or self.is_over:
            return True
        self.user = renewed(self, before)
        if self.user is None:
            self.user = before
            within = self.settings.close_timeout or LAST_PATIENCE
            self.forbid(Reason.RELOAD, within, f"reload: user {before.name} is gone")
            return False
        if self.access is not NOBODY:
            self.access = self.access._replace(user=self.user)
        return True

    async def _rejudge(self, rules: IRules) -> bool:
        if await self._is_allowed() or self.is_over or self.rules is not rules:
            return True  # also if others judge it by now
        rule = "" if self._decisions is None else self._decisions.refusal
        if rule:
            self.forbid(Reason.RELOAD, FAREWELL, f"reload: rule {rule}")
        else:
            self.forbid(Reason.NOT_ALLOWED, FAREWELL)
        return False

    async def _is_allowed(self) -> bool:
        verdict = self.judge(None)
        if not isinstance(verdict, Verdict):
            verdict = await verdict
        if not verdict.is_allowed:
            return False
        command = self.command  # the one of now
        stays = True if command is None else command.rejudge()
        return (stays if isinstance(stays, bool) else await stays) is True

    @property
    def _far(self) -> Address | None:
        """Whom the command has reached."""
        return None if self.command is None else self.command.far
