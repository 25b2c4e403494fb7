"""What is legal in rules, sets and limits, and hardly meant: warnings of ``socks5 check``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from socks5.app.config.building import Building
from socks5.app.config.keys import Configuration
from socks5.app.config.places import Path
from socks5.app.config.policy_keys import Rule
from socks5.app.config.ruling import default_of
from socks5.app.config.shadows import shadows
from socks5.app.config.values import as_key
from socks5.protocol.messages import Method
from socks5.settings import METHOD_NAMES

CERTIFICATE = "certificate"
"""The method of who has shown one."""


def warn(configuration: Configuration, building: Building, accepted: Sequence[Method]) -> None:
    """Say what is hardly meant.

    :param building: is told.
    :param accepted: methods that are accepted where nothing else is said.
    """
    _unused(configuration, building)
    _names(configuration, building)
    _methods(configuration, building, accepted)
    _sources(configuration, building)
    _shadowed(configuration, building)


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
        if not rule.names or rule.networks:
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


def _shadowed(configuration: Configuration, building: Building) -> None:
    networks = {name: each.entries for name, each in configuration.networks.items()}
    of = building.document.places.of
    for number, before in shadows(configuration.rule, networks):
        earlier: Rule = configuration.rule[before]
        building.warn(
            ("rule", number),
            f"never decides: rule {earlier.name} at {of(('rule', before), is_key=False)} takes all that it could",
        )
    if configuration.rule and default_of(configuration) == "report":
        building.warn(("server", "default"), '"report" allows what no rule decides')
