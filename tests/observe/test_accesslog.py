"""The access log: what a line says, when it reaches the file, and what no file can do to it."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from socks5.access import SessionInfo
from socks5.interfaces import IAccessLog
from socks5.observe import accesslog
from socks5.observe.accesslog import LOOK_INTERVAL, RETRY_INTERVAL, AccessLog, as_json, as_text
from tests.sockets.wires import descriptors
from tests.support.failures import Failures

WHEN = "2023-11-14T22:13:20.999Z"


def opened(clock: Clock, path: str, output: int | None = None) -> AccessLog:
    """A log in a form that is short enough to compare."""
    log = AccessLog(clock, path, lambda record: record.reason, output)
    log.open()
    return log


def record(reason: str = "client closed") -> SessionInfo:
    return SessionInfo(1, "192.0.2.7:4000", reason=reason)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory / "access.log"


@pytest.fixture
def log(clock: Clock, path: Path) -> AccessLog:
    return opened(clock, str(path))


def write(log: AccessLog, *reasons: str) -> None:
    """Write records, each of which is a line of one word, and have them written out."""
    for reason in reasons:
        log.write(record(reason))
    log.flush()


class Pipe:
    """An output whose reader reads when the test says so. Blocking, as a shell makes it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.reading, fcntl.F_SETPIPE_SZ, 4096)  # the smallest there is
        os.set_blocking(self.reading, False)
        self.text = b""

    def read(self) -> list[str]:
        """The lines so far; the last one may be cut."""
        with suppress(BlockingIOError):
            while more := os.read(self.reading, 65536):
                self.text += more
        return self.text.decode().split("\n")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)
    os.close(pipe.writing)


@pytest.fixture
def output(clock: Clock, pipe: Pipe) -> AccessLog:
    return opened(clock, "-", pipe.writing)


# ---------------------------------------------------------------- lines


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.9996)


UDP: dict[str, Any] = {"user": "alice", "command": "udp", "target": "0.0.0.0:0", "reply": 0}
DROPS: dict[str, Any] = {"dropped": 3, "drops": {"stranger": 2, "malformed": 1}}
PASSED: dict[str, Any] = {"bytes_up": 51, "bytes_down": 4096, "seconds": 12.3456789}
NAME = {"user": "c\td e", "command": "connect", "target": "c\td e", "reason": "c\td e"}


def test_a_json_line_holds_every_field_of_the_record_and_nulls_for_what_there_was_not() -> None:
    who = {"session": 7, "client": "[2001:db8::7]:4000", "bound": "192.0.2.1:4001"}
    fields: Any = {**who, **UDP, **PASSED, **DROPS, "reason": "idle"}
    line = json.loads(as_json(SessionInfo(**fields)))
    assert line == {"time": WHEN, **fields, "seconds": 12.345679}
    slowed = json.loads(as_json(SessionInfo(slowed=1.25, **fields)))
    assert slowed == {**line, "slowed": 1.25}
    nulls = [name for name, value in json.loads(as_json(record())).items() if value is None]
    assert nulls == ["user", "command", "target", "bound", "reply"]


def test_a_json_line_has_what_rules_have_noted_if_there_is_something() -> None:
    noted = {
        "rule": "web",
        "detail": 'reload: "x"',
        "would": ["video", "mail"],
        "denied": {"ads": 3},
    }
    line = json.loads(as_json(SessionInfo(7, "192.0.2.7:4000", reason="reload", **noted)))  # type: ignore[arg-type]
    assert {name: line[name] for name in noted} == noted
    assert not noted.keys() & json.loads(as_json(record())).keys()
    assert json.loads(as_json(SessionInfo(7, "", denied={"a": 1})))["denied"] == {"a": 1}
    assert json.loads(as_json(SessionInfo(7, "", upstream="tor")))["upstream"] == "tor"
    assert " no request through tor up 0 " in as_text(SessionInfo(7, "", upstream="tor"))
    assert json.loads(as_json(SessionInfo(7, "", would=("a",))))["would"] == ["a"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {
                "rule": "a b",
                "would": ("x", "y z"),
                "reason": "reload",
                "detail": "r\n",
                "denied": {"m": 2},
            },
            "192.0.2.7:4000 no request by rule a\\x20b but x, y\\x20z up 0 down 0 2 by rule m 0.000 s: reload (r\\x0a)",
        ),
        ({"reason": "idle"}, "192.0.2.7:4000 no request up 0 down 0 0.000 s: idle"),
        (
            UDP | PASSED | DROPS,
            (
                "alice@192.0.2.7:4000 udp 0.0.0.0:0 succeeded up 51 down 4096 "
                "3 dropped (stranger 2, malformed 1) 12.346 s: "
            ),
        ),
        (
            {"command": "9", "target": "a:1", "reply": 7},
            "192.0.2.7:4000 command 9 a:1 command not supported up 0 down 0 0.000 s: ",
        ),
        (
            {"command": "connect", "target": "a:1", "reply": 5},
            "192.0.2.7:4000 connect a:1 refused up 0 down 0 0.000 s: ",
        ),
        (
            {"command": "connect", "target": "a:1", "reply": 200},
            "192.0.2.7:4000 connect a:1 reply 200 up 0 down 0 0.000 s: ",
        ),
        ({"slowed": 1.5}, "192.0.2.7:4000 no request up 0 down 0 0.000 s, 1.500 s slowed: "),
        (
            NAME,  # is one word, but as a reason
            "c\\x09d\\x20e@192.0.2.7:4000 connect c\\x09d\\x20e up 0 down 0 0.000 s: c\\x09d e",
        ),
    ],
)
def test_a_readable_line(fields: dict[str, Any], text: str) -> None:
    assert as_text(SessionInfo(3, "192.0.2.7:4000", **fields)) == f"{WHEN} #3 {text}"


@pytest.mark.parametrize("form", [as_json, as_text])
def test_a_name_cannot_forge_a_line(form: Callable[[SessionInfo], str]) -> None:
    name = "a b\nc\x1b[2J\u2028d"
    forger = SessionInfo(1, "192.0.2.7:1", name, command="connect", target=name, reason=name)
    forger.detail, forger.would, forger.denied = name, (name,), {name: 1}
    assert form(forger).isprintable()


# ---------------------------------------------------------------- when they are written


def test_a_record_is_in_the_file_at_once_and_closing_leaves_nothing_behind(
    clock: Clock, path: Path
) -> None:
    """So a process that is killed loses none."""
    before = descriptors()
    log = opened(clock, str(path))
    assert verifyObject(IAccessLog, log)
    log.write(record("one"))
    assert path.read_text() == "one\n"
    log.write(record("caf\xe9 \udcff"))
    for _ in range(2):
        log.close()
    assert path.read_bytes() == b"one\ncaf\xc3\xa9 \\udcff\n"
    assert clock.getDelayedCalls() == []
    assert descriptors() <= before


# ---------------------------------------------------------------- files


def test_a_path_that_cannot_be_opened_is_known_at_once(clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AccessLog(clock, str(tmp_path / "missing" / "access.log")).open()
    closed = os.open("/", os.O_RDONLY)
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        AccessLog(clock, "-", output=closed).open()


def test_the_standard_output_is_written_to_and_stays_open(
    clock: Clock, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)  # Twisted makes a logger of it
    log = opened(clock, "-")
    write(log, "one")
    assert log.reopen() is None
    log.close()
    os.write(1, b"three\n")
    assert capfd.readouterr().out == "one\nthree\n"


# ---------------------------------------------------------------- rotation


def refuse(*arguments: object) -> Any:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    ("lead_elsewhere", "there"),
    [
        (lambda path: path.rename(path.with_suffix(".1")), ""),
        (Path.unlink, ""),
        (lambda path: shutil.copy(path, path.with_suffix(".new")).rename(path), "one\n"),
    ],
    ids=["renamed", "removed", "replaced"],
)
def test_a_file_whose_path_leads_elsewhere_is_left(
    lead_elsewhere: Callable[[Path], object], there: str, log: AccessLog, path: Path, clock: Clock
) -> None:
    write(log, "one")
    lead_elsewhere(path)
    write(log, "two")  # it is not looked for each record
    clock.advance(LOOK_INTERVAL)
    write(log, "three")
    assert path.read_text() == there + "three\n"
    path.unlink()
    clock.rightNow = 0.0  # it has been put back
    write(log, "four")
    assert path.read_text() == "four\n"


def test_reopening_leads_to_where_the_path_leads_now_whatever_closing_says(
    log: AccessLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    write(log, "one")
    old = path.rename(path.with_suffix(".1"))
    path.touch()
    monkeypatch.setattr(os, "close", fail)
    assert log.reopen() == str(path)
    write(log, "two")
    log.close()
    assert (old.read_text(), path.read_text()) == ("one\n", "two\n")


@pytest.mark.parametrize("call", ["open", "stat"])
def test_a_file_that_cannot_be_opened_anew_or_looked_at_stays(
    call: str, log: AccessLog, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log, "one")
    clock.advance(LOOK_INTERVAL)
    monkeypatch.setattr(os, call, refuse)
    if call == "open":
        with pytest.raises(PermissionError):
            log.reopen()
    write(log, "two")
    monkeypatch.undo()
    assert (path.read_text(), log.lost) == ("one\ntwo\n", 0)


# ---------------------------------------------------------------- disks that fail


class Disk:
    """Takes so many octets, then it is full. Stands in for ``os.write``."""

    def __init__(self) -> None:
        self.room = 1_000_000
        self._write = os.write

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(os, "write", (disk := Disk()).write)
    return disk


def logged(write: Callable[..., None], *arguments: Any) -> list[str]:
    """What the program's log says meanwhile."""
    with capturedLogs() as events:
        write(*arguments)
    return [formatEvent(event) for event in events]


def test_a_full_disk_is_said_once_and_room_again_with_the_count(
    log: AccessLog, path: Path, disk: Disk
) -> None:
    disk.room = 0
    assert logged(write, log, "one", "two") == [
        f"access log {path} loses records: No space left on device"
    ]
    assert logged(write, log, "three") == []
    disk.room = 100
    assert logged(write, log, "four") == [f"access log {path} is written again; 3 records are lost"]
    assert logged(write, log, "five") == []
    disk.room = 0
    assert (len(logged(write, log, "six")), logged(log.close)) == (1, [])
    assert (path.read_text(), log.lost) == ("four\nfive\n", 4)


@pytest.mark.parametrize(("room", "kept"), [("one\ntwo\n", 2), ("one\ntw", 1)])
@pytest.mark.parametrize("together", [False, True])
def test_what_fits_is_written_and_half_a_line_taken_back(
    room: str, kept: int, together: bool, log: AccessLog, path: Path, disk: Disk
) -> None:
    """So every line of the file is a whole one."""
    disk.room = 0
    log.write(record("none"))
    if not together:  # else they wait for the disk
        log.flush()
    disk.room = len(room)
    for reason in ("one", "two", "three"):
        log.write(record(reason))
    log.flush()
    assert log.lost == 4 - kept
    disk.room = 100
    write(log, "four")
    assert path.read_text() == "one\ntwo\n"[: 4 * kept] + "four\n"


def test_half_a_line_that_another_has_written_behind_gets_its_end(
    log: AccessLog, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker's line is never cut off."""
    seek = os.lseek

    def another_writes(*arguments: int) -> int:
        with path.open("a") as other:
            other.write("!")
        return seek(*arguments)

    monkeypatch.setattr(os, "lseek", another_writes)
    disk.room = 2
    write(log, "one")
    disk.room = 100
    write(log, "two", "three")
    assert path.read_text() == "on!\ntwo\nthree\n"


def test_half_a_line_in_a_file_that_was_rotated_puts_no_blank_line_into_the_next(
    log: AccessLog, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "ftruncate", refuse)
    disk.room = 2
    write(log, "one")
    path.rename(path.with_suffix(".1"))
    disk.room = 100
    write(log, "two")
    assert path.read_text() == "two\n"


def test_a_directory_that_is_gone_loses_records_only(
    log: AccessLog, path: Path, clock: Clock
) -> None:
    shutil.rmtree(path.parent)
    clock.advance(LOOK_INTERVAL)
    assert len(logged(write, log, "one")) == 1
    path.parent.mkdir()
    write(log, "two")
    assert (path.read_text(), log.lost) == ("two\n", 1)


# ---------------------------------------------------------------- lines that are written together


class Later:
    """Calls what it was given when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def __call__(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def call(self) -> None:
        self.calls[-1]()


def test_lines_of_a_batch_are_written_together_but_not_without_end(
    clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesslog, "TOGETHER", 3)
    log = AccessLog(clock, str(path), lambda record: record.reason, behind=(behind := Later()))
    log.open()
    for reason in ("one", "two"):
        log.write(record(reason))
    assert path.read_text() == ""
    assert len(behind.calls) == 1
    behind.call()
    assert path.read_text() == "one\ntwo\n"
    for reason in ("three", "four", "five", "six"):
        log.write(record(reason))
    assert path.read_text().endswith("\ntwo\nthree\nfour\nfive\n")
    log.close()  # whatever the reactor does no more
    behind.call()
    assert path.read_text().endswith("\nfive\nsix\n")


def test_a_form_that_fails_costs_no_other_record_anything(
    clock: Clock, path: Path, failures: Failures
) -> None:
    def form(record: SessionInfo) -> str:
        return f"{1 / len(record.reason)}"

    log = AccessLog(clock, str(path), form, behind=(behind := Later()))
    log.open()
    for reason in ("x", "", "y"):
        log.write(record(reason))
    behind.call()
    assert path.read_text() == "1.0\n1.0\n"
    assert len(failures.take(ZeroDivisionError)) == 1


def test_an_output_that_takes_nothing_is_not_tried_behind_each_batch(
    clock: Clock, pipe: Pipe
) -> None:
    log = AccessLog(clock, "-", lambda record: record.reason, pipe.writing, behind := Later())
    log.open()
    while not clock.getDelayedCalls():
        log.write(record("x" * 500))
        behind.call()
    [retry] = clock.getDelayedCalls()
    log.write(record("more"))
    behind.call()
    assert retry.active()
    pipe.read()
    clock.advance(RETRY_INTERVAL)
    assert pipe.read()[-2:] == ["more", ""]


# ---------------------------------------------------------------- outputs that nobody reads


LINES = [f"{number:0>99}" for number in range(100)]  # 10 000 octets


def test_what_was_not_taken_is_tried_again(output: AccessLog, pipe: Pipe, clock: Clock) -> None:
    write(output, *LINES)
    while len(pipe.read()) <= 100:
        clock.advance(RETRY_INTERVAL)
    write(output, "later")
    assert pipe.read() == [*LINES, "later", ""]
    assert output.lost == 0
    assert clock.getDelayedCalls() == []


def test_there_is_an_end_to_what_waits(
    output: AccessLog, pipe: Pipe, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesslog, "MAX_WAITING", 1000)
    assert logged(write, output, *LINES) == ["access log - loses records: nobody reads them"]
    assert logged(write, output, "one") == []
    assert output.lost > 40
    pipe.read()
    lost = output.lost
    assert logged(clock.advance, RETRY_INTERVAL) == [
        f"access log - is written again; {lost} records are lost"
    ]
    for _ in range(2):
        pipe.read()
        clock.advance(RETRY_INTERVAL)
    arrived = pipe.read()
    assert set(arrived[:-1]) <= {*LINES, "one"}  # whole lines only
    assert len(arrived) - 1 + output.lost == len(LINES) + 1


def test_closing_does_not_wait_for_a_reader(output: AccessLog, clock: Clock) -> None:
    write(output, *LINES)
    assert logged(output.close) == ["access log - loses records: nobody reads them"]
    assert output.lost > 0
    assert clock.getDelayedCalls() == []
