"""Associations under limits, in memory: what is dropped, until when, and what is told."""

import dataclasses
from typing import Any

import pytest

from socks5.access import Access, SessionInfo, Verdict
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.relay.meter import SMALL
from tests.support.associations import FROM, NAME, OTHER, TARGET, Association, Peer, to
from tests.support.limited import FakeQuotas
from tests.support.providers import Allow
from tests.support.sessions import Server

BURST = 65536


def limited(*limits: Limit) -> Association:
    """An association under all of them."""
    server = Server()
    names = [each.name for each in limits]
    quotas = FakeQuotas()
    server.factory.replace(
        server.factory.policy.__class__(
            server.factory.policy.settings,
            dialer=server.dialer,
            limits=Limits(limits, server=names, clock=server.reactor, quotas=quotas),
        )
    )
    association = Association(server=server)
    association.quotas = quotas  # type: ignore[attr-defined]
    return association


class Ruled(Association):
    """An association whose targets are allowed by rules.

    :param limits: of the rules of their names, but for ``all``, which every session is under.
    :param rules: who allows which target; the rule ``free``, which has no limits, allows the others.
    """

    def __init__(self, *limits: Limit, **rules: tuple[str | bytes, int]) -> None:
        self.quotas = FakeQuotas()
        self._names = {target: name for name, target in rules.items()}
        of_rules = {each.name: [each.name] for each in limits if each.name != "all"}
        server = [each.name for each in limits if each.name == "all"]
        made = Server(rules=Allow(self._judge))
        policy = dataclasses.replace(
            made.factory.policy,
            limits=Limits(
                limits, server=server, rules=of_rules, clock=made.reactor, quotas=self.quotas
            ),
        )
        made.factory.replace(policy)
        super().__init__(server=made, names={NAME[0]: [TARGET[0]]})

    def _judge(self, access: Access, address: str | None) -> Verdict:
        if not access.is_datagram:
            return Verdict(True)
        rule = self._names.get((access.target.host, access.target.port), "free")
        return Verdict(True, rule, limits=() if rule == "free" else (rule,))

    def used(self, rule: str) -> int:
        """Octets of the quota of that name."""
        return self.quotas.used[rule, "", "day"].octets

    @property
    def record(self) -> SessionInfo:
        self.client.reset()
        return self.server.records[-1]


def send(association: Association, octets: int, target: tuple[str | bytes, int] = TARGET) -> None:
    association.near.receive(to(target, bytes(octets)), FROM)


def answer(association: Association, octets: int, target: Peer = TARGET) -> None:
    association.far[0].receive(bytes(octets), target)


@pytest.mark.parametrize("is_up", [True, False])
def test_while_it_has_to_pay_datagrams_are_dropped_both_ways(is_up: bool) -> None:
    association = limited(Limit("slow", up=1000.0, down=1000.0))
    association.ask()
    move = send if is_up else answer
    for _ in range(3):
        move(association, 30_000)  # nothing is too large to pass
    sent, received = len(association.sent), len(association.received)
    for _ in range(3):
        association.ask()
        association.answer()
    assert association.dropped == {"limit": 6}
    association.reactor.advance(24)
    association.ask()
    assert association.dropped == {"limit": 7}
    association.reactor.advance(0.5)
    association.ask()
    association.answer()
    assert association.dropped == {"limit": 7}
    assert (len(association.sent), len(association.received)) == (sent + 1, received + 1)
    association.client.reset()
    (record,) = association.server.records
    assert record.slowed == pytest.approx((90_000 - BURST) / 1000, abs=0.01)
    assert record.drops == {"limit": 7}


def test_nobody_asks_for_the_time_of_what_is_paid() -> None:
    association = limited(Limit("high", total=1e9))
    association.ask()
    for _ in range(10):
        send(association, SMALL)
        answer(association, SMALL)
    assert association.dropped == {}
    association.client.reset()
    (record,) = association.server.records
    assert record.slowed == 0.0


@pytest.mark.parametrize("is_up", [True, False])
def test_far_from_a_limit_more_is_charged_together(is_up: bool) -> None:
    association: Any = limited(Limit("high", total=1e9), Limit("large", quota=(1 << 40, "day")))
    association.ask()
    used = association.quotas.used["large", "", "day"]
    move = send if is_up else answer
    charged = []
    for _ in range(33):
        move(association, SMALL)
        charged.append(used.octets // SMALL)
    assert charged == [1] * 16 + [17] * 16 + [33]


def test_a_quota_that_is_used_up_ends_it() -> None:
    association: Any = limited(Limit("person", quota=(50_000, "day")))
    association.ask()
    for _ in range(3):
        send(association, 20_000)
    association.ask()
    assert association.dropped == {"limit": 1}
    association.reactor.turn()
    assert not association.is_alive
    (record,) = association.server.records
    assert record.detail == "limit person: quota is used up until the next day"
    used = association.quotas.used["person", "", "day"].octets
    assert used == record.bytes_up + record.bytes_down == 60_004


def test_what_was_not_charged_yet_is_at_the_end() -> None:
    association: Any = limited(Limit("person", quota=(50_000, "day")))
    association.ask()
    association.answer()
    used = association.quotas.used["person", "", "day"]
    assert used.octets == 0
    association.client.reset()
    assert used.octets == 8


def test_what_cannot_be_sent_to_the_client_is_not_charged() -> None:
    association: Any = limited(Limit("person", quota=(50_000, "day")))
    association.ask()

    def fail(*arguments: Any) -> None:
        raise OSError("no")

    association.near.write = fail
    answer(association, SMALL)
    association.client.reset()
    assert association.quotas.used["person", "", "day"].octets == 4


def test_to_be_held_is_not_to_be_idle() -> None:
    association = limited(Limit("slow", up=1.0))
    association.ask()
    for _ in range(3):
        send(association, 30_000)
    for _ in range(40):
        association.reactor.advance(60)
        association.ask()
    assert association.is_alive
    assert association.dropped == {"limit": 40}
    association.reactor.pump([60.0] * 20)
    assert not association.is_alive


# ---------------------------------------------------------------- the limits of rules


@pytest.mark.parametrize("is_up", [True, False])
def test_what_a_rule_has_to_pay_for_drops_the_datagrams_of_its_targets_alone(is_up: bool) -> None:
    association = Ruled(Limit("slow", up=1000.0, down=1000.0), slow=TARGET)
    association.ask(TARGET, OTHER)
    move = send if is_up else answer
    for _ in range(3):
        move(association, 30_000)
    for _ in range(2):
        association.ask(TARGET, OTHER)
        association.answer(TARGET, OTHER)
    assert association.dropped == {"limit": 4}
    assert association.reached[-2:] == [OTHER, OTHER]
    assert [sender for _, sender, _ in association.received[-2:]] == [OTHER, OTHER]
    association.reactor.advance(25)
    association.ask()
    association.answer()
    assert association.dropped == {"limit": 4}
    assert association.record.slowed == pytest.approx((90_000 - BURST) / 1000, abs=0.01)


def test_what_moves_under_no_limit_of_a_rule_is_not_paid_for_there() -> None:
    association = Ruled(Limit("slow", total=1000.0), slow=TARGET)
    association.ask(TARGET, OTHER)
    for _ in range(9):
        send(association, 30_000, OTHER)
        answer(association, 30_000, OTHER)
    association.ask()
    association.answer()
    assert association.dropped == {}


def test_each_limit_is_told_of_what_is_its_own() -> None:
    day = (10**6, "day")
    association = Ruled(
        Limit("all", quota=day), Limit("web", quota=day), Limit("mail", quota=day),
        web=TARGET, mail=OTHER,
    )  # fmt: skip
    association.ask(TARGET, OTHER, ("192.0.2.55", 53))
    for octets in (10, SMALL):
        send(association, octets)
        answer(association, octets, OTHER)
    record = association.record
    used = [association.used(rule) for rule in ("all", "web", "mail")]
    assert used == [record.bytes_up + record.bytes_down, 4 + 10 + SMALL, 4 + 10 + SMALL]


def test_who_has_to_pay_for_everything_drops_the_targets_of_rules_too() -> None:
    association = Ruled(Limit("all", total=1000.0), Limit("web", total=1e9), web=TARGET)
    association.ask()
    for _ in range(3):
        send(association, 30_000)
    association.ask(TARGET, OTHER)
    association.answer()
    assert association.dropped == {"limit": 3}


def test_a_quota_of_a_rule_that_is_used_up_ends_it() -> None:
    association = Ruled(Limit("web", quota=(50_000, "day")), web=TARGET)
    send(association, 60_000, OTHER)
    association.ask()
    send(association, 60_000)
    association.ask()
    assert association.dropped == {"limit": 1}
    association.reactor.turn()
    assert not association.is_alive
    (record,) = association.server.records
    assert record.detail == "limit web: quota is used up until the next day"


def test_a_name_and_its_address_may_be_of_different_rules() -> None:
    """Answers count under the rule that has let somebody out last."""
    association = Ruled(Limit("web", quota=(10**6, "day")), web=NAME)
    for target, octets in ((TARGET, 100), (NAME, 1000), (TARGET, 100), (NAME, 10_000)):
        send(association, 1, target)
        answer(association, octets)
    association.client.reset()
    assert association.used("web") == 1 + 1000 + 1 + 10_000


def test_what_cannot_be_sent_to_the_client_is_not_charged_to_a_rule() -> None:
    association = Ruled(Limit("web", quota=(10**6, "day")), web=TARGET)
    association.ask()

    def fail(*arguments: Any) -> None:
        raise OSError("no")

    association.near.write = fail  # type: ignore[method-assign]
    answer(association, SMALL)
    association.client.reset()
    assert association.used("web") == 4


def test_limits_of_a_rule_that_meter_nothing_are_not_told_of_datagrams() -> None:
    association = Ruled(Limit("web", sessions=3), web=TARGET)
    association.ask()
    association.answer()
    assert association.record.slowed == 0.0


def test_of_a_rule_that_nobody_asks_about_everything_is_told() -> None:
    """A dialer of one's own may know nothing of such limits."""
    association = Ruled(Limit("web", quota=(10**6, "day")), web=TARGET)
    association.server.dialer.receiver.meter_of = lambda verdict: None
    association.ask()
    send(association, SMALL, OTHER)
    assert association.used("web") == 4 + SMALL
    lease = association.client.session.meter_of_rule("web")
    assert lease is association.client.session.meter_of_rule("web"), "it is told apart from now on"
    send(association, SMALL, OTHER)
    association.client.reset()
    assert association.used("web") == 4 + SMALL
