"""What of an association goes in batches: routes between the client's socket and those for its targets.

A route is made for a datagram that has just been let through, and its like go by it unseen. So all of them are
forgotten whenever who may send, answer or be sent to may have become another, and once in a while.
"""

from __future__ import annotations

from typing import Any

from socks5.net.batch import BatchPort
from socks5.net.batch_keys import Key, Route, header_key, sender_key, sockaddr
from socks5.outbound.ourselves import Ourselves
from socks5.outbound.targets import Peer
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram

MOST_SENDERS = 1024
"""Routes of one association for what its targets send; beyond, all are made anew."""


class Routes:
    """The routes of one association.

    :param down: of the sockets for targets, by sender.
    """

    def __init__(self, down: dict[Key, Route], ourselves: Ourselves) -> None:
        self._down = down
        self._downs = [down]
        self._up: dict[Key, Route] = {}
        self._near: BatchPort | None = None
        self._ourselves = ourselves
        self._local_ports: set[int] = set()

    def join(self, port: Any) -> None:
        """The client's datagrams come from *port*."""
        if isinstance(port, BatchPort):
            self._near, self._up = port, port.routes

    def also(self, down: dict[Key, Route]) -> None:
        """There are more: of a socket for an upstream, by header."""
        self._downs.append(down)

    @property
    def is_batched(self) -> bool:
        """Whether anything can go by them."""
        return self._near is not None

    def add_up(self, target: Address, host: str, client: Any, far: Any) -> None:
        """Let the client's further datagrams for a target that was just approved go in batches.

        :param client: the port that they come from.
        :param far: the socket that sends them.
        """
        near = self._near
        if near is None or not isinstance(far, BatchPort) or target.is_name:
            return
        header = Datagram(target, b"").encode()
        if len(header) == far.lane.header:  # not that of an IPv4-mapped address
            route = Route(far, sockaddr(host, target.port), sender_key(*client))
            self._up[header_key(header)] = route
            self._watch(near, (host, target.port))

    def add_whole_up(self, target: Address, client: Any, far: Any, relay: Peer) -> None:
        """Let the client's further datagrams for a target that was just approved go on, as they are.

        :param far: the socket that sends them to an upstream's *relay*.
        """
        near = self._near
        if near is None or not isinstance(far, BatchPort) or target.is_name or "%" in relay[0]:
            return
        header = Datagram(target, b"").encode()
        lane = far.whole_lanes[len(header)]
        self._up[header_key(header)] = Route(far, sockaddr(*relay), sender_key(*client), lane=lane)
        self._watch(near, relay)

    def add_whole_down(
        self, down: dict[Key, Route], sender: Address, client: Any, far: Any, relay: Peer
    ) -> None:
        """Let further datagrams of a sender that was just let through go on, as an upstream's *relay* sends them.

        :param down: see :meth:`also`.
        :param far: the socket that they come to.
        """
        near = self._near
        if near is None or not isinstance(far, BatchPort) or sender.is_name or "%" in relay[0]:
            return
        if len(down) >= MOST_SENDERS:
            down.clear()
        header = Datagram(sender, b"").encode()
        lane = near.whole_lanes[len(header)]
        down[header_key(header)] = Route(near, sockaddr(*client), sender_key(*relay), lane=lane)
        self._watch(far, client)

    def add_down(self, sender: Peer, client: Any, far: Any) -> None:
        """Let further datagrams of a sender that was just let through go in batches."""
        near = self._near
        if near is not None and isinstance(far, BatchPort):
            if len(self._down) >= MOST_SENDERS:  # some filters let many in
                self._down.clear()
            header = Datagram(Address(*sender), b"").encode()
            self._down[sender_key(*sender)] = Route(near, sockaddr(*client), header=header)
            self._watch(far, client)

    def _watch(self, side: BatchPort, peer: Peer) -> None:
        """Datagrams that reach *side* go to *peer* by a route: keep an eye on its port if it is on this machine."""
        if self._ourselves.is_local(peer[0]):
            self._local_ports.add(peer[1])
            side.watch(self._ourselves.ports.changes, self._ports_changed)
            if self._ourselves.has(peer):  # since it was approved, a moment ago
                self.forget()

    def _ports_changed(self) -> None:
        """If a port on this machine that we send to is a socket of the proxy's now, everything is looked at anew."""
        if any(port in self._ourselves.ports for port in self._local_ports):
            self.forget()

    def forget(self) -> None:
        """Whatever comes next is looked at."""
        self._up.clear()
        for down in self._downs:
            down.clear()
        self._local_ports.clear()
