"""Sessions under limits, in memory: who is refused, what is told, and what is given back."""

import dataclasses
import errno
from typing import Any

import pytest
from typing_extensions import override

from socks5.access import Access, SessionInfo, Verdict
from socks5.interfaces import Policy
from socks5.policy.limit import Limit, Per
from socks5.policy.limits import Limits
from socks5.protocol.errors import NotAllowed
from socks5.protocol.messages import Command, ReplyCode
from socks5.settings import Settings
from tests.support.associations import OTHER, SAME_HOST, Association
from tests.support.associations import TARGET as THERE
from tests.support.limited import FakeQuotas
from tests.support.providers import Allow, Begun, FakeCommand
from tests.support.sessions import (
    BIND,
    CONNECT,
    GREETING,
    NO_AUTHENTICATION,
    TARGET,
    Server,
    refusal,
)
from tests.support.transports import FakeTLSTransport, FakeTransport, address

REFUSED = NO_AUTHENTICATION + refusal(ReplyCode.NOT_ALLOWED)


class World(Server):
    """A server under limits: every session is under all of them."""

    def __init__(self, *limits: Limit, **parameters: Any) -> None:
        self.quotas = FakeQuotas()
        super().__init__(**parameters)
        self.replace(*limits)

    def limits(self, *limits: Limit) -> Limits:
        names = [each.name for each in limits]
        return Limits(limits, server=names, clock=self.reactor, quotas=self.quotas)

    def replace(self, *limits: Limit) -> None:
        policy = dataclasses.replace(self.factory.policy, limits=self.limits(*limits))
        self.factory.replace(policy, rejudge=False)

    @property
    def record(self) -> SessionInfo:
        """The last one."""
        return self.records[-1]


def test_one_too_many_is_refused_and_the_record_says_why() -> None:
    world = World(Limit("few", sessions=1))
    first, _ = world.relaying()
    second = world.client(GREETING, CONNECT)
    assert second.received() == REFUSED
    assert (world.record.reply, world.record.detail) == (2, "limit few: 1 sessions")
    assert world.counters.limited == {"few": 1}
    first.reset()
    world.reactor.pump([0.1] * 3)
    world.relaying()


def test_nothing_is_dialled_for_who_is_refused() -> None:
    world = World(Limit("few", sessions=1))
    world.relaying()
    world.client(GREETING, CONNECT)
    assert len(world.dialer.targets) == 1


@pytest.mark.parametrize("request_", [b"", CONNECT[:4]])
def test_who_has_not_asked_is_not_counted(request_: bytes) -> None:
    world = World(Limit("few", sessions=1))
    world.client(GREETING, request_)
    world.relaying()


def test_who_fails_gives_back_what_it_had() -> None:
    world = World(Limit("few", sessions=1))
    for _ in range(3):
        client = world.client(GREETING, CONNECT)
        world.dialer.fail(OSError(errno.EHOSTUNREACH, "no"))
        client.end()
    assert [record.reply for record in world.records] == [4, 4, 4]
    world.relaying()


@pytest.mark.parametrize("command", [Command.CONNECT, Command.BIND, Command.UDP_ASSOCIATE])
def test_every_command_counts(command: int) -> None:
    commands = Begun(command, FakeCommand)
    world = World(Limit("few", sessions=1), commands=commands)
    request = bytes([5, command]) + CONNECT[2:]
    world.client(GREETING, request)
    assert world.client(GREETING, request).received() == REFUSED
    assert len(commands.begun) == 1


def test_octets_are_metered_and_the_record_says_how_long_it_was_slowed() -> None:
    world = World(Limit("slow", down=10_000.0))
    client, target = world.relaying()
    target.deliver(bytes(85_536))
    assert not target.is_reading
    world.reactor.pump([1.0] * 2)
    assert target.is_reading
    target.deliver(bytes(4096))
    client.end()
    world.reactor.pump([0.1] * 2)
    target.deliver_end()
    world.reactor.pump([1.0, 1.0])
    assert world.record.bytes_down == 85_536 + 4096
    assert world.record.slowed == pytest.approx(2.4096)
    assert world.counters.limited == {"slow": 2}


def test_a_bind_is_metered_too() -> None:
    world = World(Limit("slow", down=10_000.0))
    world.client(GREETING, BIND + TARGET)
    peer = world.reactor.tcp_ports[-1].connect(address("192.0.2.80", 20))
    peer.deliver(bytes(85_536))
    assert not peer.is_reading


def test_limits_without_rates_meter_nothing() -> None:
    world = World(Limit("few", sessions=5))
    client, target = world.relaying()
    assert client.session.meter is None
    target.deliver(bytes(60_000))
    assert target.is_reading
    client.reset()
    world.reactor.pump([0.1] * 3)
    assert world.record.slowed == 0.0


def test_a_quota_that_is_used_up_ends_the_session_and_the_others_of_its_counter() -> None:
    world = World(Limit("person", quota=(10_000, "day")))
    (idle, _), (client, target) = world.relaying(), world.relaying()
    target.deliver(bytes(10_000))
    world.reactor.pump([0.0] * 3)
    assert client.received() == bytes(10_000)
    assert client.sees == "end"
    why = "limit person: quota is used up until the next day"
    assert world.record.detail == why
    assert world.quotas.look is not None
    world.quotas.look()
    assert idle.sees == "end"
    assert [record.detail for record in world.records] == [why] * 2
    assert world.client(GREETING, CONNECT).received() == REFUSED
    assert world.record.detail == why


@pytest.mark.parametrize("kind", [FakeTransport, FakeTLSTransport])
def test_who_has_used_up_a_quota_does_not_stay_for_reading_nothing(
    kind: type[FakeTransport],
) -> None:
    world = World(Limit("person", quota=(10_000, "day")))
    client = world.client(GREETING, CONNECT, kind=kind)
    target = world.dialer.succeed()
    world.reactor.turn()
    client.transport.window = 0
    target.deliver(bytes(10_000))
    world.reactor.pump([0.0, 0.0, 1.9, 0.0])
    assert world.records == []
    world.reactor.pump([0.2, 0.0])
    assert world.record.detail == "limit person: quota is used up until the next day"
    assert not client.transport.connected


def test_a_session_that_ends_otherwise_has_its_own_reason() -> None:
    world = World(Limit("person", quota=(10_000, "day")))
    client, target = world.relaying()
    target.deliver(bytes(5_000))
    client.reset()
    world.reactor.pump([0.1] * 3)
    assert world.record.reason == "reset by client"


def test_limits_of_a_policy_that_is_replaced_keep_their_counts() -> None:
    world = World(Limit("few", sessions=2))
    world.relaying()
    world.replace(Limit("few", sessions=1))
    assert world.client(GREETING, CONNECT).received() == REFUSED
    assert world.record.detail == "limit few: 1 sessions"
    world.factory.replace(world.factory.policy)  # the same ones again
    assert world.client(GREETING, CONNECT).received() == REFUSED
    world.factory.replace(dataclasses.replace(world.factory.policy, limits=None), rejudge=False)
    world.relaying()
    assert world.counters.limited == {"few": 2}


def test_who_has_not_asked_yet_is_under_the_limits_of_then() -> None:
    world = World()
    early = [world.client(GREETING) for _ in range(2)]
    world.replace(Limit("few", sessions=1))
    for client in early:
        client.send(CONNECT)
    assert [client.received() for client in early] == [NO_AUTHENTICATION, REFUSED]


def test_limits_are_a_part_of_the_policy() -> None:
    limits = Limits([Limit("few", sessions=1)], server=["few"])
    server = Server(limits=limits)
    assert server.factory.policy.limits is limits
    server.relaying()
    assert server.client(GREETING, CONNECT).received() == REFUSED
    assert Server(policy=Policy(Settings(), limits=limits)).factory.policy.limits is limits


# ---------------------------------------------------------------- the limits of rules


class Ruled(World):
    """A server whose rules allow everything under the limits of a rule.

    :param is_final: whether they say so of the request already.
    """

    def __init__(self, *limits: Limit, is_final: bool = False, **parameters: Any) -> None:
        self.rule = "web"
        self.is_final = is_final
        super().__init__(*limits, rules=Allow(self._judge), **parameters)

    def _judge(self, access: Access, address: str | None) -> Verdict:
        if address is None and not self.is_final:
            return Verdict(True)
        return Verdict(True, self.rule, limits=(self.rule,))

    @override
    def limits(self, *limits: Limit) -> Limits:
        rules = {each.name: [each.name] for each in limits if each.name != "server"}
        server = [each.name for each in limits if each.name == "server"]
        return Limits(limits, server=server, rules=rules, clock=self.reactor, quotas=self.quotas)


@pytest.mark.parametrize("is_final", [True, False])
def test_a_session_enters_the_limits_of_its_rule_too(is_final: bool) -> None:
    world = Ruled(Limit("server", sessions=2), Limit("web", sessions=1), is_final=is_final)

    def ask() -> Any:
        client = world.client(GREETING, CONNECT)
        if not is_final and world.dialer.targets:
            verdict = world.dialer.judge("192.0.2.80")
            if not verdict.is_allowed:
                world.dialer.fail(NotAllowed("the target is not allowed"))
        return client

    first, second = ask(), ask()
    assert first.received() == NO_AUTHENTICATION
    assert second.received() == REFUSED
    assert world.record.detail == "limit web: 1 sessions"
    first.reset()
    third = ask()
    assert third.received() == NO_AUTHENTICATION
    assert world.counters.limited == {"web": 1}


def test_who_is_refused_by_the_limits_of_a_rule_gives_back_the_others() -> None:
    world = Ruled(Limit("server", sessions=2), Limit("web", sessions=1), is_final=True)
    world.client(GREETING, CONNECT)
    for _ in range(3):
        client = world.client(GREETING, CONNECT)
        assert client.received() == REFUSED
        client.end()
    world.rule = "elsewhere"
    world.replace(Limit("server", sessions=2), Limit("elsewhere", sessions=5))
    assert world.client(GREETING, CONNECT).received() == NO_AUTHENTICATION


@pytest.mark.parametrize("is_final", [True, False])
def test_who_is_refused_by_the_limits_of_a_rule_is_no_new_session_of_others(is_final: bool) -> None:
    """Not at its request, and not once an address of its target is known."""
    new = Limit("server", new_sessions=(2, 3600))
    world = Ruled(new, Limit("web", sessions=1), is_final=is_final)

    def ask() -> Any:
        client = world.client(GREETING, CONNECT)
        if not is_final and not world.dialer.judge("192.0.2.80").is_allowed:
            world.dialer.fail(NotAllowed("the target is not allowed"))
        return client

    ask()
    for _ in range(3):
        assert ask().received() == REFUSED
        assert world.record.detail == "limit web: 1 sessions"
    world.rule = "elsewhere"
    world.replace(new, Limit("elsewhere", sessions=5))
    assert ask().received() == NO_AUTHENTICATION
    ask()
    assert world.record.detail == "limit server: 2/h new sessions"


def test_where_no_limits_are_left_nobody_is_held() -> None:
    """Nor does a limit of the same name that comes later hold those of then."""
    world = World(Limit("slow", down=1000.0))
    _, target = world.relaying()

    def is_held() -> bool:
        target.deliver(bytes(66_536))
        world.reactor.pump([0.1])
        return not target.is_reading

    assert is_held()
    world.factory.replace(dataclasses.replace(world.factory.policy, limits=None), rejudge=False)
    world.reactor.pump([1.0] * 2)
    assert not is_held()
    world.replace(Limit("slow", down=1000.0))
    assert not is_held()


def test_a_limit_that_others_share_now_holds_those_who_have_entered_by_its_numbers() -> None:
    world = World(Limit("slow", down=1000.0))
    _, target = world.relaying()
    target.deliver(bytes(66_536))
    assert not target.is_reading
    for change in (
        Limit("slow", per=Per.CLIENT, down=100.0),
        Limit("slow", per=Per.CLIENT, down=10.0),
        Limit("slow", per=Per.SESSION, down=1.0),
    ):
        world.replace(change)
        world.reactor.pump([1.0] * 2)
        target.deliver(bytes(5000))
        assert not target.is_reading


def test_a_rule_s_limits_that_are_gone_hold_nobody() -> None:
    world = Ruled(Limit("server", sessions=5), Limit("web", sessions=1))
    world.client(GREETING, CONNECT)
    assert world.dialer.judge("192.0.2.80").is_allowed  # type: ignore[union-attr]
    world.client(GREETING, CONNECT)
    world.factory.replace(dataclasses.replace(world.factory.policy, limits=None), rejudge=False)
    assert world.dialer.judge("192.0.2.80").is_allowed  # type: ignore[union-attr]


def test_a_meter_is_all_that_are_metered() -> None:
    world = Ruled(Limit("server", down=1e9), Limit("web", down=10_000.0), is_final=True)
    _, target = world.relaying()
    target.deliver(bytes(85_536))
    assert not target.is_reading
    world.reactor.pump([1.0] * 2)
    assert target.is_reading


def test_of_several_addresses_the_first_one_s_limits_count() -> None:
    world = Ruled(Limit("web", sessions=1), Limit("mail", sessions=5))
    world.client(GREETING, CONNECT)
    judge = world.dialer.judge
    assert judge("192.0.2.80").limits == ("web",)  # type: ignore[union-attr]
    world.rule = "mail"
    assert judge("192.0.2.81").limits == ("mail",)  # type: ignore[union-attr]
    world.rule = "web"
    assert judge("192.0.2.82").is_allowed  # type: ignore[union-attr]
    second = world.client(GREETING, CONNECT)
    assert not world.dialer.judge("192.0.2.80").is_allowed  # type: ignore[union-attr]
    second.reset()


def test_an_association_enters_the_limits_of_every_rule_it_uses() -> None:
    world = Ruled(Limit("web", sessions=2), Limit("mail", sessions=1))
    first = Association(server=world)
    first.ask(THERE, SAME_HOST)
    world.rule = "mail"
    first.ask(OTHER)
    second = Association(server=world)
    second.ask(OTHER)
    assert second.dropped == {"not allowed": 1}
    first.client.reset()
    second.ask(OTHER)
    assert second.dropped == {"not allowed": 1}


def test_an_association_enters_the_limits_of_a_rule_that_has_decided_at_once() -> None:
    """They count once, whenever that is."""
    world = Ruled(Limit("web", sessions=1), is_final=True)
    first = Association(server=world)
    first.ask(THERE)
    assert first.dropped == {}
    second = Association(server=world)
    assert second.reply[1] == ReplyCode.NOT_ALLOWED
    assert world.record.detail == "limit web: 1 sessions"
