"""What is legal in rules, sets and limits, and hardly meant: warnings of ``socks5 check``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from socks5.access import ACCEPTED
from socks5.app.config.building import Building
from socks5.app.config.client_keys import Listener
from socks5.app.config.conditions import FILE
from socks5.app.config.keys import Configuration
from socks5.app.config.places import Path
from socks5.app.config.policy_keys import Rule
from socks5.app.config.ruling import default_of
from socks5.app.config.shadows import shadows
from socks5.app.config.upstreams import goes_by_name, warn_of_upstreams
from socks5.app.config.values import as_key, as_toml
from socks5.protocol.messages import Method
from socks5.protocol.networks import network_of
from socks5.settings import METHOD_NAMES, OutgoingFamily

IPV4, IPV6 = "0.0.0.0", "::"
"""What stands for the addresses of a family."""

CERTIFICATE = "certificate"
"""The method of who has shown one."""


def warn(configuration: Configuration, building: Building, accepted: Sequence[Method]) -> None:
    """Say what is hardly meant.

    :param building: is told.
    :param accepted: methods that are accepted where nothing else is said.
    """
    _unused(configuration, building)
    _names(configuration, building)
    _signs(configuration, building)
    _methods(configuration, building, accepted)
    _sources(configuration, building)
    _shadowed(configuration, building)
    warn_of_upstreams(configuration, building)


def _sets_in(entries: Iterable[str]) -> Iterator[str]:
    return (each[1:] for each in entries if each.startswith("@"))


def _unused(configuration: Configuration, building: Building) -> None:
    rules, listeners = configuration.rule, configuration.listener.values()
    networks = {*_sets_in(configuration.bans.exempt)}
    limits = {*configuration.server.limits}
    for listener in listeners:
        networks |= {*_sets_in(listener.clients), *_sets_in(listener.proxy_from)}
        limits |= {*listener.limits}
    for rule in rules:
        networks |= {*_sets_in(rule.clients), *_sets_in(rule.networks)}
        limits |= {*rule.limits}
    for group in configuration.group.values():
        limits |= {*group.limits}
    groups = {name for rule in rules for name in rule.groups}
    groups |= {name for name, group in configuration.group.items() if group.limits}
    used: Mapping[str, tuple[Iterable[str], set[str]]] = {
        "networks": (configuration.networks, networks),
        "names": (configuration.names, {name for rule in rules for name in _sets_in(rule.names)}),
        "limit": (configuration.limit, limits),
        "group": (configuration.group, groups),
    }
    for section, (present, wanted) in used.items():
        for name in present:
            if name not in wanted:
                building.warn((section, name), "nothing uses it", is_about_key=True)


def _names(configuration: Configuration, building: Building) -> None:
    for number, rule in enumerate(configuration.rule):
        if not rule.names or rule.networks or goes_by_name(configuration, rule):
            continue
        path: Path = ("rule", number, "names")
        if rule.action == "allow":
            building.warn(
                path,
                "allowed by name alone: who has the name chooses the address, and only special ones are kept from it; "
                'networks = "@public" would say more',
            )
        else:
            building.warn(
                path,
                "denied by name alone: a client that resolves names itself is judged by the address that it sends, and "
                "not by this",
            )


def _signs(configuration: Configuration, building: Building) -> None:
    """Names of people that look like those of sets."""
    holders: list[tuple[Path, Sequence[str]]] = []
    for number, rule in enumerate(configuration.rule):
        holders += [(("rule", number, key), getattr(rule, key)) for key in ("users", "groups")]
    for group, section in configuration.group.items():
        holders.append((("group", group, "members"), section.members))
    for path, names in holders:
        for at, name in enumerate(names):
            if name.startswith("@"):
                building.warn(
                    (*path, at) if len(names) > 1 else path,
                    f"the name of somebody with an @, for people have no sets; a group is groups = {as_toml(name[1:])}",
                )


def _methods(configuration: Configuration, building: Building, accepted: Sequence[Method]) -> None:
    """Methods that nobody can have used."""
    present: set[str | int] = {name for name, number in METHOD_NAMES.items() if number in accepted}
    listeners = configuration.listener.values()
    present |= {name for listener in listeners for name in listener.methods}
    if any(listener.tls and listener.tls.client_ca for listener in listeners):
        present.add(CERTIFICATE)
    for number, rule in enumerate(configuration.rule):
        for at, method in enumerate(rule.methods):
            if isinstance(method, str) and method not in present:
                path: Path = ("rule", number, "methods")
                building.warn(
                    (*path, at) if len(rule.methods) > 1 else path,
                    f"nobody logs in by {method}: no source, or no listener, is for it",
                )


def _sources(configuration: Configuration, building: Building) -> None:
    """A name is one person, whichever source vouches for it."""
    sources = [f"[auth.{as_key(name)}]" for name in configuration.auth]
    if configuration.gssapi is not None and configuration.gssapi.local_realms:
        sources.append("[gssapi]")
    if any(listener.tls and listener.tls.client_ca for listener in configuration.listener.values()):
        sources.append("certificates")
    if len(sources) < 2:
        return
    words = f"a name is one person, whichever vouches for it: {', '.join(sources)}"
    for number, rule in enumerate(configuration.rule):
        if rule.users:
            building.warn(("rule", number, "users"), words)
    for name, group in configuration.group.items():
        if group.members:
            building.warn(("group", name, "members"), words)
    for name, limit in configuration.limit.items():
        if limit.per == "user":
            building.warn(("limit", name, "per"), words)


def warn_of_sources(
    configuration: Configuration, building: Building, family: OutgoingFamily
) -> None:
    """Say which rules have no target that is ever reached, for want of a source of its family.

    :param family: over which targets are reached at all.
    """
    for number, rule in enumerate(configuration.rule):
        if not rule.source:
            continue
        wanted = {each for each in _families(rule.networks, configuration) if family.allows(each)}
        if rule.source == (ACCEPTED.value,):
            names = rule.listeners or configuration.listener
            listeners = [configuration.listener[name] for name in names]
            present = {each for listener in listeners for each in _reached_on(listener)}
            if not listeners:  # but that of who says nothing, on loopback
                present = {IPV4}
        else:
            present = {*_families(rule.source, configuration)}
        if not wanted & present:
            building.warn(
                ("rule", number, "source"),
                "nobody is reached from there: no target of this rule is of that family, or its family is not used "
                "(server.outgoing, outgoing_family)",
            )


def _families(entries: Sequence[str], configuration: Configuration) -> Iterator[str]:
    """Of which families networks or addresses may be, an address of each."""
    for entry in entries or ("@",):
        own = configuration.networks.get(entry[1:]) if entry.startswith("@") else None
        if own is not None:
            yield from _families(own.entries, configuration)
        elif entry.startswith(("@", FILE)):
            yield from (IPV4, IPV6)
        else:
            yield IPV4 if network_of(entry).version == 4 else IPV6


def _reached_on(listener: Listener) -> Iterable[str]:
    """Of which families the addresses may be that its clients reach it on."""
    if listener.unix is not None:
        return ()
    if not listener.address or listener.proxy_from or "::" in listener.address:
        return (IPV4, IPV6)
    return [IPV6 if ":" in each else IPV4 for each in listener.address]


def _shadowed(configuration: Configuration, building: Building) -> None:
    networks = {name: each.entries for name, each in configuration.networks.items()}
    of = building.document.places.of
    for number, before in shadows(configuration.rule, networks):
        earlier: Rule = configuration.rule[before]
        taken = f"rule {earlier.name} at {of(('rule', before), is_key=False)} takes all"
        is_guarded = (earlier.action, configuration.rule[number].action) == ("allow", "deny")
        building.warn(
            ("rule", number),
            f"decides on @special addresses at most: {taken} else"
            if is_guarded
            else f"never decides: {taken} that it could",
        )
    if configuration.rule and default_of(configuration) == "report":
        building.warn(("server", "default"), '"report" allows what no rule decides')
