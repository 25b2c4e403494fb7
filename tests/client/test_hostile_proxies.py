"""Whatever a proxy does, at whatever stage: how a client's connection ends, and that it leaves nothing."""

from typing import Any

import pytest
from twisted.internet import error

from socks5.client import (
    NotAllowed,
    ProxyClosed,
    ProxyProtocolError,
    ProxyTimeout,
    ProxyUnreachable,
)
from tests.support.deferreds import told
from tests.support.hostile import ASSOCIATING, BEHIND, CELLS, ROUNDS, Cell, Hostile, proxies_of
from tests.support.memory import stays_flat
from tests.support.reactor import FakeReactor
from tests.support.through import Asked, Program

KINDS = {
    "given up": error.ConnectingCancelledError,
    "silent": ProxyTimeout,
    "closed": ProxyClosed,
    "unreachable": ProxyUnreachable,
    "wrong": ProxyProtocolError,
    "refused": NotAllowed,
}


class Going(Asked):
    """Through a hostile proxy, to a target, or to a peer that is awaited."""

    def __init__(self, cell: Cell, reactor: FakeReactor | None = None) -> None:
        self.reactor = reactor or FakeReactor()
        self.program = Program()
        proxy = proxies_of(self.reactor, cell.over)
        if cell.stage == "peer":
            self.deferred = proxy.bind(self.program)
        else:
            self.deferred = proxy.endpoint("www.example.org", 443).connect(self.program)
        self.outcome = told(self.deferred)
        self.proxy = Hostile(cell, self.reactor, self.accept())
        if cell.stage == "peer":
            [self.port] = self.outcome
            self.deferred = self.port.when_accepted()
            self.outcome = told(self.deferred)

    def come_to_its_end(self) -> None:
        self.proxy.do()
        cell = self.proxy.cell
        if cell.fate.kind == "silent":
            self.reactor.advance(30)
        elif cell.fate.kind == "given up":
            for _ in range(2):
                self.port.stopListening() if cell.stage == "peer" else self.deferred.cancel()


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_each_stage_can_be_the_last(cell: Cell) -> None:
    going, fate = Going(cell), cell.fate
    proxy = going.proxy
    going.come_to_its_end()
    if fate.kind == "silent" and cell.stage == "peer":
        assert (going.outcome, going.reactor.getDelayedCalls()) == ([], [])
        return
    if fate.kind == "through":
        again = [b"".join(proxy.due[:1])] if cell.does == "twice what is due" else [BEHIND]
        assert going.program.notes[0] == "made"
        assert b"".join(going.program.notes[1:]) == again[0]
        proxy.transport.deliver_reset()
    else:
        assert type(going.error) is KINDS[fate.kind]
        if fate.stage:
            assert (going.error.stage, going.error.hop) == (fate.stage, fate.hop)
        assert going.program.targets == []
    assert going.leaves_nothing()
    assert proxy.has_gone
    assert proxy.keeps_little(going.outcome)


@pytest.mark.parametrize("announce", ["nothing", "port"])
@pytest.mark.parametrize("cell", ASSOCIATING.values(), ids=ASSOCIATING)
def test_an_association_that_cannot_be_opened_has_no_socket(cell: Cell, announce: Any) -> None:
    reactor, fate = FakeReactor(), cell.fate
    udp = proxies_of(reactor, cell.over).associate(announce=announce)
    opening = udp.open()
    outcome = told(opening)
    proxy = Hostile(cell, reactor, reactor.connectors[0].succeed())
    proxy.do()
    if fate.kind == "silent":
        reactor.advance(30)
    elif fate.kind == "given up":
        opening.cancel()
    if fate.kind == "through":
        assert outcome == [udp]
        udp.close()
    else:
        assert type(outcome[0].value) is KINDS[fate.kind]
    assert proxy.has_gone
    assert not any(port.is_listening for port in reactor.udp_ports)
    assert reactor.getDelayedCalls() == []


def test_a_thousand_failures_leave_nothing() -> None:
    """``python -m benchmarks.failing`` has thousands, on real sockets."""
    reactor = FakeReactor()

    def fail(number: int) -> None:
        going = Going(ROUNDS[number % len(ROUNDS)], reactor)
        going.come_to_its_end()
        going.proxy.transport.deliver_reset()
        reactor.turn()
        reactor.connectors.clear()
        reactor.tcpClients.clear()

    assert stays_flat(fail, 1000)
    assert reactor.getDelayedCalls() == []
