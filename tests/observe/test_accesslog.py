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

WHEN = "2023-11-14T22:13:20.999Z"


def name_of(record: SessionInfo) -> str:
    """A form that is short enough to compare."""
    return record.reason


def record(reason: str = "client closed") -> SessionInfo:
    return SessionInfo(1, "192.0.2.7:4000", reason=reason)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def log(clock: Clock, path: Path) -> AccessLog:
    log = AccessLog(clock, str(path), name_of)
    log.open()
    return log


def write(log: AccessLog, *reasons: str) -> None:
    """Write records, each of which is a line of one word, and have them written out."""
    for reason in reasons:
        log.write(record(reason))
    log.flush()


class Pipe:
    """An output whose reader reads when the test says so. Blocking, as a shell makes it."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        fcntl.fcntl(self._reading, fcntl.F_SETPIPE_SZ, 4096)  # the smallest there is
        os.set_blocking(self._reading, False)
        self.text = b""

    def read(self) -> list[str]:
        """The lines so far; the last one may be cut."""
        with suppress(BlockingIOError):
            while more := os.read(self._reading, 65536):
                self.text += more
        return self.text.decode().split("\n")

    def close(self) -> None:
        os.close(self._reading)
        os.close(self.writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def output(clock: Clock, pipe: Pipe) -> AccessLog:
    output = AccessLog(clock, "-", name_of, pipe.writing)
    output.open()
    return output


# ---------------------------------------------------------------- lines


@pytest.fixture
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.9996)


@pytest.mark.usefixtures("fixed_time")
def test_a_json_line_holds_every_field_of_the_record() -> None:
    fields: dict[str, Any] = {
        "session": 7,
        "client": "[2001:db8::7]:4000",
        "user": "alice",
        "command": "udp",
        "target": "0.0.0.0:0",
        "bound": "192.0.2.1:4001",
        "reply": 0,
        "bytes_up": 10,
        "bytes_down": 20,
        "seconds": 1.234568,
        "reason": "idle",
        "dropped": 3,
        "drops": {"stranger": 2, "malformed": 1},
    }
    line = as_json(SessionInfo(**fields | {"seconds": 1.23456789}))
    assert json.loads(line) == {"time": WHEN, **fields}


def test_a_json_line_has_nulls_for_what_there_was_not() -> None:
    fields = json.loads(as_json(record()))
    assert {name for name, value in fields.items() if value is None} == {
        "user",
        "command",
        "target",
        "bound",
        "reply",
    }


TEXTS = [
    (
        record("client closed"),
        "#1 192.0.2.7:4000 no request up 0 down 0 0.000 s: client closed",
    ),
    (
        SessionInfo(
            2,
            "192.0.2.7:4000",
            command="connect",
            target="example.org:443",
            reply=0,
            bytes_up=517,
            bytes_down=4096,
            seconds=12.3456,
            reason="target closed",
        ),
        "#2 192.0.2.7:4000 connect example.org:443 reply 0 up 517 down 4096 12.346 s: target closed",
    ),
    (
        SessionInfo(
            3,
            "[::1]:4000",
            user="alice",
            command="udp",
            target="0.0.0.0:0",
            reply=0,
            dropped=2,
            drops={"stranger": 1, "malformed": 1},
        ),
        "#3 alice@[::1]:4000 udp 0.0.0.0:0 reply 0 up 0 down 0 2 dropped (stranger 1, malformed 1) 0.000 s: ",
    ),
    (
        SessionInfo(4, "192.0.2.7:4000", command="9", reply=7),
        "#4 192.0.2.7:4000 9  reply 7 up 0 down 0 0.000 s: ",
    ),
]


@pytest.mark.usefixtures("fixed_time")
@pytest.mark.parametrize(("record", "text"), TEXTS)
def test_a_readable_line(record: SessionInfo, text: str) -> None:
    assert as_text(record) == f"{WHEN} {text}"


@pytest.mark.parametrize("form", [as_json, as_text])
def test_a_name_cannot_forge_a_line(form: Callable[[SessionInfo], str]) -> None:
    name = "a b\nc\x1b[2J\u2028d"
    line = form(
        SessionInfo(1, "192.0.2.7:1", user=name, command="connect", target=name, reason=name)
    )
    assert line.isprintable()


@pytest.mark.usefixtures("fixed_time")
def test_a_name_is_one_word_of_a_readable_line() -> None:
    line = as_text(SessionInfo(1, "192.0.2.7:1", user="a b", command="connect", target="c\td:1"))
    assert line.startswith(f"{WHEN} #1 a\\x20b@192.0.2.7:1 connect c\\x09d:1 up")


# ---------------------------------------------------------------- when they are written


def test_a_record_is_in_the_file_at_once(log: AccessLog, path: Path, clock: Clock) -> None:
    """So a process that is killed loses none."""
    log.write(record("one"))
    assert path.read_text() == "one\n"
    log.write(record("two"))
    assert path.read_text() == "one\ntwo\n"
    assert clock.getDelayedCalls() == []


def test_closing_leaves_nothing_behind_and_twice_is_harmless(clock: Clock, path: Path) -> None:
    before = descriptors()
    log = AccessLog(clock, str(path), name_of)
    assert verifyObject(IAccessLog, log)
    log.write(record("one"))
    for _ in range(2):
        log.close()
    assert (path.read_text(), clock.getDelayedCalls()) == ("one\n", [])
    assert descriptors() <= before


# ---------------------------------------------------------------- files


def test_a_path_that_cannot_be_opened_is_known_at_once(clock: Clock, tmp_path: Path) -> None:
    log = AccessLog(clock, str(tmp_path / "missing" / "access.log"))
    with pytest.raises(FileNotFoundError):
        log.open()


def test_text_that_no_encoding_has_is_written(log: AccessLog, path: Path) -> None:
    write(log, "caf\xe9 \udcff")
    assert path.read_bytes() == b"caf\xc3\xa9 \\udcff\n"


def test_the_standard_output_is_written_to_and_stays_open(
    clock: Clock, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)  # Twisted makes a logger of it
    log = AccessLog(clock, "-", name_of)
    log.open()
    write(log, "one")
    assert log.reopen() is None
    write(log, "two")
    log.close()
    os.write(1, b"three\n")
    assert capfd.readouterr().out == "one\ntwo\nthree\n"


def test_a_standard_output_that_is_closed_is_known_at_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = os.open("/", os.O_RDONLY)
    os.close(closed)
    monkeypatch.setattr(accesslog, "_STANDARD_OUTPUT_DESCRIPTOR", closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        AccessLog(clock, "-").open()


# ---------------------------------------------------------------- rotation


LEADS_ELSEWHERE: dict[str, Callable[[Path], object]] = {
    "renamed": lambda path: path.rename(path.with_suffix(".1")),
    "removed": Path.unlink,
    "replaced": lambda path: shutil.copy(path, path.with_suffix(".new")).rename(path),
}


@pytest.mark.parametrize("how", LEADS_ELSEWHERE)
def test_a_file_whose_path_leads_elsewhere_is_left(
    how: str, log: AccessLog, path: Path, clock: Clock
) -> None:
    write(log, "one")
    LEADS_ELSEWHERE[how](path)
    write(log, "two")  # it is not looked for each record
    clock.advance(LOOK_INTERVAL)
    write(log, "three")
    assert path.read_text() == ("one\nthree\n" if how == "replaced" else "three\n")


def test_a_clock_that_steps_back_stops_no_look(path: Path) -> None:
    clock = Clock()
    clock.rightNow = 1000.0
    log = AccessLog(clock, str(path), name_of)
    write(log, "one")
    path.unlink()
    clock.rightNow = 10.0
    write(log, "two")
    assert path.read_text() == "two\n"


def test_reopening_leads_to_where_the_path_leads_now(log: AccessLog, path: Path) -> None:
    write(log, "one")
    old = path.rename(path.with_suffix(".1"))
    path.touch()
    assert log.reopen() == str(path)
    write(log, "two")
    assert (old.read_text(), path.read_text()) == ("one\n", "two\n")


def test_a_file_that_cannot_be_opened_anew_stays(
    log: AccessLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    write(log, "one")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        log.reopen()
    write(log, "two")
    monkeypatch.undo()
    assert (path.read_text(), log.lost) == ("one\ntwo\n", 0)


def test_a_path_that_cannot_be_looked_at_changes_nothing(
    log: AccessLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    write(log, "one")
    monkeypatch.undo()
    assert (path.read_text(), log.lost) == ("one\n", 0)


def test_an_error_of_closing_changes_nothing(
    log: AccessLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "close", fail)
    write(log, "one")
    log.reopen()
    write(log, "two")
    log.close()
    assert path.read_text() == "one\ntwo\n"


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
    disk = Disk()
    monkeypatch.setattr(os, "write", disk.write)
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
    assert len(logged(write, log, "six")) == 1
    assert logged(log.close) == []
    assert (path.read_text(), log.lost) == ("four\nfive\n", 4)


def test_what_fits_is_written(log: AccessLog, path: Path, disk: Disk) -> None:
    disk.room = len("one\ntwo\n")
    write(log, "one", "two", "three")
    disk.room = 100
    write(log, "four")
    assert (path.read_text(), log.lost) == ("one\ntwo\nfour\n", 1)


def test_half_a_line_is_taken_back(log: AccessLog, path: Path, disk: Disk) -> None:
    """So every line of the file is a whole one."""
    disk.room = len("one\ntw")
    write(log, "one", "two")
    assert (path.read_text(), log.lost) == ("one\n", 1)
    write(log, "three")  # still no room
    disk.room = 100
    write(log, "four")
    assert (path.read_text(), log.lost) == ("one\nfour\n", 2)


def test_half_a_line_of_many_is_taken_back(
    log: AccessLog, path: Path, disk: Disk, clock: Clock
) -> None:
    disk.room = 0
    log.write(record("none"))
    log.write(record("one"))
    log.write(record("two"))  # wait for the disk
    disk.room = len("one\ntw")
    log.flush()
    assert (path.read_text(), log.lost) == ("one\n", 2)


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
    write(log, "two")
    write(log, "three")
    assert path.read_text() == "on!\ntwo\nthree\n"


def test_half_a_line_in_a_file_that_was_rotated_puts_no_blank_line_into_the_next(
    log: AccessLog, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", refuse)
    disk.room = 2
    write(log, "one")
    path.rename(path.with_suffix(".1"))
    disk.room = 100
    write(log, "two")
    assert path.read_text() == "two\n"


def test_a_directory_that_is_gone_loses_records_only(clock: Clock, tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log = AccessLog(clock, str(directory / "access.log"), name_of)
    log.open()
    (directory / "access.log").unlink()
    directory.rmdir()
    clock.advance(LOOK_INTERVAL)
    assert len(logged(write, log, "one")) == 1
    directory.mkdir()
    write(log, "two")
    assert ((directory / "access.log").read_text(), log.lost) == ("two\n", 1)


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
