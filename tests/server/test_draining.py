"""The wait for the last session."""

from socks5.server.draining import LOOK_INTERVAL
from tests.support.sessions import GREETING, Server


def draining(server: Server, within: float = 60) -> list[int]:
    """Wait; the list has an item when that is over."""
    done: list[int] = []
    server.factory.drain(within).addCallback(done.append)
    return done


def test_without_sessions_there_is_nothing_to_wait_for() -> None:
    server = Server()
    assert draining(server) == [0]
    assert server.reactor.getDelayedCalls() == []


def test_the_last_session_ends_the_wait() -> None:
    server = Server()
    first, second = server.client(GREETING), server.client()
    done = draining(server)
    first.transport.deliver_reset()
    server.reactor.pump([LOOK_INTERVAL] * 2)
    assert done == []
    second.transport.deliver_reset()
    server.reactor.advance(LOOK_INTERVAL)
    assert done == [0]
    assert server.factory.limit.open == 0


def test_the_wait_has_an_end_and_says_how_many_are_left() -> None:
    server = Server()
    server.client()
    server.factory.limit.enter()  # somebody who waits for his turn
    done = draining(server, 10 * LOOK_INTERVAL)
    server.reactor.pump([LOOK_INTERVAL] * 9)
    assert done == []
    server.reactor.pump([LOOK_INTERVAL] * 2)
    assert done == [2]


def test_a_wait_that_is_cancelled_is_over() -> None:
    server = Server()
    server.client()
    done: list[int] = []
    waiting = server.factory.drain(60).addCallback(done.append)
    calls = len(server.reactor.getDelayedCalls())
    waiting.cancel()
    assert done == [1]
    assert len(server.reactor.getDelayedCalls()) == calls - 1
