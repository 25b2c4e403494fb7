"""A policy as sessions use it: every part is there, strict about its answers, and methods are found by number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any

from socks5.auth import NoAuthentication
from socks5.deadlines import Deadlines, Line
from socks5.interfaces import IDialer, IRules, Policy
from socks5.limits import ILimits
from socks5.logins import IAuthenticator, IBans, IMethod
from socks5.outbound.direct import DirectDialer
from socks5.outbound.ways import Upstreams
from socks5.policy.rules import Rules
from socks5.protocol.messages import Method
from socks5.protocol.subnegotiation import NO_AUTHENTICATION, Methods
from socks5.server.gssapi_login import GSSAPI
from socks5.server.password_login import Password
from socks5.server.verdicts import strict_rules

_too_slow, _asks_nothing = methodcaller("too_slow"), methodcaller("asks_nothing")


class InForce:
    """What holds for the sessions that begin now.

    :param policy: what was asked for.
    :param direct: the dialer of a policy that has none.
    :param bans: remember failed logins.
    :param deadlines: serve time-outs.
    :param always_bans: whether they are in use also where there are no logins, or no limit of failures.
    :raises TypeError: the rules cannot judge: see :mod:`socks5.server.verdicts`.
    :raises ValueError: a method that the authenticator accepts cannot be carried out.
    """

    def __init__(
        self,
        policy: Policy,
        direct: IDialer,
        bans: IBans,
        deadlines: Deadlines,
        always_bans: bool = False,
    ) -> None:
        self.settings = policy.settings
        self.handshakes = deadlines.line(self.settings.handshake_timeout, _too_slow)
        self.requests = deadlines.line(self.settings.request_timeout, _asks_nothing)
        """Sessions that have to get so far in time."""
        self.authenticator = policy.authenticator
        # An object that is false is one all the same: rules may be as long as their list.
        self.rules: IRules = strict_rules(Rules() if policy.rules is None else policy.rules)
        self.limits: ILimits | None = policy.limits
        self.dialer: IDialer = direct if policy.dialer is None else policy.dialer
        dialer: Any = self.dialer
        self.has_usual_dialer = type(dialer) in (DirectDialer, Upstreams)
        """Whether it is no program's own."""
        is_short = self.has_usual_dialer and self.settings.idle_timeout <= 0
        self.dials: Line | None = dialer.line(self.settings) if is_short else None
        """Of :mod:`socks5.server.ends`; None: nobody goes that way."""
        self.family = self.settings.family
        self.methods: Mapping[int, IMethod | None] = dict(_methods(policy))
        """By METHOD octet, in the order of preference; None: nobody is asked who he is."""
        methods: Methods = {
            number: None if method is None else method.negotiate
            for number, method in self.methods.items()
        }
        self.subnegotiations = NO_AUTHENTICATION if methods == NO_AUTHENTICATION else methods
        self._only: dict[tuple[int, ...], Methods] = {}
        has_logins = any(method is not None for method in self.methods.values())
        is_banning = always_bans or (has_logins and self.settings.ban_after > 0)
        self.bans = bans if is_banning else None

    def only(self, numbers: Sequence[int] | None) -> Methods:
        """The methods of a listener that accepts these alone.

        :param numbers: METHOD octets, in order of preference; None: all.
        """
        if numbers is None:
            return self.subnegotiations
        key = tuple(numbers)
        if key not in self._only:
            known: Methods = {Method.NO_AUTHENTICATION: None, **self.subnegotiations}
            self._only[key] = {number: known[number] for number in key if number in known}
        return self._only[key]


def _methods(policy: Policy) -> Iterator[tuple[int, IMethod | None]]:
    """Those of a policy. Where others than the authenticator ask who somebody is, nobody is let in unasked unless it
    says so.
    """
    if policy.gssapi is not None:
        yield Method.GSSAPI, GSSAPI(policy.gssapi)
    for method in policy.methods:
        yield method.number, method
    authenticator = policy.authenticator
    if authenticator is None:
        if policy.gssapi is not None or policy.methods:
            return
        authenticator = NoAuthentication()
    for number in authenticator.methods:
        yield number, _method_of(authenticator, number)


def _method_of(authenticator: IAuthenticator, number: int) -> IMethod | None:
    if number == Method.NO_AUTHENTICATION:
        return None
    if number != Method.USERNAME_PASSWORD:
        raise ValueError(
            f"method {number}: an authenticator judges passwords; others are a policy's methods"
        )
    return Password(authenticator)
