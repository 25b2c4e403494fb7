"""A file of users, and perhaps one of groups, read again when they change.

The last state that could be read stays in force: somebody may be writing the file at this moment.

Floor 1½: imports :mod:`socks5.auth`, :mod:`socks5.auth.users` and :mod:`socks5.auth.work`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from twisted.logger import Logger

from socks5.auth import Known, LoginNotJudged
from socks5.auth.users import Entry, Users, WrongSource, parse_groups, parse_users
from socks5.auth.work import Complaints

MAX_FILE = 16 * 1024 * 1024
"""Octets of a file of users: some 100 000 of them."""

Parsed = TypeVar("Parsed")

Stamp = tuple[tuple[int, ...] | None, ...]
"""What changes with a file: for each path its inode, size and times, or None without it."""


class UserFile:
    """The users of a file. Its methods may be called from any thread.

    :param path: a line ``NAME:SECRET`` for each user.
    :param parse_secret: what stands behind the name.
    :param groups: a line ``GROUP: NAME NAME`` for each group; "" for none.
    :raises WrongSource: a file cannot be read or holds something else; says which, and what to do.
    """

    log = Logger()

    def __init__(self, path: str, parse_secret: Callable[[bytes], Entry], groups: str = "") -> None:
        self._paths = [os.path.abspath(each) for each in (path, groups) if each]
        self._parse_secret = parse_secret
        self._lock = Lock()
        self._complaints = Complaints()
        self._seen = self.stamp()
        self._users = self._read()

    def stamp(self) -> Stamp:
        """What the files are like now; differs when they have changed."""
        return tuple(_stamp(path) for path in self._paths)

    def users(self) -> Users:
        """The users of now. Reads the files if they have changed."""
        with self._lock:
            stamp = self.stamp()
            if stamp != self._seen:
                self._seen = stamp
                self._read_again()
            return self._users

    def judge(self, name: bytes, password: bytes) -> Known:
        """Let a user of now in; see :meth:`~socks5.auth.users.Users.judge`. The log says what could not
        be judged.
        """
        try:
            return self.users().judge(name, password)
        except LoginNotJudged as error:
            if count := self._complaints.due():
                self.log.error(
                    "{path} cannot judge logins: {reason}; times: {count}",
                    path=self._paths[0],
                    reason=str(error),
                    count=count,
                )
            raise

    def _read_again(self) -> None:
        path = self._paths[0]
        try:
            self._users = self._read()
        except WrongSource as error:
            self.log.error(
                "{error}; until that is mended, the users of before stay those of {path}",
                error=str(error),
                path=path,
            )
        else:
            self.log.info(
                "{path} was read again; users: {count}", path=path, count=len(self._users)
            )

    def _read(self) -> Users:
        """:raises WrongSource: says which file is wrong, and why."""
        users, *groups = self._paths
        entries = _parsed(users, lambda text: parse_users(text, self._parse_secret))
        found = [_parsed(path, parse_groups) for path in groups]
        return Users(entries, *found)


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _parsed(path: str, parse: Callable[[bytes], Parsed]) -> Parsed:
    """What is in a file.

    :raises WrongSource: names the file.
    """
    try:
        return parse(_octets(path))
    except WrongSource as error:
        raise WrongSource(f"{path} {error}") from None
    except OSError as error:
        reason = error.strerror
        raise WrongSource(
            f"expected a file that can be read, got {path!r} ({reason}); check its name and mode"
        ) from None


def _octets(path: str) -> bytes:
    """:raises OSError: the file cannot be read."""
    with open(path, "rb") as file:
        octets = file.read(MAX_FILE + 1)
    if len(octets) > MAX_FILE:
        raise WrongSource(f"has more than {MAX_FILE} octets: expected a file of users")
    return octets
