"""The options that are one listener's: which methods, which clients, whose PROXY headers.

Those that follow a ``--listen`` or ``--interface`` hold for that listener; those before the first one are the
default for listeners without their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.python import usage

from socks5.app import values
from socks5.app.estate import Estate, Left
from socks5.app.inherit import Worker
from socks5.app.listeners import LOOPBACK, Listener
from socks5.net.certificates import Certificates
from socks5.net.foreign import kind_of
from socks5.net.listening import listen_from
from socks5.net.places import TCP, Inherited, Listen
from socks5.protocol.messages import Method
from socks5.protocol.networks import NO_NETWORKS
from socks5.settings import METHOD_NAMES, ListenerPolicy

_WANTED = {
    Method.GSSAPI: "--methods gssapi: expected --gssapi SERVICE as well, there is no keytab",
    Method.CHAP: "--methods chap: expected --auth secrets:FILE as well, there are no secrets",
    Method.USERNAME_PASSWORD: "--methods password: expected --auth TYPE:ARGS as well, there are no users",
}
"""What is said to who wants a method that has nothing behind it."""


def _colon_advice(endpoint: str) -> str:
    """What to do if an IPv6 address stands in an endpoint as it is elsewhere."""
    if re.search(r"interface=\[?([0-9A-Fa-f]{0,4}:){2}", endpoint):
        return r"; a colon inside a value needs a backslash, all in quotes: 'interface=\:\:1'"
    return ""


class Place:
    """A ``--listen`` or ``--interface``, and what was said behind it.

    :param text: its value.
    :param at: what a ``--listen`` describes; None for an ``--interface``, whose port may be said later.
    """

    def __init__(self, text: str, at: Listen | None = None) -> None:
        self.text = text
        self.at = at
        self.said: dict[str, Any] = {}
        """Fields of its :class:`~socks5.settings.ListenerPolicy`."""


class ListenOptions(usage.Options):
    """Mixed into the options of the command line."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._common: dict[str, Any] = {}
        self._said = self._common
        self.places: list[Place] = []
        self.worker = Worker.from_environment()
        """This process as a worker, whose parent has opened the listeners."""
        self.left = Left.from_environment()
        self.estate = Estate(self.left)
        """What the process before this one has left to it."""

    def add_place(self, place: Place) -> None:
        """From here on, options are this listener's."""
        self.places.append(place)
        self._said = place.said

    def take_interface(self, address: str) -> None:
        """Listen there, on the port that ``--port`` says."""
        self.add_place(Place(values.address(address)))

    def take_listen(self, endpoint: str) -> None:
        """Listen on what this describes.

        :raises twisted.python.usage.UsageError: it cannot be used; the sentence has it.
        """
        if kind_of(endpoint) == "haproxy":
            raise usage.UsageError(
                f"--listen {endpoint}: expected {endpoint.partition(':')[2]} and behind it "
                "--proxy-from NETWORK, for haproxy: believes the PROXY header of whoever connects"
            )
        try:
            at = self._described(endpoint)
            if at.tls is not None:
                Certificates(at.tls, None)
        except ValueError as error:
            raise usage.UsageError(
                f"--listen {endpoint}: {error}{_colon_advice(endpoint)}"
            ) from None
        self.add_place(Place(endpoint, at))

    def _described(self, endpoint: str) -> Listen:
        """:raises ValueError: the string describes no listener."""
        if self.worker is not None and kind_of(endpoint) == "systemd":
            return Listen(Inherited(endpoint))  # the parent alone can find it
        return listen_from(endpoint)

    def listen_at(self, place: Place) -> Listen:
        """The listener, under its policy."""
        at = Listen(TCP(self["port"], place.text)) if place.at is None else place.at
        return replace(at, policy=self.policy(place))

    def listeners(self, clock: Any) -> list[Listener]:
        """Where to listen.

        :param clock: IReactorTime, for the certificates.
        :raises socks5.net.certificate_files.Unusable: they are not what they were when the options were read.
        """
        if self.places:
            return [self._listener(place, clock) for place in self.places]
        return [self._listener(Place(host), clock, is_optional=":" in host) for host in LOOPBACK]

    def _listener(self, place: Place, clock: Any, is_optional: bool = False) -> Listener:
        at = self.listen_at(place)
        certificates = None if at.tls is None else Certificates(at.tls, clock)
        name = f"{place.text} port {self['port']}" if place.at is None else place.text
        return Listener(name, at, certificates, is_optional)

    def policy(self, place: Place | None = None) -> ListenerPolicy:
        """What a listener lets in; None: the listeners of the default."""
        return ListenerPolicy(**{**self._common, **(place.said if place else {})})

    def take_methods(self, text: str) -> None:
        """Logins of the listener before it, or of all."""
        self._said["methods"] = values.methods(text)

    def take_clients(self, text: str) -> None:
        """Where the clients of the listener before it, or of all, come from."""
        self._add_networks("clients", text)

    def take_proxy_from(self, text: str) -> None:
        """Who sends PROXY headers to the listener before it, or to all."""
        self._add_networks("proxies", text)

    def _add_networks(self, what: str, text: str) -> None:
        self._said[what] = self._said.get(what, NO_NETWORKS) | values.networks(text)

    def check_listeners(self, methods: Sequence[int]) -> None:
        """Refuse a policy that cannot be, or that is open by mistake.

        :param methods: what the proxy accepts where nothing else is said.
        :raises twisted.python.usage.UsageError: says what to do.
        """
        for place in self.places or [Place(LOOPBACK[0])]:
            at = self.listen_at(place)
            for method, sentence in _WANTED.items():
                if method in (at.policy.methods or ()) and method not in methods:
                    raise usage.UsageError(sentence)
            if not self["open"]:
                self._check_exposure(place.text, at, methods)

    def unused(self, methods: Sequence[Method]) -> list[Method]:
        """The logins among *methods* that no listener accepts."""
        policies = [self.policy(place) for place in self.places] or [self.policy()]
        accepted = [methods if policy.methods is None else policy.methods for policy in policies]
        return [
            method
            for method in methods
            if method in _WANTED and not any(method in each for each in accepted)
        ]

    def _check_exposure(self, name: str, at: Listen, methods: Sequence[int]) -> None:
        policy = at.policy
        accepted = methods if policy.methods is None else policy.methods
        is_limited = policy.clients is not None and not policy.clients.is_everything
        is_guarded = Method.NO_AUTHENTICATION not in accepted or is_limited or at.is_authenticated
        if at.is_exposed and not is_guarded:
            logins = [
                name for name, method in METHOD_NAMES.items() if method in {*methods} & {*_WANTED}
            ]
            login = f"--methods {','.join(logins)}" if logins else "--auth TYPE:ARGS"
            by = "" if at.where.is_exposed else ", for --proxy-from brings them in"
            certificates = (
                "" if at.tls is None else " clients=FILE in it, so that certificates are required;"
            )
            raise usage.UsageError(
                f"others than this machine could reach {name}{by}, and the proxy would serve anyone. "
                f"Choose one: {login}, so that users log in (see --help-auth, or --gssapi for Kerberos);"
                f"{certificates} --clients NETWORK behind it, so that only those networks come in; or --open, "
                "if that is what you want"
            )
