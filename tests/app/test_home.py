"""Listeners that are left to another process: who gets which sockets, whose files they are, and that nothing closes."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from zope.interface.verify import verifyObject

from socks5.app import inherit
from socks5.app.estate import Estate, Left
from socks5.app.home import HomePorts
from socks5.app.inherit import MORE, InheritedPorts
from socks5.app.sharing import PortsForWorkers
from socks5.net.openers import IOpenPort, Ports, Where
from socks5.net.places import TCP, UNIX, Inherited
from tests.sockets.wires import until
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


def left_by(opener: Any) -> Estate:
    """What another process has from one with this opener."""
    left = [(name, sockets) for name, sockets in opener.left() if sockets]
    first = numbered([sock for _, sockets in left for sock in sockets])
    return Estate(Left(first, [(name, len(sockets)) for name, sockets in left], 0))


def home(left: Estate | None = None) -> HomePorts:
    return HomePorts(reactor, session_limit(1000), left or Estate())


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def address_of(port: Any) -> Any:
    host = port.getHost()
    return (host.host, host.port) if hasattr(host, "host") else host.name


async def all_are_served(port: Any, factory: Noted, stack: ExitStack, count: int = 40) -> None:
    """So many that each socket of an address gets some."""
    goal = factory.clients + count
    for _ in range(count):
        stack.enter_context(socket.create_connection(address_of(port)))
    await until(lambda: factory.clients == goal)


@pytest.mark.parametrize("end", ["stopListening", "finish"])
@pytest_twisted.ensureDeferred
async def test_a_listener_takes_all_sockets_of_its_address_and_opens_one_where_there_is_none(
    end: str, stack: ExitStack
) -> None:
    parent, factory = PortsForWorkers(reactor, 3), Noted()
    before = parent.open(HERE, Noted())
    successor = home(left_by(parent))
    port, other = successor.open(HERE, factory), successor.open(HERE, factory)
    assert isinstance(port, Ports)
    assert verifyObject(IOpenPort, port)
    assert not isinstance(other, Ports)
    assert len(list(port)) == 3
    where = address_of(before)
    assert address_of(port) == where != address_of(other)
    parent.leave()
    before.stopListening()
    assert parent.left() == []
    await all_are_served(port, factory, stack)
    assert [len(sockets) for _, sockets in successor.left()] == [3, 1]
    await maybeDeferred(getattr(port, end))
    await maybeDeferred(getattr(other, end))
    assert [len(sockets) for _, sockets in successor.left()] == [0, 0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where)


@pytest.mark.parametrize("end", ["stopListening", "finish"])
@pytest_twisted.ensureDeferred
async def test_what_is_left_does_not_end_with_the_port(end: str, stack: ExitStack) -> None:
    old = home()
    before = old.open(HERE, Noted())
    where = address_of(before)
    successor, factory = home(left_by(old)), Noted()
    old.leave()
    await maybeDeferred(getattr(before, end))
    stack.enter_context(socket.create_connection(where))  # waits in the queue
    port = successor.open(HERE, factory)
    await until(lambda: factory.clients)
    await maybeDeferred(port.stopListening)


@pytest.mark.parametrize("is_locked", [False, True])
@pytest.mark.parametrize("old_kind", ["home", "workers"])
@pytest.mark.parametrize("new_kind", ["home", "workers"])
@pytest_twisted.ensureDeferred
async def test_the_file_of_a_unix_socket_is_the_successors_once_everything_is_left(
    new_kind: str, old_kind: str, is_locked: bool, tmp_path: Path
) -> None:
    """Before that, its end deletes nothing; behind it, that of the old one."""

    def opener(kind: str, left: Estate | None = None) -> Any:
        return home(left) if kind == "home" else PortsForWorkers(reactor, 2, left)

    where = UNIX(str(tmp_path / "proxy.sock"), is_locked=is_locked)
    path = Path(where.path)
    old = opener(old_kind)
    before = old.open(where, Noted())
    late = opener(new_kind, left_by(old))
    await maybeDeferred(late.open(where, Noted()).stopListening)
    late.take_possession()  # of what it has closed
    assert path.exists()

    new = opener(new_kind, left_by(old))
    port = new.open(where, Noted())
    old.leave()
    new.take_possession()
    if is_locked and new_kind == "home":
        assert os.readlink(f"{path}.lock") == str(os.getpid())
    await maybeDeferred(before.stopListening)
    assert path.exists()
    await maybeDeferred(port.stopListening)
    left = {"proxy.sock.lock"} if is_locked and (old_kind, new_kind) == ("home", "workers") else {}
    assert {each.name for each in tmp_path.iterdir()} == set(left)


@pytest.mark.parametrize("kind", ["home", "workers"])
@pytest_twisted.ensureDeferred
async def test_a_socket_of_systemds_is_handed_on_as_systemd_does(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        opener: Any = home() if kind == "home" else PortsForWorkers(reactor, 2)
        port = opener.open(Inherited("systemd:name=a", theirs.fileno()), Noted())
        assert opener.left() == []
        opener.leave()
        await maybeDeferred(port.stopListening)
        socket.create_connection(theirs.getsockname()).close()


@pytest.mark.parametrize(("count", "workers"), [(1, 3), (2, 4), (3, 2), (4, 3), (5, 1), (2, 2)])
@pytest_twisted.ensureDeferred
async def test_each_socket_is_some_workers_and_each_worker_has_one(
    count: int, workers: int, stack: ExitStack
) -> None:
    """However many were left: what nobody accepts on swallows clients."""
    before = PortsForWorkers(reactor, count)
    old = [before.open(where, Noted()) for where in (HERE, TCP(0, "127.0.0.2"))]
    parent = PortsForWorkers(reactor, workers, left_by(before))
    for where in HERE, TCP(0, "127.0.0.2"):
        parent.open(where, Noted())
    names = [name for name, _ in parent.sockets]
    assert sum(name != MORE for name in names) == 2
    factory = Noted()
    opened: list[Any] = []
    for number in range(workers):
        with pytest.MonkeyPatch.context() as patch:
            own = [row[number] for _, row in parent.sockets]
            patch.setattr(inherit, "FIRST_DESCRIPTOR", numbered(own))
            worker = InheritedPorts(reactor, session_limit(1000), names)
        places: list[Where] = [TCP(0, "127.0.0.2"), HERE]
        opened += [worker.open(where, factory) for where in places]
    hosts = [port.getHost().host for port in opened]
    assert hosts == ["127.0.0.2", "127.0.0.1"] * workers
    for port in opened[:2]:
        await all_are_served(port, factory, stack, 20)
    for port in opened:
        await maybeDeferred(port.stopListening)
    for name, sockets in (*parent.left(), *before.left()):
        assert len(sockets) == count, name
        for sock in sockets:
            sock.close()
    assert len(old) == 2
