"""Whatever an upstream does, at whatever stage: what the client is told, whether the upstream is in order, whether the
next of its pool is asked, and that nothing is left.
"""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.main import CONNECTION_LOST

from socks5.access import DENIED
from socks5.outbound.path import Asked, Path
from socks5.outbound.pool import Pool, Way
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.protocol.messages import Command
from socks5.settings import Settings
from tests.support.hostile import (
    BEHIND,
    CAME,
    CELLS,
    OVERS,
    ROUNDS,
    Cell,
    Hostile,
    Over,
    proxies_of,
)
from tests.support.memory import stays_flat
from tests.support.providers import ASKER
from tests.support.through import OK
from tests.support.upstreams import TARGET, Dialling, World, reply, upstream

SECONDS = 4.0
"""That one proxy may take."""

OUT = 3
"""So many failures put an upstream out."""


class Going:
    """Through a hostile upstream."""

    def __init__(self, cell: Cell, world: World) -> None:
        self.world = world
        self.dialling = world.bind() if cell.stage == "peer" else world.dial()
        self.proxy = Hostile(cell, world.reactor, world.accept())
        if cell.stage == "peer":
            self.dialling = Dialling(self.dialling.stream.peer)

    def come_to_its_end(self) -> None:
        self.proxy.do()
        cell, reactor = self.proxy.cell, self.world.reactor
        if cell.fate.kind == "given up":
            self.dialling.deferred.cancel()
        elif cell.fate.kind == "silent":
            seconds = {"peer": 60.0, "reply": 20.0 if cell.over.is_last else SECONDS}
            reactor.advance(seconds.get(cell.stage, SECONDS))


def path_of(reactor: object, over: Over, name: str = "up") -> Path:
    terms = Terms(timeout=SECONDS, fails=OUT)
    hops = proxies_of(reactor, over).hops
    legs = [Upstream(f"hop{number}", hop, terms) for number, hop in enumerate(hops)]
    return Path(name, legs, reactor)


def two(over: Over) -> World:
    """A pool of two, of which the first is hostile, and has failed once."""

    def make(reactor: object) -> dict[str, Way]:
        one, other = path_of(reactor, over, "one"), Path("two", [upstream("two")], reactor)
        one.health.failed("once before")
        return {"up": Pool([one, other])}

    return World(make)


def learnt(world: World) -> str:
    """What was learnt of the first: how many more failures put it out says it."""
    health, more = world.ways["up"].paths[0].health, 0
    while not health.is_out:
        more += 1
        health.failed("once more")
    return ("out at once", "a failure", "nothing", "a success")[more]


def to_learn(cell: Cell) -> str:
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
    world, fate = two(cell.over), cell.fate
    going = Going(cell, world)
    proxy, dialling = going.proxy, going.dialling
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
    assert learnt(world) == to_learn(cell)


async def associate(path: Path, asked: Asked) -> None:
    (await path.associate(asked)).close()


async def refuse_the_peer(path: Path, asked: Asked) -> None:
    await (await path.listen(asked, TARGET, lambda _: DENIED, "up")).peer


async def look_up(path: Path, asked: Asked) -> None:
    await path.look_up(asked, TARGET)


@pytest.mark.parametrize(
    ("use", "command"),
    [
        (associate, Command.UDP_ASSOCIATE),
        (refuse_the_peer, Command.BIND),
        (look_up, Command.RESOLVE),
    ],
)
def test_no_goodbye_is_waited_for(use: Callable[[Path, Asked], Any], command: Command) -> None:
    """Who is closed behind his reply, over TLS, need not say one."""
    over = OVERS["TLS"]
    world = World(lambda reactor: {"up": path_of(reactor, over)})
    asked = Asked(ASKER._replace(command=command), Settings(), "::1", world.direct)
    used = Dialling(Deferred.fromCoroutine(use(world.ways["up"], asked)))
    proxy = Hostile(Cell(over, "reply", "silence"), world.reactor, world.accept())
    proxy.say(OK, CAME) if command == Command.BIND else proxy.say(OK)
    assert used.given
    assert proxy.has_gone
    assert world.counters["up"].open == 0
    world.assert_nothing_is_left()


def test_the_exception_that_twisted_has_for_all_gathers_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CONNECTION_LOST, "__traceback__", None)
    cell = CELLS["TLS, tls, reset"]
    going = Going(cell, two(cell.over))
    going.come_to_its_end()
    going.world.answer(going.world.greeted(), reply(5))
    assert CONNECTION_LOST.__traceback__ is None


def test_a_thousand_failures_leave_nothing() -> None:
    worlds = {
        over: World(lambda reactor, over=over: {"up": path_of(reactor, over)})
        for over in OVERS.values()
    }  # type: ignore[misc]

    def fail(number: int) -> None:
        cell = ROUNDS[number % len(ROUNDS)]
        world = worlds[cell.over]
        going = Going(cell, world)
        going.come_to_its_end()
        world.reactor.turn()
        world.reactor.connectors.clear()
        world.reactor.tcpClients.clear()
        world.asked.clear()

    assert stays_flat(fail, 1000)
    for world in worlds.values():
        world.assert_nothing_is_left()
