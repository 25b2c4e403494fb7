"""A SOCKS5 proxy whose users are rows of a database: a checker of one's own, whose groups a rule asks for.

    python examples/own_checker.py add accounts.db alice staff
    python examples/own_checker.py accounts.db 1080

The first one waits for a line with the password. The proxy listens on 127.0.0.1; port 0 is one that is free. Whoever is
not in the group ``staff`` reaches the web only. Try it with ``curl --socks5 alice:PASSWORD@127.0.0.1:1080 ...``.
"""

import hashlib
import hmac
import os
import sqlite3
import sys
from contextlib import closing
from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from socks5 import (
    Access,
    Known,
    PasswordAuthentication,
    Remembered,
    Rules,
    ServerFactory,
    Threaded,
    Verdict,
    Work,
    listen,
)


def hashed(password: bytes, salt: bytes) -> bytes:
    """What the database has instead of a password."""
    return hashlib.scrypt(password, salt=salt, n=2**14, r=8, p=1)


class Accounts:
    """The users' rows."""

    def __init__(self, path: str) -> None:
        self.path = path

    def add(self, name: str, group: str, password: str) -> None:
        """Add a user."""
        salt = os.urandom(16)
        row = (name.encode(), group, salt, hashed(password.encode(), salt))
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS users (name PRIMARY KEY, team, salt, hash)"
            )
            database.execute("INSERT INTO users VALUES (?, ?, ?, ?)", row)

    def judge(self, name: bytes, password: bytes) -> Known:
        """Called in a thread: it may wait for the database, and for the hash."""
        query = "SELECT team, salt, hash FROM users WHERE name = ?"
        with closing(sqlite3.connect(self.path)) as database:
            group, salt, right = database.execute(query, (name,)).fetchone() or ("", b"", b"")
        if not hmac.compare_digest(hashed(password, salt), right):
            raise UnauthorizedLogin("no such user, or not the password")
        return Known(name, groups=frozenset({group}))


class StaffOrWeb(Rules):
    """The rules that hold when nothing else is said, and one more."""

    def judge(self, access: Access, address: str | None) -> Verdict:
        """Nobody comes in without a login, so there is a user."""
        is_staff = access.user is not None and "staff" in access.user.groups
        if not is_staff and access.target.port not in {80, 443}:
            return Verdict(False, "web only")
        return super().judge(access, address)


async def main(reactor: Any, path: str, proxy_port: str) -> None:
    """Listen until it is interrupted."""
    checker = Remembered(Threaded(Accounts(path).judge, Work(lambda: reactor)))
    users = PasswordAuthentication.over(checker)
    factory = ServerFactory(reactor, authenticator=users, rules=StaffOrWeb())
    port = await listen(reactor, f"tcp:{proxy_port}:interface=127.0.0.1", factory)
    print("proxy", port.getHost())
    await Deferred()


if __name__ == "__main__":
    if sys.argv[1] == "add":
        path, name, group = sys.argv[2:]
        Accounts(path).add(name, group, password=input())
    else:
        react(main, sys.argv[1:])
