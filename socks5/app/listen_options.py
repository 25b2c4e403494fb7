"""The options that are one listener's: which methods, which clients, whose PROXY headers.

Those that follow a ``--listen`` or ``--interface`` hold for that listener; those before the first one are the
default for listeners without their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.python import usage
from zope.interface import implementer

from socks5.app.exposure import LOOPBACK, Listener, is_authenticated, is_exposed, is_loopback
from socks5.protocol.messages import Method
from socks5.protocol.networks import NO_NETWORKS, Networks
from socks5.settings import METHOD_NAMES, ListenerPolicy

_EXPECTED_NETWORKS = "expected networks, such as 192.0.2.0/24 or 2001:db8::/32"

_WANTED = {
    Method.GSSAPI: "--methods gssapi: expected --gssapi SERVICE as well, there is no keytab",
    Method.USERNAME_PASSWORD: "--methods password: expected --auth TYPE:ARGS as well, there are no users",
}
"""What is said to who wants a method that has nothing behind it."""


def networks(option: str, text: str) -> Networks:
    """The value of an option that takes networks.

    :raises twisted.python.usage.UsageError: it has something else.
    """
    try:
        return Networks.parse(text)
    except ValueError as error:
        wrong = str(error)
    try:
        meant = f"; did you mean {ip_network(wrong, strict=False)}, or {wrong.partition('/')[0]}?"
    except ValueError:
        meant = ""
    raise usage.UsageError(f"--{option}: {_EXPECTED_NETWORKS}, got {wrong!r}{meant}")


class Place:
    """A ``--listen`` or ``--interface``, and what was said behind it.

    :param option: which of the two.
    :param text: its value.
    """

    def __init__(self, option: str, text: str) -> None:
        self.option = option
        self.text = text
        self.said: dict[str, Any] = {}
        """Fields of its :class:`~socks5.settings.ListenerPolicy`."""

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine can reach it, without a certificate."""
        if self.option == "interface":
            return not is_loopback(self.text)
        return is_exposed(self.text) and not self.is_authenticated

    @property
    def is_authenticated(self) -> bool:
        """Whether nobody gets in without a certificate."""
        return self.option == "listen" and is_authenticated(self.text)


class ListenOptions(usage.Options):
    """Mixed into the options of the command line."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._common: dict[str, Any] = {}
        self._said = self._common
        self.places: list[Place] = []

    def add_place(self, option: str, text: str) -> None:
        """From here on, options are this listener's."""
        self.places.append(Place(option, text))
        self._said = self.places[-1].said

    def places_of(self, option: str) -> list[Place]:
        """The listeners that were given by one of the two options."""
        return [place for place in self.places if place.option == option]

    def policy(self, place: Place | None = None) -> ListenerPolicy:
        """What a listener lets in; None: the listeners of the default."""
        return ListenerPolicy(**{**self._common, **(place.said if place else {})})

    def opt_methods(self, names: str) -> None:
        """Some of gssapi,password,none, for the listener before it or all. [default: as --gssapi and --auth say]"""
        if not set(names.split(",")) <= METHOD_NAMES.keys():
            raise usage.UsageError(
                f"--methods: expected some of {','.join(METHOD_NAMES)}, got {names!r}"
            )
        chosen = [number for name, number in METHOD_NAMES.items() if name in names.split(",")]
        self._said["methods"] = tuple(chosen)

    def opt_clients(self, text: str) -> None:
        """Networks that clients come from, for the listener before it or all; repeatable. [default: any]"""
        self._add_networks("clients", "clients", text)

    def opt_proxy_from(self, text: str) -> None:
        """Balancers that send a PROXY header, for the listener before it or all; repeatable. [default: none]"""
        self._add_networks("proxy-from", "proxies", text)

    def _add_networks(self, option: str, what: str, text: str) -> None:
        present = self._said.get(what, NO_NETWORKS)
        self._said[what] = present | networks(option, text)

    def check_doors(self, methods: Sequence[int]) -> None:
        """Refuse a policy that cannot be, or that is open by mistake.

        :param methods: what the proxy accepts where nothing else is said.
        :raises twisted.python.usage.UsageError: says what to do.
        """
        places = self.places or [Place("interface", LOOPBACK[0])]
        for place in places:
            policy = self.policy(place)
            for method, sentence in _WANTED.items():
                if method in (policy.methods or ()) and method not in methods:
                    raise usage.UsageError(sentence)
            if not self["open"]:
                self._check_exposure(place, policy, methods)

    def unused(self, methods: Sequence[Method]) -> list[Method]:
        """The logins among *methods* that no listener accepts."""
        policies = [self.policy(place) for place in self.places] or [self.policy()]
        accepted = [methods if policy.methods is None else policy.methods for policy in policies]
        return [
            method
            for method in methods
            if method in _WANTED and not any(method in each for each in accepted)
        ]

    def _check_exposure(self, place: Place, policy: ListenerPolicy, methods: Sequence[int]) -> None:
        accepted = methods if policy.methods is None else policy.methods
        is_limited = policy.clients is not None and not policy.clients.is_everything
        if Method.NO_AUTHENTICATION not in accepted or is_limited:
            return
        is_behind = policy.proxies is not None
        if place.is_exposed or (is_behind and not place.is_authenticated):
            logins = [
                name for name, method in METHOD_NAMES.items() if method in {*methods} & {*_WANTED}
            ]
            login = f"--methods {','.join(logins)}" if logins else "--auth TYPE:ARGS"
            by = ", for --proxy-from brings them in" if is_behind and not place.is_exposed else ""
            certificates = (
                " clients=FILE in it, so that certificates are required;"
                if place.text.startswith("tls:")
                else ""
            )
            raise usage.UsageError(
                f"others than this machine could reach {place.text}{by}, and the proxy would serve anyone. "
                f"Choose one: {login}, so that users log in (see --help-auth, or --gssapi for Kerberos);"
                f"{certificates} --clients NETWORK behind it, so that only those networks come in; or --open, "
                "if that is what you want"
            )


@implementer(IStreamServerEndpoint)
class PolicyEndpoint:
    """An endpoint whose clients come in under a listener policy."""

    def __init__(self, endpoint: IStreamServerEndpoint, policy: ListenerPolicy) -> None:
        self._endpoint = endpoint
        self._policy = policy

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """See :meth:`twisted.internet.interfaces.IStreamServerEndpoint.listen`.

        :param protocolFactory: a :class:`~socks5.server.factory.ServerFactory`.
        """
        return self._endpoint.listen(protocolFactory.at(self._policy))


def with_policy(listener: Listener, policy: ListenerPolicy) -> Listener:
    """Put a policy on a listener, if there is one: what lets in everybody costs nothing."""
    name, endpoint = listener
    return listener if policy == ListenerPolicy() else (name, PolicyEndpoint(endpoint, policy))
