"""What a datagram looks like on its way through several proxies: a header for each relay but the first, which is where
it is sent, around the client's own; in the envelope of a hop's login, where that has one.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.error import MessageLengthError

from socks5.net.protected import Envelope
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from socks5.protocol.errors import LocalProtocolError, RemoteProtocolError


class Nesting:
    """Of one association.

    :param relays: of the hops, the nearest first.
    :param envelopes: what each of them puts its datagrams in; None: nothing.
    """

    def __init__(self, relays: Sequence[Address], envelopes: Sequence[Envelope | None]) -> None:
        self._outermost_last = [*zip(relays, envelopes, strict=True)][::-1]
        self._beyond = [*zip(envelopes, [*relays[1:], None], strict=True)]
        self.is_plain = len(relays) == 1 and envelopes[0] is None
        """Whether a datagram leaves and comes as it is."""

    def wrap(self, datagram: bytes) -> bytes:
        """What is sent to the first hop's relay.

        :param datagram: with its header.
        :raises twisted.internet.error.MessageLengthError: it is too long for what a login has agreed on.
        """
        whole, outside = datagram, len(self._outermost_last)
        for at, (relay, envelope) in enumerate(self._outermost_last, 1):
            try:
                whole = whole if envelope is None else envelope.wrap(whole)
            except LocalProtocolError as error:
                raise MessageLengthError(str(error)) from None
            if at < outside:
                whole = Datagram(relay, whole).encode()
        return whole

    def unwrap(self, data: bytes) -> Datagram | str:
        """What the last hop's relay has sent, as the first one's sends it.

        :returns: or why it gets no further: "malformed", "fragment", "stranger".
        """
        for envelope, relay in self._beyond:
            try:
                datagram = Datagram.decode(data if envelope is None else envelope.unwrap(data))
            except RemoteProtocolError:
                return "malformed"
            if datagram.fragment:
                return "fragment"
            if relay is not None and not _is_from(relay, datagram.address):
                return "stranger"
            data = datagram.payload
        return datagram


def _is_from(relay: Address, sender: Address) -> bool:
    """Whether an answer is that of a hop's relay, as the hop before says; of a name it knows the address alone."""
    return relay.port == sender.port and (relay.is_name or relay == sender)
