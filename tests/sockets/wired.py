"""Two programs joined by a relay on plain sockets, served when a test says so."""

import socket
from array import array
from contextlib import suppress
from typing import Any

from socks5.deadlines import IdleTimers
from socks5.net.connection import Connection
from socks5.net.poller import Poller
from socks5.net.tcp_options import prepare
from socks5.relay.joining import join
from socks5.relay.pipes import PIPE_SIZE, Borrower, Pipe, PipePool
from socks5.relay.relay import RESET_DELAYS
from socks5.relay.sockets import BUFFER_SIZE, BULK
from socks5.settings import Settings
from tests.sockets.wires import FarEnd, Odd, Unwatched
from tests.support.limited import Meter
from tests.support.sessions import Ends

LINGER = 240.0

NUMBERED = array("I", range(PIPE_SIZE)).tobytes()
"""Four times as many octets as fit in a pipe, of which every four are others."""


class Watching(Poller):
    """A poller that says which descriptors have an owner, and has a pool that says which pipes are lent."""

    def __init__(self, reactor: Unwatched) -> None:
        super().__init__(reactor)
        self.owned: set[int] = set()
        self.pool = self.shared[PipePool] = Pool(reactor)

    def add(self, fd: int, *arguments: Any) -> None:
        self.owned.add(fd)
        super().add(fd, *arguments)

    def forget(self, fd: int) -> None:
        self.owned.discard(fd)
        super().forget(fd)


class Pool(PipePool):
    def __init__(self, reactor: Unwatched) -> None:
        super().__init__(reactor)
        self.lent: dict[Borrower, Pipe] = {}

    def lend(self, side: Borrower) -> Pipe | None:
        pipe = super().lend(side)
        if pipe is not None:
            self.lent[side] = pipe
        return pipe

    def give_back(self, side: Borrower, pipe: Pipe) -> None:
        del self.lent[side]
        super().give_back(side, pipe)


class Wired:
    """Two programs, joined by a relay on sockets.

    ``near`` and ``far`` are our connections, ``client`` and ``target`` the programs; ``up`` is the side that receives
    from the client once the relay has begun, ``down`` the other.

    :param window: octets asked for as each buffer of the system's.
    :param odd: methods of our socket towards the target, see :class:`Odd`.
    :param meter: the relay's.
    """

    def __init__(
        self,
        reactor: Unwatched,
        poller: Watching,
        window: int | None = None,
        odd: Any = None,
        meter: Meter | None = None,
    ) -> None:
        self.reactor, self.poller = reactor, poller
        self.done = Ends()
        self.client, self.near = self._connect(window)
        self.target, self.far = self._connect(window)
        if odd is not None:
            self.far.socket = Odd(self.far.socket, **odd)  # type: ignore[assignment]
        self.up: Any = None
        self.down: Any = None
        timers = IdleTimers(reactor)  # type: ignore[arg-type]
        settings = Settings(linger_timeout=LINGER, keepalive=0)
        self.relay = join(timers, settings, self.near, self.far, self.done, meter)

    def start(self, *arguments: Any) -> "Wired":
        self.relay.start(*arguments)
        self.up, self.down = self.near.receiver, self.far.receiver
        return self

    @property
    def pipe(self) -> Pipe | None:
        """The one from the target to the client."""
        return self.poller.pool.lent.get(self.down)

    def _connect(self, window: int | None) -> tuple[FarEnd, Connection]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs = listener.accept()[0]
        for each in (ours, theirs) if window else ():
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        ours.setblocking(False)
        prepare(ours)
        connection = Connection(self.poller, ours, None, theirs.getsockname())
        self.poller.add(connection.fd, connection)
        return FarEnd(theirs), connection

    def serve(self, batches: int = 3) -> None:
        for _ in range(batches):
            self.poller.doRead()

    def settle(self) -> None:
        """Until a reset has got through to everybody."""
        for _ in range(5):
            self.serve()
            self.reactor.advance(RESET_DELAYS[0])

    def serve_before_start(self) -> None:
        """The connections learn that there is something to read, as if they were paused."""
        self.near.pauseProducing()
        self.far.pauseProducing()
        self.serve()

    def stuff(self, sender: FarEnd, octets: int) -> int:
        """Send what goes of :data:`NUMBERED`, until nothing goes any more."""
        sent = quiet = 0
        while quiet < 20 and sent < octets:
            went = sender.push(NUMBERED[sent : min(sent + (1 << 16), octets)])
            sent += went
            quiet = 0 if went else quiet + 1
            self.serve(1)
        return sent

    def flood(self, octets: int = BULK * 8) -> None:
        """Bulk from the target to the client, who reads it."""
        data = bytes(BUFFER_SIZE)
        received = sent = 0
        while received < octets:
            if sent < octets:
                sent += self.target.push(data[: octets - sent])
            self.serve(1)
            with suppress(BlockingIOError):
                received += len(self.client.socket.recv(BUFFER_SIZE))

    def clear(self) -> None:
        """Whatever is on its way to the client arrives."""
        self.serve()
        while self.client.read(BUFFER_SIZE) or self.down.is_blocked:
            self.serve()

    def finish(self) -> None:
        self.client.close()
        self.target.close()
        self.settle()
        self.relay.stop("the test is over")
        self.settle()
        assert len(self.done) == 1
