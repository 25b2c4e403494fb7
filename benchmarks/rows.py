"""What is measured: one :class:`Row` for each line of the table.

Plain data. Sizes are in octets.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A load, and the units of what is read off it.

    :param name: what it is called in tables and on the command line.
    :param load: the kind of load, a name in :data:`benchmarks.loads.LOADS`.
    :param sessions: how many at a time.
    :param size: octets of a message or of a datagram's payload.
    :param window: datagrams of a session that may be on their way.
    :param cost_unit: the unit of the cost.
    :param rate_unit: the unit of the rate.
    :param per: cost is processor seconds times this, for each thing done.
    :param rate_per: rate is things done in a second times this.
    :param beside: compare with this row of our own instead of with peers, which are left out.
    :param is_default: whether it runs without being asked for.
    """

    name: str
    load: str
    sessions: int
    size: int = 0
    window: int = 1
    cost_unit: str = "µs/round trip"
    rate_unit: str = "round trips/s"
    per: float = 1e6
    rate_per: float = 1.0
    beside: str = ""
    is_default: bool = True

    @property
    def is_ours(self) -> bool:
        """Whether only our own proxy takes part."""
        return self.load == "bulk"

    @property
    def is_memory(self) -> bool:
        """Whether it measures memory, not time."""
        return self.load == "idle"


def _stream(name: str, sessions: int) -> Row:
    return Row(name, "stream", sessions, 0, 1, "CPU s/GB", "Gbit/s", 1e9, 8e-9)


def _bulk(name: str, load_window: int, beside: str) -> Row:
    units = "µs/datagram", "datagrams/s"
    return Row(name, "bulk", 1, 1200, load_window, *units, beside=beside)


def _idle(name: str, sessions: int, is_default: bool) -> Row:
    return Row(
        name, "idle", sessions, 0, 1, "KiB/session", "sessions", 1.0, 1.0, is_default=is_default
    )


BURST = 48
"""Datagrams that a sender with UDP_SEGMENT hands over at once: 48 of 1200 octets and their headers fit
into the 65,507 octets that one message may have."""

ROWS = {
    row.name: row
    for row in (
        Row("connrate", "connect", 32, 1, 1, "µs/connection", "connections/s"),
        _stream("down1", 1),
        _stream("down8", 8),
        Row("ping1", "ping", 1, 64),
        Row("ping64", "ping", 64, 64),
        Row("udp1", "datagrams", 1, 64, 32),
        Row("udp50", "datagrams", 50, 1200, 4),
        _bulk("udp-gso", 4 * BURST, "udp-plain"),
        _bulk("udp-plain", 4 * BURST, ""),
        _idle("idle", 2000, True),
        _idle("idle10k", 10_000, False),
    )
}
"""Every row by its name, in the order of the table."""
