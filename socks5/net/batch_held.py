"""Sockets that move batches under limits: while their association has to pay for what it moved, all that comes is
dropped. Its routes are forgotten when that begins, so what goes by a route pays nothing for it.
"""

from __future__ import annotations

from typing import Any, Protocol

from typing_extensions import override

from socks5.net.batch_down import DownPort
from socks5.net.batch_up import UpPort
from socks5.net.slots import Incoming


class HoldBack(Protocol):
    """Says whether datagrams are dropped for now.

    :ivar is_held: whether they may be: else it need not be asked.
    """

    is_held: bool

    def __call__(self, count: int) -> bool:
        """Whether they are. If so, so many more have been."""

    def watch(self, routes: dict[Any, Any]) -> None:
        """Forget these routes whenever something has to be paid for."""


def _count(incoming: Incoming, sizes: list[int], aggregated: list[int]) -> int:
    """How many datagrams that is."""
    count = len(sizes)
    for i, is_aggregated in enumerate(aggregated):
        if is_aggregated:  # several that came as one
            count += -(-sizes[i] // incoming.segment_sizes[i]) - 1
    return count


class HeldUpPort(UpPort):
    """A client's socket. Its attribute is to be set."""

    __slots__ = ("hold_back",)

    hold_back: HoldBack

    @override
    def _pass(self, incoming: Incoming, sizes: list[int], aggregated: list[int]) -> None:
        if not (self.hold_back.is_held and self.hold_back(_count(incoming, sizes, aggregated))):
            super()._pass(incoming, sizes, aggregated)


class HeldDownPort(DownPort):
    """A socket for targets, likewise."""

    __slots__ = ("hold_back",)

    hold_back: HoldBack

    @override
    def _pass(self, incoming: Incoming, sizes: list[int], aggregated: list[int]) -> None:
        if not (self.hold_back.is_held and self.hold_back(_count(incoming, sizes, aggregated))):
            super()._pass(incoming, sizes, aggregated)
