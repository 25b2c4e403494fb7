"""What a server and a client say between the choice of a method and the request (RFC 1928 section 3): the contract
of a sub-negotiation, and what is the same in those that are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, Protocol

from socks5.protocol.errors import LocalProtocolError
from socks5.protocol.machine import Machine
from socks5.protocol.messages import Method
from socks5.protocol.stages import CLOSED, Stage


class Subnegotiation(Protocol):
    """The server's half of one client's. Without I/O, as :mod:`socks5.protocol.machine` says of all of them; whatever
    the octets, it gives an event or ends with :exc:`~socks5.protocol.errors.RemoteProtocolError`.
    """

    @property
    def pending(self) -> int:
        """How many octets wait, not yet understood or not yet taken."""

    @property
    def is_gathering(self) -> bool:
        """Whether what waits is a part of a message, so that its caller must read on, however much waits. The
        sub-negotiation itself bounds what it keeps then.
        """

    def receive(self, data: bytes) -> object | None:
        """Take octets from the client, or none: what waits is looked at again.

        :returns: the event that they complete, if any; behind each it waits for an answer, and octets gather. A
            :class:`~socks5.protocol.stages.Rejected` is the end.
        :raises socks5.protocol.errors.RemoteProtocolError: another way to say the same.
        """

    def take_output(self) -> bytes:
        """The octets to send now; each is returned once."""

    def take_trailing(self) -> bytes:
        """Behind :meth:`accept`: the octets that came behind the last message."""

    def accept(self) -> None:
        """The client is logged in: the positive answer, if the method has one, is in the output, and it is over."""

    def reject(self) -> None:
        """The client is not: the negative answer, if there is one, is in the output, and it is over."""


Methods = Mapping[int, Callable[[], Subnegotiation] | None]
"""What makes a method's sub-negotiation, by the METHOD octet, in the server's order of preference; None: nobody is
asked who he is, and that is METHOD 0 alone.
"""

NO_AUTHENTICATION: Methods = MappingProxyType({int(Method.NO_AUTHENTICATION): None})
"""Everybody may come in."""


class Exchange(Machine):
    """What ours share: a machine whose last stage is that the client is logged in."""

    __slots__ = ()

    _last = Stage.LOGGED_IN
    _checked: ClassVar[frozenset[Stage]] = frozenset({Stage.CHECKING})
    """The stages at which a verdict is awaited."""
    _refusal: ClassVar[bytes]
    """The negative answer."""

    @property
    def is_gathering(self) -> bool:
        """See :class:`Subnegotiation`. Not where messages are short."""
        return False

    def receive(self, data: bytes) -> object | None:
        """See :class:`Subnegotiation`."""
        event: object | None = self._take_in(data)
        return event

    def reject(self) -> None:
        """See :class:`Subnegotiation`.

        :raises LocalProtocolError: nothing is being checked.
        """
        if self.stage not in self._checked:
            raise LocalProtocolError(f"nothing is being checked at {self.stage.name}")
        self._enter(CLOSED)
        self._take_waiting()
        self._output += self._refusal
