"""The service: how it starts or refuses to, signals, and an end that loses nothing."""

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import pytest_twisted
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from zope.interface import implementer

from socks5.access import SessionInfo
from socks5.app import service
from socks5.app.assembly import makeService
from socks5.app.listeners import Listener
from socks5.app.service import ProxyService, StartRefused, refusal_of
from socks5.net import listening
from socks5.net.openers import IPortOpener
from socks5.net.places import TCP, UNIX, Foreign, Listen
from socks5.observe.accesslog import AccessLog
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.server.factory import ServerFactory
from tests.sockets.wires import descriptors, raising
from tests.support.limited import FakeQuotas
from tests.support.options import parse
from tests.support.reactor import BeginningReactor
from tests.support.transports import address

pytestmark = pytest.mark.usefixtures("handlers")

# ---------------------------------------------------------------- starting


@implementer(IListeningPort)
class FakePort:
    """``is_open`` until it is told to stop."""

    def __init__(self, address: object, stopped: Callable[[], Any]) -> None:
        self.is_open = True
        self._address = address
        self._stopped = stopped

    def getHost(self) -> object:
        return self._address

    def startListening(self) -> None:
        """It does."""

    def stopListening(self) -> Any:
        self.is_open = False
        return self._stopped()


@implementer(IPortOpener)
class FakeOpener:
    """Opens fake ports.

    :param errors: what fails, by port.
    """

    reactor = None

    def __init__(self, **errors: Exception) -> None:
        self._errors = errors
        self.ports: list[FakePort] = []
        self.stopped: Callable[[], Any] = lambda: None

    def open(self, where: Any, factory: object) -> FakePort:
        if isinstance(where, UNIX):
            host: Any = UNIXAddress(where.path)
        elif (error := self._errors.get(f"at_{where.port}")) is not None:
            raise error
        else:
            host = address(where.interface, where.port)
        self.ports.append(FakePort(host, self.stopped))
        return self.ports[-1]


@pytest.fixture
def fake() -> BeginningReactor:
    return BeginningReactor()


def service_on(
    fake: BeginningReactor,
    *listeners: Listener,
    opener: FakeOpener | None = None,
    access_log: Any = None,
    **parameters: Any,
) -> ProxyService:
    factory = ServerFactory(fake, access_log=access_log)
    opener = opener or FakeOpener()
    return ProxyService(fake, factory, opener, listeners, access_log, **parameters)


def listener(number: int, is_optional: bool = False) -> Listener:
    return Listener(f"place {number}", Listen(TCP(number, "127.0.0.1")), None, is_optional)


def cannot_listen(number: int) -> CannotListenError:
    return CannotListenError("127.0.0.1", 1080, OSError(number, os.strerror(number)))


def test_it_says_where_it_listens_once_the_reactor_runs(
    fake: BeginningReactor, log: list[str]
) -> None:
    """And not if it has stopped by then."""
    fake.is_running = False
    places = [TCP(1080, "192.0.2.1"), TCP(1081, "::1"), UNIX("/run/proxy.sock")]
    proxy = service_on(fake, *(Listener("", Listen(where)) for where in places))
    proxy.privilegedStartService()
    proxy.startService()
    another = service_on(fake, listener(1080))
    another.startService()
    another.stopService()
    assert [line for line in log if "stops" not in line] == []
    log.clear()
    fake.run()
    assert log == [
        "SOCKS5 proxy listens on 192.0.2.1:1080",
        "SOCKS5 proxy listens on [::1]:1081",
        "SOCKS5 proxy listens on unix:/run/proxy.sock",
    ]


REFUSALS = [
    (
        cannot_listen(errno.EADDRINUSE),
        "place 1081: Address already in use (something listens there already, perhaps this proxy)",
    ),
    (
        CannotListenError(None, "/root/x.sock", OSError(errno.EACCES, "Permission denied")),  # type: ignore[arg-type]
        "place 1081: Permission denied",
    ),
    (
        cannot_listen(errno.EACCES),
        (
            "place 1081: Permission denied (ports below 1024 are for root, with twistd --uid USER, "
            "or for CAP_NET_BIND_SERVICE)"
        ),
    ),
    (
        cannot_listen(errno.EADDRNOTAVAIL),
        "place 1081: Cannot assign requested address (this machine does not have that address)",
    ),
    (
        CannotListenError(None, "/run/proxy.sock", "Cannot acquire lock"),
        "place 1081: Cannot acquire lock",
    ),
    (OverflowError("bind(): port must be 0-65535."), "place 1081: bind(): port must be 0-65535."),
]


@pytest.mark.parametrize(("error", "sentence"), REFUSALS)
def test_where_it_cannot_listen_it_does_not_start(
    error: Exception, sentence: str, fake: BeginningReactor, log: list[str]
) -> None:
    """Which ends the process, and is an ordinary exception to twistd. All that is in the way is said."""
    opener = FakeOpener(at_1081=error, at_1083=OverflowError("no"))
    proxy = service_on(fake, *map(listener, (1080, 1081, 1082, 1083)), opener=opener)
    with pytest.raises(StartRefused) as raised:
        proxy.privilegedStartService()
    reasons = [f"cannot listen on {each}" for each in (sentence, "place 1083: no")]
    assert log[-2:] == [f"socks5 does not start: {each}" for each in reasons]
    assert str(raised.value) == f"socks5 does not start: {'; '.join(reasons)}"
    assert isinstance(raised.value, SystemExit)
    assert isinstance(raised.value, Exception)
    assert raised.value.code == 1
    assert [port.is_open for port in opener.ports] == [False, False]
    assert proxy.ports == []


@pytest.mark.parametrize("error", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_place_that_this_machine_may_lack_is_left_out(
    error: int, fake: BeginningReactor, log: list[str]
) -> None:
    """But not one that is taken."""
    opener = FakeOpener(at_1081=cannot_listen(error), at_1082=cannot_listen(errno.EADDRINUSE))
    proxy = service_on(fake, listener(1080), listener(1081, is_optional=True), opener=opener)
    proxy.startService()
    assert (len(proxy.ports), len(log)) == (1, 1)
    proxy = service_on(fake, listener(1082, is_optional=True), opener=opener)
    with pytest.raises(StartRefused, match="place 1082: Address already in use"):
        proxy.privilegedStartService()


def test_giving_up_ends_the_process_once_and_says_why(
    fake: BeginningReactor, log: list[str]
) -> None:
    opener = FakeOpener()
    proxy = service_on(fake, listener(1080), opener=opener)
    proxy.privilegedStartService()
    family = MultiService()
    proxy.setServiceParent(family)
    assert refusal_of(proxy) is refusal_of(family) is refusal_of(MultiService()) is None
    proxy.give_up("a worker ended")
    proxy.give_up("another one, too")
    assert log == ["socks5 does not start: a worker ended"]
    assert fake.stops == 1
    assert not opener.ports[0].is_open
    assert str(refusal_of(proxy)) == log[0]
    assert refusal_of(family) is proxy.refusal


@pytest.mark.parametrize("fails", [False, True])
def test_an_endpoint_may_take_its_time(
    fails: bool, fake: BeginningReactor, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails late, that ends the service."""
    late: Deferred[Any] = Deferred()  # what the one endpoint, somebody else's, answers in the end
    monkeypatch.setattr(listening, "listen_at", lambda *_: late)
    proxy = service_on(fake, Listener("place 1080", Listen(Foreign("elsewhere:"))))
    proxy.startService()
    assert (proxy.ports, log) == ([], [])
    if fails:
        late.errback(cannot_listen(errno.EADDRINUSE))
        said = "socks5 does not start: cannot listen on place 1080: Address"
    else:
        late.callback(FakePort(address("127.0.0.1", 1080), lambda: None))
        said = "SOCKS5 proxy listens on 127.0.0.1:1080"
    assert log[0].startswith(said)
    assert (len(proxy.ports), fake.stops) == (0, 1) if fails else (1, 0)


@pytest_twisted.ensureDeferred
async def test_a_command_line_is_listened_on_and_the_rules_know_where(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    descriptions = ["tcp:0:interface=127.0.0.1", "tcp:0", f"unix:{path}"]
    options = parse(*(f"--listen={text}" for text in descriptions), "--open")
    proxy: Any = makeService(options, reactor)
    proxy.privilegedStartService()
    one, every, _ = (port.getHost() for port in proxy.ports)
    assert path.is_socket()
    places = [("127.0.0.1", one.port), ("127.0.0.2", one.port), ("127.0.0.2", every.port)]
    assert [place in proxy.factory.listeners for place in places] == [True, False, True]
    await proxy.stopService()
    assert [place in proxy.factory.listeners for place in places] == [False] * 3
    assert not path.exists()


# ---------------------------------------------------------------- its files


def test_files_that_cannot_be_opened_refuse_the_start(
    fake: BeginningReactor, tmp_path: Path, log: list[str]
) -> None:
    path = tmp_path / "missing" / "access.log"
    opener, access_log = FakeOpener(), AccessLog(fake, str(path))
    proxy = service_on(
        fake,
        listener(1080),
        opener=opener,
        access_log=access_log,
        wrong=lambda key, sentence: f"{'.'.join(key)}: {sentence}",
    )
    quotas = FakeQuotas()
    quotas.open = raising(OSError(0, "no database", "state"))  # type: ignore[method-assign]
    limits = Limits([Limit("person", quota=(1000, "day"))], clock=fake, quotas=quotas)
    proxy.factory.replace(replace(proxy.factory.policy, limits=limits))
    with pytest.raises(StartRefused) as raised:
        proxy.startService()
    reasons = [
        f"log.access: expected a file that can be written, got {path} (No such file or directory)",
        "server.state: expected a file of quotas, got state (no database)",
    ]
    assert log[-2:] == [f"socks5 does not start: {each}" for each in reasons]
    assert str(raised.value) == f"socks5 does not start: {'; '.join(reasons)}"
    assert not opener.ports[0].is_open
    assert fake.stops == 0


# ---------------------------------------------------------------- signals


def test_what_is_used_of_quotas_is_read_at_the_start_and_saved_at_the_end(fake: Any) -> None:
    quotas = FakeQuotas()
    limit = Limit("person", quota=(1000, "day"))
    proxy = service_on(fake, listener(1080))
    limits = Limits([limit], server=["person"], clock=fake, quotas=quotas)
    proxy.factory.replace(replace(proxy.factory.policy, limits=limits))
    proxy.startService()
    assert quotas.is_open
    proxy.stopService()
    assert not quotas.is_open


def test_limits_that_are_shared_are_closed_behind_the_last_that_is_said(fake: Any) -> None:
    quotas, last, became = FakeQuotas(), Deferred[None](), list[Any]()
    sharing = Mock(become=became.append, last=lambda: last)
    proxy = service_on(fake, sharing=sharing)
    limits = Limits([Limit("person", quota=(9, "day"))], clock=fake, quotas=quotas)
    proxy.factory.replace(replace(proxy.factory.policy, limits=limits))
    proxy.startService()
    assert became == [limits]
    done = proxy.stopService()
    assert quotas.is_open
    last.callback(None)
    assert not quotas.is_open
    assert done.called


def test_sigusr1_reopens_the_access_log_or_says_why_not(
    fake: BeginningReactor, tmp_path: Path, log: list[str]
) -> None:
    path = tmp_path / "logs" / "access.log"
    path.parent.mkdir()
    access_log = AccessLog(fake, str(path), lambda record: record.reason)
    service_on(fake, access_log=access_log).startService()
    access_log.write(SessionInfo(1, "192.0.2.7:1", reason="one"))
    path.rename(tmp_path / "access.log.1")
    signal.raise_signal(signal.SIGUSR1)
    access_log.write(SessionInfo(2, "192.0.2.7:2", reason="two"))
    access_log.flush()
    assert (tmp_path / "access.log.1").read_text() == "one\n"
    assert path.read_text() == "two\n"
    path.parent.rename(tmp_path / "old")
    signal.raise_signal(signal.SIGUSR1)
    assert log == [f"access log {path} stays as it was: No such file or directory"]
    access_log.close()


class FakeSuccessor:
    """A hand-over: it lasts until the test says so."""

    def __init__(self, begins: Callable[[], object]) -> None:
        self._begins = begins
        self.is_under_way = False

    def begin(self) -> None:
        self.is_under_way = True
        self._begins()

    def cancel(self) -> None:
        self.is_under_way = False


@pytest.mark.parametrize("how", [ProxyService.stopService, lambda proxy: proxy.drain(60)])
def test_who_closes_listeners_hands_none_over(
    how: Callable[[ProxyService], object], fake: BeginningReactor
) -> None:
    successor = FakeSuccessor(lambda: None)
    proxy = service_on(fake, listener(1080), hand_over=successor)
    proxy.startService()
    successor.begin()
    how(proxy)
    assert not successor.is_under_way


def test_while_another_process_takes_over_nothing_may_change(fake: BeginningReactor) -> None:
    successor = FakeSuccessor(lambda: None)
    proxy = service_on(fake, hand_over=successor)
    assert proxy.objection == "the proxy serves no more"
    proxy.startService()
    assert (proxy.objection, service_on(fake).hands_over) == ("", False)
    successor.begin()
    assert proxy.objection == "a hand-over is under way"
    successor.is_under_way = False
    assert proxy.objection == ""
    proxy.stopService()


def test_each_signal_has_its_meaning(fake: BeginningReactor) -> None:
    told: list[str] = []
    for number in signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2:
        signal.signal(number, signal.SIG_DFL)
    words = {
        "reread": lambda: told.append("reread"),
        "hand_over": FakeSuccessor(lambda: told.append("hands over")),
    }
    service_on(fake, **words).startService()
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGUSR2)
    signal.raise_signal(signal.SIGUSR1)  # there is no access log
    assert (told, fake.stops) == (["reread", "hands over"], 0)
    for _ in range(2):  # the second finds it stopping
        signal.raise_signal(signal.SIGTERM)
    assert fake.stops == 1


# ---------------------------------------------------------------- stopping


def test_it_stops_once_every_port_is_closed_and_can_start_again(
    fake: BeginningReactor, log: list[str]
) -> None:
    """Whatever becomes of the others; and says how many sessions it ends."""
    last: Deferred[None] = Deferred()
    outcomes: list[Callable[[], Any]] = [
        lambda: fail(RuntimeError("a port that does not close")),
        lambda: 1 / 0,
        lambda: last,
    ]
    opener = FakeOpener()
    opener.stopped = lambda: outcomes.pop(0)()  # noqa: PLW0108
    proxy = service_on(fake, *map(listener, (1080, 1081, 1082)), opener=opener)
    proxy.privilegedStartService()
    proxy.startService()
    assert [port.getHost().port for port in opener.ports] == [1080, 1081, 1082]
    proxy.factory.counters.open_connections = 3
    log.clear()
    stopped: list[object] = []
    proxy.stopService().addCallback(stopped.append)
    assert (log, stopped) == (["SOCKS5 proxy stops; open sessions: 3"], [])
    last.callback(None)
    assert log[1:] == ["SOCKS5 proxy listens no more on 127.0.0.1:1082"]
    assert stopped == [None]
    assert [port.is_open for port in opener.ports] == [False] * 3
    assert (proxy.ports, proxy.running) == ([], 0)
    proxy.startService()
    assert [port.is_open for port in opener.ports[3:]] == [True] * 3
    assert len(proxy.ports) == 3


def test_the_access_log_is_closed_after_the_last_session(
    fake: BeginningReactor, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    before = descriptors()
    log = AccessLog(fake, str(path), lambda record: record.reason)
    proxy = service_on(fake, access_log=log)
    proxy.startService()
    assert path.exists()
    ended: Deferred[None] = Deferred()
    asked: list[tuple[str, float]] = []

    def close_sessions(reason: str, grace: float) -> Deferred[None]:
        asked.append((reason, grace))
        return ended

    proxy.factory.close_sessions = close_sessions  # type: ignore[method-assign]
    stopped: list[Any] = []
    proxy.stopService().addBoth(stopped.append)
    assert asked == [("shutdown", service.STOP_GRACE)]
    log.write(SessionInfo(1, "192.0.2.7:1", reason="shutdown"))
    assert stopped == []
    ended.errback(RuntimeError("a bug"))  # which costs no record
    assert path.read_text() == "shutdown\n"
    assert [failure.type for failure in stopped] == [RuntimeError]
    assert descriptors() <= before
    assert fake.getDelayedCalls() == []


# ---------------------------------------------------------------- draining


class Drain:
    """A service with two ports that drains. Its ports are closed, and the last session is gone, when
    a test says so.
    """

    def __init__(self, fake: BeginningReactor, log: list[str], seconds: float | None = 30) -> None:
        for number in signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2:
            signal.signal(number, signal.SIG_DFL)
        self.fake = fake
        self.opener = FakeOpener()
        self.closed: list[Deferred[None]] = []
        self.opener.stopped = self._stop
        self.waits: list[float] = []
        self.rereads = 0
        self.service = service_on(
            fake,
            *map(listener, (1080, 1081)),
            opener=self.opener,
            reread=self._reread,
            hand_over=FakeSuccessor(self._reread),
            drain=seconds,
            drained=self._wait,
        )
        self.service.startService()
        self.service.factory.counters.open_connections = 3
        self.left = 2
        self.log = log
        log.clear()

    def _stop(self) -> Deferred[None]:
        self.closed.append(Deferred())
        return self.closed[-1]

    def _wait(self, seconds: float) -> Deferred[int]:
        self.waits.append(seconds)
        self.waiting: Deferred[int] = Deferred(lambda each: each.callback(self.left))
        return self.waiting

    def _reread(self) -> None:
        self.rereads += 1

    def close(self) -> None:
        for each in self.closed:
            each.callback(None)

    @property
    def stops(self) -> int:
        return self.fake.stops


@pytest.fixture
def drain(fake: BeginningReactor, log: list[str]) -> Drain:
    return Drain(fake, log)


DRAINS = "SOCKS5 proxy drains, for 30 s at the most; open sessions: 3"
CLOSED = [f"SOCKS5 proxy listens no more on 127.0.0.1:{port}" for port in (1080, 1081)]


def test_sigterm_closes_the_listeners_waits_for_the_sessions_and_ends_the_process(
    drain: Drain,
) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert (drain.log, drain.waits, drain.service.ports) == ([DRAINS], [], [])
    assert [port.is_open for port in drain.opener.ports] == [False, False]
    drain.fake.advance(2)
    drain.close()
    assert (drain.log, drain.waits) == ([DRAINS, *CLOSED], [28])
    drain.fake.advance(10)
    assert drain.stops == 0
    drain.waiting.callback(0)
    assert drain.log[3:] == ["SOCKS5 proxy has drained for 12.0 s; sessions left: 0"]
    assert drain.stops == 1
    drain.service.stopService()
    assert drain.log[4:] == ["SOCKS5 proxy stops; open sessions: 3"]


def test_a_second_sigterm_ends_the_process_at_once(drain: Drain) -> None:
    signal.raise_signal(signal.SIGTERM)
    drain.close()
    signal.raise_signal(signal.SIGTERM)
    assert drain.stops == 1
    drain.service.stopService()
    assert drain.log[3:] == [
        "SOCKS5 proxy has drained for 0.0 s; sessions left: 2",
        "SOCKS5 proxy stops; open sessions: 3",
    ]
    assert drain.stops == 1


def test_a_drain_that_is_broken_off_while_ports_close_waits_for_nobody(drain: Drain) -> None:
    signal.raise_signal(signal.SIGTERM)
    drain.service.stopService()
    drain.close()
    assert drain.waits == [0]


def test_while_it_drains_nothing_is_read_again_or_handed_over(drain: Drain) -> None:
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGUSR2)
    assert drain.rereads == 2
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGUSR2)
    assert drain.rereads == 2
    assert drain.log[1:] == [
        "SIGHUP: nothing is read again, for the proxy drains",
        "SIGUSR2: nothing is handed over, for the proxy drains",
    ]


def test_where_nothing_can_be_handed_over_the_signal_is_answered(
    fake: BeginningReactor, log: list[str]
) -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    service_on(fake).startService()
    signal.raise_signal(signal.SIGUSR2)
    assert log == ["SIGUSR2: nothing is handed over; only the program socks5 does that"]


def test_a_worker_leaves_sigterm_to_its_parent(fake: BeginningReactor, log: list[str]) -> None:
    drain = Drain(fake, log, seconds=None)
    signal.raise_signal(signal.SIGTERM)
    assert (drain.stops, drain.log) == (0, [])
    assert [port.is_open for port in drain.opener.ports] == [True, True]


def test_a_program_may_have_it_drain_and_a_service_that_does_not_run_does_not(drain: Drain) -> None:
    done: list[None] = []
    drain.service.drain(30).addCallback(done.append)
    assert drain.service.drain(30) is drain.service.drain(20)
    drain.close()
    drain.waiting.callback(0)
    assert (done, drain.stops) == ([None], 0)
    drain.service.stopService()
    drain.service.end(30)
    assert (drain.waits, drain.stops) == ([30], 1)


def test_the_factorys_sessions_are_waited_for(fake: BeginningReactor, log: list[str]) -> None:
    proxy = service_on(fake, listener(1080))
    proxy.startService()
    proxy.factory.limit.enter()
    done: list[None] = []
    proxy.drain(10).addCallback(done.append)
    fake.advance(9)
    assert done == []
    proxy.factory.limit.leave()
    fake.advance(1)
    assert done == [None]
    assert log[-1] == "SOCKS5 proxy has drained for 10.0 s; sessions left: 0"
