"""From rules as they are written to conditions that can be asked. What several rules have in common is made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from itertools import islice
from typing import Any, cast

from socks5.policy.conditions import (
    Clients,
    Commands,
    Condition,
    During,
    Groups,
    Guard,
    Listeners,
    Methods,
    Networks,
    Own,
    Ports,
    Targets,
    Users,
)
from socks5.policy.hours import Hours, check_zone
from socks5.policy.index import MOST_KEYS, network_key
from socks5.policy.ranges import Ranges, check_port, quoted, range_of
from socks5.policy.sets import (
    LOCAL,
    RANGES,
    SELF,
    UNIX,
    Entries,
    Listed,
    Names,
    check_client,
    check_name,
    check_network,
    entries_of,
    fixed_end,
    network_ranges,
    size_of,
)
from socks5.policy.special import NETWORKS, Network
from socks5.settings import COMMANDS

_Makers = tuple[tuple[str, Callable[[Any], Condition]], ...]


class Compiler:
    """Makes conditions.

    :param networks: sets by name.
    :param names: likewise.
    :param zone: of *during*; None: there is none.
    :param own: see :class:`socks5.policy.ruleset.Ruleset`.
    :raises ValueError: there is no such zone.
    """

    def __init__(
        self,
        networks: Mapping[str, Entries],
        names: Mapping[str, Entries],
        zone: str | tzinfo | None,
        own: Own | None,
    ) -> None:
        self._networks = networks
        self._names = names
        self._zone = check_zone(zone) if isinstance(zone, str) else zone
        self._own = own
        self._ranges: dict[str, Ranges] = dict(RANGES)
        self._name_sets: dict[str, Names] = {}
        self._made: dict[Hashable, Condition] = {}
        self._makers = {is_allow: self._makers_of(is_allow) for is_allow in (True, False)}

    @property
    def hours(self) -> list[Hours]:
        """Those that rules ask for."""
        return [each.hours for each in self._made.values() if isinstance(each, During)]

    def conditions(self, rule: Any) -> list[Condition]:
        """Those of a rule, what is quickly asked first, but for the guard.

        :param rule: a :class:`socks5.policy.ruleset.Rule`.
        :raises ValueError: an entry is none, or a set is missing.
        """
        is_allow = rule.action == "allow"
        return [
            self._once((key, tuple(entries), is_allow and key == "networks"), make, entries)
            for key, make in self._makers[is_allow]
            if (entries := getattr(rule, key))
        ]

    def _makers_of(self, is_allow: bool) -> _Makers:
        """What makes the condition behind each key of an allow, or of a deny."""
        return (
            ("commands", self._commands),
            ("listeners", Listeners),
            ("methods", lambda entries: Methods(tuple(map(str, entries)))),
            ("users", self._users),
            ("groups", Groups),
            ("clients", self._clients),
            ("ports", _ports),
            ("names", self._targets),
            ("networks", lambda entries: self._addresses(entries, is_allow)),
            ("during", self._during),
        )

    def guard(self, is_lifted: bool, is_via: bool) -> Condition:
        """What stands behind an allow."""
        return self._once(
            ("guard", is_lifted, is_via),
            lambda _: Guard(RANGES["special"], True, is_lifted, is_via),
            (),
        )

    def _once(self, key: Hashable, make: Callable[[Any], Condition], entries: Any) -> Condition:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = make(entries)
        return made

    @staticmethod
    def _commands(entries: Sequence[str]) -> Commands:
        for each in entries:
            if each not in COMMANDS:
                known = ", ".join(f'"{name}"' for name in COMMANDS)
                raise ValueError(f"expected one of {known}, got {quoted(each)}")
        return Commands(entries)

    @staticmethod
    def _users(entries: Entries) -> Users:
        return Users([_described(each) for each in entries], entries_of(entries))

    def _during(self, entries: Sequence[str]) -> During:
        if self._zone is None:
            raise ValueError('during needs a time zone; write zone = "Europe/Berlin" into [server]')
        return During(entries, Hours(entries, self._zone))

    # Networks

    def _clients(self, entries: Entries) -> Clients:
        plain, sets = _split(entries, check_client)
        keys = None if sets & {LOCAL, UNIX, SELF} else self._network_keys(plain, sets)
        return Clients(
            self._shown(entries, self._networks),
            keys,
            self._parts(plain, sets),
            LOCAL in sets,
            UNIX in sets,
            self._own_of(sets),
        )

    def _addresses(self, entries: Entries, is_allow: bool) -> Networks:
        plain, sets = _split(entries, check_network)
        keys = None if SELF in sets else self._network_keys(plain, sets)
        return Networks(
            self._shown(entries, self._networks),
            keys,
            self._parts(plain, sets),
            self._own_of(sets),
            is_allow,
        )

    def _own_of(self, sets: frozenset[str]) -> Own | None:
        if SELF not in sets:
            return None
        if self._own is None:
            raise ValueError("nobody says which addresses @self has")
        return self._own

    def _parts(self, plain: Sequence[Network], sets: frozenset[str]) -> tuple[Ranges, ...]:
        found = [self._set(name) for name in sorted(sets - {LOCAL, UNIX, SELF})]
        if plain:
            found.append(Ranges(map(range_of, plain)))
        return tuple(found)

    def _set(self, name: str) -> Ranges:
        if name not in self._ranges:
            if name not in self._networks:
                raise ValueError(f"there is no [networks.{name}]")
            self._ranges[name] = network_ranges(self._networks[name])
        return self._ranges[name]

    def _network_keys(
        self, plain: Sequence[Network], sets: frozenset[str]
    ) -> list[Hashable] | None:
        """By what rules on these networks are found, unless those are too many."""
        found = list(plain)
        for name in sets:
            if name in RANGES and name not in NETWORKS:
                return None
            more = NETWORKS[name] if name in NETWORKS else self._some_of(name)
            found += more
        return [network_key(each) for each in found] if len(found) <= MOST_KEYS else None

    def _some_of(self, name: str) -> Iterator[Network]:
        self._set(name)  # it is there
        some = islice(entries_of(self._networks[name]), MOST_KEYS + 1)
        return (cast("Network", check_network(each)) for each in some)

    # Names

    def _targets(self, entries: Entries) -> Targets:
        checked = [check_name(each) for each in entries_of(entries)]
        sets = [each[1:] for each in checked if each.startswith("@")]
        plain = [each for each in checked if not each.startswith("@")]
        parts = [self._name_set(name) for name in sets]
        if plain:
            parts.append(Names(plain))
        return Targets(
            self._shown(entries, self._names), self._name_keys(plain, sets), tuple(parts)
        )

    def _name_set(self, name: str) -> Names:
        if name not in self._name_sets:
            if name not in self._names:
                raise ValueError(f"there is no [names.{name}]")
            self._name_sets[name] = Names(entries_of(self._names[name]))
        return self._name_sets[name]

    def _name_keys(self, plain: Sequence[str], sets: Sequence[str]) -> list[str] | None:
        found = list(plain)
        for name in sets:
            some = islice(entries_of(self._names[name]), MOST_KEYS + 1)
            found += map(check_name, some)
        if len(found) > MOST_KEYS:
            return None
        ends = [end for each in found if (end := fixed_end(each)) is not None]
        return ends if len(ends) == len(found) else None

    @staticmethod
    def _shown(entries: Entries, sets: Mapping[str, Entries]) -> list[str]:
        """Entries for a reader, with the sizes of sets."""
        return [
            f"{each} ({size_of(sets[each[1:]])})"
            if isinstance(each, str) and each[:1] == "@" and each[1:] in sets
            else _described(each)
            for each in entries
        ]


def _described(entry: str | Listed) -> str:
    if isinstance(entry, Listed):
        return f"{entry.place} ({size_of(entry.entries)})"
    return entry


def _split(
    entries: Entries, check: Callable[[str], Network | str]
) -> tuple[list[Network], frozenset[str]]:
    """Networks, and the names of sets."""
    checked = [check(each) for each in entries_of(entries)]
    plain = [each for each in checked if not isinstance(each, str)]
    return plain, frozenset(each for each in checked if isinstance(each, str))


def _ports(entries: Iterable[str | int]) -> Ports:
    pairs = [check_port(each) for each in entries]
    count = sum(last - first + 1 for first, last in pairs)
    keys = None
    if count <= MOST_KEYS:
        keys = [port for first, last in pairs for port in range(first, last + 1)]
    return Ports([str(each) for each in entries], keys, Ranges(pairs))
