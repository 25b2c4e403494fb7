"""The conditions of a rule. Each is *yes*, *no*, or *open* while its fact is not known, and can say why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from ipaddress import IPv4Address
from typing import ClassVar

from typing_extensions import override

from socks5.policy.facts import ASSOCIATING, NAMED, NO, OPEN, YES, Facts
from socks5.policy.hours import Hours
from socks5.policy.ranges import Ranges, shown
from socks5.policy.sets import Names
from socks5.protocol.messages import Command
from socks5.settings import COMMAND_NAMES, COMMANDS

Own = Callable[..., bool]
"""Whether an IP literal is this host's: ``own(host, unknown=…)``, the latter for what cannot be found out now."""

_WITHOUT_PORT = COMMANDS["bind"] | COMMANDS["resolve"]
"""CMD octets whose port is nothing that is connected to."""

_MOST_SHOWN = 4  # entries of a condition


def _listed(entries: Sequence[str]) -> str:
    """Entries for a reader."""
    some = ", ".join(entries[:_MOST_SHOWN])
    more = len(entries) - _MOST_SHOWN
    return f"{some} and {more} more" if more > 0 else some


class Condition(ABC):
    """What one key of a rule says.

    :param entries: as they are shown.
    :param keys: what the access that it holds for is found by (:mod:`socks5.policy.index`); None: it cannot be found
        so.
    """

    __slots__ = ("entries", "keys")

    key: ClassVar[str]
    """Of the rule."""

    def __init__(self, entries: Sequence[str], keys: Iterable[Hashable] | None = None) -> None:
        self.entries = tuple(entries)
        self.keys = None if keys is None else tuple(keys)

    @abstractmethod
    def answer(self, facts: Facts) -> int:
        """Whether it holds: :data:`~socks5.policy.facts.YES`, :data:`~socks5.policy.facts.NO` or
        :data:`~socks5.policy.facts.OPEN`.
        """

    @abstractmethod
    def subject(self, facts: Facts) -> str:
        """What the condition is about, for a reader."""

    def why(self, facts: Facts, answer: int) -> str:
        """Why it says so, for a reader."""
        if answer == OPEN:
            return f"{self.key}: not known yet"
        return f"{self.key}: {self.subject(facts)} is {'' if answer else 'not '}in {_listed(self.entries)}"


class Words(Condition):
    """One word, which is known: a listener, a method."""

    __slots__ = ("_words",)

    def __init__(self, entries: Sequence[str]) -> None:
        super().__init__(entries, entries)
        self._words = frozenset(entries)

    @override
    def answer(self, facts: Facts) -> int:
        return YES if self.subject(facts) in self._words else NO


class Listeners(Words):
    """Where the client came in."""

    __slots__ = ()
    key = "listeners"

    @override
    def subject(self, facts: Facts) -> str:
        return facts.access.listener


class Methods(Words):
    """How the client said who it is."""

    __slots__ = ()
    key = "methods"

    @override
    def subject(self, facts: Facts) -> str:
        return facts.access.method


class Commands(Condition):
    """What the client asks for."""

    __slots__ = ("_numbers",)
    key = "commands"

    def __init__(self, entries: Sequence[str]) -> None:
        self._numbers = frozenset[int]().union(*(COMMANDS[each] for each in entries))
        super().__init__(entries, self._numbers)

    @override
    def answer(self, facts: Facts) -> int:
        return YES if facts.command in self._numbers else NO

    @override
    def subject(self, facts: Facts) -> str:
        return COMMAND_NAMES.get(facts.command, f"command {facts.command}")


class Users(Condition):
    """Who the client is."""

    __slots__ = ("_names",)
    key = "users"

    def __init__(self, entries: Sequence[str], names: Iterable[str]) -> None:
        self._names = frozenset(names)
        super().__init__(entries, self._names)

    @override
    def answer(self, facts: Facts) -> int:
        return YES if facts.user in self._names else NO

    @override
    def subject(self, facts: Facts) -> str:
        return "nobody" if facts.user is None else facts.user


class Groups(Condition):
    """To whom the client belongs."""

    __slots__ = ("_names",)
    key = "groups"

    def __init__(self, entries: Sequence[str]) -> None:
        super().__init__(entries, entries)
        self._names = frozenset(entries)

    @override
    def answer(self, facts: Facts) -> int:
        return YES if not self._names.isdisjoint(facts.groups) else NO

    @override
    def subject(self, facts: Facts) -> str:
        return "nobody" if facts.user is None else facts.user


class Clients(Condition):
    """Where the client is.

    :param parts: networks, one of which it is in.
    :param is_local: or else it is certainly on this host.
    :param is_unix: or else it is on a UNIX socket.
    :param own: or else its address is this host's; None: that is not asked.
    """

    __slots__ = ("_is_local", "_is_unix", "_own", "_parts")
    key = "clients"

    def __init__(
        self,
        entries: Sequence[str],
        keys: Iterable[Hashable] | None,
        parts: Sequence[Ranges],
        is_local: bool,
        is_unix: bool,
        own: Own | None,
    ) -> None:
        super().__init__(entries, keys)
        self._parts = parts
        self._is_local = is_local
        self._is_unix = is_unix
        self._own = own

    @override
    def answer(self, facts: Facts) -> int:
        number = facts.client_number
        if number >= 0 and any(number in part for part in self._parts):
            return YES
        if facts.is_local and (self._is_local or (self._is_unix and facts.client == "")):
            return YES
        if self._own is None or number < 0:
            return NO
        return YES if self._own(facts.client, unknown=False) else NO

    @override
    def subject(self, facts: Facts) -> str:
        if facts.client:
            return facts.client
        return "a client on a UNIX socket" if facts.is_local else "an unknown client"


class Targets(Condition):
    """What the client has asked for by name.

    :param parts: names, among which it is.
    """

    __slots__ = ("_parts",)
    key = "names"

    def __init__(
        self, entries: Sequence[str], keys: Iterable[Hashable] | None, parts: Sequence[Names]
    ) -> None:
        super().__init__(entries, keys)
        self._parts = parts

    @override
    def answer(self, facts: Facts) -> int:
        name = facts.name
        if name is None:
            return OPEN if facts.unknown == ASSOCIATING else NO
        for part in self._parts:
            if part.has(name, facts.matching):
                return YES
        return NO

    @override
    def subject(self, facts: Facts) -> str:
        return "an address" if facts.name is None else facts.name


class Networks(Condition):
    """The address that is used. One of its meanings is enough for a deny; an allow needs all of them.

    :param parts: networks, one of which a meaning is in.
    :param own: or else it is this host's; None: that is not asked.
    :param needs_all: whether it belongs to an allow.
    """

    __slots__ = ("_needs_all", "_own", "_parts")
    key = "networks"

    def __init__(
        self,
        entries: Sequence[str],
        keys: Iterable[Hashable] | None,
        parts: Sequence[Ranges],
        own: Own | None,
        needs_all: bool,
    ) -> None:
        super().__init__(entries, keys)
        self._parts = parts
        self._own = own
        self._needs_all = needs_all

    @override
    def answer(self, facts: Facts) -> int:
        if facts.address is None:
            return OPEN
        needs_all = self._needs_all
        for number in facts.meanings:
            if self._has(facts, number) is not needs_all:
                return NO if needs_all else YES
        return YES if needs_all else NO

    def _has(self, facts: Facts, number: int) -> bool:
        for part in self._parts:
            if number in part:
                return True
        if self._own is None:
            return False
        is_first = number == facts.meanings[0]
        host = facts.address if is_first else str(IPv4Address(number))
        return self._own(host, unknown=not self._needs_all)

    @override
    def subject(self, facts: Facts) -> str:
        return "" if facts.address is None else shown(facts.address)


class Ports(Condition):
    """The target's port."""

    __slots__ = ("_ranges",)
    key = "ports"

    def __init__(
        self, entries: Sequence[str], keys: Iterable[Hashable] | None, ranges: Ranges
    ) -> None:
        super().__init__(entries, keys)
        self._ranges = ranges

    @override
    def answer(self, facts: Facts) -> int:
        if facts.unknown == ASSOCIATING:
            return OPEN
        has_port = facts.command not in _WITHOUT_PORT
        return YES if has_port and facts.port in self._ranges else NO

    @override
    def subject(self, facts: Facts) -> str:
        if facts.command in _WITHOUT_PORT:
            return f"the port of a {COMMAND_NAMES[facts.command]}"
        return str(facts.port)


class During(Condition):
    """What time it is."""

    __slots__ = ("hours",)
    key = "during"

    def __init__(self, entries: Sequence[str], hours: Hours) -> None:
        super().__init__(entries)
        self.hours = hours

    @override
    def answer(self, facts: Facts) -> int:
        return YES if self.hours.holds(facts.second) else NO

    @override
    def subject(self, facts: Facts) -> str:
        return self.hours.shown(facts.second)


class Guard(Condition):
    """What keeps clients from addresses that are a door to this host or its neighbourhood, and from the proxy itself.

    :param special: those addresses.
    :param is_allow: whether it stands behind an allow, which does not hold there; else it is the deny that holds there.
    :param is_lifted: whether it lets everybody to special addresses.
    :param is_via: whether a name is somebody else's business.
    """

    __slots__ = ("_is_allow", "_is_lifted", "_is_via", "_special")
    key = "guard"

    def __init__(
        self, special: Ranges, is_allow: bool, is_lifted: bool = False, is_via: bool = False
    ) -> None:
        super().__init__(("@special",))
        self._special = special
        self._is_allow = is_allow
        self._is_lifted = is_lifted
        self._is_via = is_via

    @override
    def answer(self, facts: Facts) -> int:
        if facts.address is None:
            if self._is_via and facts.name is not None:
                return YES
            # A client on this host may go anywhere but to the proxy itself, which only a CONNECT leads to.
            is_free = self._is_lifted or facts.is_local
            if not is_free or (facts.unknown == NAMED and facts.command == Command.CONNECT):
                return OPEN
            return YES if self._is_allow else NO
        return YES if self._is_shut(facts) is not self._is_allow else NO

    def _is_shut(self, facts: Facts) -> bool:
        if facts.access.leads_to_us(facts.address or ""):
            return True
        if self._is_lifted or facts.is_local:
            return False
        return any(number in self._special for number in facts.meanings)

    @override
    def subject(self, facts: Facts) -> str:
        return "" if facts.address is None else shown(facts.address)

    @override
    def why(self, facts: Facts, answer: int) -> str:
        if answer == OPEN:
            return "guard: the address is not known yet"
        where = self.subject(facts)
        if facts.address is not None and facts.access.leads_to_us(facts.address):
            return f"guard: {where} leads to the proxy itself"
        if facts.address is not None and self._is_shut(facts):
            return f"guard: {where} is in @special"
        return f"guard: {where or facts.name or 'the target'} is not kept from this client"
