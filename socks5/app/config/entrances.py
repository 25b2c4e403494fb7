"""Where clients come in: the sections ``listener`` become listeners under their policies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from socks5.app.config.building import Building
from socks5.app.config.client_keys import DEFAULT_PORT, TLS
from socks5.app.config.client_keys import Listener as Section
from socks5.app.config.conditions import NetworkEntry
from socks5.app.config.keys import Configuration
from socks5.app.config.logins import Logins
from socks5.app.config.places import Path
from socks5.app.listeners import LOOPBACK, Listener
from socks5.net.addresses import LONGEST_PATH, fits
from socks5.net.certificate_files import Files, Unusable
from socks5.net.certificate_names import NAMES
from socks5.net.certificates import Certificates
from socks5.net.foreign import kind_of, where_of
from socks5.net.places import TCP, UNIX, Inherited, Listen, Place, name_of
from socks5.policy.sets import Listed
from socks5.policy.special import NETWORKS
from socks5.protocol.messages import Method
from socks5.protocol.networks import Networks
from socks5.settings import METHOD_NAMES, ListenerPolicy

SETS = NetworkEntry(takes_sets=False)
"""What stands in a set, and in its files."""


class Entrances:
    """Makes the listeners of a configuration.

    :param configuration: what was said.
    :param building: told what goes wrong.
    :param logins: what asks for logins.
    :param clock: IReactorTime, for the certificates.
    :param inherited: the sockets that a worker has of its parent, see :attr:`~socks5.app.inherit.Worker.sockets`;
        None: of a process that opens its own.
    :param is_only_looking: whether nothing is to be opened, so that a socket of systemd's may be missing.
    """

    def __init__(
        self,
        configuration: Configuration,
        building: Building,
        logins: Logins,
        clock: Any = None,
        inherited: Sequence[str] | None = None,
        is_only_looking: bool = False,
    ) -> None:
        self._configuration = configuration
        self._building = building
        self._logins = logins
        self._clock = clock
        self._inherited = inherited
        self._is_only_looking = is_only_looking
        self._is_named = bool(building.document.file)  # else its names are ours
        self._is_optional = not self._is_named and inherited is not None
        """Whether a parent has opened as many of them as there can be."""

    def listeners(self) -> list[Listener]:
        """All of them; those of the default where none was said."""
        found = [
            listener
            for name, section in self._configuration.listener.items()
            for listener in self._of(name, section)
        ]
        if self._configuration.listener:
            return found
        policy = ListenerPolicy(may_change=self._is_named)  # it may get a name
        return [
            Listener(
                f"{host} port {DEFAULT_PORT}",
                Listen(TCP(DEFAULT_PORT, host), policy=policy),
                is_optional=":" in host,
            )
            for host in LOOPBACK
        ]

    def networks(self, path: Path, entries: Sequence[str]) -> Networks:
        """Networks, and those of sets and lists among them."""
        own = [each for each in entries if not each.startswith("@")]
        found = list(self._parsed(self._building.entries(path, own, SETS)))
        for name in (each[1:] for each in entries if each.startswith("@")):
            if name in NETWORKS:
                found.append(Networks(NETWORKS[name]))
            else:
                at = ("networks", name, "entries")
                said = self._configuration.networks.get(name)  # else something is wrong with it
                entries_of_set = () if said is None else said.entries
                found += self._parsed(self._building.entries(at, entries_of_set, SETS))
        return Networks(tuple(each for networks in found for each in networks.networks))

    def _parsed(self, entries: Iterable[str | Listed]) -> Iterator[Networks]:
        for each in entries:
            if isinstance(each, Listed):
                yield from map(Networks.parse, each.entries)
            else:
                yield Networks.parse(each)

    def _of(self, name: str, section: Section) -> Iterator[Listener]:
        path = ("listener", name)
        certificates = self._certificates(path, section.tls)
        policy = self._policy(path, section)
        is_exposed = False
        for where, called in self._places(path, section):
            files = None if certificates is None else certificates.files
            listen = Listen(where, files, policy)
            is_unknown = self._is_only_looking and isinstance(where, Inherited)
            is_exposed = is_exposed or (listen.is_exposed and not is_unknown)
            full = f"{called} (listener {name})" if self._is_named else called
            yield Listener(full, listen, certificates, self._is_optional, self._place(path))
        is_looked_at = self._inherited is None  # else the parent has
        are_logins_known = self._logins.is_whole  # else that is wrong
        if is_exposed and is_looked_at and are_logins_known and not section.open:
            self._check_exposure(path, section, policy)

    def _place(self, path: Path) -> str:
        place = self._building.document.places.of(path, is_key=False)
        return str(place) if place.line else ""  # an option is in the name

    def _policy(self, path: Path, section: Section) -> ListenerPolicy:
        methods = tuple(METHOD_NAMES[name] for name in METHOD_NAMES if name in section.methods)
        clients = self.networks((*path, "clients"), section.clients)
        proxies = self.networks((*path, "proxy_from"), section.proxy_from)
        return ListenerPolicy(
            methods=methods or None,
            clients=clients if section.clients else None,
            proxies=proxies if section.proxy_from else None,
            connections_per_client=section.connections_per_client or 0,
            name=str(path[-1]) if self._is_named else "",
        )

    def _certificates(self, path: Path, tls: TLS | None) -> Certificates | None:
        if tls is None:
            return None
        cert = self._building.path(tls.cert)
        files = Files(
            cert=cert,
            key=cert if tls.key is None else self._building.path(tls.key),
            clients=None if tls.client_ca is None else self._building.path(tls.client_ca),
            is_required=tls.client_certificates == "required",
            names=tuple(NAMES) if tls.client_name is None else (tls.client_name,),
        )
        try:
            return Certificates(files, self._clock)
        except Unusable as error:
            keys = {"key": "key" if tls.key else "cert", "clients": "client_ca"}
            for each in error.all:
                option, _, _ = each.sentence.partition("=")
                self._building.wrong((*path, "tls", keys.get(option, "cert")), each.sentence)
            return None

    def _places(self, path: Path, section: Section) -> Iterator[tuple[Place, str]]:
        """What it listens on, and how an operator calls that."""
        port = DEFAULT_PORT if section.port is None else section.port
        for address in section.address:
            yield TCP(port, address), f"{address} port {port}"
        if section.unix is not None:
            file = self._building.file((*path, "unix"), section.unix)
            if not fits(file):
                sentence = f"expected a path of at most {LONGEST_PATH} octets, got {file}"
                self._building.wrong((*path, "unix"), sentence)
            yield UNIX(file, int(section.mode or "666", 8)), f"unix:{file}"
        if section.systemd is not None:
            yield from self._of_systemd(path, section.systemd)
        if section.endpoint is not None:
            yield from self._of_twisted(path, section.endpoint)

    def _of_systemd(self, path: Path, name: str) -> Iterator[tuple[Place, str]]:
        """The sockets of systemd's that are called *name*: there may be several."""
        if self._is_only_looking:  # there may be some when it runs
            yield Inherited(f"systemd:{name}:0"), f"systemd:{name}"
            return
        names = [f"systemd:{name}:{number}" for number in range(1024)]
        found = self._inherited
        if found is not None:
            present = [Inherited(each) for each in names if name_of(Inherited(each)) in found]
        else:
            present = [
                Inherited(each, descriptor)
                for each, descriptor in zip(names, sockets_called(name), strict=False)
            ]
        if not present:
            self._building.wrong(
                (*path, "systemd"),
                f"expected a socket that systemd hands to the service, got none called {name}",
            )
        for each in present:
            yield each, f"systemd:{name}"

    def _of_twisted(self, path: Path, endpoint: str) -> Iterator[tuple[Place, str]]:
        at = (*path, "endpoint")
        if kind_of(endpoint) == "haproxy":
            self._building.wrong(
                at,
                "expected an endpoint without haproxy:, which believes the PROXY header of whoever connects; "
                f"write {self._building.document.wording.proxies}",
            )
            return
        if kind_of(endpoint) == "systemd" and (
            self._is_only_looking or self._inherited is not None
        ):
            yield Inherited(endpoint), endpoint  # the parent alone can find it
            return
        try:
            yield where_of(endpoint), endpoint
        except ValueError as error:
            self._building.wrong(at, f"expected a Twisted server endpoint: {error}")

    def _check_exposure(self, path: Path, section: Section, policy: ListenerPolicy) -> None:
        """Refuse what everybody could use."""
        tree = self._building.document.tree
        if policy.methods is None and (tree.get("auth") or "gssapi" in tree):
            return  # if there is no such login after all, that is said there
        accepted = policy.methods or self._logins.accepted
        is_limited = policy.clients is not None and not policy.clients.is_everything
        tls = section.tls
        has_certificates = (
            tls is not None and tls.client_ca is not None and tls.client_certificates == "required"
        )
        if Method.NO_AUTHENTICATION not in accepted or is_limited or has_certificates:
            return
        wording = self._building.document.wording
        by = f", for {wording.proxies} brings them in" if policy.proxies is not None else ""
        present = [
            name
            for name, number in METHOD_NAMES.items()
            if number in self._logins.accepted and number != Method.NO_AUTHENTICATION
        ]
        login = wording.any_login
        if present:
            login = f"{wording.methods.format(present[0])}, so that users log in"
        in_tls = "" if tls is None else f" {wording.client_ca}, so that certificates are required;"
        self._building.wrong(
            path,
            f"others than this machine could reach it{by}, and the proxy would serve anyone. Choose one: {login};"
            f"{in_tls} {wording.clients}, so that only those networks come in; or {wording.is_open}, if that is what "
            "you want",
        )


def sockets_called(name: str) -> list[int]:
    """The descriptors of the sockets that systemd has handed to this process under a name."""
    found = []
    for number, each in enumerate(os.environ.get("LISTEN_FDNAMES", "").split(":")):
        if each == name:
            with suppress(ValueError):  # they are for another process
                where: Any = where_of(f"systemd:domain=INET:index={number}")
                found.append(where.descriptor)
    return found
