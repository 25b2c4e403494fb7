"""The well-behaved client of the neighbours' benchmark, and how long it waits for what it asks.

``python -m benchmarks.neighbour JSON`` opens its association, prints a line, waits for one, and then
begins every 20 ms a session (connect, greet, CONNECT, one octet each way) and a datagram there and back:
in turn by address, by a name of the hosts file, and by a name that the name server answers at once and has
not been asked for before. It prints one line of JSON. Of time it keeps what each took from its beginning,
so one that waits does not keep the next from beginning.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import signal
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.clients import CONNECT, LOOPBACK, PATIENCE, Client, address, exactly, name, send
from benchmarks.nameserver import Kind

INTERVAL = 0.02
LOGIN_INTERVAL = 0.5
"""Between logins with a password that the proxy cannot remember, which may last longer: never two at a time."""

DATAGRAM_PATIENCE = 2.0
"""Seconds after which a datagram is lost."""

KNOWN_NAME = "known.hosts.test"
"""It stands in the hosts file, with the loopback's address."""

USER, PASSWORD = "neighbour", "right"
USERS = 60
"""Beside that one, with the same password: each logs in once at the most."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to do: from which address, through which proxy, to which target, for how long.

    :param has_datagrams: whether the proxy serves UDP.
    :param has_logins: whether it asks for passwords.
    """

    source: str
    proxy: int
    target: dict[str, int]
    seconds: float
    has_datagrams: bool
    has_logins: bool


def targets(port: int, label: str) -> Iterator[bytes]:
    """Where each goes, in turn; *label* keeps the names of one caller from another's."""
    for i in itertools.count():
        yield address(LOOPBACK, port)
        yield name(KNOWN_NAME, port)
        yield name(f"{label}{i}.{Kind.QUICK}.test", port)


class Neighbour:
    """Asks, waits, and keeps count.

    Of every kind of thing it does: the seconds of those that came to a good end, and the others by what went
    wrong.
    """

    def __init__(self, task: Task) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.failures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._task = task
        self._client = Client(task.source, task.proxy)
        self._login = (USER, PASSWORD) if task.has_logins else None
        self._streams = targets(task.target["echo"], "s")
        self._datagrams = targets(task.target["udp"], "d")
        self._users = (f"user{i}" for i in range(USERS))
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._numbers = itertools.count()
        self._logs_in = asyncio.Lock()
        self._association: tuple[socket.socket, socket.socket] | None = None

    async def prepare(self) -> None:
        """Open the association, and have each thing done once that is done once only.

        :raises Refused: the proxy refuses.
        """
        if self._task.has_datagrams:
            self._association = await self._client.associate(self._login)
            asyncio.get_running_loop().add_reader(self._association[1], self._take_answers)
        for _ in range(3):
            await self._session(next(self._streams), self._login)

    async def _session(self, where: bytes, login: tuple[str, str] | None) -> None:
        sock, _bound = await self._client.ask(CONNECT, where, login)
        with sock:
            await send(sock, b"x")
            await exactly(sock, 1)

    async def _datagram(self, where: bytes) -> None:
        assert self._association is not None
        number = next(self._numbers).to_bytes(8, "big")
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._association[1].send(bytes(3) + where + number)
        try:
            await answered
        finally:
            del self._waiting[number]

    def _take_answers(self) -> None:
        assert self._association is not None
        with suppress(BlockingIOError):
            while True:
                answered = self._waiting.get(self._association[1].recv(65536)[-8:])
                if answered is not None and not answered.done():
                    answered.set_result(None)

    async def _timed(self, kind: str, patience: float, act: Awaitable[None]) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                await act
        except (OSError, EOFError) as error:
            self.failures[kind][str(error) or type(error).__name__] += 1
        else:
            self.seconds[kind].append(time.monotonic() - began)

    async def _log_in(self) -> None:
        if not self._logs_in.locked():
            async with self._logs_in:
                login = next(self._users), PASSWORD
                where = address(LOOPBACK, self._task.target["echo"])
                await self._timed("login", PATIENCE, self._session(where, login))

    def _what_is_due(self, turn: int) -> Iterator[Awaitable[None]]:
        where = next(self._streams)
        yield self._timed("session", PATIENCE, self._session(where, self._login))
        if self._task.has_datagrams:
            where = next(self._datagrams)
            yield self._timed("datagram", DATAGRAM_PATIENCE, self._datagram(where))
        if self._task.has_logins and turn % round(LOGIN_INTERVAL / INTERVAL) == 0:
            yield self._log_in()

    async def run(self) -> None:
        """Ask for as long as the task says, and wait for the last answers."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for turn in range(round(self._task.seconds / INTERVAL)):
                await asyncio.sleep(began + turn * INTERVAL - time.monotonic())
                for act in self._what_is_due(turn):
                    group.create_task(act)  # type: ignore[arg-type]

    def results(self) -> dict[str, Any]:
        """What each kind took, and what went wrong."""
        kinds = {*self.seconds, *self.failures}
        return {
            kind: {"seconds": sorted(self.seconds[kind]), "failures": dict(self.failures[kind])}
            for kind in sorted(kinds)
        }


async def _carry_out(task: Task, wait: Callable[[], object]) -> dict[str, Any]:
    neighbour = Neighbour(task)
    await neighbour.prepare()
    wait()
    await neighbour.run()
    return neighbour.results()


def _wait_for_the_word() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


def main() -> None:
    """Carry out the task of the command line."""
    task = Task(**json.loads(sys.argv[1]))
    signal.alarm(int(task.seconds + 3 * PATIENCE) + 10)
    gc.disable()
    sys.stdout.write(json.dumps(asyncio.run(_carry_out(task, _wait_for_the_word))) + "\n")


if __name__ == "__main__":
    main()
