"""Users in a text: ``NAME:HASH`` or ``NAME:PASSWORD``, a line each; and their groups.

Pure: text in, users out. What is wrong is a sentence with the line's number and what to do; it
quotes nothing of the line but a name.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any, Protocol

from twisted.cred.error import UnauthorizedLogin

from socks5.auth import Known, LoginNotJudged
from socks5.auth.hashes import Hash, NotComputed
from socks5.flaws import Flaw, together
from socks5.protocol.address import MAX_NAME

NAME_SHOWN = 64
"""Characters of a name that nobody has vouched for, in a record."""

SHOWN_LINES = 3
"""Wrong lines of a file that are told."""

MAKE_ENTRY = "make the entry with: socks5 passwd FILE NAME"


class WrongSource(Flaw):
    """A source of users that cannot be used. Its text is a sentence for the operator, without
    secrets.

    :param key: what of the source's is wrong, as a file of settings calls it; "" for none in particular.
    """

    def __init__(self, sentence: str, key: str = "") -> None:
        super().__init__(sentence)
        self.key = key


class Secret(Protocol):
    """What proves that somebody is a user."""

    @property
    def cost(self) -> str:
        """Equal for secrets that take equally long to check."""

    def fits(self, password: bytes) -> bool:
        """Whether *password* is right; takes as long if it is not.

        :raises socks5.auth.hashes.NotComputed: the machine could not tell.
        """


_KEY = os.urandom(32)


def keyed(*parts: bytes) -> bytes:
    """A digest that tells nobody anything outside this process.

    :param parts: up to 65535 octets each.
    """
    digest = hashlib.blake2b(key=_KEY, digest_size=32)
    for part in parts:
        digest.update(len(part).to_bytes(2) + part)
    return digest.digest()


def spellings(name: bytes, password: bytes) -> Sequence[tuple[bytes, bytes]]:
    """What a login may mean. RFC 1929 knows octets and no encoding: sources of users hold UTF-8, as most clients
    send it, and some clients send ISO 8859-1.

    :returns: the login in UTF-8; behind it, as it was sent, if that is no UTF-8. A check of both is one check, in
        one place of a queue, and one failure.
    """
    in_utf8 = _in_utf8(name), _in_utf8(password)
    return [in_utf8] if in_utf8 == (name, password) else [in_utf8, (name, password)]


def _in_utf8(octets: bytes) -> bytes:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1").encode()
    return octets


def shown(name: bytes) -> str:
    """A name that somebody has sent, for a record: in quotes, with escapes for what cannot be printed, and cut."""
    text = _in_utf8(name).decode()
    return repr(text[:NAME_SHOWN]) + ("..." if len(text) > NAME_SHOWN else "")


class Plain:
    """A password in plain text, of which only a keyed digest is kept."""

    cost = "plain"

    def __init__(self, password: bytes) -> None:
        self._digest = keyed(password)

    def fits(self, password: bytes) -> bool:
        """See :class:`Secret`."""
        return hmac.compare_digest(self._digest, keyed(password))


@dataclass(frozen=True, slots=True)
class Entry:
    """One user of a file."""

    secret: Secret
    settings: Mapping[str, str] = field(default_factory=dict)


class Users:
    """Who there is, and what proves it.

    :param entries: by the user's name.
    :param groups: the groups of each user that is in one.
    """

    def __init__(
        self, entries: Mapping[bytes, Entry], groups: Mapping[bytes, frozenset[str]] | None = None
    ) -> None:
        self._entries = entries
        self._groups = groups or {}
        self._nobody = _like_most([entry.secret for entry in entries.values()])

    def __len__(self) -> int:
        return len(self._entries)

    def judge(self, name: bytes, password: bytes) -> Known:
        """Let a user in, in either of two :func:`spellings`. For a name that nobody has it takes as long as for
        most users.

        :raises twisted.cred.error.UnauthorizedLogin: the name or the password is wrong.
        :raises LoginNotJudged: the machine could not tell.
        """
        try:
            for name_spelt, password_spelt in spellings(name, password):
                known = self.known_by(name_spelt, methodcaller("fits", password_spelt))
                if known is not None:
                    return known
        except NotComputed as error:
            raise LoginNotJudged(str(error)) from None
        raise UnauthorizedLogin("wrong user name or password")

    def find(self, text: str) -> Known | None:
        """The user of a name, as records show it; None if there is none."""
        name: bytes | None = text.encode("utf-8", "surrogateescape")
        if name not in self._entries:  # it may have been no UTF-8
            names = self._entries if "\\" in text else ()
            alike = (each for each in names if each.decode("utf-8", "backslashreplace") == text)
            name = next(alike, None)
        if name is None:
            return None
        return Known(name, self._groups.get(name, frozenset()), self._entries[name].settings)

    def known_by(self, name: bytes, fits: Callable[[Any], bool]) -> Known | None:
        """The user of a name, if the secret *fits*; where nobody has that name, somebody's secret is asked in vain."""
        entry = self._entries.get(name)
        secret = self._nobody if entry is None else entry.secret
        is_right = secret is not None and fits(secret)
        if entry is None or not is_right:
            return None
        return Known(name, self._groups.get(name, frozenset()), entry.settings)


def _like_most(secrets: list[Secret]) -> Secret | None:
    """A secret that costs what most of *secrets* cost: one of them. What it says does not count."""
    if not secrets:
        return None
    [(cost, _)] = Counter(secret.cost for secret in secrets).most_common(1)
    return next(secret for secret in secrets if secret.cost == cost)


def lines_of(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that say something, with their numbers from 1.

    :raises WrongSource: there is nothing at all, or the last line has no end.
    """
    if not text:
        raise WrongSource("is empty: it is half-written, or nobody has made an entry yet")
    lines = text.split(b"\n")
    if lines.pop():
        raise WrongSource(
            f"line {len(lines) + 1} does not end: the file is half-written, or lacks its last newline"
        )
    for number, line in enumerate(lines, 1):
        stripped = line.rstrip()
        if stripped and not stripped.startswith(b"#"):
            yield number, stripped


def parse_users(text: bytes, parse_secret: Callable[[bytes], Entry]) -> dict[bytes, Entry]:
    """The users of a file.

    :param parse_secret: what stands behind the name; raises :exc:`ValueError` for what is wrong.
    :raises WrongSource: says which lines, and what to do.
    """
    entries: dict[bytes, Entry] = {}
    wrong: list[tuple[int, str]] = []
    for number, line in lines_of(text):
        name, colon, rest = line.partition(b":")
        try:
            if not colon or not is_name(name):
                raise ValueError(f"expected NAME:SECRET, with a name of 1 to {MAX_NAME} octets")
            if name in entries:
                raise ValueError(f"a second entry for {name!r}; remove one of them")
            entries[name] = parse_secret(rest)
        except ValueError as error:
            wrong.append((number, str(error)))
    _refuse(wrong)
    return entries


def _refuse(wrong: Sequence[tuple[int, str]]) -> None:
    """
    :param wrong: numbers of lines, and what is wrong there.
    :raises WrongSource: something is.
    """
    told = [f"line {number}: {sentence}" for number, sentence in wrong[:SHOWN_LINES]]
    if len(wrong) > SHOWN_LINES:
        (number, _), count = wrong[SHOWN_LINES], len(wrong) - SHOWN_LINES
        lines = "line" if count == 1 else "lines"
        told.append(f"line {number}: {count} more {lines} like these, from here on")
    if told:
        raise together([WrongSource(each) for each in told])


def is_name(name: bytes) -> bool:
    """Whether a user may be called so: 1 to 255 octets, no colon and no control character."""
    return 1 <= len(name) <= MAX_NAME and not any(c < 0x20 or c in b":\x7f" for c in name)


def parse_hash(rest: bytes) -> Entry:
    """What stands behind the name in a file of hashes: ``HASH`` or ``HASH:KEY=VALUE,KEY=VALUE``.

    :raises ValueError: that is not what stands there.
    """
    text, _, settings = rest.partition(b":")
    try:
        known = Hash.parse(text.decode("ascii", "replace"))
    except ValueError as error:
        raise ValueError(f"what follows the name is {error}; {MAKE_ENTRY}") from None
    return Entry(known, _parse_settings(settings))


def _parse_settings(octets: bytes) -> dict[str, str]:
    """:raises ValueError: they are none."""
    settings = {}
    for part in filter(None, octets.split(b",")):
        key, equals, value = part.partition(b"=")
        if not key or not equals:
            raise ValueError("expected KEY=VALUE,KEY=VALUE behind the second colon")
        settings[_text(key)] = _text(value)
    return settings


def _text(octets: bytes) -> str:
    """:raises ValueError: it is no UTF-8; does not quote it."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8") from None


def parse_plain(rest: bytes) -> Entry:
    """What stands behind the name in a file of passwords: the password, colons included.

    :raises ValueError: that is empty, or a hash, which would be the password then.
    """
    if not rest:
        raise ValueError("expected a password behind the name")
    if _is_hash(rest):
        raise ValueError("what follows the name is a hash; did you mean --auth htpasswd:FILE?")
    return Entry(Plain(rest))


def _is_hash(octets: bytes) -> bool:
    try:
        parse_hash(octets)
    except ValueError:
        return False
    return True


def parse_groups(text: bytes) -> dict[bytes, frozenset[str]]:
    """The groups of each user, from lines ``GROUP: NAME NAME``. A group may have several lines.

    :raises WrongSource: says which lines, and what to do.
    """
    groups: defaultdict[bytes, set[str]] = defaultdict(set)
    wrong: list[tuple[int, str]] = []
    for number, line in lines_of(text):
        group, colon, names = line.partition(b":")
        try:
            if not colon or not group.strip():
                raise ValueError("expected GROUP: NAME NAME")
            for name in names.split():
                groups[name].add(_text(group.strip()))
        except ValueError as error:
            wrong.append((number, str(error)))
    _refuse(wrong)
    return {name: frozenset(found) for name, found in groups.items()}
