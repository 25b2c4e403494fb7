"""What is said of one proxy that targets are reached through, beside where it is and who logs in there."""

from __future__ import annotations

from dataclasses import dataclass

from socks5.access import NO_SOURCE
from socks5.protocol.address import Address
from socks5.protocol.messages import Command
from socks5.settings import PerFamily


@dataclass(frozen=True, slots=True)
class Terms:
    """How an upstream is used.

    :param commands: CMD octets that it is asked for, if it is of a kind that knows them.
    :param resolves: whether names of targets go there as they are; else they are resolved here.
    :param timeout: seconds from the connection to the end of the login.
    :param udp_address: an IP literal: where it takes datagrams and awaits peers, instead of the host that it says.
    :param source: addresses that it is reached from; none: as targets are.
    :param max_connections: at a time, a quarter of them for one client.
    :param fails: failures in a row that put it out.
    :param retry_after: seconds until it is tried again, at first.
    :param probe: a target that is asked for while nobody asks for anything; None: nobody looks.
    :param probe_every: seconds between such looks.
    """

    commands: frozenset[int] = frozenset((Command.CONNECT, Command.BIND, Command.UDP_ASSOCIATE))
    resolves: bool = True
    timeout: float = 10.0
    udp_address: str | None = None
    source: PerFamily = NO_SOURCE
    max_connections: int = 1000
    fails: int = 3
    retry_after: float = 10.0
    probe: Address | None = None
    probe_every: float = 30.0
