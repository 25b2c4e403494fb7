"""A client whose datagrams go through upstreams, in memory."""

from collections.abc import Callable
from typing import Any

from socks5.outbound.pool import Way
from socks5.policy.ruleset import Ruleset
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.messages import Command, Request
from socks5.settings import Settings
from tests.support.associations import (
    FROM,
    TARGET,
    Association,
)
from tests.support.rules import allow
from tests.support.sessions import Server
from tests.support.transports import FakeTransport
from tests.support.upstreams import World, reply

RELAY = ("198.51.100.9", 999)
"""Where the upstream's first reply says that its relay is."""

ELSEWHERE = ("203.0.113.77", 53)
"""Nobody that anybody sends to."""

ASSOCIATE = Request(Command.UDP_ASSOCIATE, Address("0.0.0.0", 0)).encode()


class Through(World):
    """A client with an association, whose datagrams go through upstreams.

    :param rules: what sends them there.
    :param names: what the resolver knows.
    """

    def __init__(
        self,
        rules: Any = None,
        ways: Callable[[Any], dict[str, Way]] | None = None,
        names: dict[bytes, Any] | None = None,
        limits: Any = None,
        terms: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(ways, hosts=names, **(terms or {}))
        self.server = Server(
            Settings(ban_after=0, **settings),
            reactor=self.reactor,
            rules=rules or Ruleset([allow("far", via="up")]),
            resolver=self.resolver,
            dialer=self.dialer,
            limits=limits and limits(self.reactor),
        )
        self.dialer.end()  # whom this one alone has
        self.udp = Association(server=self.server)
        self.accepted: list[FakeTransport] = []

    def accept(self) -> FakeTransport:
        self.accepted.append(super().accept())
        return self.accepted[-1]

    def ask(self, *targets: Any, sender: Any = FROM) -> None:
        self.udp.ask(*targets, sender=sender)
        self.reactor.turn()

    def open(self, code: int = 0, at: Any = RELAY) -> FakeTransport:
        """The upstream that was connected to last replies to the association that it is asked for."""
        control = self.greeted()
        assert self.sent(control).endswith(ASSOCIATE)
        self.answer(control, reply(code, Address(*at)))
        return control

    @property
    def link(self) -> Any:
        """The last socket."""
        return self.reactor.udp_ports[-1]

    @property
    def sent_there(self) -> list[tuple[Address, bytes]]:
        """What went to the relay."""
        assert {where for _, where in self.link.written} <= {RELAY}
        found = [Datagram.decode(data) for data, _ in self.link.written]
        return [(each.address, each.payload) for each in found]

    def answered(
        self, sender: Any = TARGET, payload: bytes = b"pong", by: Any = RELAY, fragment: int = 0
    ) -> list[Any]:
        """What has come to the client by now, after the relay has sent something."""
        self.link.receive(Datagram(Address(*sender), payload, fragment).encode(), by)
        return [sender for _, sender, _ in self.udp.received]

    def is_left_alone(self) -> None:
        """No connection, no socket, no timer."""
        self.udp.client.end()
        self.reactor.turn()
        assert not any(port.is_listening for port in self.reactor.udp_ports)
        assert not any(each.connected for each in self.accepted)
        assert self.counters["up"].open == 0
        self.assert_nothing_is_left()
