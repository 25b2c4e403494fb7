"""Files of lists that a file of settings names: whether somebody has changed one."""

from __future__ import annotations

import os

from socks5.app.config.build import Made
from socks5.files import Stamp, read


class Lists:
    """Remembers what they were like at the last look."""

    def __init__(self) -> None:
        self._seen: dict[str, Stamp | None] = {}

    def changed(self, made: Made) -> list[str]:
        """Which of them hold something else than when they were read; said once of each change. In any thread, one at
        a time.

        :param made: what they were read for.
        """
        before, self._seen = self._seen, {}
        found = []
        for name, text in sorted(made.lists.items()):
            path = os.path.join(made.document.folder, name)
            stamp = self._seen[path] = Stamp.of(path)
            is_known = path in before and before[path] == stamp
            if not is_known and not _holds(path, text):
                found.append(name)
        return found


def _holds(path: str, text: str) -> bool:
    octets = text.encode()
    try:
        return read(path, len(octets) + 1) == octets
    except OSError:
        return False
