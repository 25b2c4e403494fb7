"""An association's memory of targets: who makes room, whose an answer is, and what is not reached."""

import pytest

from socks5.net.datagram_turns import Budget
from socks5.outbound.targets import DatagramTerms, Targets
from socks5.protocol.address import Address

CLIENT, MOVED = ("198.51.100.7", 5000), ("198.51.100.7", 5001)
NAME = Address(b"example.org", 53)


def numbered(number: int) -> Address:
    return Address(f"192.0.2.{number}", 53)


class Memory(Targets):
    """A memory whose periods are minutes, and which remembers silent targets for five."""

    def __init__(self, most: int = 100, budget: Budget | None = None) -> None:
        super().__init__(budget or Budget(), most, 60.0, 5)

    def ask(self, *numbers: int) -> None:
        for number in numbers:
            self.sent(numbered(number), numbered(number).text, CLIENT)

    def known(self, *numbers: int) -> list[int]:
        return [number for number in numbers if self.host_of(numbered(number)) is not None]

    def pass_time(self, minutes: int) -> None:
        for _ in range(minutes):
            self.next_period()


def test_the_longest_silent_one_makes_room() -> None:
    memory = Memory(most=4)
    memory.ask(1, 2, 3)
    memory.pass_time(3)
    memory.ask(1, 4)
    memory.asked(("192.0.2.2", 53), is_exact=True)
    assert memory.has_room_for(numbered(5))
    assert memory.known(1, 2, 3, 4) == [1, 2, 4]
    memory.ask(5)
    assert not memory.has_room_for(numbered(6))


def test_silent_ones_are_forgotten_in_time() -> None:
    memory = Memory()
    memory.ask(1, 2)
    memory.pass_time(5)
    memory.ask(2)
    assert memory.known(1, 2) == [1, 2]
    memory.pass_time(1)
    assert memory.known(1, 2) == [2]


def test_the_room_is_all_associations_of_a_client() -> None:
    budget = Budget()
    first, second = Memory(2, budget), Memory(2, budget)
    first.ask(1, 2)
    first.pass_time(2)  # which may be little more than one minute
    first.ask(2)
    assert not second.has_room_for(numbered(3))
    assert first.has_room_for(numbered(1))
    first.pass_time(1)
    assert first.known(1, 2) == [2]
    assert second.has_room_for(numbered(3))
    second.ask(3)
    assert not first.has_room_for(numbered(4))
    assert budget.targets == 2
    second.clear()
    assert (budget.targets, len(second)) == (1, 0)


def test_a_name_may_get_another_address() -> None:
    budget = Budget()
    memory = Memory(budget=budget)
    memory.sent(NAME, "192.0.2.1", CLIENT)
    assert memory.sent(NAME, "192.0.2.2", CLIENT), "answers come from elsewhere"
    assert not memory.sent(NAME, "192.0.2.2", CLIENT)
    assert memory.sent(NAME, "192.0.2.2", MOVED), "answers go elsewhere"
    assert memory.asked(("192.0.2.1", 53), is_exact=False) is None
    memory.pass_time(2)
    assert memory.host_of(NAME) == "192.0.2.2"
    memory.pass_time(1)
    assert memory.host_of(NAME) is None, "it is to be found out anew"
    assert memory.forget(NAME)
    assert not memory.forget(NAME)
    assert budget.targets == 0


@pytest.mark.parametrize("gone", range(3))
def test_targets_at_one_address_are_several(gone: int) -> None:
    """Whichever of them is forgotten, the latest of the others is whom an answer is for."""
    memory = Memory()
    targets = [numbered(1), NAME, Address(b"www.example.org", 53)]
    ports = [CLIENT, MOVED, (CLIENT[0], 5002)]
    for target, port in zip(targets, ports, strict=True):
        memory.sent(target, "192.0.2.1", port)
    memory.sent(targets[0], "192.0.2.1", ports[0])  # which makes it the latest
    order = [1, 2, 0]
    order.remove(gone)
    for forgotten, latest in ((gone, order[1]), (order[1], order[0])):
        memory.forget(targets[forgotten])
        for place in (("192.0.2.1", 53), ("192.0.2.1", 54)):
            target = memory.asked(place, is_exact=False)
            assert target is not None
            assert target.client == ports[latest]
    memory.forget(targets[order[0]])
    assert memory.asked(("192.0.2.1", 53), is_exact=False) is None


def test_whose_terms_hold_is_told_when_that_is_another_s() -> None:
    """Routes are of the terms of whoever was sent to last."""
    memory = Memory()
    terms = DatagramTerms("192.0.2.99")
    literal = numbered(1)
    assert not memory.sent(literal, literal.text, CLIENT)
    for _ in range(2):
        assert memory.sent(NAME, literal.text, CLIENT, terms)
        assert not memory.sent(NAME, literal.text, CLIENT, DatagramTerms("192.0.2.99"))
        assert memory.sent(literal, literal.text, CLIENT)
    assert memory.terms_of(NAME) == terms


def test_a_name_in_use_that_nothing_is_heard_of_is_doubtful_once_in_a_while() -> None:
    memory = Memory()
    names = [Address(b"%d.example" % number, 53) for number in range(3)]
    doubtful: list[tuple[int, Address]] = []
    for minute in range(7):
        for number, name in enumerate(names):
            memory.sent(name, f"192.0.2.{number}", CLIENT)
        memory.ask(9)  # an address is always the same
        memory.asked(("192.0.2.0", 53), is_exact=True)
        memory.pass_time(1)
        doubtful += [(minute, target.name) for target in memory.unheard(1 if minute == 2 else 9)]
    assert doubtful == [(2, names[1]), (3, names[2]), (5, names[1]), (6, names[2])]
    memory.pass_time(4)
    assert memory.unheard(9) == [], "it is not used any more"


HOSTS = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_addresses_that_were_not_reached_go_last_the_latest_at_the_end() -> None:
    memory = Memory()
    assert memory.in_order(HOSTS, 53) == HOSTS
    for number in (1, 0, 1):
        memory.unreached((HOSTS[number], 53))
    assert memory.in_order(HOSTS, 53) == [HOSTS[2], HOSTS[0], HOSTS[1]]
    assert memory.in_order(HOSTS, 54) == HOSTS
    memory.sent(numbered(9), HOSTS[0], CLIENT)
    assert memory.in_order(HOSTS, 53) == [HOSTS[0], HOSTS[2], HOSTS[1]], "it is tried again"
    hosts = [f"192.0.2.{number}" for number in range(100)]
    for host in hosts:
        memory.unreached((host, 53))
    assert list(memory.in_order(hosts[::-1], 53))[-64:] == hosts[-64:], "more are not remembered"


def test_a_name_that_was_not_reached_has_no_address_any_more() -> None:
    memory = Memory()
    memory.sent(NAME, HOSTS[0], CLIENT)
    assert not memory.unreached((HOSTS[0], 54))
    assert memory.host_of(NAME) == HOSTS[0]
    assert memory.unreached((HOSTS[0], 53))
    assert memory.host_of(NAME) is None
    memory.ask(1)
    assert not memory.unreached(("192.0.2.1", 53))
    assert memory.known(1) == [1], "an address is always the same"
