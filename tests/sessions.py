"""A server in memory and its clients, and what a test may ask of them.

Also the guard over the log, which every test has: see :func:`failures`.
"""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.auth import User
from socks5.counters import Counters
from socks5.interfaces import (
    Access,
    IAccessLog,
    IAuthenticator,
    ICommand,
    IRules,
    ISession,
    IUser,
    Record,
)
from socks5.net.descriptors import SessionLimit
from socks5.protocol.messages import Credentials, Method
from socks5.server.factory import ServerFactory
from socks5.settings import Settings
from tests.fakes import CLIENT, SERVER, FakeDialer, FakeReactor, FakeResolver, FakeTransport

octets = bytes.fromhex

GREETING = octets("05 01 00")
NO_AUTHENTICATION = octets("05 00")

PASSWORD_GREETING = octets("05 01 02")
PASSWORD_CHOSEN = octets("05 02")
LOGIN = octets("01 04 75736572 06 736563726574")  # user, secret
LOGIN_RIGHT = octets("01 00")

TARGET = octets("01 c0000250 0050")  # 192.0.2.80:80
CONNECT = octets("05 01 00") + TARGET
BIND = octets("05 02 00")
ASSOCIATE = octets("05 03 00 01 00000000 0000")

CONNECTED = octets("05 00 00 01 c000020a 9c41")  # from 192.0.2.10:40001, where FakeDialer's begin


def refusal(code: int) -> bytes:
    """A failure reply as RFC 1928 section 6 has it: full length, BND zeros."""
    return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0))


# ---------------------------------------------------------------- the guard over the log


class Ends(list[str]):
    """The owner of a relay: why it ended, which it is told once."""

    def end(self, reason: str) -> None:
        self.append(reason)


class Failures:
    """Every failure that was logged, until a test takes it."""

    def __init__(self) -> None:
        self.logged: list[Failure] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.logged.append(event["log_failure"])

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


# ---------------------------------------------------------------- what a factory is given


@implementer(IAccessLog)
class Records:
    """The access log."""

    def __init__(self) -> None:
        self.written: list[Record] = []

    def write(self, record: Record) -> None:
        self.written.append(record)


@implementer(IRules)
class Allow:
    """Rules made of one function; what it raises, they raise. ``asked`` holds every question."""

    def __init__(self, decide: Callable[[Access, str | None], bool] = lambda *_: True) -> None:
        self._decide = decide
        self.asked: list[tuple[Access, str | None]] = []

    def allows(self, access: Access, address: str | None) -> bool:
        self.asked.append((access, address))
        return self._decide(access, address)


@implementer(IAuthenticator)
class Logins:
    """Asks for user name and password; a test gives the verdict."""

    methods = (Method.USERNAME_PASSWORD,)

    def __init__(self) -> None:
        self.asked: list[tuple[Credentials, str]] = []
        self.cancelled = 0
        self._verdict: Deferred[IUser] = Deferred()

    def authenticate(self, credentials: Credentials, client: str) -> Deferred[IUser]:
        self.asked.append((credentials, client))
        self._verdict = Deferred(self._cancel)
        return self._verdict

    def _cancel(self, verdict: Deferred[IUser]) -> None:
        self.cancelled += 1

    def accept(self, name: str = "user") -> None:
        self._verdict.callback(User(name))

    def refuse(self, error: Exception | None = None) -> None:
        self._verdict.errback(error or UnauthorizedLogin())


@implementer(ICommand)
class FakeCommand:
    """A command that does nothing by itself. ``stopped`` holds the reasons it was stopped for."""

    bytes_up = 11
    bytes_down = 22
    dropped = 33
    drops: ClassVar = {"malformed": 33}
    goes_on = False

    def __init__(self, session: ISession) -> None:
        self.session = session
        self.is_started = False
        self.stopped: list[str] = []

    def start(self) -> None:
        self.is_started = True

    def client_ended(self) -> bool:
        return self.goes_on

    def stop(self, reason: str) -> None:
        self.stopped.append(reason)


# ---------------------------------------------------------------- server and client


class Server:
    """A factory on fakes; the parameters are :class:`~socks5.server.factory.ServerFactory`'s."""

    def __init__(self, settings: Settings | None = None, **parameters: Any) -> None:
        self.reactor = FakeReactor()
        self.resolver = parameters.setdefault("resolver", FakeResolver())
        self.dialer = parameters.setdefault("dialer", FakeDialer(self.reactor))
        self.log = parameters.setdefault("access_log", Records())
        settings = settings or Settings(ban_after=0)  # a refused login is told so at once
        self.factory = ServerFactory(self.reactor, settings=settings, **parameters)
        self.counters = self.factory.counters

    def client(self, *sent: bytes, **options: Any) -> "Client":
        """A new client, which sends that. *options* are for :class:`Client`."""
        client = Client(self, **options)
        client.send(*sent)
        return client

    @property
    def records(self) -> list[Record]:
        """The access log so far."""
        return self.log.written


class Client:
    """The far end of a control connection."""

    def __init__(
        self, server: Server, kind: type[FakeTransport] = FakeTransport, **options: Any
    ) -> None:
        self._reactor = server.reactor
        self.session: Any = server.factory.buildProtocol(options.get("peer", CLIENT))
        self.transport = kind(server.reactor, **{"host": SERVER, "peer": CLIENT} | options)
        self.transport.connect(self.session)

    def send(self, *pieces: bytes) -> None:
        """Send each piece in a segment of its own."""
        for piece in pieces:
            self.transport.deliver(piece)
            self._reactor.turn()

    def end(self) -> None:
        """Send the end (FIN)."""
        self.transport.deliver_end()
        self._reactor.turn()

    def reset(self) -> None:
        """Send a reset (RST)."""
        self.transport.deliver_reset()
        self._reactor.turn()

    def received(self) -> bytes:
        """What came since the last time."""
        self._reactor.turn()
        value = self.transport.value()
        self.transport.clear()
        return value

    @property
    def sees(self) -> str:
        """What ended the connection for this client: "" for nothing yet, "end" or "reset"."""
        self._reactor.turn()
        return self.transport.far_sees

    @property
    def is_connected(self) -> bool:
        """Whether our end of the connection still exists."""
        self._reactor.turn()
        return self.transport.connected


def session_limit(
    maximum: int = 0, reactor: Any = None, counters: Counters | None = None, **settings: Any
) -> SessionLimit:
    """A limit by itself: for so many sessions, on a clock that stands still unless there is another."""
    chosen = Settings(max_sessions=maximum, **settings)
    return SessionLimit(reactor or Clock(), chosen, counters or Counters())
