"""Sockets that move batches under limits: while their association has to pay for what it moved, all that comes is
dropped.
"""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from socks5.net.batch_down import DownPort
from socks5.net.batch_up import UpPort
from socks5.net.slots import Incoming

HoldBack = Callable[[int], bool]
"""Whether datagrams are dropped for now; if so, that many are counted as dropped."""


def _count(incoming: Incoming, sizes: list[int], aggregated: list[int]) -> int:
    """How many datagrams that is."""
    count = len(sizes)
    for i, is_aggregated in enumerate(aggregated):
        if is_aggregated:
            count += -(-sizes[i] // incoming.segment_sizes[i]) - 1
    return count


class HeldUpPort(UpPort):
    """A client's socket. Its attribute is to be set."""

    __slots__ = ("hold_back",)

    hold_back: HoldBack

    @override
    def _pass_one(self, incoming: Incoming) -> bool:
        return not self.hold_back(0) and super()._pass_one(incoming)

    @override
    def _pass(self, incoming: Incoming, sizes: list[int], aggregated: list[int]) -> None:
        if not (self.hold_back(0) and self.hold_back(_count(incoming, sizes, aggregated))):
            super()._pass(incoming, sizes, aggregated)


class HeldDownPort(DownPort):
    """A socket for targets, likewise."""

    __slots__ = ("hold_back",)

    hold_back: HoldBack

    @override
    def _pass_one(self, incoming: Incoming) -> bool:
        return not self.hold_back(0) and super()._pass_one(incoming)

    @override
    def _pass(self, incoming: Incoming, sizes: list[int], aggregated: list[int]) -> None:
        if not (self.hold_back(0) and self.hold_back(_count(incoming, sizes, aggregated))):
            super()._pass(incoming, sizes, aggregated)
