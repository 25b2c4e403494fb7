"""Which path octets take between two streams."""

from __future__ import annotations

from socks5.deadlines import IdleTimers
from socks5.limits import ILease
from socks5.net.connection import Connection
from socks5.relay.meter import MeteredRelay, MeteredTransportSide
from socks5.relay.metered_sockets import MeteredSocketSide
from socks5.relay.pipes import PipePool
from socks5.relay.relay import Owner, Relay
from socks5.relay.sockets import SocketSide
from socks5.relay.transports import TransportSide
from socks5.settings import Settings
from socks5.streams import IStream


def join(
    timers: IdleTimers,
    settings: Settings,
    near: IStream,
    far: IStream,
    owner: Owner,
    meter: ILease | None = None,
) -> Relay:
    """A relay for two streams, on the best path they allow: sockets where both are plain TCP in a
    poller, else transports. See :class:`~socks5.relay.relay.Relay`.

    :param meter: says how much may move; None: as much as comes.
    """
    near_end, far_end = near.transport, far.transport
    if not (isinstance(near_end, Connection) and isinstance(far_end, Connection)):
        if meter is None:
            return Relay(timers, settings, near, far, owner, TransportSide)
        return MeteredRelay(timers, settings, near, far, owner, MeteredTransportSide, meter)
    shared = near_end.poller.shared
    if PipePool not in shared:
        shared[PipePool] = PipePool(timers.reactor)
    if meter is None:
        return Relay(timers, settings, near, far, owner, SocketSide)
    return MeteredRelay(timers, settings, near, far, owner, MeteredSocketSide, meter)
