"""Whether a file is another one, or was written to, since it was looked at last.

Floor 1½: imports nothing of the package.
"""

from __future__ import annotations

import os
from typing import NamedTuple


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
