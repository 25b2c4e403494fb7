"""What an upstream may do, on sockets of ours: what the client is told, and that no socket is left."""

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from socks5.outbound.path import Path
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.outbound.ways import Upstreams
from socks5.policy.ruleset import Ruleset
from tests.sockets.clients import Far, Proxy, Target, packed
from tests.sockets.conftest import OnClock
from tests.sockets.wires import turn, until
from tests.support.hostile import BEHIND, CELLS, FLOOD, HOSTS, OVERS, Cell, proxies_of
from tests.support.rules import allow
from tests.support.through import METHOD, OK

PLAIN = [name for name, over in OVERS.items() if "socks5s" not in over.schemes]
SECONDS = {"reply": 20, "peer": 60}


class Going:
    """A client through a hostile upstream, and the far end of the connection there."""

    client: Far
    far: Far

    def __init__(self, cell: Cell, front: Proxy, clock: Clock) -> None:
        self.cell = cell
        self.front = front
        self.clock = clock
        self._heard = 0

    async def begin(self, listening: Target) -> None:
        """It stands at the stage."""
        cell, is_bind = self.cell, self.cell.stage == "peer"
        self.client = await self.front.client(1 + is_bind, packed("192.0.2.80", 80))
        self.far, _ = await listening.accept()
        self.far.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due, self.due = cell.over.due("method", is_bind), cell.over.due(cell.stage, is_bind)
        for piece in ([METHOD, OK] * cell.over.at + due)[: -len(self.due)]:
            await self._asked()
            self.far.send(piece)
        if is_bind:
            assert (await self.client.reply())[0] == 0
        else:
            await self._asked()

    async def _asked(self) -> None:
        """It has been asked for something more."""
        await until(lambda: self.far.count > self._heard)
        self._heard = self.far.count

    async def do(self) -> None:
        far, cell = self.far, self.cell
        if cell.does == "silence":
            is_last = cell.over.is_last and cell.stage in SECONDS
            self.clock.advance(SECONDS[cell.stage] if is_last else 8)
        elif cell.does == "octet by octet":
            await self._say_octet_by_octet()
        elif cell.does == "garbage":
            far.push(b"".join(FLOOD))
        elif cell.does in ("end", "reset"):
            getattr(far, cell.does)()
        elif cell.does == "given up":
            self.client.reset()
        else:
            twice = self.due[0] if cell.does == "twice what is due" else cell.over.refusal
            glued = b"".join(self.due) + BEHIND
            far.send(glued if cell.does == "all glued" else twice * 2)

    async def _say_octet_by_octet(self) -> None:
        for number, piece in enumerate([*self.due, BEHIND]):
            if 0 < number < len(self.due):
                await self._asked()
            for at in range(len(piece)):
                self.far.send(piece[at : at + 1])
                await turn()

    async def outcome(self) -> object:
        """What the client gets: a REP octet, or what is behind a success."""
        if self.cell.does == "given up":
            return None
        code, _ = await self.client.reply()
        found: object = await self.client.receive(2) if code == 0 else code
        self.client.close()
        if self.cell.does != "reset":
            await until(self.far.sees_now)
            self.far.close()
        return found


def expected(cell: Cell) -> object:
    if cell.fate.kind == "through":
        is_twice = cell.does == "twice what is due"
        return cell.over.due(cell.stage, cell.stage == "peer")[0][:2] if is_twice else BEHIND
    return None if cell.fate.kind == "given up" else cell.code


@pytest.mark.parametrize("name", PLAIN)
@pytest_twisted.ensureDeferred
async def test_each_stage_can_be_the_last(serve: Any, name: str) -> None:
    clock = Clock()
    timed, listening, over = OnClock(clock), (await serve()).listen(), OVERS[name]
    hops = proxies_of(timed, over, "{}:{}".format(*listening.host), HOSTS[1]).hops
    path = Path("up", [Upstream(str(hop), hop, Terms(timeout=4)) for hop in hops], timed)
    dialer = Upstreams(timed, {"up": path})
    rules = Ruleset([allow("far", via="up")])
    front: Proxy = await serve(rules=rules, dialer=dialer, clock=clock)
    cells = {each: cell for each, cell in CELLS.items() if cell.over == over}
    found = {}
    for count, (each, cell) in enumerate(cells.items(), 1):
        going = Going(cell, front, clock)
        await going.begin(listening)
        await going.do()
        found[each] = await going.outcome()
        await front.gone(count)
    assert found == {each: expected(cell) for each, cell in cells.items()}
    assert (front.counters.upstreams["up"].open, len(dialer.direct.deadlines)) == (0, 0)
