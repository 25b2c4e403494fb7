"""Who opens ports: one contract for a process that listens for itself, a parent, and its workers."""

import errno
import gc
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from socks5.app import inherit, sharing
from socks5.app.inherit import MORE, InheritedPorts
from socks5.app.sharing import PortsForWorkers
from socks5.net.openers import IPortOpener, PortOpener, Where
from socks5.net.places import TCP, UNIX, Inherited, name_of
from tests.sockets.wires import open_sockets, turn, until
from tests.support.descriptors import numbered
from tests.support.sessions import session_limit

HERE = TCP(0, "127.0.0.1")


class Noted(Factory):
    """Counts its clients and lets none in."""

    noisy = False

    def __init__(self) -> None:
        self.clients = 0

    def buildProtocol(self, addr: Any) -> Protocol | None:
        self.clients += 1
        return None


def handed_over(sockets: list[socket.socket], names: list[str]) -> InheritedPorts:
    """A worker's opener, which inherits these sockets."""
    first = numbered(sockets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inherit, "FIRST_DESCRIPTOR", first)
        return InheritedPorts(reactor, session_limit(10), names)


@implementer(IListeningPort)
class Both:
    """A worker's port and its parent's."""

    def __init__(self, port: Any, parents: Any) -> None:
        self._port = port
        self._parents = parents

    def stopListening(self) -> Any:
        stopped = maybeDeferred(self._port.stopListening)
        return stopped.addCallback(lambda _: self._parents.stopListening())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


@implementer(IPortOpener)
class WorkersOpener:
    """A parent that hands over at once what it opens, to the one worker that it has."""

    reactor = reactor

    def open(self, where: Where, factory: Any) -> Any:
        parent = PortsForWorkers(reactor, 1)
        parents = parent.open(where, factory)
        [(name, sockets)] = parent.sockets
        return Both(handed_over([*sockets], [name]).open(where, factory), parents)


OPENERS: dict[str, Callable[[], Any]] = {
    "this process": lambda: PortOpener(reactor, session_limit(10)),
    "a parent": lambda: PortsForWorkers(reactor, 2),
    "a worker": WorkersOpener,
}


@pytest.fixture(params=OPENERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opener(kind: str) -> Iterator[Any]:
    before = open_sockets()
    yield OPENERS[kind]()
    gc.collect()
    assert open_sockets() <= before


@pytest.fixture
def client() -> Iterator[Callable[[Any], None]]:
    """Connects."""
    clients: list[socket.socket] = []

    def connect(name: Any) -> None:
        kind = socket.AF_UNIX
        if isinstance(name, tuple):
            kind = socket.AF_INET6 if ":" in name[0] else socket.AF_INET
        clients.append(socket.socket(kind))
        clients[-1].connect(name)

    yield connect
    for each in clients:
        each.close()


async def serves(factory: Noted, kind: str) -> bool:
    """Whether the client that has connected is served; a parent accepts nobody."""
    if kind != "a parent":
        await until(lambda: factory.clients)
    return factory.clients == (kind != "a parent")


def address_of(port: Any) -> Any:
    host = port.getHost()
    return (host.host, host.port) if hasattr(host, "host") else host.name


# ---------------------------------------------------------------- the contract


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1",) * 2, ("::1",) * 2, ("localhost", "127.0.0.1"), ("", "0.0.0.0")],
)
@pytest_twisted.ensureDeferred
async def test_clients_come_in_at_a_tcp_port_as_long_as_it_is_open(
    opener: Any, kind: str, client: Callable[[Any], None], host: str, expected: str
) -> None:
    factory = Noted()
    assert verifyObject(IPortOpener, opener)
    port = opener.open(TCP(0, host), factory)
    assert verifyObject(IListeningPort, port)
    address = address_of(port)
    assert (address[0], address[1] > 0) == (expected, True)
    client(address)
    assert await serves(factory, kind)
    await maybeDeferred(port.stopListening)
    with pytest.raises(ConnectionRefusedError):
        client(address)


# A UNIX socket that cannot be had Twisted leaves to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_where_somebody_listens_it_opens_nothing(opener: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        for where in TCP(taken.getsockname()[1], "127.0.0.1"), UNIX(path, is_locked=False):
            with pytest.raises(CannotListenError) as caught:
                opener.open(where, Noted())
            assert caught.value.socketError.errno == errno.EADDRINUSE


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_opened(
    opener: Any, kind: str, client: Callable[[Any], None], tmp_path: Path
) -> None:
    path, factory = tmp_path / "socket", Noted()
    port = opener.open(UNIX(str(path), 0o600), factory)
    assert address_of(port) == os.fsencode(path)
    assert path.stat().st_mode & 0o777 == 0o600
    client(address_of(port))
    assert await serves(factory, kind)
    await maybeDeferred(port.stopListening)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
@pytest_twisted.ensureDeferred
async def test_an_inherited_socket_stays_as_it_is(
    opener: Any, kind: str, family: int, client: Callable[[Any], None], tmp_path: Path
) -> None:
    """Whoever has opened it sees to its mode, and may still listen on it at the end."""
    path, factory = tmp_path / "socket", Noted()
    with socket.socket(family) as inherited:
        inherited.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(path))
        inherited.listen()
        if family == socket.AF_UNIX:
            path.chmod(0o600)
        port = opener.open(Inherited("systemd's", inherited.fileno()), factory)
        address = address_of(port)
        assert address in (inherited.getsockname(), os.fsencode(path))
        client(address)
        assert await serves(factory, kind)
        await maybeDeferred(port.stopListening)
        client(address)
        assert family == socket.AF_INET or path.stat().st_mode & 0o777 == 0o600
        with suppress(BlockingIOError):
            inherited.accept()[0].close()


# ---------------------------------------------------------------- a parent's own


def test_every_worker_has_a_socket_of_its_own_at_the_same_address() -> None:
    parent = PortsForWorkers(reactor, 3)
    port = parent.open(HERE, Noted())
    [(name, sockets)] = parent.sockets
    assert name == name_of(HERE)
    assert len({sock.fileno() for sock in sockets}) == 3
    assert {sock.getsockname() for sock in sockets} == {address_of(port)}
    assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE) for sock in sockets)
    port.startListening()
    port.stopListening()
    assert {sock.fileno() for sock in sockets} == {-1}


def test_what_a_parent_has_closed_neither_its_workers_nor_a_successor_get(tmp_path: Path) -> None:
    """Nor is a file deleted that somebody has put there since."""
    parent, path = PortsForWorkers(reactor, 2), tmp_path / "u"
    before, port = parent.open(UNIX(str(path)), Noted()), parent.open(HERE, Noted())
    before.stopListening()
    assert (
        [name for name, _ in parent.sockets]
        == [name for name, _ in parent.left()]
        == [name_of(HERE)]
    )
    path.touch()
    before.stopListening()
    assert path.exists()
    port.stopListening()


@pytest.mark.parametrize(
    ("first", "second"),
    [("127.0.0.1", "127.0.0.1"), ("", "127.0.0.1"), ("::1", "::"), ("127.0.0.1", "::")],
)
def test_a_second_proxy_with_workers_does_not_share_the_port(first: str, second: str) -> None:
    port = PortsForWorkers(reactor, 2).open(TCP(0, first), Noted())
    with pytest.raises(CannotListenError) as caught:
        PortsForWorkers(reactor, 2).open(TCP(port.getHost().port, second), Noted())
    assert caught.value.socketError.errno == errno.EADDRINUSE
    port.stopListening()


def test_a_port_whose_connections_have_just_ended_is_free_at_once() -> None:
    parent = PortsForWorkers(reactor, 2)
    first = parent.open(HERE, Noted())
    where = first.getHost()
    with socket.create_connection((where.host, where.port)):
        ready = select.select([sock for _, each in parent.sockets for sock in each], [], [], 10)[0]
        ready[0].accept()[0].close()  # first, so that this side stays in TIME_WAIT
    first.stopListening()
    PortsForWorkers(reactor, 2).open(TCP(where.port, where.host), Noted()).stopListening()


def test_a_port_that_the_second_worker_cannot_have_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[socket.socket] = []
    real = socket.socket

    def once(*arguments: Any) -> socket.socket:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(real(*arguments))
        return made[0]

    monkeypatch.setattr(sharing.socket, "socket", once)
    with pytest.raises(CannotListenError):
        PortsForWorkers(reactor, 2).open(HERE, Noted())
    assert made[0].fileno() == -1


# ---------------------------------------------------------------- a worker's own


@pytest_twisted.ensureDeferred
async def test_each_listener_takes_its_own_whatever_the_order(tmp_path: Path) -> None:
    places: list[Where] = [HERE, UNIX(str(tmp_path / "a")), HERE, TCP(0, "127.0.0.2")]
    parent = PortsForWorkers(reactor, 1)
    parents = [parent.open(where, Noted()) for where in places]
    names = [name for name, _ in parent.sockets]
    worker = handed_over([sock for _, [sock] in parent.sockets], names)
    ports = {number: worker.open(places[number], Noted()) for number in (3, 0, 1, 2)}
    for number, port in ports.items():
        assert port.getHost() == parents[number].getHost()
        assert not os.get_inheritable(port.fileno())
        await maybeDeferred(port.stopListening)
        parents[number].stopListening()


def test_an_address_that_the_parent_had_not_is_missing_here_too() -> None:
    with pytest.raises(CannotListenError) as caught:
        handed_over([], []).open(TCP(1080, "::1"), Noted())
    assert caught.value.socketError.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("count", [1, 2])
@pytest_twisted.ensureDeferred
async def test_ports_that_are_asleep_accept_nobody_before_they_wake(count: int) -> None:
    """Not even when there is room again; and whoever has come waits for that. What nobody takes is closed."""
    parent = PortsForWorkers(reactor, count)
    before, other = (parent.open(TCP(0, host), Noted()) for host in ("127.0.0.1", "127.0.0.2"))
    rows = [(name, row[0].dup()) for name, row in parent.sockets]
    if count == 2:  # as of a process that had more workers
        rows.insert(1, (MORE, parent.sockets[0][1][1].dup()))
    names = [name for name, _ in rows]
    limit, factory = session_limit(1), Noted()
    numbers = [sock.detach() for _, sock in rows]
    worker = InheritedPorts(reactor, limit, names, numbers, is_asleep=True)
    port = worker.open(HERE, factory)
    worker.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(numbers[-1])
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(socket.create_connection(address_of(before)))
        limit.enter()
        limit.leave()
        for _ in range(5):
            await turn()
        assert factory.clients == 0
        worker.wake()
        await until(lambda: factory.clients == 10)
    await maybeDeferred(port.stopListening)
    for each in before, other:
        each.stopListening()
