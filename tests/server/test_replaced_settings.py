"""Every field of the settings has its effect as soon as a factory's policy is replaced: nobody keeps a copy.

A factory that was in use, and was then told another value, does what one does that has had it from the beginning,
and not what one does that has the old value still.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from socks5 import OutgoingFamily, PerFamily, Settings, UDPFiltering, UDPPin
from socks5.access import IUser
from socks5.net import datagram_sockets, resolver
from socks5.net.lookups import Outcome
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Credentials, Method
from socks5.protocol.networks import Networks
from tests.support.associations import (
    FROM,
    HERE,
    MOVED,
    OTHER,
    SAME_HOST,
    TARGET,
    Association,
    to,
)
from tests.support.lookups import Stoppable
from tests.support.providers import Logins
from tests.support.sessions import GREETING, LOGIN, PASSWORD_GREETING, Client, Server, octets
from tests.support.transports import CLIENT, FakeTransport, address

Look = Callable[["World"], Any]
"""Where one sees the effect of a setting: something that differs if the setting does."""

ANOTHER_CLIENT = address("198.51.100.200", 51234)
NAME = b"example.org"
HOSTS = ("192.0.2.1", "192.0.2.2")


class MayLogIn(Logins):
    """Lets in whoever does not want to log in."""

    methods = (Method.NO_AUTHENTICATION, Method.USERNAME_PASSWORD)

    @override
    def authenticate(self, credentials: Credentials, client: str) -> Deferred[IUser]:
        return fail(UnauthorizedLogin())


class Listener:
    """A port: it is told when it has to hand other settings down."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.settings_changed()

    def settings_changed(self) -> None:
        self.keepalive = self._server.factory.settings.keepalive


class World(Server):
    """A server whose resolver, dialer and bans are the factory's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        super().__init__(settings, dialer=None, resolver=None, authenticator=MayLogIn())
        self.lookups = Stoppable()
        monkeypatch.setattr(resolver, "HostnameLookups", lambda _: self.lookups)
        self.listener: Any = Listener(self)
        self.factory.limit.listeners.add(self.listener)

    def use(self) -> None:
        """Each part is in use once, and may take note of the settings."""
        names = (b"one.example", b"two.example", b"three.example")
        for name in names:
            ask(self, name, Outcome(HOSTS))
        client, _ = relaying(self, (names[0], 80))
        others = [self.client(PASSWORD_GREETING, LOGIN, peer=ANOTHER_CLIENT), bind(self)]
        associations = [Association(server=self), Association(server=self)]
        associations[0].ask(TARGET, (names[0], 53))
        for each in (client, *others, *(one.client for one in associations)):
            each.reset()
        self.reactor.advance(1)  # a reset is passed on with care
        assert [*self.factory.sessions] == []


# ---------------------------------------------------------------- what a client does


def request(command: int, target: tuple[Any, int] = TARGET) -> bytes:
    return octets(f"05 {command:02x} 00") + Address(*target).encode()


def connecting(server: World, target: tuple[Any, int] = TARGET) -> Client:
    client = server.client(GREETING, request(Command.CONNECT, target))
    client.received()
    return client


def bind(server: World) -> Client:
    client = server.client(GREETING, request(Command.BIND))
    client.received()
    return client


def relaying(server: World, target: tuple[Any, int] = TARGET) -> tuple[Client, FakeTransport]:
    client = connecting(server, target)
    far = server.reactor.connectors[-1].succeed()
    client.received()
    return client, far


def ask(server: World, name: bytes, outcome: Outcome | None = None) -> list[Any]:
    """Resolve a name; whoever is asked answers so."""
    given: list[Any] = []
    server.factory.resolver.resolve(name, CLIENT.host).addBoth(given.append)
    if outcome is not None and name.decode() in server.lookups.under_way:
        server.lookups.answer(name.decode(), outcome)
    return given


def seconds_until(server: World, happens: Callable[[], Any]) -> float | None:
    """How long that takes; None: longer than three hours. Time passes from one delayed call to the next."""
    clock = server.reactor
    began = clock.seconds()
    clock.turn()
    while not happens():
        if clock.seconds() > began + 10_000 or not clock.getDelayedCalls():
            return None
        clock.advance(min(call.getTime() for call in clock.getDelayedCalls()) - clock.seconds())
        clock.advance(0.001)
    return round(clock.seconds() - began, 1)


def until_gone(begin: Callable[[World], Client]) -> Look:
    """For how long the connection of a client lasts."""

    def look(server: World) -> float | None:
        client = begin(server)
        return seconds_until(server, lambda: not client.is_connected)

    return look


def until_told(begin: Callable[[World], Client]) -> Look:
    """How long a client waits until it is told something."""
    return lambda server: seconds_until(server, begin(server).received)


# ---------------------------------------------------------------- where its effect is seen


def replies(server: World) -> list[bytes]:
    """To each command, but for the port."""
    return [server.client(GREETING, request(command)).received()[:-2] for command in Command]


def sources(server: World) -> list[Any]:
    """Of a connection, of what listens for a peer, and of datagrams."""
    connecting(server)
    bind(server)
    association = Association(server=server)
    association.ask()
    listening = (server.reactor.tcp_ports[-1], association.far[0])
    return [
        server.reactor.connectors[-1].bind_address,
        *(each.getHost().host for each in listening),
    ]


def first_family(server: World) -> list[Any]:
    """Of two addresses: where a connection and a datagram go."""
    both = (b"both.example", 80)
    ask(server, both[0], Outcome(("192.0.2.1", "2001:db8::1")))
    connecting(server, both)
    association = Association(server=server)
    association.ask(both, TARGET)
    return [server.reactor.connectors[-1].host, association.reached, server.counters.dropped]


def client_in_a_crowd(server: World) -> float | None:
    """For how long it waits for its turn to negotiate."""
    dropped: list[str] = []
    holder: Any = type("Holder", (), {"drop": lambda _, client: dropped.append(client)})()
    server.factory.crowds.wait(HERE, holder, "client")
    return seconds_until(server, lambda: dropped)


def failed_logins(server: World) -> tuple[int, float | None]:
    """After how many a client is banned, and for how long."""
    count = 0
    while not server.factory.bans.is_banned(CLIENT.host) and count < 15:
        count += 1
        until_gone(lambda server: server.client(PASSWORD_GREETING, LOGIN))(server)
    return count, seconds_until(server, lambda: not server.factory.bans.is_banned(CLIENT.host))


def second_attempt(server: World) -> float | None:
    ask(server, NAME, Outcome(HOSTS))
    connecting(server, (NAME, 80))
    before = len(server.reactor.connectors)
    return seconds_until(server, lambda: len(server.reactor.connectors) > before)


def half_closed(server: World) -> Client:
    client, target = relaying(server)
    target.deliver_end()
    return client


def probed(server: World) -> list[bool]:
    """Whether silent peers are asked for, at each end of a relay and on a port."""
    client, target = relaying(server)
    server.reactor.pump([10] * 3)
    return [client.transport.keepalive, target.keepalive, server.listener.keepalive > 0]


def dropped(server: World, *datagrams: bytes) -> dict[str, int]:
    """Of what two ports of a client send, and strangers answer."""
    association = Association(server=server)
    for datagram in datagrams:
        association.near.receive(datagram, FROM)
    association.near.receive(to(TARGET), MOVED)
    association.answer(SAME_HOST)
    return association.dropped


def incomplete_datagram(server: World) -> float | None:
    association = Association(server=server)
    association.near.receive(to(TARGET, b"1", 1), FROM)
    return seconds_until(server, lambda: association.dropped)


def client_facing_port(server: World) -> bool:
    return Association(server=server).near.getHost().port == 50_000


def receive_buffers(server: World) -> list[int]:
    """What the kernel would be asked for."""
    asked: list[int] = []

    def single(*arguments: Any) -> Any:
        asked.append(arguments[-1])
        return server.reactor.listenUDP(0, DatagramProtocol(), arguments[1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datagram_sockets, "poller_of", lambda _: object())
        patch.setattr(datagram_sockets, "is_available", lambda: False)
        patch.setattr(datagram_sockets, "SinglePort", single)
        Association(server=server)
    return asked


def waits_for_names(server: World) -> dict[str, int]:
    return dropped(server, to((b"a", 53)), to((b"b", 53)))


def second_association(server: World) -> bytes:
    Association(server=server)
    return Association(server=server).reply


def ahead_of_the_target(server: World) -> bool:
    """Whether a client is read on that sends already."""
    client = connecting(server)
    client.send(bytes(100))
    return client.transport.is_reading


def remembered(server: World) -> list[str]:
    """Which of two names were looked up, if both are used twice."""
    before = len(server.lookups.asked)
    for name in (b"a.example", b"b.example") * 2:
        ask(server, name, Outcome(HOSTS))
    return server.lookups.asked[before:]


def asked_again(outcome: Outcome, server: World) -> int:
    """How often in ten seconds, if that is the answer."""
    before = len(server.lookups.asked)
    for _ in range(10):
        ask(server, NAME, outcome)
        server.reactor.advance(1)
    return len(server.lookups.asked) - before


def stale(server: World) -> bool:
    """Whether an address serves whose time is over."""
    ask(server, NAME, Outcome(HOSTS))
    server.reactor.advance(60)
    return ask(server, NAME, Outcome((), is_certain=False)) == [HOSTS]


FRAGMENTS = (to(TARGET, b"123", 1), to(TARGET, b"456", 0x80 | 2))
DOCUMENTATION = PerFamily(ipv4="192.0.2.200", ipv6="2001:db8::200")

EFFECTS: list[tuple[str, Any, Look]] = [
    ("commands", frozenset({Command.CONNECT}), replies),
    ("outgoing", DOCUMENTATION, sources),
    ("outgoing_family", OutgoingFamily.IPV6, first_family),
    ("advertise", DOCUMENTATION, replies),
    ("handshake_timeout", 3.0, until_gone(World.client)),
    ("handshake_timeout", 3.0, client_in_a_crowd),
    ("request_timeout", 3.0, until_gone(lambda server: server.client(GREETING))),
    ("ban_after", 3, failed_logins),
    ("ban_time", 3.0, failed_logins),
    ("ban_exempt", Networks.parse("198.51.100.0/24"), failed_logins),
    ("resolve_timeout", 3.0, until_told(lambda server: connecting(server, (NAME, 80)))),
    ("connect_timeout", 3.0, until_told(connecting)),
    ("attempt_delay", 3.0, second_attempt),
    ("idle_timeout", 3.0, until_gone(lambda server: relaying(server)[0])),
    ("keepalive", 0, probed),
    ("linger_timeout", 3.0, until_gone(half_closed)),
    ("bind_timeout", 3.0, until_told(bind)),
    ("udp_idle_timeout", 3.0, until_gone(lambda server: Association(server=server).client)),
    ("reassembly_timeout", 3.0, incomplete_datagram),
    ("close_timeout", 3.0, until_gone(lambda server: server.client(GREETING, request(9)))),
    ("udp_pin", UDPPin.IP_PORT, lambda server: dropped(server, to(TARGET))),
    ("udp_filtering", UDPFiltering.ADDRESS_AND_PORT_DEPENDENT, dropped),
    ("udp_ports", (50_000, 50_000), client_facing_port),
    ("udp_buffer", 100_000, receive_buffers),
    ("udp_names_waiting", 1, waits_for_names),
    ("udp_octets_waiting", 6, waits_for_names),
    ("udp_targets", 1, lambda server: dropped(server, to(OTHER))),
    ("associations_per_client", 1, second_association),
    ("max_optimistic", 4, ahead_of_the_target),
    ("max_fragments", 4, lambda server: dropped(server, *FRAGMENTS)),
    ("names_cached", 1, remembered),
    ("name_lifetime", 3.0, partial(asked_again, Outcome(HOSTS))),
    ("name_lifetime_least", 3.0, partial(asked_again, Outcome(HOSTS, 1))),
    ("name_lifetime_most", 3.0, partial(asked_again, Outcome(HOSTS, 60))),
    ("name_failure_lifetime", 5.0, partial(asked_again, Outcome(()))),
    ("name_stale_lifetime", 0.0, stale),
]
"""A field, another value than the default, and where one sees which of both it is."""


def test_no_field_is_left_out() -> None:
    assert {field for field, _, _ in EFFECTS} == {field.name for field in fields(Settings)}


@pytest.mark.parametrize(("field", "value", "look"), EFFECTS)
def test_a_field_that_is_replaced_has_its_effect_at_once(
    monkeypatch: pytest.MonkeyPatch, field: str, value: Any, look: Look
) -> None:
    before, after = Settings(), replace(Settings(), **{field: value})
    replaced = World(monkeypatch, before)
    replaced.use()
    replaced.factory.replace(replace(replaced.factory.policy, settings=after))
    seen = look(replaced)
    assert seen == look(World(monkeypatch, after))
    assert seen != look(World(monkeypatch, before))
