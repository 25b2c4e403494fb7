"""Ports of UNIX sockets, and whose the files are that go with them: the socket's, and the lock's beside it."""

from __future__ import annotations

import os

from twisted.internet import unix
from twisted.python.lockfile import FilesystemLock
from typing_extensions import override

from socks5.net.ports import Port

NO_FILE = "\0inherited"
"""A name of no file, so that a port sets the mode of none and deletes none: who has opened a UNIX socket sees to it."""


class UNIXPort(Port, unix.Port):
    """A listening UNIX socket that pauses."""

    @override
    def leave(self) -> None:
        super().leave()
        self._deletes(NO_FILE.encode())
        self.lockFile = None

    def own(self, path: str, is_locked: bool) -> None:
        """Delete the file when this port closes; who has opened the socket does not any more.

        :param is_locked: see :class:`socks5.net.places.UNIX`: the lock is ours, too.
        """
        file = os.fsencode(path)
        self._deletes(file)
        if is_locked:
            name = file + b".lock"
            self.lockFile = FilesystemLock(name)
            ours = name + b".%d" % os.getpid()
            os.symlink(str(os.getpid()), ours)
            os.replace(ours, name)

    def _deletes(self, file: bytes) -> None:
        """Have Twisted's port delete this file at its end, whose path older releases have in ``port``."""
        self._bindPath = self.port = file
