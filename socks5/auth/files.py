"""A file of users, and perhaps one of groups, read again when they change.

The last state that could be read stays in force: somebody may be writing the file at this moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from hashlib import sha256
from threading import Lock
from typing import Any, TypeVar

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import Interface, implementer

from socks5.auth import Known, LoginNotJudged, client_of
from socks5.auth.users import Entry, Users, WrongSource, keyed, parse_groups, parse_users
from socks5.auth.work import Work
from socks5.files import Stamp, is_of_the_file, read
from socks5.flaws import Flaws, together
from socks5.loglimit import Sparing

MAX_FILE = 16 * 1024 * 1024
"""Octets of a file of users: some 100 000 of them."""

_KEYS = ("file", "groups")

Parsed = TypeVar("Parsed")

SETTLED = 1.0
"""Seconds behind a change until a further one is sure to give a file another stamp."""

TICK = 0.05
"""Seconds that a younger stamp counts: long enough for logins at the same time to share a check."""


class UserFile:
    """The users of a file. Its methods may be called from any thread.

    :param path: a line ``NAME:SECRET`` for each user.
    :param parse_secret: what stands behind the name.
    :param groups: a line ``GROUP: NAME NAME`` for each group; "" for none.
    :param is_private: whether nobody but its owner may have access to it.
    :raises WrongSource: a file cannot be read or holds something else; says which, and what to do.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        parse_secret: Callable[[bytes], Entry],
        groups: str = "",
        is_private: bool = False,
    ) -> None:
        self._is_private = is_private
        self._paths = [os.path.abspath(each) for each in (path, groups) if each]
        self._parse_secret = parse_secret
        self._lock = Lock()
        self._lines = Sparing(lines=1)
        self._unread = 0
        self._seen = self.stamp()
        self._digests: list[bytes | None] = []
        self._users = Users({})
        self._wrong = ""
        self._read()

    def stamp(self) -> Hashable:
        """What the files are like now; differs when they have changed, or could not be read meanwhile for a reason
        that is none of theirs.
        """
        stamps = [Stamp.of(path) for path in self._paths]
        now = time.time()
        if any(each is not None and abs(now - each.changed / 1e9) < SETTLED for each in stamps):
            return *stamps, self._unread, int(now / TICK)
        return *stamps, self._unread

    def current(self) -> Users | None:
        """The users of now, or None if a file must be read for them, which may take long."""
        return self._users if self.stamp() == self._seen else None

    def known(self, name: str) -> Known | None:
        """Who has a name, as the file was read last; None: nobody."""
        return self._users.find(name)

    def users(self) -> Users:
        """The users of now. Reads the files if they have changed."""
        with self._lock:
            stamp = self.stamp()
            if stamp != self._seen:
                self._read_again()
                self._seen = stamp
            return self._users

    def look(self) -> None:
        """Read the files if they have changed; in any thread."""
        self.users()

    def judge(self, name: bytes, password: bytes) -> Known:
        """Let a user of now in; see :meth:`~socks5.auth.users.Users.judge`. The log says what could not
        be judged.
        """
        try:
            return self.users().judge(name, password)
        except LoginNotJudged as error:
            if (left_out := self._lines.next()) is not None:
                self.log.error(
                    "{path} cannot judge logins: {reason}; times: {count}",
                    path=self._paths[0],
                    reason=str(error),
                    count=left_out + 1,
                )
            raise

    def reread(self) -> str:
        """Read the files, changed or not, as far as the system tells.

        :returns: which, and how many users there are.
        :raises WrongSource: says what is wrong; the users of before stay.
        """
        with self._lock:
            stamp = self.stamp()
            try:
                self._read()
            except WrongSource as error:
                self._wrong = str(error)
                raise
            finally:
                self._seen = stamp  # not before, for current() trusts it without the lock
            self._wrong = ""
            return f"{' and '.join(self._paths)} (users: {len(self._users)})"

    def _read_again(self) -> None:
        path = self._paths[0]
        try:
            is_other = self._read()
        except WrongSource as error:
            if str(error) != self._wrong:
                self._wrong = str(error)
                self.log.error(
                    "{error}; until that is mended, the users of before stay those of {path}",
                    error=str(error),
                    path=path,
                )
            return
        if is_other or self._wrong:
            self._wrong = ""
            self.log.info(
                "{path} was read again; users: {count}", path=path, count=len(self._users)
            )

    def _read(self) -> bool:
        """Read the files.

        :returns: whether something else is in them.
        :raises WrongSource: says which file is wrong, and why.
        """
        flaws = Flaws()
        files = [*zip(self._paths, _KEYS, (self._parse_users, parse_groups), strict=False)]
        texts = [flaws.of(partial(self._octets, path, key)) for path, key, _ in files]
        digests = [None if text is None else keyed(sha256(text).digest()) for text in texts]
        if digests == self._digests:
            return False
        found: list[Any] = [
            None if text is None else flaws.of(partial(_parsed, path, key, text, parse))
            for (path, key, parse), text in zip(files, texts, strict=True)
        ]
        flaws.end()
        self._users = Users(*found)
        self._digests = digests
        return True

    def _parse_users(self, text: bytes) -> dict[bytes, Entry]:
        return parse_users(text, self._parse_secret)

    def _octets(self, path: str, key: str) -> bytes:
        """What a file holds. Does not wait for what is none.

        :param key: see :class:`~socks5.auth.users.WrongSource`.
        :raises WrongSource: names the file.
        """
        try:
            octets = read(path, MAX_FILE + 1)
            mode = os.stat(path).st_mode & 0o777
        except OSError as error:
            self._unread += not is_of_the_file(error)
            reason = error.strerror
            raise WrongSource(
                f"expected a file that can be read, got {path!r} ({reason}); check its name and mode",
                key,
            ) from None
        if self._is_private and mode & 0o077:
            raise WrongSource(
                f"{path} has mode {mode:04o}: others could read or replace the secrets in it; chmod 600 {path}",
                key,
            )
        if len(octets) > MAX_FILE:
            sentence = f"{path} has more than {MAX_FILE} octets: expected a file of users"
            raise WrongSource(sentence, key)
        return octets


@implementer(ICredentialsChecker)
class Plainly:
    """Judges at once while the file is as it was read, and reads a changed one in a thread. For secrets
    that cost nothing to check.

    :param file: the users.
    :param work: gives the thread.
    """

    credentialInterfaces: Sequence[type[Interface]] = (IUsernamePassword,)

    def __init__(self, file: UserFile, work: Work) -> None:
        self.file = file
        self._work = work

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """See :meth:`twisted.cred.checkers.ICredentialsChecker.requestAvatarId`."""
        login = credentials.username, credentials.password
        users = self.file.current()
        if users is None:
            return self._work.run(client_of(credentials), self.file.judge, *login)
        return maybeDeferred(users.judge, *login)


def _parsed(path: str, key: str, text: bytes, parse: Callable[[bytes], Parsed]) -> Parsed:
    """What is in a file.

    :raises WrongSource: names the file.
    """
    try:
        return parse(text)
    except WrongSource as error:
        raise together(
            [WrongSource(f"{path} {each.sentence}", key) for each in error.all]
        ) from None
