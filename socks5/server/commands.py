"""What serves each CMD octet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from socks5.interfaces import ICommand, ISession
from socks5.protocol.messages import Command
from socks5.server.associate import Associate
from socks5.server.bind import Bind
from socks5.server.connect import Connect
from socks5.server.resolve import Resolve

COMMANDS: Mapping[int, Callable[[ISession], ICommand]] = {
    Command.CONNECT: Connect,
    Command.BIND: Bind,
    Command.UDP_ASSOCIATE: Associate,
    Command.RESOLVE: Resolve,
    Command.RESOLVE_PTR: Resolve,
}
"""Unless a factory is told otherwise."""
