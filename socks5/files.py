"""Files that an operator keeps: what is in one, and whether it has changed since it was looked at last."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Generic, NamedTuple, TypeVar

_Value = TypeVar("_Value")

NOT_REGULAR = "Not a regular file"
"""What :func:`read` says of what is none."""

LOOK_AFTER = 1.0
"""Seconds between two looks at a file that is asked for all the time."""


def read(path: str, most: int = -1, is_once: bool = False) -> bytes:
    """What a file holds. Never waits for what is none: somebody may put a pipe in its place.

    :param most: octets to read at the most; negative: all.
    :param is_once: whether what can be read only once will do, as a pipe: that is waited for.
    :raises OSError: there is no such file, it may not be read, or it is none.
    """
    waits = 0 if is_once else os.O_NONBLOCK
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | waits)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode) or not (is_once or stat.S_ISREG(mode)):
        os.close(descriptor)
        what = "Is a directory" if stat.S_ISDIR(mode) else NOT_REGULAR
        raise OSError(errno.EINVAL, what, path)
    with open(descriptor, "rb") as file:
        return file.read(most)


def why_not_written(path: str) -> str:
    """Why a file cannot be written, or made, in a few words; "" if it can. Leaves nothing behind."""
    try:
        if os.path.exists(path):
            return "" if os.access(path, os.W_OK) else "it may not be written"
        TemporaryFile(dir=os.path.dirname(path)).close()
    except OSError as error:
        return f"none can be made there: {error.strerror}"
    return ""


_OF_THE_FILE = frozenset(
    {
        errno.EACCES,
        errno.EINVAL,  # read() says so of what is no file
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENXIO,  # a socket
        errno.EPERM,
    }
)


def is_of_the_file(error: OSError) -> bool:
    """Whether a failure to read says what a file is like. Others, such as that descriptors have run out, say nothing
    of it, and another try may succeed though it has not changed.
    """
    return error.errno in _OF_THE_FILE


class Stamp(NamedTuple):
    """What changes with a file.

    :param changed: when it was last written to, renamed or the like; ns since 1970, by the kernel's clock,
        in whose ticks of up to 10 ms two changes may fall together.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, path: str) -> Stamp | None:
        """That of a file, or None if there is none. Never raises."""
        try:
            found = os.stat(path)
        except OSError:
            return None
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Kept(Generic[_Value]):
    """What a small file says, read again when it has changed. It is looked at once a second at the most.

    :param now: gives the time.
    :param path: the file. One that is not there, or may not be read, is as good as an empty one. While something else
        keeps it from being read, the value of before stays.
    :param parse: makes a value of its text; must not raise.
    """

    def __init__(self, now: Callable[[], float], path: str, parse: Callable[[str], _Value]) -> None:
        self._now = now
        self._path = path
        self._parse = parse
        self._stamp: Stamp | None = None
        self._look_at = -math.inf
        self._value = parse("")

    def get(self) -> _Value:
        """What it says now."""
        now = self._now()
        if now >= self._look_at:
            self._look_at = now + LOOK_AFTER
            self._look()
        return self._value

    def _look(self) -> None:
        stamp = Stamp.of(self._path)
        if stamp == self._stamp:
            return
        try:
            text = read(self._path).decode("utf-8", "replace")
        except OSError as error:
            if not is_of_the_file(error):
                return  # the next look tries again
            text = ""
        self._stamp = stamp
        self._value = self._parse(text)
