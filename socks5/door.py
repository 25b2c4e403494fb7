"""What one listener lets in: which methods, which clients, and whose PROXY headers it believes.

A :class:`Door` is a plain value. :meth:`ServerFactory.at <socks5.server.factory.ServerFactory.at>` puts a factory
behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from socks5.protocol.messages import Method
from socks5.protocol.networks import Networks

METHOD_NAMES: Mapping[str, int] = {
    "gssapi": Method.GSSAPI,
    "password": Method.USERNAME_PASSWORD,
    "none": Method.NO_AUTHENTICATION,
}
"""How the command line calls the METHOD octets, in the server's order of preference: the strongest first."""


@dataclass(frozen=True, slots=True)
class Door:
    """What one listener lets in. The default lets in everything that the factory does.

    :param methods: METHOD octets, in order of preference; None: the factory's.
    :param clients: where clients come from, all others are closed; None: anywhere. A client on a UNIX
        socket comes from no network, and is let in by the socket's mode.
    :param proxies: who must send a PROXY header before the client's octets, all others are closed; None:
        there is no header.
    """

    methods: tuple[int, ...] | None = None
    clients: Networks | None = None
    proxies: Networks | None = None

    def admits(self, client: str) -> bool:
        """Whether a client may come in.

        :param client: its IP literal; "" for a UNIX socket.
        """
        return self.clients is None or client == "" or client in self.clients
