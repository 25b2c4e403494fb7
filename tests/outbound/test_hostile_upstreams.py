"""Whatever an upstream does, at whatever stage: what the client is told, whether the upstream is in order, whether the
next of its pool is asked, and that nothing is left.
"""

import pytest
from twisted.internet.defer import CancelledError

from socks5.outbound.path import Path
from socks5.outbound.pool import Pool
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from tests.support.hostile import BEHIND, CELLS, Cell, Hostile, proxies_of
from tests.support.upstreams import TARGET, Dialling, World, reply, upstream

SECONDS = 4.0
"""That one proxy may take."""

OUT = 3
"""So many failures put an upstream out."""


class Going:
    """Through a hostile upstream, which has failed once and is the first of two."""

    def __init__(self, cell: Cell) -> None:
        self.world = world = World(lambda reactor: {"up": self._pool(reactor, cell)})
        self.one.health.failed("once before")
        self.dialling = world.bind() if cell.stage == "peer" else world.dial()
        self.proxy = Hostile(cell, world.reactor, world.accept())
        if cell.stage == "peer":
            self.dialling = Dialling(self.dialling.stream.peer)

    def _pool(self, reactor: object, cell: Cell) -> Pool:
        terms = Terms(timeout=SECONDS, fails=OUT)
        hops = proxies_of(reactor, cell.over).hops
        legs = [Upstream(f"hop{number}", hop, terms) for number, hop in enumerate(hops)]
        self.one, two = Path("one", legs, reactor), Path("two", [upstream("two")], reactor)
        return Pool([self.one, two])

    def come_to_its_end(self) -> None:
        self.proxy.do()
        cell, reactor = self.proxy.cell, self.world.reactor
        if cell.fate.kind == "given up":
            self.dialling.deferred.cancel()
        elif cell.fate.kind == "silent":
            seconds = {"peer": 60.0, "reply": 20.0 if cell.over.is_last else 2 * SECONDS}
            reactor.advance(seconds.get(cell.stage, SECONDS * len(cell.over.schemes)))

    @property
    def health(self) -> str:
        """What was learnt of the upstream: how many more failures put it out says it."""
        health, more = self.one.health, 0
        while not health.is_out:
            more += 1
            health.failed("once more")
        return ("out at once", "a failure", "nothing", "a success")[more]


def health_of(cell: Cell) -> str:
    """What there is to learn."""
    fate, over = cell.fate, cell.over
    if cell.stage == "peer" or fate.kind in ("through", "refused"):
        return "a success"
    if fate.kind == "wrong" and (
        fate.stage != "reply" or not over.is_last or over.scheme == "http"
    ):
        return "out at once"
    if fate.kind == "given up" or cell.has_asked:
        return "nothing"
    return "a failure"


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_each_stage_can_be_the_last(cell: Cell) -> None:
    going, fate = Going(cell), cell.fate
    world, proxy, dialling = going.world, going.proxy, going.dialling
    counters = world.counters["one"]
    going.come_to_its_end()
    if fate.kind == "through":
        assert (dialling.stream.upstream, counters.open) == ("one", 1)
        assert cell.does != "all glued" or dialling.stream.waiting == BEHIND
        proxy.transport.deliver_reset()
    elif fate.kind != "given up" and not cell.has_asked:
        world.answer(world.greeted(), reply())
        assert dialling.stream.upstream == "two"
        dialling.stream.transport.abortConnection()
    elif fate.kind == "given up":
        assert dialling.failure.check(CancelledError)
    else:
        assert dialling.code == cell.code
    is_told = fate.kind not in ("through", "given up") and (cell.stage, fate.kind) != (
        "peer",
        "silent",
    )
    assert counters.failures == ({fate.stage: 1} if is_told else {})
    assert (counters.open, world.asked[0]) == (0, TARGET.host)
    assert proxy.has_gone
    assert proxy.keeps_little(dialling.given)
    world.assert_nothing_is_left()
    assert going.health == health_of(cell)
