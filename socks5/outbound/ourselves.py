"""Whether a datagram would come back to the proxy: a loop that never ends, or a way to others' associations."""

from __future__ import annotations

from typing import Any

from socks5.net.own import is_own_address, ports_of
from socks5.protocol.embedded import meanings
from socks5.settings import Settings


class Ourselves:
    """The proxy's UDP sockets, in all its processes, as one session's datagrams may reach them.

    :param settings: the session's.
    :param near: our end of its control connection; what has no zone is meant to be in the zone of that.
    """

    def __init__(self, reactor: Any, settings: Settings, near: str) -> None:
        self.ports = ports_of(reactor)
        self._advertise = settings.advertise
        self._zone = "".join(near.partition("%")[1:])

    def has(self, peer: tuple[str, int]) -> bool:
        """Whether a socket of ours has that address, or the IPv4 address that it carries: what is sent there
        comes back to us.
        """
        host, port = peer
        return port in self.ports and any(self._hear(each, port) for each in meanings(host))

    def _hear(self, host: str, port: int) -> bool:
        """Whether what is sent to exactly that address comes to a socket of ours."""
        return self._is_advertised(host) or (self.ports.hear(host, port) and self.is_local(host))

    def _is_advertised(self, host: str) -> bool:
        """Whether it is a NAT's address that leads to this machine, to whatever address of it."""
        return host == self._advertise.like(host)

    def is_local(self, host: str) -> bool:
        """Whether what is sent to *host* comes to this machine, a NAT's address that leads to it included."""
        if host.startswith("fe80:") and "%" not in host:
            host += self._zone
        return self._is_advertised(host) or is_own_address(host, unknown=True)
