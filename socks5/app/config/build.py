"""A configuration becomes what the program is made of. Everything that is read for it - lists, users, certificates,
keytabs - is there before anything listens, and all that is wrong with it is said at once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from twisted.internet.task import Clock

from socks5.access import ACCEPTED
from socks5.app.config.building import Building
from socks5.app.config.client_keys import LDAPSource, PluginSource
from socks5.app.config.document import Document, Problem
from socks5.app.config.entrances import Entrances
from socks5.app.config.keys import Configuration
from socks5.app.config.logins import MEMORY, Logins, logins
from socks5.app.config.ours import Ours
from socks5.app.config.places import Path
from socks5.app.config.read import read_on
from socks5.app.config.ruling import limits, look_into_lists, look_into_state, rules
from socks5.app.config.sense import warn_of_sources
from socks5.app.config.tables import about
from socks5.app.config.uncollected import uncollected
from socks5.app.config.upstreams import upstreams
from socks5.app.inherit import Worker
from socks5.app.listeners import Listener
from socks5.interfaces import IRules
from socks5.limits import ILimits
from socks5.net.own import is_own_address
from socks5.net.resolvconf import sources_beside_dns
from socks5.observe.accesslog import STANDARD_OUTPUT
from socks5.outbound.pool import Way
from socks5.protocol.messages import Method
from socks5.settings import Capacity, NameSource, PerFamily, Settings

OFF = "off"
"""The path of an access log that is none."""

Values = TypeVar("Values", Settings, Capacity)


@dataclass(frozen=True)
class Made:
    """What the program is made of.

    :param document: what was said.
    :param configuration: the same, read.
    :param settings: values of sessions.
    :param capacity: values of the process.
    :param logins: what asks for logins.
    :param listeners: where clients come in.
    :param rules: who may do what; None: what holds where nothing is said.
    :param limits: how much there may be; None: as much as there is room for.
    :param ways: the upstreams, by their names.
    :param access_log: the path of the access log; None where nothing was said, "" for none.
    :param warnings: what is legal, but hardly meant.
    :param lists: what the files of lists have held, by their paths as they were written.
    """

    document: Document
    configuration: Configuration
    settings: Settings
    capacity: Capacity
    logins: Logins
    listeners: Sequence[Listener]
    rules: IRules | None
    limits: ILimits | None
    ways: Mapping[str, Way]
    access_log: str | None
    warnings: Sequence[Problem]
    lists: dict[str, str]


@uncollected()
def build(
    document: Document,
    reactor: Any = None,
    worker: Worker | None = None,
    is_only_looking: bool = False,
    is_daemon: bool = False,
) -> Made:
    """What the program is made of.

    :param document: what was said.
    :param reactor: of the process; None to look only whether it can be made.
    :param worker: this process as a worker, whose parent has opened the listeners.
    :param is_only_looking: whether sockets of systemd's may be missing.
    :param is_daemon: whether the process is going to have no output.
    :raises socks5.app.config.document.Refused: says everything that is wrong.
    """
    building = Building(document, is_only_looking)
    configuration = _read(building)
    is_wrong = bool(building.problems)
    clock = Clock() if reactor is None else reactor
    found = logins(configuration, building, reactor)
    sockets = None if worker is None else worker.sockets
    entrances = Entrances(configuration, building, found, reactor, sockets, is_only_looking)
    listeners = entrances.listeners()
    made = Made(
        document,
        configuration,
        _settings(configuration, entrances),
        _values(Capacity, configuration),
        found,
        listeners,
        None if is_wrong else rules(configuration, building),
        None if building.problems else limits(configuration, building, clock, worker),
        upstreams(configuration, building, Ours(each.at.where for each in listeners), clock),
        _access_log(configuration, building, is_daemon),
        building.warnings,
        building.lists,
    )
    if configuration.limit and configuration.server.state is not None:
        look_into_state(configuration.server.state, building)
    _secrets(configuration, building, is_looked_at=worker is None)
    building.finish()
    _warn(made, building)
    return made


def _read(building: Building) -> Configuration:
    """What a document says, as far as it is right. Its lists are looked at in any case."""
    configuration, problems = read_on(building.document)
    if problems:
        building.problems += problems
        look_into_lists(building)
    return configuration


def _settings(configuration: Configuration, entrances: Entrances) -> Settings:
    server = configuration.server
    return _values(
        Settings,
        configuration,
        commands=frozenset().union(*server.commands),
        outgoing=_per_family(server.outgoing),
        advertise=_per_family(server.advertise),
        ban_exempt=entrances.networks(("bans", "exempt"), configuration.bans.exempt),
    )


def _values(cls: type[Values], configuration: Configuration, **others: Any) -> Values:
    """The fields of Settings or Capacity, which keys bear.

    :param others: those that are no plain value.
    """
    wanted = {each.name for each in fields(cls)}
    found = {}
    for section in fields(configuration):
        table = getattr(configuration, section.name)
        for each in fields(table) if hasattr(table, "__dataclass_fields__") else ():
            name = about(each).sets
            if name in wanted and name not in others:
                found[name] = getattr(table, each.name)
    return cls(**found, **others)


def _per_family(addresses: Sequence[str]) -> PerFamily:
    return PerFamily(
        next((each for each in addresses if ":" not in each), None),
        next((each for each in addresses if ":" in each), None),
    )


def _access_log(configuration: Configuration, building: Building, is_daemon: bool) -> str | None:
    path = configuration.log.access
    if path == STANDARD_OUTPUT and is_daemon:
        building.wrong(("log", "access"), "expected a file, for a daemon has no output")
    if path is None or path == STANDARD_OUTPUT:
        return path
    if path == OFF:
        return ""
    return building.file(("log", "access"), path)


# ---------------------------------------------------------------- what is hardly meant


def _plain_secrets(configuration: Configuration) -> list[Path]:
    """Where a secret stands in the file itself."""
    found: list[Path] = []
    for name, upstream in configuration.upstream.items():
        said = upstream.password
        found += [("upstream", name, "password")] if said is not None and not said.way else []
    for name, source in configuration.auth.items():
        if isinstance(source, LDAPSource):
            said = source.bind_password
            found += [("auth", name, "bind_password")] if said is not None and not said.way else []
        elif isinstance(source, PluginSource) and source.use.startswith(f"{MEMORY}:"):
            found.append(("auth", name, "use"))
    return found


def _secrets(configuration: Configuration, building: Building, is_looked_at: bool) -> None:
    """Refuse secrets in plain text in a file that everybody may read.

    :param is_looked_at: whether the file is asked; the one of workers may be another by now.
    """
    file = building.document.file
    try:
        is_public = is_looked_at and bool(os.stat(file).st_mode & stat.S_IROTH)
    except OSError:
        is_public = False
    for path in _plain_secrets(configuration):
        better = 'type = "htpasswd", file = "PATH"' if path[-1] == "use" else '{ file = "PATH" }'
        if is_public:
            building.wrong(
                path,
                f"expected {better}, for everybody on this machine can read this file; or chmod o= it",
            )
        else:
            building.warn(path, building.document.wording.plain_secret.format(better))


def _warn(made: Made, building: Building) -> None:
    """Find what is legal but hardly meant."""
    wording = building.document.wording
    policies = [each.at.policy for each in made.listeners]
    accepted = made.logins.accepted
    used = {method for policy in policies for method in policy.methods or accepted}
    wanted: dict[str, set[Method]] = {
        "gssapi": {Method.GSSAPI} & {*accepted},
        "auth": {Method.CHAP, Method.USERNAME_PASSWORD} & {*accepted},
    }
    for section, methods in wanted.items():
        if methods and not methods & used:
            building.warn((section,), f"no listener asks for it: see {wording.all_methods}")
    _warn_of_others(("server", "outgoing"), made.configuration.server.outgoing, building)
    for number, rule in enumerate(made.configuration.rule):
        said = [each for each in rule.source if each != ACCEPTED.value]
        _warn_of_others(("rule", number, "source"), said, building)
    warn_of_sources(made.configuration, building, made.settings.family)
    unasked = sources_beside_dns() if made.capacity.resolver == NameSource.DNS else []
    if unasked:
        building.warn(
            ("resolver",),
            f"nsswitch.conf names {', '.join(unasked)} for hosts, which are not asked; {wording.system_resolver} asks "
            "them",
        )


def _warn_of_others(path: Path, addresses: Sequence[str], building: Building) -> None:
    """Find addresses to leave from that this machine does not have."""
    for number, address in enumerate(addresses):
        if not is_own_address(address, unknown=True):
            building.warn(
                (*path, number) if len(addresses) > 1 else path,
                f"no address of this machine now, got {address}; until it is one, targets get reply 3",
            )
