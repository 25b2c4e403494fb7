"""``socks5 passwd FILE NAME``: make, change, check or delete an entry of a file of users.

A password is asked for on the terminal, or is the first line of a standard input that is none. It is
never an argument, which every user of the machine could read.
"""

from __future__ import annotations

import fcntl
import getpass
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from twisted.python import usage

from socks5.app.parser import Parser
from socks5.app.rows import Group, OptionRow
from socks5.auth.hashes import NotComputed, make_hash
from socks5.auth.users import is_name, parse_hash
from socks5.files import read
from socks5.protocol.address import MAX_NAME

MAX_PASSWORD = 255
"""Octets of a password (RFC 1929 section 2)."""

NEW_MODE = 0o600
"""Of a file that is made."""


class Refused(ValueError):
    """The command does nothing. Its text is a sentence."""


_PARSER = Parser(
    (
        Group(
            "Options",
            (
                OptionRow("delete", "", "delete the entry", letter="D"),
                OptionRow(
                    "verify", "", "change nothing; status 0 if it is right, else 1", letter="v"
                ),
            ),
        ),
    ),
    ["socks5 passwd [OPTIONS] FILE NAME"],
    [
        "Makes or changes the entry of a user in a file for --auth htpasswd:FILE, which",
        "is made if there is none. Asks for the password twice, or reads it as one line",
        "from a standard input that is not a terminal.",
    ],
)


class Asked(NamedTuple):
    """What the command line asks for.

    :param path: the file.
    :param name: whose entry.
    :param delete: whether it is deleted.
    :param verify: whether it is only looked at.
    """

    path: str
    name: bytes
    delete: bool
    verify: bool


def asked(arguments: Sequence[str]) -> Asked:
    """What a command line asks for.

    :raises twisted.python.usage.UsageError: something is wrong with it. Quotes no name, which may be a password.
    """
    said = _PARSER.parse(arguments)
    options = {row.name for row, _ in said.options}
    if len(said.words) != 2:
        raise usage.UsageError(f"expected FILE and NAME, got {len(said.words)} words")
    path, name = said.words[0], os.fsencode(said.words[1])
    kind, colon, rest = path.partition(":")
    if colon and kind in ("file", "htpasswd"):
        raise usage.UsageError(
            f"expected the path of a file, such as {rest or 'users.txt'}, got {path!r}"
        )
    if len(options) == 2:
        raise usage.UsageError("--delete does not go with --verify")
    if not is_name(name):
        raise usage.UsageError(
            f"expected a NAME of 1 to {MAX_NAME} octets without colons and control characters"
        )
    if name.startswith(b"#") or name != name.strip():
        raise usage.UsageError("expected a NAME without # in front and without blanks around it")
    return Asked(path, name, "delete" in options, "verify" in options)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says.

    :raises SystemExit: always but after a success; status 2 for wrong options, else 1.
    """
    try:
        options = asked(arguments)
    except usage.UsageError as error:
        raise _exit(str(error), 2) from None
    try:
        _run(options)
    except (ValueError, NotComputed) as error:
        raise _exit(str(error), 1) from None
    except OSError as error:
        raise _exit(f"{error.filename or options.path}: {error.strerror}", 1) from None


def _exit(sentence: str, status: int) -> SystemExit:
    sys.stderr.write(f"socks5 passwd: {sentence}\n")
    return SystemExit(status)


def _run(options: Asked) -> None:
    """:raises Refused: nothing was done; says why.

    :raises OSError: likewise.
    """
    file = Entries(options.path)
    if options.verify:
        if not parse_hash(file.rest_of(options.name)).secret.fits(_password(once=True)):
            raise Refused("the password is wrong")
    elif options.delete:
        file.rest_of(options.name)
        _put(options, None)
    else:
        _put(options, make_hash(_password(once=False)).encode())


def _put(options: Asked, text: bytes | None) -> None:
    """Change the file, which may have changed while the password was asked for; one at a time.

    :raises OSError: the file stays as it was.
    """
    folder = os.open(os.path.dirname(os.path.realpath(options.path)), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        Entries(options.path).put(options.name, text)
    finally:
        os.close(folder)


def _password(once: bool) -> bytes:
    """The password, from a terminal or from the standard input.

    :raises Refused: there is none, or none that a client could send.
    """
    if sys.stdin is not None and not sys.stdin.isatty():
        password = sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
    else:
        password = _asked("Password: ")
        if not once and _asked("The same again: ") != password:
            raise Refused("the two passwords differ; nothing was changed")
    if not 1 <= len(password) <= MAX_PASSWORD:
        raise Refused(f"expected a password of 1 to {MAX_PASSWORD} octets; nothing was changed")
    return password


def _asked(prompt: str) -> bytes:
    """:raises Refused: no answer, or a terminal that would show it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return os.fsencode(getpass.getpass(prompt))
    except getpass.GetPassWarning:
        raise Refused("this terminal would show the password; nothing was changed") from None
    except (EOFError, KeyboardInterrupt):
        raise Refused("no password was given; nothing was changed") from None


class Entries:
    """A file of users as lines, of which one is changed and the others stay as they are.

    :param path: the file. It need not exist; a link stays one.
    :raises OSError: it exists and cannot be read.
    :raises Refused: its last line has no end.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)
        try:
            text = read(self._path)
        except FileNotFoundError:
            text = b""
        *lines, rest = text.split(b"\n")
        if rest:
            raise Refused(f"{path}: the last line does not end; mend that first")
        self._lines = [line + b"\n" for line in lines]

    def rest_of(self, name: bytes) -> bytes:
        """What stands behind a name.

        :raises Refused: the name has no entry.
        """
        for line in self._lines:
            if line.startswith(name + b":"):
                return line.rstrip().partition(b":")[2]
        raise Refused(f"{self._path} has no entry for {os.fsdecode(name)}")

    def put(self, name: bytes, text: bytes | None) -> None:
        """Give a name this hash, or no entry any more. Settings behind the hash stay.

        :raises OSError: the file stays as it was.
        :raises Refused: likewise.
        """
        lines = self._lines
        is_done = text is None
        for number, line in enumerate(lines):
            if line.startswith(name + b":"):
                lines[number] = b"" if is_done else self._changed(name, line, text or b"")
                is_done = True
        if not is_done:
            lines.append(self._changed(name, b"\n", text or b""))
        self._replace(b"".join(lines) or b"# Nobody.\n")

    @staticmethod
    def _changed(name: bytes, line: bytes, text: bytes) -> bytes:
        _, _, settings = line.partition(b":")[2].rstrip(b"\r\n").partition(b":")
        return name + b":" + text + (b":" + settings if settings else b"") + b"\n"

    def _replace(self, text: bytes) -> None:
        """Write the file anew, and put it in the old one's place with its owner and mode: at any moment
        there is one or the other, whole, after a power failure too.

        :raises OSError: the file stays as it was.
        :raises Refused: likewise.
        """
        folder = os.path.dirname(self._path)
        descriptor, new = tempfile.mkstemp(dir=folder, prefix=".passwd-")
        try:
            with open(descriptor, "wb") as file:
                self._take_over(descriptor)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(new, self._path)
        except BaseException:
            os.unlink(new)
            raise
        _sync(folder)

    def _take_over(self, descriptor: int) -> None:
        """Give the new file the old one's group and mode, and its owner where that is ours to give.

        :raises Refused: the group is not ours to give.
        """
        try:
            old = os.stat(self._path)
        except FileNotFoundError:
            os.fchmod(descriptor, NEW_MODE)
            return
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:  # only root may give a file away; a group, who is in it
            self._take_over_group(descriptor, old.st_gid)
        os.fchmod(descriptor, old.st_mode & 0o777)

    def _take_over_group(self, descriptor: int, group: int) -> None:
        try:
            os.fchown(descriptor, -1, group)
        except PermissionError:
            raise Refused(
                f"{self._path} belongs to a group that you are not in, and would not any more; "
                "nothing was changed; let root or a member of the group do it"
            ) from None


def _sync(folder: str) -> None:
    """Have the folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
