"""What is wrong between the parts of a file: names that nothing bears, keys that want others, listeners that overlap.

Looks at the tree itself, so that it finds everything even where the values of some keys are wrong; what is of a
wrong kind is passed over, for it is said elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from socks5.app.config.client_keys import DEFAULT_PORT
from socks5.app.config.places import Path
from socks5.app.config.policy_keys import two_of_a_family
from socks5.app.config.tables import NAME
from socks5.app.config.tree import Finding, Tree, absent, named, rules, table, texts
from socks5.app.config.upstream_references import findings_of_upstreams
from socks5.app.config.values import as_toml
from socks5.app.config.wording import Wording
from socks5.net.foreign import PLAIN, kind_of, where_of
from socks5.net.places import TCP, UNIX, can_share_clients
from socks5.policy.hours import check_zone
from socks5.policy.sets import ABOUT_CLIENTS, BUILT_IN, SELF
from socks5.settings import OutgoingFamily

PUBLIC = "public"

_FOR_RULES = frozenset({SELF, PUBLIC})
"""Built-in sets that are no plain list."""


def findings(tree: Tree, wording: Wording, folder: str) -> Iterator[Finding]:
    """Everything that is wrong between the parts of a tree.

    :param folder: what paths are relative to.
    """
    for look in (_sets, _limits, _of_rules, findings_of_upstreams, _default, _zone):
        yield from look(tree)
    for look_and_advise in (_server, _methods):
        yield from look_and_advise(tree, wording)
    yield from _overlaps(tree, wording, folder)


def _sets(tree: Tree) -> Iterator[Finding]:
    networks = {*table(tree, "networks"), *BUILT_IN} - ABOUT_CLIENTS
    names = {*table(tree, "names")}
    for name in sorted(BUILT_IN):
        if name in table(tree, "networks"):
            yield Finding(
                ("networks", name), f"@{name} is built in; choose another name", is_about_key=True
            )

    def look(
        holder: Mapping[str, Any], path: Path, key: str, section: str, known: set[str]
    ) -> Iterator[Finding]:
        for at, text in texts(holder, path, key):
            name = text[1:]
            if not (text.startswith("@") and NAME.fullmatch(name)) or name in known:
                continue
            if section == "networks" and name in _FOR_RULES:
                yield Finding(at, f"@{name} is only for rules")
            elif section != "networks" or name not in ABOUT_CLIENTS:  # else its kind has said it
                yield absent(at, section, name, known, "@")

    of_rules = (
        ("networks", "networks", networks),
        ("clients", "networks", networks | ABOUT_CLIENTS),
        ("names", "names", names),
    )
    for path, rule in rules(tree):
        for key, section, known in of_rules:
            if key in rule:
                yield from look(rule, path, key, section, known)
    for path, listener in named(tree, "listener"):
        for key in ("clients", "proxy_from"):
            yield from look(listener, path, key, "networks", networks - _FOR_RULES)
    yield from look(table(tree, "bans"), ("bans",), "exempt", "networks", networks - _FOR_RULES)


def _limits(tree: Tree) -> Iterator[Finding]:
    known = table(tree, "limit")
    holders = [(("server",), table(tree, "server")), *named(tree, "listener")]
    for path, holder in [*holders, *named(tree, "group"), *rules(tree)]:
        for at, name in texts(holder, path, "limits"):
            if NAME.fullmatch(name) and name not in known:
                yield absent(at, "limit", name, known)


def _of_rules(tree: Tree) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    listeners = table(tree, "listener")
    for path, rule in rules(tree):
        name = rule.get("name")
        if isinstance(name, str) and seen.setdefault(name, int(path[1])) != path[1]:
            sentence = f"expected a name of its own, got that of rule {seen[name] + 1}"
            yield Finding((*path, "name"), sentence)
        for at, name in texts(rule, path, "listeners"):
            if NAME.fullmatch(name) and name not in listeners:
                yield absent(at, "listener", name, listeners)


def _default(tree: Tree) -> Iterator[Finding]:
    found = list(rules(tree))
    default = table(tree, "server").get("default", "deny" if found else "allow")
    is_open = any(rule.get("action") != "deny" and not rule.get("report_only") for _, rule in found)
    if default == "deny" and not is_open:
        path: Path = ("rule", 0) if found else ("server", "default")
        sentence = (
            'expected a rule with action = "allow", or default = "allow" in [server]; got none, so that nobody '
            "could do anything"
        )
        yield Finding(path, sentence)


def _zone(tree: Tree) -> Iterator[Finding]:
    zone = table(tree, "server").get("zone")
    if isinstance(zone, str) and zone.isprintable():  # else its kind has said it
        try:
            check_zone(zone)
        except ValueError as error:
            yield Finding(("server", "zone"), str(error))
    if zone is None:
        for path, rule in rules(tree):
            if "during" in rule:
                sentence = 'expected zone in [server], such as zone = "Europe/Berlin"; whose clock it is nobody knows'
                yield Finding((*path, "during"), sentence)
    for path, limit in named(tree, "limit"):
        for name, example in (("zone", '"Europe/Berlin"'), ("state", '"state.sqlite3"')):
            if "quota" in limit and name not in table(tree, "server"):
                yield Finding(
                    (*path, "quota"),
                    f"expected {name} in [server] as well, such as {name} = {example}",
                )


def _server(tree: Tree, wording: Wording) -> Iterator[Finding]:
    server = table(tree, "server")
    for key in ("outgoing", "advertise"):
        addresses = tuple(text for _, text in texts(server, (), key) if _is_address(text))
        for wrong in two_of_a_family(addresses, ("server", key)):
            yield Finding(wrong.path, str(wrong))
    family = server.get("outgoing_family")
    if family in [each.value for each in OutgoingFamily]:
        for at, text in texts(server, ("server",), "outgoing"):
            if _is_address(text) and not OutgoingFamily(family).allows(text):
                sentence = (
                    f"expected an address of the one family that {wording.family.format(family)} leaves, got "
                    f"{as_toml(text)}"
                )
                yield Finding(at, sentence)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def methods_of(tree: Tree) -> set[str]:
    """The logins that there is something for."""
    types = {str(source.get("type")) for _, source in named(tree, "auth")}
    found = {"gssapi"} if "gssapi" in tree else set()
    found |= {"password"} if types else set()
    return found | ({"chap"} if types & {"secrets", "plugin"} else set())


def _methods(tree: Tree, wording: Wording) -> Iterator[Finding]:
    wanted = {
        "gssapi": f"{wording.gssapi} as well, there is no keytab",
        "chap": f"{wording.secrets} as well, there are no secrets",
        "password": f"{wording.users} as well, there are no users",
    }
    present = methods_of(tree)
    for path, listener in named(tree, "listener"):
        for at, method in texts(listener, path, "methods"):
            if method in wanted and method not in present:
                yield Finding(at, f"expected {wanted[method]}")


def _overlaps(tree: Tree, wording: Wording, folder: str) -> Iterator[Finding]:
    """Listeners of which each could have the other's clients.

    :param folder: what paths are relative to.
    """
    taken: dict[Hashable, list[tuple[str, str, str]]] = {}
    for path, listener in named(tree, "listener"):
        for at, text, key, address in _places(path, listener, folder):
            others = taken.setdefault(key, [])
            for name, other, its_address in others:
                if not (address and its_address):
                    whose = wording.another_listener.format(name)
                    yield Finding(at, f"expected one of its own, got that of {whose}")
                    break
                if can_share_clients(address, its_address):
                    whose = wording.another_listener.format(name)
                    sentence = (
                        f"expected an address of its own on port {key}, got {as_toml(text)}, which overlaps "
                        f"{as_toml(other)} of {whose}"
                    )
                    yield Finding(at, sentence)
                    break
            others.append((str(path[1]), text, address))


def _places(
    path: Path, listener: Mapping[str, Any], folder: str
) -> Iterator[tuple[Path, str, Hashable, str]]:
    """Where a listener listens: the key's path, how it is written, and for what can be had once, or for a port, the
    same thing for the same, and the address on it.
    """
    port = listener.get("port", DEFAULT_PORT)
    for at, text in texts(listener, path, "address"):
        if type(port) is int and port != 0 and _is_address(text):
            yield at, text, port, text
    for at, text in texts(listener, path, "unix"):
        if "\0" not in text:  # else its kind has said it
            yield at, text, ("unix", os.path.realpath(os.path.join(folder, text))), ""
    for at, text in texts(listener, path, "systemd"):
        yield at, text, ("systemd", text), ""
    for at, text in texts(listener, path, "endpoint"):
        where = _where(text)
        if isinstance(where, TCP):
            address = where.interface or "0.0.0.0"
            if where.port != 0 and _is_address(address):
                yield at, text, where.port, address
        elif isinstance(where, UNIX):
            yield at, text, ("unix", os.path.realpath(where.path)), ""
        else:
            yield at, text, ("endpoint", text), ""


def _where(endpoint: str) -> object:
    """What a plain endpoint listens on; None where that is seen only by what it opens."""
    if kind_of(endpoint) in PLAIN - {"systemd"}:
        with suppress(ValueError):  # which is said elsewhere
            return where_of(endpoint)
    return None
