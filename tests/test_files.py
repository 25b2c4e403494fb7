"""What a file holds, what is none, and what tells that it is another one than before."""

import errno
import os
from pathlib import Path
from threading import Thread

import pytest
from twisted.internet.task import Clock

from socks5.files import LOOK_AFTER, Kept, Stamp, read, why_not_written
from tests.support.files import unreadable


def test_a_file_is_read_as_far_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"octets")
    assert read(str(path)) == read(str(path), 9) == b"octets"
    assert read(str(path), 3) == b"oct"


def test_whether_a_file_can_be_written_is_tried_and_nothing_is_left_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why_not_written(str(tmp_path / "new")) == ""
    assert os.listdir(tmp_path) == []
    (tmp_path / "old").write_text("octets")
    assert why_not_written(str(tmp_path / "old")) == ""
    assert (tmp_path / "old").read_text() == "octets"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert why_not_written(str(tmp_path / "old")) == "it may not be written"
    assert why_not_written(str(tmp_path / "no" / "new")) == (
        "none can be made there: No such file or directory"
    )


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, error in (
        (tmp_path / "pipe", "Not a regular file"),
        (Path("/dev/null"), "Not a regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file or directory"),
    ):
        with pytest.raises(OSError, match=error) as raised:
            read(str(path))
        assert raised.value.filename == str(path)


def test_what_can_be_read_once_is_waited_for_if_that_will_do(tmp_path: Path) -> None:
    assert read("/dev/null", is_once=True) == b""
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb", buffering=0) as end:
        writer = Thread(target=lambda: (end.write(b"oct"), end.write(b"ets"), end.close()))
        writer.start()
        assert read(f"/dev/fd/{pipe.fileno()}", is_once=True) == b"octets"
        writer.join()
    with pytest.raises(OSError, match="Is a directory"):
        read(str(tmp_path), is_once=True)


def test_a_file_that_stays_has_one_stamp_and_each_change_gives_another(tmp_path: Path) -> None:
    """It is about what a link leads to."""
    path = tmp_path / "file"
    assert Stamp.of(str(path)) is None
    path.write_text("one")
    stamps = [Stamp.of(str(path))]
    assert Stamp.of(str(path)) == stamps[0]
    path.write_text("other")
    stamps.append(Stamp.of(str(path)))
    os.utime(path, ns=(1, 1))
    stamps.append(Stamp.of(str(path)))
    other = tmp_path / "another"
    other.write_text("other")
    os.utime(other, ns=(1, 1))
    other.replace(path)
    stamps.append(Stamp.of(str(path)))
    assert len({*stamps}) == 4
    (tmp_path / "link").symlink_to("file")
    assert Stamp.of(str(tmp_path / "link")) == stamps[-1]


def test_a_kept_file_is_read_when_it_has_changed_and_looked_at_now_and_then(tmp_path: Path) -> None:
    path, clock, parsed = tmp_path / "file", Clock(), []

    def parse(text: str) -> str:
        parsed.append(text)
        return text.upper()

    kept = Kept(clock.seconds, str(path), parse)
    assert kept.get() == ""
    path.write_text("one")
    assert kept.get() == ""
    clock.advance(LOOK_AFTER)
    assert kept.get() == kept.get() == "ONE"
    clock.advance(LOOK_AFTER)
    assert kept.get() == "ONE"
    path.unlink()
    clock.advance(LOOK_AFTER)
    assert kept.get() == ""
    assert parsed == ["", "one", ""]


@pytest.mark.parametrize(
    ("number", "meanwhile"),
    [
        *(
            (each, "ONE")
            for each in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EIO)
        ),
        *((each, "") for each in (errno.EACCES, errno.ENOTDIR)),
    ],
)
def test_a_kept_file_that_cannot_be_read_now_stays_as_it_was_and_is_read_soon(
    tmp_path: Path, number: int, meanwhile: str
) -> None:
    """One that may not be read is as good as empty."""
    path, clock = tmp_path / "file", Clock()
    path.write_text("one")
    before, new = (Kept(clock.seconds, str(path), str.upper) for _ in range(2))
    assert before.get() == "ONE"
    path.write_text("other")
    clock.advance(LOOK_AFTER)
    with unreadable(number):
        assert (before.get(), new.get()) == (meanwhile, "")
    if meanwhile:
        clock.advance(LOOK_AFTER)
        assert (before.get(), new.get()) == ("OTHER", "OTHER")
