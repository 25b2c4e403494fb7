"""What rules know of one access, in the form that conditions ask for."""

from __future__ import annotations

from functools import lru_cache

from twisted.internet.error import DNSLookupError

from socks5.access import Access
from socks5.names import literal
from socks5.policy.ranges import meanings_of, number_of
from socks5.policy.sets import names_that_match, plain_name
from socks5.protocol.address import unmap
from socks5.protocol.messages import Command

NO = 0
"""A condition does not hold."""

OPEN = 1
"""Its fact is not known yet."""

YES = 2
"""It holds."""

KNOWN = 0
"""All facts are known."""

NAMED = 1
"""The address is not."""

ASSOCIATING = 2
"""It is an association that is asked for: neither name nor address nor port is known, whatever the request holds."""

NO_GROUPS: frozenset[str] = frozenset()


@lru_cache(maxsize=1024)
def _meant(host: bytes) -> tuple[str | None, str | None]:
    """What a client has sent as a name: the name, or the address; neither if it can be none."""
    address = literal(host)
    if address is not None:
        return None, address
    try:
        return plain_name(host), None
    except DNSLookupError:
        return None, None


def _number(host: str) -> int:
    """A client's address on the line; -1 for a client that has none."""
    try:
        return number_of(host)
    except ValueError:
        return -1


class Facts:
    """One access, looked at once.

    :param access: who asks for what.
    :param address: see :meth:`socks5.interfaces.IRules.judge`.
    :param second: since 1970; only asked for by those who have hours.
    """

    __slots__ = (
        "access",
        "address",
        "client",
        "client_number",
        "command",
        "groups",
        "is_local",
        "is_refused",
        "matching",
        "meanings",
        "name",
        "port",
        "second",
        "unknown",
        "user",
    )

    def __init__(self, access: Access, address: str | None, second: int = 0) -> None:
        self.access = access
        self.second = second
        self.client = access.client
        self.client_number = _number(access.client) if access.client else -1
        self.is_local = access.is_local
        self.command = access.command
        user = access.user
        self.user: str | None = None if user is None else user.name
        self.groups = NO_GROUPS if user is None else frozenset(getattr(user, "groups", ()))
        self.is_refused = False
        """Whether what was asked for cannot be the name of a host."""
        self.name: str | None = None
        """What was asked for; None: an address."""
        self.matching: tuple[str, ...] = ()
        self.port = access.target.port
        self.unknown = KNOWN
        self.address: str | None = address
        self._ask_for(access)
        self.meanings = () if self.address is None else meanings_of(self.address)

    def _ask_for(self, access: Access) -> None:
        """What the target is."""
        target, command = access.target, access.command
        if self.address is None and command == Command.UDP_ASSOCIATE and not access.is_datagram:
            self.unknown = ASSOCIATING
            return
        if command == Command.BIND and target.is_unspecified:
            self.unknown = NAMED if self.address is None else KNOWN
            return
        if isinstance(target.host, bytes):
            self.name, known = _meant(target.host)
            if self.name is not None:
                self.matching = names_that_match(self.name)
            self.is_refused = self.name is None and known is None
        else:
            known = unmap(target.host)
        if self.address is None:
            self.address = known
            self.unknown = NAMED if known is None else KNOWN
