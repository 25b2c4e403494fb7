"""The guard over the log, which every test has: a failure that is logged fails the test it happened in."""

from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure


class Failures:
    """Every failure that was logged, until a test takes it."""

    def __init__(self) -> None:
        self.logged: list[Failure] = []

    def __call__(self, event: LogEvent) -> None:
        """Note it. ``log.err``, by which Twisted's reactors log what a protocol raises, has its own word for it."""
        failure = event.get("log_failure", event.get("failure"))
        if failure is not None:
            self.logged.append(failure)

    def take(self, kind: type[BaseException]) -> list[str]:
        """Forget the failures of *kind*, and return what they say."""
        taken = [failure for failure in self.logged if failure.check(kind)]
        self.logged = [failure for failure in self.logged if not failure.check(kind)]
        return [failure.getErrorMessage() for failure in taken]


@pytest.fixture(autouse=True)
def failures() -> Iterator[Failures]:
    """The failures that are logged; one that the test does not take fails it."""
    observer = Failures()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)
    assert [failure.getTraceback() for failure in observer.logged] == []
