"""SIGHUP where there is a file: what it says then takes the place of what it said, as a whole or not at all."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from sqlite3 import OperationalError
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed

from socks5.app.assembly import makeService
from socks5.app.change import fixed
from socks5.app.config.build import build
from socks5.app.config.document import Document, load, parse
from socks5.app.configured import Configured
from socks5.app.reload import LOOK_INTERVAL, Reload
from socks5.app.service import ProxyService
from socks5.policy.ruleset import Ruleset
from socks5.protocol.messages import Method
from socks5.settings import Settings
from tests.app.test_reread import Threads, Told
from tests.sockets.wires import raising, turn, until
from tests.support.failures import Failures
from tests.support.options import parse as options_of

pytestmark = pytest.mark.usefixtures("handlers")

HERE = """\
log.access = "a.log"
[listener.here]
address = "127.0.0.1"
port = 0
"""

THERE = """\
[listener.there]
unix = "u"
"""

IN_USE = "Address already in use (something listens there already, perhaps this proxy)"

RULES = """\
[[rule]]
name = "all"
action = "allow"
unguarded = true
networks = "127.0.0.1"
"""


ALL = """\
server.commands = "connect"
server.drain = "7s"
log.access = "b.log"
auth.a = { type = "file", file = "p" }
"""


class Proxy:
    """One that runs, with a file."""

    def __init__(self, folder: Path, log: list[str]) -> None:
        self.path = folder / "s.toml"
        self._log = log
        self.told = Told()

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def start(self, text: str = HERE, hands_over: bool = False) -> None:
        self.write(text)
        options = options_of("--config", "s.toml")
        self.service: ProxyService = makeService(options, reactor, hands_over)  # type: ignore[assignment]
        self.service.startService()

    async def lines(self, times: int = 1) -> list[str]:
        """What is said from now on, until that is over so many times."""

        def ends() -> list[str]:
            return [line for line in self._log if "reloaded" in line and "cannot" not in line]

        await until(lambda: len(ends()) >= times)
        return [line for line in self._log if line and "is read again" not in line]

    async def reload(self, text: str | None = None) -> list[str]:
        """What is said of a reload."""
        if text is not None:
            self.write(text)
        self._log.clear()
        self.service.reread()
        return await self.lines()


@pytest_twisted.async_yield_fixture
async def proxy(
    tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Proxy]:
    monkeypatch.setattr("socks5.app.assembly.raise_descriptor_limit", lambda: None)
    monkeypatch.setattr("gc.freeze", lambda: None)
    for watcher in "reload.Reload", "reread.Rereading":  # by the reactor's clock, behind the test
        monkeypatch.setattr(f"socks5.app.{watcher}.watch", lambda _: None)
    monkeypatch.chdir(tmp_path)
    proxy = Proxy(tmp_path, log)
    yield proxy
    if proxy.service.running:
        await proxy.service.stopService()
    await turn()


@pytest_twisted.ensureDeferred
async def test_everything_of_it_holds(proxy: Proxy, tmp_path: Path) -> None:
    proxy.start()
    [port] = proxy.service.ports
    factory = proxy.service.factory
    (tmp_path / "p").write_text("user:secret\n")
    lines = await proxy.reload(ALL + HERE.partition("\n")[2] + THERE + RULES)
    assert lines[-1] == "s.toml is reloaded: 1 rule, listeners +1 -0, 0 sessions ended"
    assert proxy.service.ports[0] is port
    assert len(proxy.service.ports) == 2
    assert isinstance(factory.policy.rules, Ruleset)
    assert len(factory.settings.commands) == 1
    assert list(factory.in_force.methods) == [Method.USERNAME_PASSWORD]
    assert proxy.service.drain_time == 7
    assert factory.access_log is proxy.service.access_log
    assert sorted(os.listdir(tmp_path)) == ["a.log", "b.log", "p", "s.toml", "u", "u.lock"]

    lines = await proxy.reload('log.access = "off"\nserver.default = "allow"\n' + THERE)
    assert lines[-1] == "s.toml is reloaded: 0 rules, listeners +0 -1, 0 sessions ended"
    assert factory.access_log is proxy.service.access_log is None
    assert await proxy.reload('log.access = "a.log"\n' + THERE)
    assert proxy.service.access_log is not None


@pytest_twisted.ensureDeferred
async def test_sessions_are_judged_at_listeners_that_are_called_otherwise(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they were called nothing, for the file had none."""
    names: list[str] = []

    def rejudge(session: Any, rules: object) -> Deferred[bool]:
        names.append(session.admission.listener)
        return succeed(True)

    monkeypatch.setattr("socks5.server.factory.ServerProtocol.rejudge", rejudge)
    monkeypatch.setattr("socks5.app.config.entrances.DEFAULT_PORT", 0)
    proxy.start("")
    where = proxy.service.ports[0].getHost()
    with socket.create_connection((where.host, where.port)):
        await until(lambda: proxy.service.factory.counters.connections)
        for text in HERE, HERE.replace("here", "hall"), "", HERE:
            await proxy.reload(text)
    assert names == ["here", "hall", "", "here"]


@pytest_twisted.ensureDeferred
async def test_clients_of_a_port_that_stays_are_served_by_the_file_of_then(proxy: Proxy) -> None:
    proxy.start()
    where = proxy.service.ports[0].getHost()
    for extra, answer in (("", b"\5\0"), ('methods = "password"\n', b"\5\xff")):
        text = f'{HERE}{extra}[auth.a]\ntype = "plugin"\nuse = "memory:a:b"\n' if extra else HERE
        proxy.path.touch(0o600)
        proxy.path.chmod(0o600)
        await proxy.reload(text)
        with socket.create_connection((where.host, where.port)) as client:
            client.sendall(b"\5\1\0")
            client.setblocking(False)
            got = bytearray()

            def received(client: socket.socket = client, got: bytearray = got) -> bytearray:
                with suppress(BlockingIOError):
                    got += client.recv(2)
                return got

            await until(received)
            assert got == answer


QUOTA = """\
server.zone = "UTC"
server.state = "q.sqlite3"
limit.a = { quota = "1GB/day" }
"""


@pytest_twisted.ensureDeferred
async def test_what_is_used_of_quotas_is_read_when_there_are_some_and_saved_when_there_are_none(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = 'server.zone = "UTC"\nserver.state = "q.sqlite3"\n'
    proxy.start(state + HERE)
    assert (
        "is reloaded"
        in (
            await proxy.reload(
                state + 'server.limits = "a"\n' + QUOTA.splitlines()[2] + "\n" + HERE
            )
        )[-1]
    )
    assert (tmp_path / "q.sqlite3").exists()
    assert "is reloaded" in (await proxy.reload(state + HERE))[-1]
    error = OperationalError("disk I/O error")
    monkeypatch.setattr("socks5.policy.ledger.Ledger.forget_old", raising(error))
    lines = await proxy.reload(QUOTA + HERE)
    assert f"quotas {tmp_path}/q.sqlite3: disk I/O error; they are counted all the same" in lines
    assert "is reloaded" in lines[-1]


@pytest_twisted.ensureDeferred
async def test_those_who_wait_for_their_turn_at_a_closed_port_are_not_forgotten(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the proxy stops, nobody waits any more."""
    proxy.start()
    [first] = proxy.service.ports
    await proxy.reload(THERE)
    monkeypatch.setattr("socks5.net.crowds.Crowds.waiting", 1)
    await proxy.reload(HERE)
    stopped: list[Any] = []
    monkeypatch.setattr(first, "stopListening", lambda: stopped.append(first))
    await proxy.service.stopService()
    assert stopped == [first]


# ---------------------------------------------------------------- what fails


@pytest_twisted.ensureDeferred
async def test_what_fails_changes_nothing_and_a_good_one_works_then(
    proxy: Proxy, tmp_path: Path
) -> None:
    proxy.start()
    before = dict(proxy.service.listeners)
    in_force = proxy.service.factory.in_force
    (tmp_path / "dir").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        wrong = {
            "x = 1\ny = 2\n": ["s.toml:1:1: x: unknown key", "s.toml:2:1: y: unknown key"],
            "server.workers = 4\nserver.max_sessions = 7\n" + HERE: [
                "server.workers: 1 -> 4 needs a restart",
                'server.max_sessions: "auto" -> 7 needs a restart',
            ],
            'server.state = "x"\n' + HERE: None,
            HERE + THERE + f'[listener.taken]\naddress = "127.0.0.1"\nport = {number}\n': [
                (
                    f"s.toml:{(HERE + THERE).count(chr(10)) + 1}:1: cannot listen on 127.0.0.1 port {number} "
                    f"(listener taken): {IN_USE}"
                )
            ],
            THERE + 'log.access = "dir/../dir"': None,
        }
        for text, reasons in wrong.items():
            *said, last = await proxy.reload(text)
            assert last.startswith("s.toml is not reloaded; that of ")
            assert last.endswith(" stays in force")
            if reasons is not None:
                assert said == reasons
            assert proxy.service.listeners == before
            assert proxy.service.factory.in_force is in_force
    assert (await proxy.reload(HERE))[-1].startswith("s.toml is reloaded: ")
    assert proxy.service.factory.in_force is not in_force


@pytest_twisted.ensureDeferred
async def test_an_access_log_that_cannot_be_opened_is_in_the_way(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(log: Any) -> None:
        raise PermissionError(13, "Permission denied", "b.log")

    proxy.start()
    before = proxy.service.access_log
    with monkeypatch.context() as patch:
        patch.setattr("socks5.observe.accesslog.AccessLog.open", refused)
        lines = await proxy.reload(HERE.replace("a.log", "b.log") + THERE)
        assert lines[1] == (
            "s.toml:1:14: log.access: expected a file that can be written, got b.log (Permission denied)"
        )
        assert proxy.service.access_log is before
        lines = await proxy.reload(HERE)  # and one that cannot be opened again stays open
        assert lines[0] == "log b.log stays as it was: Permission denied"
        assert "is reloaded" in lines[-1]
    await turn()
    assert "is reloaded" in (await proxy.reload(HERE + THERE))[-1]


@pytest.mark.parametrize("text", [HERE.replace("a.log", "b.log"), HERE])
@pytest_twisted.ensureDeferred
async def test_a_policy_that_nobody_can_serve_is_a_bug_that_changes_nothing(
    text: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise TypeError("the rules are none")

    proxy.start()
    with monkeypatch.context() as patch:
        patch.setattr("socks5.server.factory.ServerFactory.replace", refused)
        lines = await proxy.reload(text + THERE)
    assert lines[-2] == "TypeError"
    assert failures.take(TypeError) == ["the rules are none"]
    assert len(proxy.service.ports) == 1
    await turn()
    assert "is reloaded" in (await proxy.reload(HERE + THERE))[-1]


@pytest_twisted.ensureDeferred
async def test_where_no_thread_is_to_be_had_it_stays_as_it_is(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    proxy.start()
    monkeypatch.setattr("socks5.threads.deferToThreadPool", refused)
    lines = await proxy.reload()
    assert lines[0] == "there is no thread to read it in: can't start new thread"


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_stops_meanwhile_reloads_nothing(proxy: Proxy) -> None:
    proxy.start()
    proxy.service.reread()
    await proxy.service.stopService()
    assert "the proxy serves no more" in await proxy.lines()


@pytest.mark.parametrize("is_before", [True, False])
@pytest_twisted.ensureDeferred
async def test_while_another_process_takes_over_nothing_is_reloaded(
    is_before: bool, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For that one has the listeners of now. Whichever of the two was asked for first."""
    started: list[socket.socket] = []

    may_read = Event()

    def start(*arguments: Any, **options: Any) -> None:
        descriptors = options["childFDs"]
        started.append(socket.socket(fileno=os.dup(descriptors[max(descriptors)])))
        may_read.set()

    def load_later(*arguments: Any) -> Document:
        may_read.wait(10)
        return load(*arguments)

    monkeypatch.setattr(reactor, "spawnProcess", start, raising=False)
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    proxy.start(hands_over=True)
    proxy.write(HERE + THERE)
    monkeypatch.setattr("socks5.app.configured.load", load_later)
    calls = [lambda: signal.raise_signal(signal.SIGUSR2), proxy.service.reread]
    for call in calls if is_before else reversed(calls):
        call()
        await turn()
    lines = await proxy.lines()
    assert lines[-2] == "a hand-over is under way"
    assert lines[-1].startswith("s.toml is not reloaded; that of ")
    assert len(proxy.service.ports) == 1
    started[0].close()
    await until(lambda: not proxy.service.objection)
    assert (await proxy.reload())[
        -1
    ] == "s.toml is reloaded: 0 rules, listeners +1 -0, 0 sessions ended"


# ---------------------------------------------------------------- when


@pytest_twisted.ensureDeferred
async def test_those_that_are_asked_for_meanwhile_make_one_more(
    proxy: Proxy, log: list[str]
) -> None:
    proxy.start()
    log.clear()
    for _ in range(3):
        proxy.service.reread()
    await proxy.lines(2)
    await turn()
    assert log.count("SIGHUP: s.toml is read again") == 2


@pytest_twisted.ensureDeferred
async def test_the_operator_is_told(proxy: Proxy) -> None:
    proxy.start()
    told = Told()
    reload: Any = proxy.service.reread
    again = Reload(reactor, reload.__self__.in_force, None, announcer=told)  # type: ignore[arg-type]
    proxy.write("x = 1")
    again.begin()
    await proxy.lines()
    assert told.words[0] == "begins"
    assert told.words[1].startswith("s.toml is not reloaded; that of ")


@pytest_twisted.ensureDeferred
async def test_what_is_hardly_meant_is_said(proxy: Proxy) -> None:
    proxy.start()
    lines = await proxy.reload(f'server.outgoing = "192.0.2.1"\n{HERE}')
    assert lines[0].startswith("s.toml:1:19: server.outgoing: no address of this machine")


def test_every_key_of_a_process_is_said_to_need_a_restart() -> None:
    before, after = (build(parse(text, "s.toml"), is_only_looking=True) for text in ("", RESTARTS))
    assert list(fixed(before, before)) == []
    assert list(fixed(before, after)) == [
        'server.workers: 1 -> "auto" needs a restart',
        "server.waiting_per_client: 2048 -> 5 needs a restart",
        'resolver.source: "dns" -> "system" needs a restart',
    ]
    assert before.settings == Settings()


RESTARTS = """\
server.workers = "auto"
server.waiting_per_client = 5
resolver.source = "system"
"""


# ---------------------------------------------------------------- lists

LISTS = """\
[names]
some = { entries = "file:names" }
[networks]
some = { entries = ["file:networks"] }
[[rule]]
name = "all"
action = "allow"
names = "@some"
networks = "@some"
"""


async def opened() -> None:
    """Nothing is in the way."""


class Watched:
    """A reload that looks at lists, whose threads run when the test says so."""

    def __init__(self, folder: Path, log: list[str]) -> None:
        self.names, self.networks = folder / "names", folder / "networks"
        self._log = log
        self.names.write_text(".a.example\n")
        self.networks.write_text("192.0.2.0/24\n")
        self.file = folder / "s.toml"
        self.file.write_text(LISTS)
        self.threads = Threads()
        self.began: list[Configured] = []
        self.objection = ""
        configured = Configured("s.toml", self.threads)
        self.reload = Reload(
            self.threads, configured, self._change, objection=lambda: self.objection
        )
        self.reload.watch()

    def _change(self, before: Configured, after: Configured) -> Any:
        self.began.append(after)
        return SimpleNamespace(
            open=opened,
            begin=lambda: succeed(0),
            exchange=SimpleNamespace(opened=0, closed=0),
        )

    def look(self) -> list[str]:
        """What is said of it."""
        self._log.clear()
        self.threads.advance(LOOK_INTERVAL)
        self.threads.run()
        return [*self._log]


@pytest.fixture
def watched(tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.chdir(tmp_path)
    return Watched(tmp_path, log)


TAKEN = "s.toml is reloaded: 1 rule, listeners +0 -0, 0 sessions ended"


def test_lists_that_have_changed_are_taken_for_the_text_in_force(
    watched: Watched, tmp_path: Path
) -> None:
    """Which may be written at this moment."""
    assert watched.look() == watched.look() == []
    watched.file.write_text("half of")
    watched.names.write_text(".b.example\n")
    assert watched.look() == ["names has changed: taken for s.toml", TAKEN]
    [after] = watched.began
    assert watched.reload.in_force is after
    assert after.made.lists["names"] == ".b.example\n"
    assert watched.look() == []
    os.utime(watched.names)
    assert watched.look() == []
    for name in "names", "networks":  # a swapped link is a new list (configmap-reload#190)
        (tmp_path / f"{name}.2").write_text("10.0.0.0/8\n" if name == "networks" else "c\n")
        (tmp_path / f"{name}.link").symlink_to(f"{name}.2")
        (tmp_path / f"{name}.link").replace(tmp_path / name)
    assert watched.look() == ["names, networks have changed: taken for s.toml", TAKEN]


@pytest.mark.parametrize("text", [None, "http://wrong/\n", ".b.exam"])
def test_lists_that_cannot_be_used_change_nothing_and_that_is_said_once(
    text: str | None, watched: Watched
) -> None:
    watched.names.unlink()
    if text is not None:
        watched.names.write_text(text)
    first, *_, last = watched.look()
    assert first == "names has changed: taken for s.toml"
    assert last.startswith("s.toml is not reloaded; that of ")
    assert watched.look() == []
    assert watched.began == []
    watched.names.write_text(".b.example\n")
    assert watched.look()[-1] == TAKEN


def test_while_it_is_reloaded_nobody_looks(watched: Watched) -> None:
    watched.file.write_text(LISTS)
    watched.reload.begin()
    watched.threads.advance(LOOK_INTERVAL)
    assert len(watched.threads.work) == 1
    watched.threads.run()
    watched.names.write_text(".b.example\n")
    watched.threads.advance(LOOK_INTERVAL)
    watched.reload.begin()
    watched.threads.run()
    assert len(watched.began) == 2


def test_while_nothing_may_change_it_looks_later(watched: Watched) -> None:
    watched.names.write_text(".b.example\n")
    watched.objection = "not now"
    assert watched.look() == []
    watched.objection = ""
    assert watched.look()[-1] == TAKEN


def test_without_a_thread_it_looks_later(watched: Watched) -> None:
    watched.names.write_text(".b.example\n")
    watched.threads.error = RuntimeError("can't start new thread")
    assert watched.look() == []
    watched.threads.error = None
    assert watched.look()[-1] == TAKEN
