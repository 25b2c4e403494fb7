"""Files that an operator keeps: what is in one, and whether it has changed since it was looked at last.

Floor 1½: imports nothing of the package.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple


def read(path: str, most: int = -1) -> bytes:
    """What a file holds. Never waits for what is none: somebody may put a pipe in its place.

    :param most: octets to read at the most; negative: all.
    :raises OSError: there is no such file, it may not be read, or it is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "Is a directory" if stat.S_ISDIR(mode) else "Not a regular file"
        raise OSError(errno.EINVAL, what, path)
    with open(descriptor, "rb") as file:
        return file.read(most)


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
