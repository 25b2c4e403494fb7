"""Several ways to the same targets, and in which order they are tried."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from socks5.access import Access
from socks5.outbound.lessons import NotThrough
from socks5.outbound.path import Asked, Path
from socks5.protocol.address import Address
from socks5.protocol.errors import ReplyError
from socks5.protocol.messages import OF_ONE_ADDRESS
from socks5.protocol.networks import subscriber

Choose = Callable[[Sequence[Path], Access, Address], Sequence[Path]]
"""Puts ways in the order in which they are tried for one who asks."""


def first(paths: Sequence[Path], access: Access, target: Address) -> Sequence[Path]:
    """In their own order."""
    return paths


def at_random(paths: Sequence[Path], access: Access, target: Address) -> Sequence[Path]:
    """In any order."""
    return random.sample(paths, len(paths))


class RoundRobin:
    """Each in its turn, the others behind it."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, paths: Sequence[Path], access: Access, target: Address) -> Sequence[Path]:
        """See :data:`Choose`."""
        at = self._next = self._next % len(paths)
        self._next += 1
        return (*paths[at:], *paths[:at])


def _user(access: Access, target: Address) -> bytes:
    """Who has logged in; somebody who has not is his address."""
    user = access.user
    return _client(access, target) if user is None else b"user " + user.name.encode()


def _client(access: Access, target: Address) -> bytes:
    return subscriber(access.client)


def _target(access: Access, target: Address) -> bytes:
    """Whatever the port is: a host's several ports know each other, as those of FTP, and see one client."""
    return target.text.encode()


HASHED: dict[str, Callable[[Access, Address], bytes]] = {
    "user": _user,
    "client": _client,
    "target": _target,
}
"""Of what a hash may be."""


class Hashed:
    """The same for the same, as long as it is there: one that goes or comes changes nothing for those of others.

    :param by: one of :data:`HASHED`.
    """

    def __init__(self, by: str) -> None:
        self._by = HASHED[by]

    def __call__(self, paths: Sequence[Path], access: Access, target: Address) -> Sequence[Path]:
        """See :data:`Choose`."""
        key = self._by(access, target)
        return sorted(paths, key=lambda path: blake2b(path.name.encode(), key=key[:64]).digest())


CHOICES: dict[str, Callable[[], Any]] = {
    "first": lambda: first,
    "random": lambda: at_random,
    "round-robin": RoundRobin,
}
"""How to choose, but by a hash."""


class Pool:
    """Several ways.

    :param paths: in order.
    :param choose: orders them for one who asks.
    """

    def __init__(self, paths: Sequence[Path], choose: Choose = first) -> None:
        self.paths = tuple(paths)
        self._choose = choose
        self.commands = frozenset[int]().union(*(path.commands for path in paths))
        self.resolves = all(path.resolves for path in paths)
        """Whether names of targets are resolved at the end of all of them."""

    @property
    def keys(self) -> frozenset[object]:
        """See :attr:`socks5.outbound.link.LinkWay.keys`."""
        return frozenset(path.key for path in self.paths)

    @property
    def has_hope(self) -> bool:
        """Whether one of them may be used, be it for a trial."""
        return any(path.has_hope for path in self.paths)

    def order(self, access: Access, target: Address) -> Sequence[Path]:
        """Those that are in order, or due to be tried, one after the other; if none is, the one that is due first."""
        serving = [path for path in self.paths if access.command in path.commands]
        usable = [path for path in serving if path.health.is_usable]
        if usable:
            return self._choose(usable, access, target)
        return sorted(serving, key=lambda path: path.health.due)[:1]


Way = Path | Pool

_T = TypeVar("_T")
Use = Callable[[Path, Address], Awaitable[_T]]
"""What is done with a way that is tried."""


async def first_reached(way: Way, asked: Asked, targets: Sequence[Address], use: Use[_T]) -> _T:
    """One address after another, while the last proxy says of each that it is not to be reached."""
    last: ReplyError | None = None
    for target in targets:
        try:
            return await _reached(way, asked, target, use)
        except ReplyError as error:
            if error.code not in OF_ONE_ADDRESS:
                raise
            last = error
    assert last is not None
    raise last


async def _reached(way: Way, asked: Asked, target: Address, use: Use[_T]) -> _T:
    """One way after another, while none has been asked for the target."""
    last: NotThrough | None = None
    for path in way.order(asked.access, target):
        try:
            return await use(path, target)
        except NotThrough as error:
            last = error
            if not error.may_go_on:
                break
    assert last is not None
    raise last.error
