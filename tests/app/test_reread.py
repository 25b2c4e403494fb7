"""What SIGHUP has read again, what is said of it, and what stays."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from socks5.app.announcing import Announcer
from socks5.app.listeners import certificates_of
from socks5.app.reread import LOOK_INTERVAL, Rereading, reopen_program_log
from socks5.server.factory import ServerFactory
from tests.support.certificates import self_signed
from tests.support.options import asked


class Kept:
    """Files, or a log: give their name, or fail."""

    def __init__(self, outcome: str | Exception | None) -> None:
        self.outcome = outcome
        self.times = 0

    def reread(self) -> Any:
        self.times += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def look(self) -> None:
        self.reread()

    reopen = reread


class Threads(Clock):
    """A reactor whose threads do their work when they are told to. ``error`` is why one cannot start, which the pool
    keeps all the same, as Twisted's does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.work: list[Callable[[], None]] = []
        self.threads: list[threading.Thread] = []
        self.error: Exception | None = None

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(  # noqa: N802
        self, told: Callable[[bool, Any], None], function: Callable[..., Any], *arguments: Any
    ) -> None:
        if self.error is not None:
            self.threads.append(threading.Thread())
            raise self.error
        self.work.append(lambda: self._call(told, lambda: function(*arguments)))

    def _call(self, told: Callable[[bool, Any], None], function: Callable[[], Any]) -> None:
        try:
            outcome = function()
        except Exception:
            told(False, Failure())
        else:
            told(True, outcome)

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)

    def run(self) -> None:
        while self.work:
            self.work.pop(0)()


BEGINS = "SIGHUP: files are read again"


class Told(Announcer):
    """What an announcer was told."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def rereads(self) -> None:
        self.words.append("begins")

    def has_reread(self, outcome: str) -> None:
        self.words.append(outcome)


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.mark.parametrize(
    ("sources", "log_file", "said"),
    [
        ([], None, "nothing"),
        (
            [Kept("users.txt (users: 3)"), Kept("proxy.pem")],
            Kept("access.log"),
            "access.log, users.txt (users: 3), proxy.pem",
        ),
        (
            [Kept(ValueError("users.txt line 2: wrong")), Kept(RuntimeError()), Kept("proxy.pem")],
            Kept(PermissionError(13, "Permission denied", "access.log")),
            (
                "proxy.pem; stays as it was: "
                "access.log: Permission denied; users.txt line 2: wrong; RuntimeError"
            ),
        ),
    ],
    ids=["nothing", "all", "what fails hinders nothing"],
)
def test_one_line_says_what_was_read(
    sources: list[Kept], log_file: Kept | None, said: str, threads: Threads, log: list[str]
) -> None:
    told = Told()
    Rereading(threads, sources, log_file, told).begin()
    assert (log, told.words) == ([BEGINS], ["begins"])
    threads.run()
    assert log[1:] == [f"SIGHUP: read again: {said}"]
    assert told.words[1:] == [f"read again: {said}"]


def test_files_are_looked_at_whether_anybody_asks_for_them_or_not(threads: Threads) -> None:
    """One look at a time, and none that fails is the last."""
    source = Kept(RuntimeError())
    Rereading(threads, [source], None).watch()
    threads.pump([LOOK_INTERVAL] * 3)
    assert (len(threads.work), source.times) == (1, 0)
    for times in (1, 2):
        threads.run()
        assert source.times == times
        threads.advance(LOOK_INTERVAL)


def test_many_at_once_are_read_once_more_and_not_more_often(threads: Threads) -> None:
    source = Kept("users.txt")
    told = Told()
    rereading = Rereading(threads, [source], None, told)
    for _ in range(5):
        rereading.begin()
    threads.run()
    assert source.times == 2
    assert told.words == ["begins", "read again: users.txt"] * 2
    rereading.begin()
    threads.run()
    assert source.times == 3


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("can't start new thread"), "can't start new thread"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_without_a_thread_no_files_are_read_and_the_next_time_they_are(
    threads: Threads, log: list[str], error: Exception, reason: str
) -> None:
    source = Kept("users.txt")
    rereading = Rereading(threads, [source], Kept("access.log"))
    threads.error = error
    rereading.begin()
    failed = f"files, for there is no thread to read them in: {reason}"
    assert log == [BEGINS, f"SIGHUP: read again: access.log; stays as it was: {failed}"]
    assert (source.times, threads.threads) == (0, [])
    threads.error = None
    rereading.begin()
    threads.run()
    assert log[2:] == [BEGINS, "SIGHUP: read again: access.log, users.txt"]


# ---------------------------------------------------------------- the program's log


@pytest.fixture
def program_log(tmp_path: Path) -> Iterator[Path]:
    """A log as ``twistd --logfile`` has it."""
    file = LogFile.fromFullPath(str(tmp_path / "proxy.log"))
    observer = textFileLogObserver(file)
    globalLogPublisher.addObserver(observer)
    yield tmp_path / "proxy.log"
    globalLogPublisher.removeObserver(observer)
    file.close()


def test_the_log_of_twistd_goes_on_where_its_path_leads(program_log: Path) -> None:
    """It stays if that cannot be opened."""
    ServerFactory.log.info("one")
    old = program_log.rename(program_log.with_suffix(".old"))
    program_log.mkdir()
    with pytest.raises(IsADirectoryError):
        reopen_program_log()
    ServerFactory.log.info("two")
    program_log.rmdir()
    assert reopen_program_log() == str(program_log)
    ServerFactory.log.info("three")
    assert old.read_text().count("\n") == 2
    assert program_log.read_text().endswith("three\n")


# ---------------------------------------------------------------- what the options name


def test_users_and_certificates_are_read_again(
    threads: Threads, tmp_path: Path, log: list[str]
) -> None:
    users = tmp_path / "users"
    users.write_text("alice:secret\n")
    pem = self_signed(tmp_path)
    found = asked(
        f"--auth=file:{users}",
        f"--listen=tls:0:cert={pem}:interface=127.0.0.1",
        "--auth=memory:bob:secret",
        "--listen=tcp:0:interface=127.0.0.1",
    )
    sources = [*found.sources, *certificates_of(found.listeners(reactor))]
    rereading = Rereading(threads, sources, None)
    users.write_text("alice:secret\ncarol:secret\n")
    rereading.begin()
    threads.run()
    assert log == [BEGINS, f"SIGHUP: read again: {users} (users: 2), {pem}"]
    del log[:]

    users.write_text("alice\n")
    pem.write_text("")
    rereading.begin()
    threads.run()
    [_, line] = log
    assert line.startswith("SIGHUP: read again: nothing; stays as it was: ")
    assert f"{users} line 1: expected NAME:SECRET" in line
    assert f"cert={pem}: no whole certificate in it" in line
    assert "secret" not in line
