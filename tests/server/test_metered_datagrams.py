"""Associations under limits, in memory: what is dropped, until when, and what is told."""

from typing import Any

import pytest

from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.relay.meter import SMALL
from tests.support.associations import FROM, TARGET, Association, to
from tests.support.limited import FakeQuotas
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


def send(association: Association, octets: int) -> None:
    association.near.receive(to(TARGET, bytes(octets)), FROM)


def answer(association: Association, octets: int) -> None:
    association.far[0].receive(bytes(octets), TARGET)


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
