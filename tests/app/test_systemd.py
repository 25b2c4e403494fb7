"""What systemd is told: the messages of sd_notify(3), at a socket of its kind."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from socks5.app import systemd
from socks5.app.announcing import Announcer
from socks5.app.systemd import Systemd, from_environment
from tests.support.reactor import BeginningReactor

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Manager:
    """Listens as systemd does."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0"))
        self._socket.setblocking(False)
        self.name = name

    @property
    def told(self) -> list[dict[str, str]]:
        """The messages since the last look."""
        messages: list[dict[str, str]] = []
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return messages
            lines = (line.partition("=") for line in text.split("\n"))
            messages.append({name: value for name, _, value in lines})

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    made = Manager(path if request.param == "file" else f"@{path}")
    yield made
    made.close()


@pytest.fixture
def reactor() -> BeginningReactor:
    return BeginningReactor()


def environment(monkeypatch: pytest.MonkeyPatch, *values: str | None) -> None:
    for name, value in zip(VARIABLES, values, strict=True):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


def test_it_is_told_that_the_proxy_serves_and_stops(
    manager: Manager, reactor: BeginningReactor
) -> None:
    told = Systemd(reactor, manager.name)
    told.begins(["127.0.0.1:1080", "unix:/run/odd\nname"])
    assert manager.told == [
        {"READY": "1", "STATUS": "listens on 127.0.0.1:1080, unix:/run/odd name"}
    ]
    told.closes("127.0.0.1:1080")
    told.ends(3)
    assert manager.told == [{"STOPPING": "1", "STATUS": "stops; open sessions: 3"}]
    assert reactor.getDelayedCalls() == []


def test_reading_again_has_its_time_in_the_same_message_and_always_an_end(
    manager: Manager, reactor: BeginningReactor
) -> None:
    """A proxy that does not serve yet is not ready because it has read its files again."""
    told = Systemd(reactor, manager.name)
    told.rereads()
    told.has_reread("read again: nothing")
    assert manager.told == []
    told.begins(["127.0.0.1:1080"])
    before = time.monotonic()
    told.rereads()
    [_, message] = manager.told
    assert message.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert before <= int(message["MONOTONIC_USEC"]) / 1e6 + 1e-6 <= time.monotonic() + 1e-6
    told.has_reread("read again: nothing; stays as it was: users.txt line 2: wrong")
    [message] = manager.told
    assert message == {
        "READY": "1",
        "STATUS": "read again: nothing; stays as it was: users.txt line 2: wrong",
    }


def test_while_a_drain_lasts_it_is_asked_for_time(
    manager: Manager, reactor: BeginningReactor
) -> None:
    """For more than the proxy needs behind it."""
    told = Systemd(reactor, manager.name)
    told.drains(3600, 7)
    more = {"EXTEND_TIMEOUT_USEC": "20000000"}
    assert manager.told == [{"STOPPING": "1", "STATUS": "drains; open sessions: 7"}, more]
    reactor.pump([systemd.EXTENSION_INTERVAL] * 3)
    assert manager.told == [more] * 3
    told.has_drained(15, 7)
    reactor.advance(systemd.EXTENSION_INTERVAL)
    assert manager.told == []


@pytest.mark.parametrize("process", ["", None, str(os.getpid())], ids=["empty", "unset", "ours"])
def test_the_watchdog_gets_a_sign_in_half_of_its_time(
    process: str | None,
    manager: Manager,
    reactor: BeginningReactor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once the proxy serves. Nothing of what systemd has said is left to others."""
    environment(monkeypatch, manager.name, "30000000", process)
    told = from_environment(reactor)
    assert isinstance(told, Systemd)
    assert not any(name in os.environ for name in VARIABLES)
    assert manager.told == []
    told.begins(["127.0.0.1:1080"])
    assert manager.told[1:] == [{"WATCHDOG": "1"}]
    told.begins(["127.0.0.1:1081"])
    assert manager.told == [], "a reload says that it is over"
    reactor.pump([15, 14])
    assert manager.told == [{"WATCHDOG": "1"}]
    reactor.advance(1)
    assert manager.told == [{"WATCHDOG": "1"}]


@pytest.mark.parametrize(
    ("interval", "process"), [("30000000", "1"), (None, None), ("soon", None), ("0", None)]
)
def test_a_watchdog_of_another_process_or_none_gets_none(
    interval: str | None,
    process: str | None,
    manager: Manager,
    reactor: BeginningReactor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment(monkeypatch, manager.name, interval, process)
    from_environment(reactor).begins([])
    reactor.advance(3600)
    assert [message.keys() for message in manager.told] == [{"READY", "STATUS"}]


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_socket_nobody_is_told(
    name: str | None, reactor: BeginningReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, name, "30000000", None)
    told = from_environment(reactor)
    assert type(told) is Announcer
    told.begins(["127.0.0.1:1080"])
    told.closes("127.0.0.1:1080")
    told.rereads()
    told.has_reread("read again: nothing")
    told.drains(30, 1)
    told.has_drained(30, 1)
    told.ends(1)
    assert reactor.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "No such file or directory"), ("x" * 200, "AF_UNIX path too long")],
)
def test_that_it_cannot_be_told_is_said_once(
    name: str, reason: str, reactor: BeginningReactor, tmp_path: Path, log: list[str]
) -> None:
    told = Systemd(reactor, str(tmp_path / name))
    told.begins([])
    told.ends(0)
    assert log == [f"systemd cannot be told anything: {reason}"]


def test_of_another_main_process_it_is_told_and_then_nothing_any_more(
    manager: Manager, reactor: BeginningReactor
) -> None:
    """That one learns where to tell what."""
    told = Systemd(reactor, manager.name, 30)
    assert told.environment == {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "30000000"}
    assert Systemd(reactor, manager.name).environment == {"NOTIFY_SOCKET": manager.name}
    told.begins([])
    assert len(manager.told) == 2
    told.hands_over(4321)
    assert manager.told == [{"MAINPID": "4321"}]
    reactor.advance(15)
    told.drains(60, 1)
    told.ends(0)
    assert manager.told == []
