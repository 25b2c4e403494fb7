"""Which of many rules may hold for an access. Each is found by its most selective condition: the one whose values the
fewest rules share. What cannot be found so is always among them.

While facts are open there is another index, without the conditions on those. Of rules that differ in nothing else the
first says all that the others could.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar, cast

from socks5.policy.conditions import Condition
from socks5.policy.facts import ASSOCIATING, KNOWN, NAMED, Facts
from socks5.policy.ranges import IPV6
from socks5.policy.special import Network

FEW = 16
"""So many rules are walked: that is quicker than to look them up."""

MOST_KEYS = 64
"""Values of a condition by which a rule is found; one with more is asked for itself."""

_KINDS = ("users", "groups", "names", "networks", "clients", "ports", "listeners", "methods")
"""Conditions that a rule may be found by, the most selective first where there is nothing else to tell."""

_OPEN: dict[int, frozenset[str]] = {
    KNOWN: frozenset(),
    NAMED: frozenset({"networks"}),
    ASSOCIATING: frozenset({"networks", "names", "ports"}),
}
"""On which facts conditions are open."""


class Indexed(Protocol):
    """A rule, as far as it is looked for."""

    @property
    def conditions(self) -> Sequence[Condition]:
        """All of which must hold."""

    @property
    def is_report_only(self) -> bool:
        """Whether it is only noted."""

    @property
    def kind(self) -> Hashable:
        """What beside its conditions makes a difference to what it says."""


_Rule = TypeVar("_Rule", bound=Indexed)


def network_key(network: Network) -> tuple[int, int, int]:
    """How rules on one network are found: family, how far to shift an address, and what is left of it."""
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift


class _Prefixes:
    """Rules by network."""

    def __init__(self, rules: dict[Hashable, list[int]]) -> None:
        self._tables: dict[int, dict[int, dict[int, list[int]]]] = {4: {}, 6: {}}
        for key, numbers in rules.items():
            version, shift, prefix = cast("tuple[int, int, int]", key)
            self._tables[version].setdefault(shift, {})[prefix] = numbers

    def find(self, number: int) -> Iterator[list[int]]:
        """Those on networks that an address on the line is in."""
        version = 4
        if number >= IPV6:
            version, number = 6, number - IPV6
        for shift, table in self._tables[version].items():
            found = table.get(number >> shift)
            if found is not None:
                yield found


class Index(Generic[_Rule]):
    """Rules, to be found while certain facts are not known.

    :param rules: in order.
    :param unknown: one of :data:`~socks5.policy.facts.KNOWN`, :data:`~socks5.policy.facts.NAMED`,
        :data:`~socks5.policy.facts.ASSOCIATING`.
    """

    def __init__(self, rules: Sequence[_Rule], unknown: int) -> None:
        self._rules = rules
        open_keys = _OPEN[unknown]
        kept = list(_distinct(rules, open_keys))
        found = self._by_keys(kept, open_keys) if len(kept) > FEW else {}
        sought = {number for table in found.values() for each in table.values() for number in each}
        self._always = [number for number in kept if number not in sought]
        self._all = [rules[number] for number in self._always]
        self._networks = _Prefixes(found.pop("networks", {}))
        self._clients = _Prefixes(found.pop("clients", {}))
        self._tables = found
        self._is_plain = not sought

    def _by_keys(
        self, kept: Iterable[int], open_keys: frozenset[str]
    ) -> dict[str, dict[Hashable, list[int]]]:
        """The rules' numbers, by kind of condition and by value."""
        kinds = {key: place for place, key in enumerate(_KINDS) if key not in open_keys}
        shared: dict[str, Counter[Hashable]] = {key: Counter() for key in kinds}
        candidates: dict[int, dict[str, tuple[Hashable, ...]]] = {}
        for number in kept:
            candidates[number] = keys = {}
            for condition in self._rules[number].conditions:
                key, values = condition.key, condition.keys
                if key in kinds and values is not None and len(values) <= MOST_KEYS:
                    keys[key] = values
                    shared[key].update(values)

        def selects(key: str) -> tuple[int, int]:
            return max(map(shared[key].__getitem__, keys[key])), kinds[key]

        found: dict[str, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, keys in candidates.items():
            if keys:
                best = min(keys, key=selects)
                for value in keys[best]:
                    found[best][value].append(number)
        return found

    def candidates(self, facts: Facts) -> Sequence[_Rule]:
        """The rules that may hold, in order."""
        if self._is_plain:
            return self._all
        numbers = set(self._always)
        for each in self._found(facts):
            numbers.update(each)
        return [self._rules[number] for number in sorted(numbers)]

    def _found(self, facts: Facts) -> Iterator[list[int]]:
        for number in facts.meanings:
            yield from self._networks.find(number)
        if facts.client_number >= 0:
            yield from self._clients.find(facts.client_number)
        for key, table in self._tables.items():
            for value in _values(key, facts):
                found = table.get(value)
                if found is not None:
                    yield found


def _values(key: str, facts: Facts) -> Iterable[Hashable]:
    """What there is to be found by."""
    match key:
        case "users":
            return (facts.user,)
        case "groups":
            return facts.groups
        case "names":
            return facts.matching
        case "ports":
            return (facts.port,)
        case "listeners":
            return (facts.access.listener,)
        case _:
            return (facts.access.method,)


def _distinct(rules: Sequence[Indexed], open_keys: frozenset[str]) -> Iterator[int]:
    """The numbers of those that may say something that none before them does."""
    if not open_keys:
        yield from range(len(rules))
        return
    seen = set()
    for number, rule in enumerate(rules):
        known = frozenset(each for each in rule.conditions if each.key not in open_keys)
        if len(known) < len(rule.conditions):
            if rule.is_report_only:  # it says nothing before its facts are known
                continue
            what = (rule.kind, known)
            if what in seen:
                continue
            seen.add(what)
        yield number
