"""Who may do what to which address. Pure decisions: no I/O.

The rules that hold when nothing else is said: clients on this host may go anywhere; clients
elsewhere may go anywhere except to addresses that would turn the proxy into a door to this host or
its neighbourhood - loopback, link-local and cloud-metadata addresses, multicast, broadcast, the
unspecified address - in whatever form they are written. Decided on the address that is dialled, so
neither a name nor an IPv6 address that carries an IPv4 one gets round it. And nobody connects to the proxy
through itself.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import ClassVar

from zope.interface import implementer

from socks5.access import ALLOWED, DENIED, Access, Verdict
from socks5.interfaces import IRules
from socks5.policy.special import SPECIAL_NETWORKS
from socks5.protocol.embedded import carried
from socks5.protocol.networks import Networks

_SPECIAL = Networks(SPECIAL_NETWORKS)


@lru_cache(maxsize=4096)
def is_special(host: str) -> bool:
    """Whether an IP literal is, or leads to, one of :data:`~socks5.policy.special.SPECIAL_NETWORKS`.

    :raises ValueError: *host* is no IP literal.
    """
    address = ip_address(host)
    number = int(address)
    if address.version == 4:
        return _SPECIAL.holds(number, 4)
    return _SPECIAL.holds(number, 16) or any(_SPECIAL.holds(each, 4) for each in carried(number))


@implementer(IRules)
class Rules:
    """The rules that hold when nothing else is said; see the module. Subclass it to add to them."""

    reaches_itself: ClassVar[bool] = False
    """Whether clients may connect to the proxy's own listeners through it."""

    def judge(self, access: Access, address: str | None) -> Verdict:
        """See :meth:`socks5.interfaces.IRules.judge`. These verdicts are there at once, and their rules have no
        names.
        """
        if address is None:
            return ALLOWED
        if is_special(address) and not access.is_local:
            return DENIED
        is_open = self.reaches_itself or not access.leads_to_us(address)
        return ALLOWED if is_open else DENIED

    def allows(self, access: Access, address: str | None) -> bool:
        """The verdict as True or False, for rules that were written before there were verdicts: they override this
        one, and ask it by ``super()``.
        """
        return self.judge(access, address).is_allowed
