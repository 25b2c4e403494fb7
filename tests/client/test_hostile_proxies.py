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
from tests.support.hostile import BEHIND, CELLS, Cell, Hostile, proxies_of
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

    def __init__(self, cell: Cell) -> None:
        self.reactor = FakeReactor()
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


def give_up(going: Any) -> None:
    for _ in range(2):
        if going.proxy.cell.stage == "peer":
            going.port.stopListening()
        else:
            going.deferred.cancel()


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_each_stage_can_be_the_last(cell: Cell) -> None:
    going, fate = Going(cell), cell.fate
    proxy = going.proxy
    proxy.do()
    if fate.kind == "silent":
        going.reactor.advance(30)
        if cell.stage == "peer":
            assert (going.outcome, going.reactor.getDelayedCalls()) == ([], [])
            return
    elif fate.kind == "given up":
        give_up(going)
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
