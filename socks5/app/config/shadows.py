"""Rules that never decide, for one before each takes all that it could.

Only what is certain is found: entries are compared as they are written, networks and suffixes by what holds them.
Pairs of 10 000 rules are 50 million; so a rule is compared with those alone that have a condition which its own
first entries meet, and with those that have no such condition.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from socks5.app.config.conditions import FILE
from socks5.app.config.policy_keys import Rule
from socks5.policy.ranges import IPV6, Ranges
from socks5.policy.sets import RANGES, names_that_match
from socks5.policy.special import NETWORKS, PRIVATE
from socks5.protocol.networks import network_of

MOST = 64
"""Rules with the same entry, or without any, that another one is compared with at the most."""

Sets = Mapping[str, Sequence[str]]

_SPECIAL_SETS = frozenset(
    f"@{name}" for name, networks in NETWORKS.items() if networks is not PRIVATE
)

_PLAIN = ("clients", "listeners", "commands", "methods", "users", "groups", "during")
"""Keys whose entries are compared as they are written."""


_IPV4 = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)(?:/([0-9]{1,2}))?")
"""Most networks, which have been looked at already."""


def _key(entry: str) -> Hashable:
    """An entry of networks, in a form that those are quickly found from which it is in."""
    ipv4 = _IPV4.fullmatch(entry)
    if ipv4 is not None:
        first, second, third, fourth, prefix = ipv4.groups("32")
        number = int(first) << 24 | int(second) << 16 | int(third) << 8 | int(fourth)
        return 4, 32 - int(prefix), number >> 32 - int(prefix)
    if entry.startswith(("@", FILE)):
        return entry
    network = network_of(entry)
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift


def _numbers(key: Any) -> tuple[int, int]:
    """Of a network's addresses, the first and the last."""
    version, shift, number = key
    base = IPV6 if version == 6 else 0
    return base + (number << shift), base + (number + 1 << shift) - 1


def _above(key: Any, shifts: Iterable[int]) -> Iterator[Hashable]:
    """Keys of what holds this one: itself, and networks that it is in.

    :param shifts: of all networks that there are.
    """
    yield key
    if isinstance(key, tuple):
        version, own, number = key
        for shift in shifts:
            if shift > own:
                yield version, shift, number >> (shift - own)


def _names_above(text: str) -> Iterator[str]:
    """Patterns that every name matches that matches this one."""
    yield text
    yield "*"
    bare = text.removeprefix("*").removeprefix(".")
    if "*" not in bare and not bare.startswith("@"):
        is_name = bare == text
        yield from (each for each in names_that_match(bare) if is_name or each != bare)


def _range(entry: str | int) -> tuple[int, int]:
    first, _, last = str(entry).partition("-")
    return int(first), int(last or first)


def _ports_within(inner: Sequence[str | int], outer: Sequence[str | int]) -> bool:
    ranges = [_range(each) for each in outer]
    return all(
        any(first <= low and high <= last for first, last in ranges)
        for low, high in map(_range, inner)
    )


class _Seen:
    """Rules that have been seen, by what selects them.

    :param sets: of networks.
    """

    def __init__(self, sets: Sets) -> None:
        self._sets = sets
        self._by_entry: dict[Hashable, list[int]] = {}
        self._general: list[int] = []
        self._rules: dict[int, tuple[Rule, frozenset[Hashable]]] = {}
        self._shifts: set[int] = set()

    def _networks(self, rule: Rule) -> frozenset[Hashable]:
        """Its networks, those of sets among them as far as they stand in the file."""
        found = list(rule.networks)
        for each in rule.networks:
            found += self._sets.get(each[1:], ()) if each.startswith("@") else ()
        return frozenset(map(_key, found))

    def add(self, number: int, rule: Rule) -> None:
        """Rules from now on come behind this one."""
        networks = self._networks(rule)
        self._rules[number] = rule, networks
        self._shifts |= {each[1] for each in networks if isinstance(each, tuple)}
        for name in ("users", "groups", "names"):
            if getattr(rule, name):
                self._add(name, getattr(rule, name), number)
                return
        if networks:
            self._add("networks", networks, number)
        elif len(self._general) < MOST:
            self._general.append(number)

    def _add(self, name: str, entries: Iterable[Hashable], number: int) -> None:
        for entry in entries:
            self._by_entry.setdefault((name, entry), []).append(number)

    def taker(self, rule: Rule) -> int | None:
        """The first that takes all that *rule* could."""
        above: list[tuple[str, Hashable]] = [
            (name, getattr(rule, name)[0]) for name in ("users", "groups") if getattr(rule, name)
        ]
        if rule.names:
            above += (("names", each) for each in _names_above(rule.names[0]))
        if rule.networks:
            keys = _above(_key(rule.networks[0]), self._shifts)
            above += (("networks", each) for each in keys)
        found = set(self._general)
        for each in above:
            found.update(self._by_entry.get(each, ())[:MOST])
        return next((number for number in sorted(found) if self._takes(number, rule)), None)

    def _takes(self, number: int, rule: Rule) -> bool:
        before, networks = self._rules[number]
        for name in _PLAIN:
            wanted = getattr(before, name)
            if wanted and not (getattr(rule, name) and {*getattr(rule, name)} <= {*wanted}):
                return False
        if before.ports and not (rule.ports and _ports_within(rule.ports, before.ports)):
            return False
        if before.names and not (rule.names and self._names_within(rule, {*before.names})):
            return False
        if networks and not (rule.networks and self._networks_within(rule, networks)):
            return False
        if before.action == "deny":
            return True
        # An allow holds for no special address, and only where all meanings of an address are in its networks.
        if rule.action == "deny":
            return not networks and not (rule.networks and self._are_special(rule))
        return before.unguarded or not rule.unguarded

    def _are_special(self, rule: Rule) -> bool:
        """Whether its networks hold special addresses alone."""
        return all(
            each in _SPECIAL_SETS or each[1:] in self._sets
            if isinstance(each, str)
            else not [*Ranges([_numbers(each)]).without(RANGES["special"])]
            for each in self._networks(rule)
        )

    @staticmethod
    def _names_within(rule: Rule, names: set[str]) -> bool:
        return all(any(each in names for each in _names_above(name)) for name in rule.names)

    def _networks_within(self, rule: Rule, networks: frozenset[Hashable]) -> bool:
        return all(
            any(each in networks for each in _above(_key(entry), self._shifts))
            for entry in rule.networks
        )


def shadows(rules: Sequence[Rule], networks: Sets) -> Iterator[tuple[int, int]]:
    """Rules that never decide, each with the one before it that takes all. A deny behind an allow may decide on special
    addresses yet, which no such allow holds for.

    :param networks: the entries of each set.
    """
    seen = _Seen(networks)
    for number, rule in enumerate(rules):
        taker = seen.taker(rule)
        if taker is not None:
            yield number, taker
        if not rule.report_only:
            seen.add(number, rule)
