"""What every relay must do, seen by the two programs that it joins: plain sockets, and nothing else.

Every test runs on each path that octets may take: between Twisted's transports, between plain sockets,
from a plain socket to a transport, and in an ordinary session, which begins without a relay; the former also with a
meter that has every end wait time and again.
"""

import errno
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from socks5 import ServerFactory, listen
from socks5.access import SessionInfo
from socks5.deadlines import IdleTimers
from socks5.net.connection import Connection
from socks5.net.poller import poller_of
from socks5.outbound.direct import DirectDialer
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.protocol.address import Address
from socks5.relay import joining
from socks5.relay import sockets as splice
from socks5.relay.relay import RESET_PATIENCE
from socks5.server.ends import ClientEnd
from socks5.settings import Settings
from socks5.streams import IStream
from tests.sockets.clients import Far
from tests.sockets.streams import own, twisted
from tests.sockets.wires import FarEnd, WithoutPoller, turn, until
from tests.support.limited import Meter
from tests.support.providers import FakeResolver, begin_dial
from tests.support.sessions import GREETING, NO_AUTHENTICATION, Ends

SMALL = 1 << 17
"""Octets asked for as a socket's buffer, where a test must fill it."""

READ = splice.PIPE_SIZE + (1 << 18)
"""Octets that a relay may hold itself in one direction, whatever its kind: what it reads at a time, and a
full send buffer or pipe."""

MUCH = 1 << 22
"""Octets that do not go into small buffers."""

LINGER = 240.0


class Joined:
    """A client and a target, joined by a relay that has not begun."""

    def __init__(self, client: FarEnd, near: IStream, target: FarEnd, far: IStream) -> None:
        self.client, self.target = client, target
        self.near, self.far = near, far
        self.relay: Any = None
        self.done = Ends()

    def sides(self, one: str) -> tuple[FarEnd, FarEnd]:
        """The side named, and its peer."""
        both = (self.client, self.target)
        return both if one == "client" else both[::-1]

    def count(self, one: str) -> int:
        """Octets that the relay has received from the side named."""
        return self.relay.bytes_up if one == "client" else self.relay.bytes_down

    def shrink(self) -> int:
        """Make every buffer of the system small.

        :returns: how many octets can be between the two programs in one direction, at the most.
        """
        ours = [each.transport.socket for each in (self.near, self.far)]
        theirs = [self.client.socket, self.target.socket]
        for each in (*ours, *theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        sizes = [
            each.getsockopt(socket.SOL_SOCKET, option)
            for each in (ours[0], theirs[0])
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)
        ]
        return sum(sizes) + READ


def pattern(octets: int) -> bytes:
    """Octets without a period: an order that is wrong shows."""
    return random.Random(octets).randbytes(octets)


class Session:
    """An ordinary session, as far as it is a relay."""

    def __init__(self, session: Any, done: Ends) -> None:
        self._session = session
        self._done = done
        self._record: SessionInfo | None = None
        session.shared.sessions.watch(closed=self._closed)

    def _closed(self, session: Any) -> None:
        self._record = session.info()
        self._done.end(self._record.reason)

    @property
    def bytes_up(self) -> int:
        return int((self._record or self._session.info()).bytes_up)

    @property
    def bytes_down(self) -> int:
        return int((self._record or self._session.info()).bytes_down)

    def start(self) -> None:
        """It is under way."""

    def stop(self, reason: Any) -> None:
        if not self._done:
            self._session.command.stop(reason, LINGER)


PATHS = ["transports", "sockets", "mixed"]
"""What the client's and the target's connections are to us: Twisted's transports both, our own sockets both, or
(mixed) the client's a socket and the target's a transport.
"""

METERED = [f"metered {path}" for path in PATHS]
"""The same under limits."""

RELAYS = [*PATHS, *METERED]


@pytest.fixture(params=[*RELAYS, "session", "metered session"])
def path(request: pytest.FixtureRequest) -> Any:
    """One of those, or a session that has neither."""
    return request.param


@pytest.fixture(params=["client", "target"])
def one(request: pytest.FixtureRequest) -> str:
    """The side that begins: what a test with it says holds both ways."""
    return request.param


async def client_of(accept: Callable[[socket.socket], Any], path: str) -> tuple[FarEnd, IStream]:
    """A client whose connection is accepted so; over TCP, where it has no path of a UNIX socket."""
    family = socket.AF_UNIX if path else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind(path or ("127.0.0.1", 0))
        listener.listen()
        client = socket.socket(family)
        client.connect(listener.getsockname())
        return FarEnd(client), await accept(listener)


async def target(is_plain: bool) -> tuple[FarEnd, IStream]:
    """A target, and our stream to it."""
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialer = DirectDialer(reactor if is_plain else WithoutPoller(reactor), FakeResolver())
        far = await begin_dial(dialer, Address(*listener.getsockname()))
        return FarEnd(listener.accept()[0]), far


async def in_session(clock: Clock | None, settings: Settings, limits: Limits | None) -> Joined:
    """A client and a target that an ordinary session has joined."""
    from twisted.internet import reactor

    factory = ServerFactory(reactor, settings=settings, limits=limits)
    factory.idle_timers = IdleTimers(clock or reactor)  # type: ignore[arg-type]
    port = await listen(reactor, "tcp:0:interface=127.0.0.1", factory)
    client = Far(socket.create_connection(("127.0.0.1", port.getHost().port)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client.send(GREETING)
        assert await client.receive(2) == NO_AUTHENTICATION
        client.send(b"\5\1\0" + Address(*listener.getsockname()).encode())
        await client.reply()
        target = FarEnd(listener.accept()[0])
    await port.stopListening()
    [session] = factory.sessions
    end: Any = session.transport  # type: ignore[attr-defined]
    assert isinstance(end, ClientEnd)
    joined = Joined(FarEnd(client.socket), session, target, SimpleNamespace(transport=end.peer))  # type: ignore[arg-type]
    joined.relay = Session(session, joined.done)
    return joined


@pytest_twisted.async_yield_fixture
async def join(path: Any) -> AsyncIterator[Any]:
    """Joins a client and a target, and leaves nothing behind.

    Parameters of the function: ``unix``, the path of the socket of a client, UNIX clients being Twisted's on any
    path; ``clock`` of the relay instead of the reactor; those of Settings.
    """
    from twisted.internet import reactor

    assert poller_of(reactor)
    before = {*reactor.getReaders(), *reactor.getWriters()}
    made: list[Joined] = []

    async def join(unix: str = "", clock: Clock | None = None, **settings: Any) -> Joined:
        if path.endswith("session"):
            limits = (
                None if path == "session" else Limits([Limit("high", down=1e10)], server=["high"])
            )
            made.append(await in_session(clock, Settings(**settings), limits))
            return made[-1]
        kind = path.removeprefix("metered ")
        accept = twisted if unix or kind == "transports" else own
        client, near = await client_of(accept, unix)
        joined = Joined(client, near, *await target(kind == "sockets"))
        timers = IdleTimers(clock or reactor)  # type: ignore[arg-type]
        meter = None if kind == path else Meter(0 if clock else 0.0005)
        joined.relay = joining.join(
            timers, Settings(**settings), near, joined.far, joined.done, meter
        )
        made.append(joined)
        return joined

    yield join
    for each in made:
        each.client.close()
        each.target.close()
        each.relay.stop("the test is over")
        await until(lambda each=each: each.done)
        assert len(each.done) == 1
    await until(lambda: {*reactor.getReaders(), *reactor.getWriters()} <= before)


@pytest.fixture
def stalled(join: Any, one: str) -> Callable[..., Any]:
    """Joins, and has the one side send what goes while nobody reads.

    The function returns what is joined, the sender, the reader, and what was sent.
    """

    async def stall(**parameters: Any) -> tuple[Joined, FarEnd, FarEnd, bytes]:
        joined = await join(**parameters)
        joined.shrink()
        joined.relay.start()
        sender, reader = joined.sides(one)
        data = pattern(MUCH)
        return joined, sender, reader, data[: await sender.stuff(data)]

    return stall


@pytest_twisted.async_fixture
async def joined(join: Any) -> Joined:
    """A relay under way."""
    made = await join()
    made.relay.start()
    return made


# ---------------------------------------------------------------- octets


@pytest.mark.parametrize("path", RELAYS)
@pytest.mark.parametrize("octets", [0, 2])
@pytest.mark.parametrize("has_ended", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_the_client_sent_before_goes_first_and_its_end(
    join: Any, octets: int, has_ended: bool
) -> None:
    """Even if it is more than the kernel takes; and what has arrived meanwhile is not forgotten."""
    joined = await join()
    first = pattern(joined.shrink() * octets)
    if has_ended:
        joined.client.end()
    else:
        joined.client.send(b"the rest")
    joined.target.send(b"220 hello")
    ours = [each for each in (joined.near, joined.far) if isinstance(each, Connection)]
    for each in ours:
        each.pauseProducing()  # a poller tells only once that there is something
    if len(ours) == 2:  # a transport of Twisted's would tell what nobody takes yet
        await turn()
    joined.relay.start(first, has_ended)
    assert joined.relay.bytes_up - len(first) in (0, len(b"the rest"))
    for _ in range(10):
        await turn()
    await until(lambda: joined.client.value() == b"220 hello")
    if has_ended:
        await until(joined.target.sees_now)
        assert (joined.target.value(), joined.target.sees) == (first, "end")
    else:
        await until(lambda: joined.target.value() == first + b"the rest")
    joined.target.send(b" answer")
    await until(lambda: joined.client.value() == b"220 hello answer")
    assert joined.done == []


@pytest.mark.parametrize("path", RELAYS)
@pytest_twisted.ensureDeferred
async def test_a_client_on_a_unix_socket_is_spoken_to_and_ends_its_half(
    join: Any, tmp_path: Path
) -> None:
    joined = await join(str(tmp_path / "socket"))
    joined.target.send(b"220 hello")
    joined.relay.start()
    await until(lambda: joined.client.value() == b"220 hello")
    joined.client.send(b"request")
    joined.client.end()
    await until(lambda: joined.target.sees_now() == "end")
    joined.target.send(b" answer")
    joined.target.close()
    await until(lambda: joined.client.sees_now() == "end")
    assert (joined.target.value(), joined.client.value()) == (b"request", b"220 hello answer")
    await until(lambda: joined.done)


# ---------------------------------------------------------------- back pressure


@pytest_twisted.ensureDeferred
async def test_a_stalled_reader_stops_the_sender_and_loses_nothing(join: Any, one: str) -> None:
    """What is on the way is bounded: not by what is sent, but by the buffers. Meanwhile the other direction goes
    on; and so does this one, once it is read.
    """
    joined = await join()
    limit = joined.shrink()
    joined.relay.start()
    sender, reader = joined.sides(one)
    data = pattern(limit * 8)
    sent = await sender.stuff(data)
    assert 0 < sent <= limit
    reader.send(b"still here")
    await until(lambda: sender.value() == b"still here")
    while len(reader.octets) < len(data):
        sent += sender.push(data[sent : sent + 54_321])
        reader.read(43_210)
        await turn()
    assert reader.value() == data
    assert joined.count(one) == len(data)


# ---------------------------------------------------------------- ends


@pytest_twisted.ensureDeferred
async def test_an_end_is_passed_on_and_the_other_direction_goes_on(
    joined: Joined, one: str
) -> None:
    sender, reader = joined.sides(one)
    sender.send(b"request")
    sender.end()
    await until(lambda: reader.sees_now() == "end")
    assert reader.value() == b"request"
    for times in (1, 2, 3):
        reader.send(b"answer ")
        await until(lambda times=times: sender.value() == b"answer " * times)
    assert (sender.sees, joined.done) == ("", [])
    reader.end()
    await until(lambda: sender.sees_now() == "end")
    await until(lambda: joined.done)
    assert joined.done == ["target closed" if one == "client" else "client closed"]


@pytest_twisted.ensureDeferred
async def test_an_end_waits_behind_octets_that_a_stalled_reader_has_not_read(stalled: Any) -> None:
    """Then the sender is gone altogether, and the reader gets what it sent all the same."""
    joined, sender, reader, data = await stalled()
    sender.close()
    await turn()
    await until(reader.sees_now)
    assert reader.sees == "end"
    assert reader.value() == data
    assert joined.done == []
    reader.close()
    await until(lambda: joined.done)


# ---------------------------------------------------------------- resets


@pytest_twisted.ensureDeferred
async def test_a_reset_after_the_same_side_s_end_is_passed_on(joined: Joined, one: str) -> None:
    """A socket that has seen the end already sees a reset as EPIPE, at once; from an orderly close it
    would see nothing more.
    """
    sender, reader = joined.sides(one)
    sender.end()
    await until(lambda: reader.sees_now() == "end")
    sender.reset()
    reader.push(b"into the void")
    await until(lambda: joined.done)
    assert joined.done == [f"reset by {one}"]
    assert reader.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EPIPE


@pytest.mark.parametrize("has_ended", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_reset_is_passed_on_behind_an_answer(
    joined: Joined, one: str, has_ended: bool
) -> None:
    """Whether or not the other side has sent its end."""
    sender, reader = joined.sides(one)
    if has_ended:
        reader.end()
        await until(lambda: sender.sees_now() == "end")
    answer = pattern(1 << 15)
    sender.send(answer)
    sender.reset()
    await until(reader.sees_now)
    assert (reader.sees, reader.value()) == ("reset", answer)
    await until(lambda: joined.done)
    assert joined.done == [f"reset by {one}"]


@pytest_twisted.ensureDeferred
async def test_a_reset_behind_octets_that_a_slow_reader_has_not_read(
    stalled: Any, one: str
) -> None:
    """The reader gets all that we have received, whether from us or from its own system."""
    joined, sender, reader, data = await stalled()
    sender.reset()
    for _ in range(10):
        await turn()
    assert joined.done == []
    await until(reader.sees_now)
    assert reader.sees == "reset"
    assert reader.value() == data[: len(reader.value())]
    assert joined.count(one) == len(reader.value())
    await until(lambda: joined.done)
    assert joined.done == [f"reset by {one}"]


async def bulk(sender: FarEnd, reader: FarEnd) -> None:
    """Much has gone from one to the other, and more is on its way."""
    received = 0
    while received < 1 << 22:
        sender.push(bytes(SMALL))
        received += reader.read(SMALL)
        await turn()


@pytest.mark.parametrize("sends", ["client", "target"])
@pytest_twisted.ensureDeferred
async def test_a_reset_in_the_midst_of_bulk_is_passed_on(
    joined: Joined, one: str, sends: str
) -> None:
    """Of the sender as of the reader."""
    breaks, other = joined.sides(one)
    await bulk(*joined.sides(sends))
    breaks.reset()
    await until(lambda: other.sees_now() == "reset")
    await until(lambda: joined.done)
    assert joined.done == [f"reset by {one}"]


@pytest_twisted.ensureDeferred
async def test_a_reset_does_not_wait_for_a_reader_for_ever(stalled: Any) -> None:
    clock = Clock()
    joined, sender, reader, _ = await stalled(clock=clock)
    sender.close()  # the end behind the octets is not seen before they are read
    reader.end()  # what is sent to a socket that is closed is answered with a reset
    joined.relay.stop("shutdown")
    for _ in range(20):
        await turn()
    clock.pump([RESET_PATIENCE] * 60)
    await until(lambda: joined.done)
    clock.advance(LINGER / 4)
    assert clock.getDelayedCalls() == []


# ---------------------------------------------------------------- limits, and stopping


@pytest_twisted.ensureDeferred
async def test_a_slow_but_steady_reader_is_not_cut_off(stalled: Any, one: str) -> None:
    clock = Clock()
    joined, sender, reader, data = await stalled(clock=clock, linger_timeout=LINGER)
    sender.end()
    joined.relay.stop("shutdown")
    received = joined.count(one)
    assert 0 < received <= len(data)
    while len(reader.octets) < received:
        reader.read(1 << 16)
        for _ in range(3):
            await turn()
        clock.advance(LINGER / 4)
    await until(lambda: reader.sees_now() == "end")
    assert reader.value() == data[:received]
    await until(lambda: joined.done)
    assert joined.done == ["shutdown"]


async def a_half_closed(joined: Joined) -> None:
    joined.client.end()
    await until(lambda: joined.target.sees_now() == "end")


async def a_stalled(joined: Joined) -> None:
    await joined.client.stuff(bytes(1 << 26), patience=500)  # for it may be held now and then


async def a_closing(joined: Joined) -> None:
    await a_stalled(joined)
    joined.relay.stop("before")


async def a_bulky(joined: Joined) -> None:
    await bulk(joined.target, joined.client)


@pytest.mark.parametrize("state", [a_half_closed, a_stalled, a_closing, a_bulky])
@pytest_twisted.ensureDeferred
async def test_stopping_ends_a_relay_in_any_state(join: Any, state: Any) -> None:
    joined = await join()
    joined.relay.start()
    await state(joined)
    assert joined.done == []
    joined.relay.stop("shutdown")
    await until(lambda: joined.client.sees_now() and joined.target.sees_now() and joined.done)
    assert joined.done == ["before" if state is a_closing else "shutdown"]
    joined.relay.stop("again")
    assert len(joined.done) == 1
