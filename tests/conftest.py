"""What every test stands on: Hypothesis' profiles, the guard over the log, and what is logged.

pytest-twisted is found by pytest itself; ``--reactor asyncio`` chooses the other reactor.

pytest imports tracemalloc when something unclosed was collected, as sockets of older Twisteds are that could not
listen. If that happens again during the import, the test fails that runs then; so it is imported here.
"""

import gc
import os
import signal
import tracemalloc  # noqa: F401
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import pytest_twisted
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from socks5.protocol.networks import Networks
from socks5.server import factory as server
from tests.support import failures as guard
from tests.support import skips

# In CI the examples are the same in every run: a red build is then about the change under test.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

failures = guard.failures
pytest_runtest_makereport = skips.pytest_runtest_makereport


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With ``-n auto`` two a processor, of which one waits for a program that it has started; see pyproject.toml."""
    return 2 * (os.cpu_count() or 1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """What coverage counts is reached by examples that somebody has thought of, and not by what Hypothesis happens to
    draw: that takes three times as long when every line is watched.
    """
    if hypothesis.is_hypothesis_test(getattr(item, "function", None)):
        item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """Let the collector pass over what the tests are made of: that stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_addresses() -> Iterator[set[str]]:
    """This machine's addresses beside loopback: those that a test says, whatever they are in truth."""
    found: set[str] = set()
    loopback = Networks.parse("127.0.0.0/8,::1")
    with pytest.MonkeyPatch.context() as patch:  # a test's own ends before its other fixtures
        patch.setattr(
            server, "is_own_address", lambda host, unknown: host in found or host in loopback
        )
        yield found


@pytest.fixture
def log() -> Iterator[list[str]]:
    """The lines that are logged."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        found.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


@pytest_twisted.async_yield_fixture
async def handlers() -> AsyncIterator[None]:
    """The handlers of signals are put back. The reactor runs by then, which takes some when it begins to: else it would
    do so behind the fixtures of the first test of a process.
    """
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryReactorClock:
    """A reactor in memory, which is what a program imports, and where it listens."""
    reactor = MemoryReactorClock()
    monkeypatch.setattr("twisted.internet.reactor", reactor)
    monkeypatch.setattr(
        "socks5.net.openers.PortOpener.open",
        lambda _, where, factory: reactor.listenTCP(where.port, factory, interface=where.interface),
    )
    return reactor
