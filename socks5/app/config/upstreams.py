"""The upstreams of a file: made, and looked at for what cannot be, or is hardly meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

from socks5.app.config.building import Building
from socks5.app.config.keys import Configuration
from socks5.app.config.ours import Ours
from socks5.app.config.places import Path as Where
from socks5.app.config.policy_keys import Rule
from socks5.app.config.quantities import time_text
from socks5.app.config.upstream_keys import Upstream as Section
from socks5.app.config.upstream_keys import commands_of
from socks5.app.config.upstream_references import roots
from socks5.app.config.values import as_key, as_toml, either
from socks5.app.sources import proxy_work
from socks5.client.hops import Hop, Same
from socks5.client.kerberos import Initiator
from socks5.net.certificate_files import Unusable
from socks5.net.client_tls import client_options
from socks5.net.resolver import LOCALHOST
from socks5.outbound.path import Path
from socks5.outbound.pool import CHOICES, Hashed, Pool, Way
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.protocol.messages import Credentials
from socks5.settings import COMMANDS, PerFamily


def upstreams(
    configuration: Configuration, building: Building, ours: Ours, reactor: Any
) -> Mapping[str, Way]:
    """The upstreams of a file, by their names.

    :param ours: where the proxy listens.
    :param reactor: of the process, or a clock.
    """
    making = _Making(configuration, building, reactor)
    _loops(configuration, building, ours)
    _times(configuration, building)
    made = making.all()
    _served(configuration, building)
    return made


class _Making:
    """Makes them: first the proxies, then the ways through them, then the pools of ways."""

    def __init__(self, configuration: Configuration, building: Building, reactor: Any) -> None:
        self._sections = configuration.upstream
        self._connect = configuration.timeouts.connect
        self._building = building
        self._reactor = reactor

    def all(self) -> Mapping[str, Way]:
        """What can be made: of what else is wrong something has been said."""
        sections = self._sections.items()
        present = {name: self._proxy(name, each) for name, each in sections if each.url is not None}
        paths = {name: Path(name, [each], self._reactor) for name, each in present.items()}
        for name, each in sections:
            if each.chain and present.keys() >= {*each.chain}:
                legs = [present[member] for member in each.chain]
                paths[name] = Path(name, legs, self._reactor)
        ways: dict[str, Way] = dict(paths)
        for name, each in sections:
            if each.pool and paths.keys() >= {*each.pool}:
                members = [paths[member] for member in each.pool]
                by = each.hash_by
                ways[name] = Pool(members, CHOICES[each.choose]() if by is None else Hashed(by))
        return ways

    def _proxy(self, name: str, section: Section) -> Upstream:
        place = section.url
        assert place is not None
        where: Where = ("upstream", name)
        login = self._login(where, section)
        options = self._tls(where, section)
        initiator = self._initiator(where, section)
        hop = Hop(
            place,
            login,
            options=None if options is None else Same(options),
            gssapi=None if initiator is None else Same(initiator),
            require_login=section.require_login and login is not None,
            is_pipelined=section.pipelined and (section.user is None or login is not None),
        )
        return Upstream(name, hop, _terms(section, self._connect))

    def _login(self, where: Where, section: Section) -> Credentials | None:
        if section.user is None or section.password is None:
            return None
        try:
            password = section.password.reveal(self._building.document.folder).encode()
        except ValueError as error:
            self._building.wrong((*where, "password"), str(error))
            return None
        if len(password) > 255:
            self._building.wrong((*where, "password"), "expected 255 octets at the most")
            return None
        return Credentials(section.user.encode(), password)

    def _initiator(self, where: Where, section: Section) -> Initiator | None:
        said = section.gssapi
        if said is None:
            return None
        run = proxy_work(str(where[-1])).run
        try:
            return Initiator(self._reactor, **asdict(said), run=run)
        except ValueError as error:
            self._building.wrong((*where, "gssapi"), str(error))
            return None

    def _tls(self, where: Where, section: Section) -> Any:
        place, tls = section.url, section.tls
        assert place is not None
        if not place.is_tls or tls is None:
            return None
        files = [
            None if file is None else self._building.path(file)
            for file in (tls.ca, tls.cert, tls.key)
        ]
        try:
            return client_options(tls.name or place.host.partition("%")[0], *files)
        except Unusable as error:
            for each in error.all:
                key = each.sentence.partition("=")[0]
                said = "cert" if key == "key" and tls.key is None else key
                self._building.wrong((*where, "tls", said), each.sentence)
            return None


def _terms(section: Section, connect: float) -> Terms:
    """:param connect: seconds that all of a dial has."""
    usual = Terms().timeout
    if usual >= connect:
        usual = connect / 2
    return Terms(
        commands=frozenset[int]().union(*(COMMANDS[each] for each in commands_of(section))),
        resolves=section.names == "there",
        timeout=usual if section.timeout is None else section.timeout,
        udp_address=section.udp_address,
        source=PerFamily(
            next((each for each in section.source if ":" not in each), None),
            next((each for each in section.source if ":" in each), None),
        ),
        max_connections=section.max_connections,
        fails=section.fails,
        retry_after=section.retry_after,
        probe=section.probe,
        probe_every=section.probe_every,
    )


def words_of(sections: Mapping[str, Section], name: str) -> Sequence[str]:
    """The commands that an upstream serves, in words; none for one that is not there."""
    section = sections.get(name)
    if section is None:
        return ()
    if section.url is not None:
        return commands_of(section)
    if section.chain:
        are_all_for_udp = all("udp" in words_of(sections, member) for member in section.chain)
        last = words_of(sections, section.chain[-1])
        return [word for word in last if word != "udp" or are_all_for_udp]
    served = {word for member in section.pool for word in words_of(sections, member)}
    return [word for word in COMMANDS if word in served]


def _is_resolved_for(sections: Mapping[str, Section], name: str) -> bool:
    """Whether names of targets are resolved here before anything goes to an upstream."""
    section = sections[name]
    if section.url is not None:
        return section.names == "here"
    return any(_is_resolved_for(sections, each) for each in section.chain[-1:] or section.pool)


def goes_by_name(configuration: Configuration, rule: Rule) -> bool:
    """Whether a name goes unresolved to where a rule sends it, unless another rule before it has it resolved."""
    sections, via = configuration.upstream, rule.via or ""
    return via in sections and not rule.networks and not _is_resolved_for(sections, via)


def text_of(sections: Mapping[str, Section], name: str, urls: Mapping[str, Any]) -> str:
    """What an upstream is, for a reader.

    :param urls: the tables as they are written.
    """
    section = sections[name]
    if section.url is not None:
        return str(urls[name]["url"])
    members = section.chain or section.pool
    how = " behind " if section.chain else " or "
    return how.join(reversed(members) if section.chain else members)


# ---------------------------------------------------------------- what cannot be


def _loops(configuration: Configuration, building: Building, ours: Ours) -> None:
    sections = configuration.upstream
    for name in sorted(roots(sections)):
        place = sections[name].url
        if place is None:
            continue
        hosts = LOCALHOST if place.host == "localhost" else (place.host,)
        is_ours = any(_is_address(host) and (host, place.port) in ours for host in hosts)
        if is_ours or (place.path and place.path in ours.unix):
            building.wrong(
                ("upstream", name, "url"),
                "expected another proxy, got a listener of this one, which would ask itself",
            )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _times(configuration: Configuration, building: Building) -> None:
    connect = configuration.timeouts.connect
    for name, section in configuration.upstream.items():
        if section.url is not None and section.timeout is not None and section.timeout >= connect:
            building.wrong(
                ("upstream", name, "timeout"),
                f"expected less than the {time_text(connect)} of timeouts.connect, for then comes the "
                f"target, got {time_text(section.timeout)}",
            )


def _asked(configuration: Configuration, rule: Rule) -> Sequence[str]:
    """The commands that a rule lets through."""
    served = configuration.server.commands
    words = [word for word, octets in COMMANDS.items() if octets in served]
    return [word for word in words if word in rule.commands] if rule.commands else words


def _served(configuration: Configuration, building: Building) -> None:
    """Find rules that only send elsewhere what is not served there."""
    for number, rule in enumerate(configuration.rule):
        words = () if rule.via is None else words_of(configuration.upstream, rule.via)
        if words and rule.commands and not {*rule.commands} & {*words}:
            name = f"[upstream.{as_key(str(rule.via))}]"
            building.wrong(
                ("rule", number, "commands"),
                f"expected {either(words)}, got {either(rule.commands)}, which {name} does not serve"
                f"{_or_does(configuration, rule, name)}",
            )


def _or_does(configuration: Configuration, rule: Rule, name: str) -> str:
    """What to do if a proxy serves what a rule sends there."""
    place = configuration.upstream[str(rule.via)].url
    if place is None or place.is_http:
        return ""
    said = ", ".join(
        map(as_toml, [*words_of(configuration.upstream, str(rule.via)), *rule.commands])
    )
    return f"; if it does, write commands = [{said}] in {name}"


# ---------------------------------------------------------------- what is hardly meant


def warn_of_upstreams(configuration: Configuration, building: Building) -> None:
    """Say what is hardly meant."""
    sections = configuration.upstream
    used = {rule.via for rule in configuration.rule if rule.via is not None}
    used |= {member for name in used if name in sections for member in sections[name].pool}
    used |= {member for name in used if name in sections for member in sections[name].chain}
    for name, section in sections.items():
        if name not in used:
            building.warn(("upstream", name), "nothing uses it", is_about_key=True)
        if len({*section.chain}) < len(section.chain):
            building.warn(("upstream", name, "chain"), "the same proxy more than once")
        if section.probe is not None and "connect" not in words_of(sections, name):
            building.warn(
                ("upstream", name, "probe"), "asked by connect, which this does not serve"
            )
    asks_for_addresses = ""
    for number, rule in enumerate(configuration.rule):
        if rule.via is not None:
            for sentence in _about_via(configuration, rule, asks_for_addresses):
                building.warn(("rule", number, "via"), sentence)
        if rule.networks and not rule.report_only:
            asks_for_addresses = asks_for_addresses or rule.name


def _about_via(configuration: Configuration, rule: Rule, asks_for_addresses: str) -> Iterator[str]:
    """What is to be known of a rule that sends elsewhere.

    :param asks_for_addresses: the name of a rule before it that holds for addresses; "" if there is none.
    """
    via = str(rule.via)
    words = words_of(configuration.upstream, via)
    beyond = [word for word in _asked(configuration, rule) if word not in words]
    if beyond:
        fate = "dropped" if beyond == ["udp"] else "refused"
        yield (
            f"[upstream.{as_key(via)}] does not serve {either(beyond)}, which this rule lets through and which is "
            f"{fate} then"
        )
    if not goes_by_name(configuration, rule):
        return
    if asks_for_addresses:
        yield (
            f"names are resolved here, and addresses sent there, where rule {as_toml(asks_for_addresses)} before it "
            "may hold, which has to see them; else they go there as they are"
        )
    else:
        yield (
            "names go there as they are, so that only the upstream can keep them from leading to @special addresses; "
            'networks = "@public" would have them resolved here'
        )
