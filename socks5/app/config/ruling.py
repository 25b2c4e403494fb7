"""Who may do what, and how much: the sections ``rule``, ``networks``, ``names``, ``group`` and ``limit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import tzinfo
from ipaddress import ip_address
from operator import attrgetter
from typing import Any

from socks5.app.config.building import Building
from socks5.app.config.conditions import Entry, NameEntry, NetworkEntry, UserEntry, is_file
from socks5.app.config.document import Document, Refused
from socks5.app.config.keys import Configuration
from socks5.app.config.places import Path
from socks5.app.config.policy_keys import Rule as Section
from socks5.app.config.tree import named, table, texts
from socks5.app.config.tree import rules as raw_rules
from socks5.app.inherit import Worker
from socks5.interfaces import IRules
from socks5.limits import ILimits
from socks5.net.own import is_own_address
from socks5.policy.counters import Quotas
from socks5.policy.hours import check_zone
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.policy.ruleset import Rule, Ruleset
from socks5.policy.sets import Entries, entries_of
from socks5.policy.shared_quotas import SharedQuotas

NETWORKS, NAMES, USERS = NetworkEntry(takes_sets=False), NameEntry(takes_sets=False), UserEntry()
"""What stands in sets, in groups, and in the files of either."""

_ENTRIES: Mapping[str, Entry] = {
    "clients": NETWORKS,
    "networks": NETWORKS,
    "names": NAMES,
    "users": USERS,
}
"""Conditions that may have files."""

_KEYS = tuple(each.name for each in fields(Section))
_values_of = attrgetter(*_KEYS)


def default_of(configuration: Configuration) -> str:
    """What no rule decides."""
    said = configuration.server.default
    return said or ("deny" if configuration.rule else "allow")


def keep_shut(before: Configuration, after: Configuration, document: Document) -> None:
    """Refuse that the last rule goes away, and with it the default, where nobody has said that.

    :param document: what comes after.
    :raises socks5.app.config.document.Refused: so it is.
    """
    if before.rule and not after.rule and after.server.default is None:
        sentence = (
            'expected default = "allow", for the last [[rule]] went away, and without one everybody would be let in; '
            "or a rule"
        )
        raise Refused([document.problem(("server", "default"), sentence)])


def rules(configuration: Configuration, building: Building) -> IRules | None:
    """Who may do what; None: what holds where nothing is said."""
    networks = {
        name: building.entries(("networks", name, "entries"), each.entries, NETWORKS)
        for name, each in configuration.networks.items()
    }
    names = {
        name: building.entries(("names", name, "entries"), each.entries, NAMES)
        for name, each in configuration.names.items()
    }
    groups = members(configuration, building)
    default = default_of(configuration)
    if not configuration.rule and default == "allow":
        return None
    made = [
        _rule(("rule", number), section, building)
        for number, section in enumerate(configuration.rule)
    ]
    return Ruleset(
        made,
        networks=networks,
        names=names,
        groups=groups,
        default=default,
        zone=configuration.server.zone,
        own=own(configuration.server.advertise),
    )


def _rule(path: Path, section: Section, building: Building) -> Rule:
    values = dict(zip(_KEYS, _values_of(section), strict=True))
    for name, kind in _ENTRIES.items():
        if values[name]:
            values[name] = building.entries((*path, name), values[name], kind)
    place = building.document.places.of(path, is_key=False)
    return Rule(**values, place=f"{place.source}:{place.line}" if place.line else place.source)


def members(configuration: Configuration, building: Building) -> Mapping[str, Sequence[str]]:
    """Who belongs to each group, besides whom the sources of users know."""
    found: dict[str, Sequence[str]] = {}
    for name, group in configuration.group.items():
        entries: Entries = building.entries(("group", name, "members"), group.members, USERS)
        found[name] = list(entries_of(entries))
    return found


def own(advertise: Sequence[str]) -> Callable[..., bool]:
    """What tells whether an IP literal is an address of this host: one that it has, or that clients are told."""
    told = {ip_address(each) for each in advertise}

    def is_own(host: str, *, unknown: bool) -> bool:
        return is_own_address(host, unknown=unknown) or (
            bool(told) and ip_address(host.partition("%")[0]) in told
        )

    return is_own


def limits(
    configuration: Configuration, building: Building, clock: Any, worker: Worker | None = None
) -> ILimits | None:
    """How much there may be; None: as much as there is room for.

    :param clock: the reactor.
    :param worker: this process as a worker, which shares them.
    """
    server = configuration.server
    if not configuration.limit:
        return None
    quotas: Quotas | None = None
    if server.state is not None and server.zone is not None:
        path = building.path(server.state)
        zone = check_zone(server.zone)
        quotas = _quotas(clock, path, zone) if worker is None else SharedQuotas(clock, zone)
    made = [
        Limit(name, **{each.name: getattr(section, each.name) for each in fields(section)})
        for name, section in configuration.limit.items()
    ]
    return Limits(
        made,
        server=server.limits,
        listeners={name: each.limits for name, each in configuration.listener.items()},
        groups={name: each.limits for name, each in configuration.group.items()},
        members=members(configuration, building),
        rules={each.name: each.limits for each in configuration.rule},
        clock=clock,
        quotas=quotas,
        workers=1 if worker is None else worker.count,
    )


def _quotas(clock: Any, path: str, zone: tzinfo) -> Quotas:
    from socks5.policy.ledger import Ledger  # and with it SQLite, which is not small
    from socks5.policy.quotas import Quotas

    return Quotas(clock, Ledger(path), zone)


def look_into_state(state: str, building: Building) -> None:
    """See whether what is used of quotas can be kept in a file."""
    path = ("server", "state")
    file = building.file(path, state)
    if building.is_only_looking:
        from socks5.policy.ledger import why_not_used

        if reason := why_not_used(file):
            building.wrong(path, f"expected a file of quotas, got {file} ({reason})")


def look_into_lists(building: Building) -> None:
    """Read every list that a document names, whatever else is wrong with it, in the order of building."""
    tree = building.document.tree
    holders: list[tuple[Path, Mapping[str, Any], str, Entry]] = [
        (("bans",), table(tree, "bans"), "exempt", NETWORKS)
    ]
    of_sections: tuple[tuple[str, str, Entry], ...] = (
        ("listener", "clients", NETWORKS),
        ("listener", "proxy_from", NETWORKS),
        ("networks", "entries", NETWORKS),
        ("names", "entries", NAMES),
        ("group", "members", USERS),
    )
    for section, key, kind in of_sections:
        holders += [(path, each, key, kind) for path, each in named(tree, section)]
    holders += [
        (path, rule, name, kind)
        for path, rule in raw_rules(tree)
        for name, kind in _ENTRIES.items()
    ]
    for path, holder, key, kind in holders:
        for at, text in texts(holder, path, key):
            if is_file(text):
                building.entries(at, [text], kind)
