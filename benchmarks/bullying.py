"""What a bully of the neighbours' benchmark is, and the list that they enter."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.clients import LOOPBACK, Client, address, name
from benchmarks.nameserver import Kind

CHUNK = bytes(64 << 10)
REFUSING_PORT = 1
"""Where nobody listens."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Whom a bully bullies.

    :param source: the address that it comes from.
    :param proxy: the proxy's port.
    :param other: the port of another listener, where the proxy was started with one.
    :param target: the target's ports.
    """

    source: str
    proxy: int
    other: int
    target: dict[str, int]

    @property
    def client(self) -> Client:
        """One at the bully's address."""
        return Client(self.source, self.proxy)

    @property
    def other_client(self) -> Client:
        """The same, for the other listener."""
        return Client(self.source, self.other)

    def where(self, port: str) -> bytes:
        """The address of a port of the target."""
        return address(LOOPBACK, self.target[port])


Act = Callable[[Aim], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Bully:
    """A way to be a nuisance.

    :param name: what it is called on the command line.
    :param what: what it does, for the table.
    :param act: does it.
    :param is_idle: whether what it does needs next to no processor time of the proxy.
    :param words: our proxy's command line instead of the usual one, ``{port}``, ``{other}`` and
        ``{folder}`` filled in; peers are left out then.
    :param has_logins: whether the neighbour logs in.
    :param has_datagrams: whether it needs UDP.
    """

    name: str
    what: str
    act: Act
    is_idle: bool = False
    words: tuple[str, ...] = ()
    has_logins: bool = False
    has_datagrams: bool = False


BULLIES: dict[str, Bully] = {}
"""Every one by its name, in the order of the table."""


def bully(name: str, **more: Any) -> Callable[[Act], Act]:
    """Enter a function into :data:`BULLIES`; its docstring is what it does."""

    def enter(act: Act) -> Act:
        BULLIES[name] = Bully(name, (act.__doc__ or "").rstrip("."), act, **more)
        return act

    return enter


numbers = itertools.count()


def fresh(kind: Kind, port: int = 80) -> bytes:
    """A name that nobody has asked for yet."""
    return name(f"b{next(numbers)}.{kind}.test", port)


async def for_ever() -> None:
    """Do nothing more."""
    await asyncio.Event().wait()
