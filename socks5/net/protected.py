"""What stands between a transport and whoever uses it once a level of protection is agreed: octets go
out in tokens of the security context, and come in so (RFC 1961 section 5).

:class:`Envelope` is the context at its level, for a stream as for datagrams. :class:`ProtectedTransport` is
the transport that a session, a request through a proxy and a relay behind them see from then on: back pressure,
half-close and reset are the transport's below. :class:`ProtectedStream` is the stream that has it. They know no SOCKS.

Wrapping and unwrapping happen in the reactor's thread: a token of 64 KiB costs a fraction of a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, INegotiated, IPushProducer, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.logins import IProtection
from socks5.protocol.address import Address
from socks5.protocol.errors import LocalProtocolError, RemoteProtocolError
from socks5.protocol.gssapi import ABORT, Message, MessageType, Protection, Tokens, token_of
from socks5.streams import IStream, IStreamReceiver

_log = Logger()


class Sealing(Protocol):
    """What makes tokens of octets, and the reverse: of :class:`socks5.logins.IContext`, which is one, those methods."""

    def size_limit(self, is_confidential: bool) -> int:
        """See :meth:`socks5.logins.IContext.size_limit`."""

    def wrap(self, data: bytes, is_confidential: bool) -> bytes:
        """See :meth:`socks5.logins.IContext.wrap`."""

    def unwrap(self, token: bytes) -> tuple[bytes, bool]:
        """See :meth:`socks5.logins.IContext.unwrap`."""


@implementer(IProtection)
class Envelope:
    """What octets are put in: a complete context, at the level that was agreed.

    :param context: the client's.
    :param level: integrity or confidentiality.
    """

    __slots__ = ("_context", "_is_confidential", "limit")

    def __init__(self, context: Sealing, level: Protection) -> None:
        self._context = context
        self._is_confidential = level is Protection.CONFIDENTIALITY
        self.limit = context.size_limit(self._is_confidential)
        """How many octets a message can carry."""

    def over(self, transport: Any, receiver: IStreamReceiver) -> ProtectedTransport:
        """See :meth:`socks5.logins.IProtection.over`."""
        return ProtectedTransport(transport, self, receiver)

    def wrap(self, datagram: bytes) -> bytes:
        """See :meth:`socks5.logins.IProtection.wrap`."""
        if len(datagram) > self.limit:
            raise LocalProtocolError(f"{len(datagram)} octets; a message takes {self.limit}")
        token = self._context.wrap(datagram, self._is_confidential)
        return Message(MessageType.ENCAPSULATED, token).encode()

    def unwrap(self, message: bytes) -> bytes:
        """See :meth:`socks5.logins.IProtection.unwrap`."""
        return self.open(token_of(message))

    def open(self, token: bytes) -> bytes:
        """The octets in a token. One that is encrypted although integrity was agreed will do, not the
        reverse.

        :raises RemoteProtocolError: it is not this context's, not encrypted enough, or, if the client asked for
            that, has come before.
        """
        data, is_encrypted = self._context.unwrap(token)
        if self._is_confidential and is_encrypted is not True:
            raise RemoteProtocolError("a token that is not encrypted, though that was agreed")
        return data


@implementer(ITCPTransport, IConsumer, IPushProducer, IStreamReceiver)
class ProtectedTransport:
    """A transport on top of another, with tokens between, which is given what that one receives.

    If something is no token of the context, the far end is told so, and the receiver that the connection is lost,
    with :exc:`~socks5.protocol.errors.RemoteProtocolError` for the reason. What becomes of the transport below is its
    owner's business then.

    :param below: the transport of the tokens.
    :param envelope: what octets are put in.
    :param receiver: takes what was received.
    """

    __slots__ = (
        "_envelope",
        "_has_ended",
        "_is_broken",
        "_is_delivering",
        "_is_lost",
        "_is_paused",
        "_receiver",
        "_tokens",
        "below",
        "is_deaf",
    )

    def __init__(self, below: Any, envelope: Envelope, receiver: IStreamReceiver) -> None:
        self.below = below
        self._envelope = envelope
        self._receiver = receiver
        self._tokens = Tokens()
        self._has_ended = False
        self._is_delivering = False
        self._is_paused = False
        self._is_broken = False
        self._is_lost = False
        self.is_deaf = False
        """Whether nothing is delivered any more: the end has been, or something was no token, or this end is
        closing.
        """

    # Receiving

    def dataReceived(self, data: bytes) -> None:
        """The transport below has received octets."""
        if not self.is_deaf:
            self._tokens.add(data)
            self._deliver_more()

    def readConnectionLost(self) -> None:
        """The transport below has received the far end's end."""
        self._has_ended = True
        self._deliver_more()

    def connectionLost(self, reason: Failure) -> None:
        """The transport below is gone. What came before an end is delivered, paused or not; an end within or behind
        something else than whole tokens is none.
        """
        if isinstance(reason.value, ConnectionDone) and not self.is_deaf:
            self._is_paused, self._is_lost = False, True
            try:
                self._deliver_more()
            except Exception:
                _log.failure("what came before the end could not be delivered")
                self._is_broken = True
            if self._tokens or self._is_broken:
                reason = Failure(ConnectionLost("not an end behind a token"))
        self.is_deaf = True
        self._receiver.connectionLost(reason)

    def _deliver_more(self) -> None:
        """Deliver what is complete, until the receiver has had enough."""
        if self._is_delivering:
            return  # whoever does so goes on
        self._is_delivering = True
        try:
            while not (self._is_paused or self.is_deaf):
                data = self._next()
                if data is None:
                    break
                if data:
                    self._receiver.dataReceived(data)
        finally:
            self._is_delivering = False

    def _next(self) -> bytes | None:
        """The octets of the next token; None if there is no whole one, or nothing is delivered any more."""
        try:
            token = self._tokens.next()
            if token is not None:
                return self._envelope.open(token)
            if self._has_ended and self._tokens:
                raise RemoteProtocolError("the end within a token")
        except RemoteProtocolError:
            self._give_up(Failure())
            return None
        if self._has_ended:
            self.is_deaf = True
            self._receiver.readConnectionLost()
        return None

    def _give_up(self, reason: Failure) -> None:
        """Something is no token of this context."""
        self.is_deaf = self._is_broken = True
        if self._is_lost:
            return  # there is nobody to be told
        self.below.unregisterProducer()
        self.below.write(ABORT)
        self._receiver.connectionLost(reason)

    # Sending

    def write(self, data: bytes) -> None:
        """Send octets, in as many messages as they need.

        :raises Exception: the context could not wrap them. The connection is aborted, for what came behind them would
            be taken for what comes next.
        """
        if not data:
            return
        try:
            message = self._wrapped(data)
        except Exception:
            self.abortConnection()
            raise
        self.below.write(message)

    def _wrapped(self, data: bytes) -> bytes:
        envelope = self._envelope
        limit = envelope.limit
        if len(data) <= limit:
            return envelope.wrap(data)
        pieces = (data[start : start + limit] for start in range(0, len(data), limit))
        return b"".join(map(envelope.wrap, pieces))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See :meth:`twisted.internet.interfaces.ITransport.writeSequence`."""
        self.write(b"".join(iovec))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See :meth:`twisted.internet.interfaces.IConsumer.registerProducer`."""
        self.below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See :meth:`twisted.internet.interfaces.IConsumer.unregisterProducer`."""
        self.below.unregisterProducer()

    # Reading

    def pauseProducing(self) -> None:
        """Deliver nothing, and leave octets to the transport below."""
        self._is_paused = True
        self.below.pauseProducing()

    def resumeProducing(self) -> None:
        """Deliver what waits, then read again."""
        self._is_paused = False
        self._deliver_more()
        if not self._is_paused:
            self.below.resumeProducing()

    def stopProducing(self) -> None:
        """See :meth:`twisted.internet.interfaces.IProducer.stopProducing`."""
        self.loseConnection()

    # Ending

    @property
    def TLS(self) -> bool:  # noqa: N802
        """Whether TLS is below: then there is no half-close."""
        below = self.below
        return bool(getattr(below, "TLS", False)) or INegotiated.providedBy(below)

    def loseConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITransport.loseConnection`."""
        self.is_deaf = True
        self.below.loseConnection()

    def loseWriteConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.loseWriteConnection`."""
        self.below.loseWriteConnection()

    def abortConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.abortConnection`."""
        self.is_deaf = True
        self.below.abortConnection()

    # Who and how

    def getHost(self) -> Any:
        """See :meth:`twisted.internet.interfaces.ITransport.getHost`."""
        return self.below.getHost()

    def getPeer(self) -> Any:
        """See :meth:`twisted.internet.interfaces.ITransport.getPeer`."""
        return self.below.getPeer()

    def getTcpNoDelay(self) -> bool:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.getTcpNoDelay`."""
        return bool(self.below.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.setTcpNoDelay`."""
        self.below.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.getTcpKeepAlive`."""
        return bool(self.below.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.setTcpKeepAlive`."""
        self.below.setTcpKeepAlive(enabled)


@implementer(IStream, IStreamReceiver)
class ProtectedStream:
    """What is inside a protection, as a stream, which takes the events of the one outside. If something is not in the
    protection, the connection is aborted.

    :param outside: the stream of the tokens.
    """

    __slots__ = ("outside", "receiver", "transport")

    def __init__(self, outside: IStream, protection: IProtection) -> None:
        self.outside = outside
        self.receiver: Any = None
        """Takes what is inside: somebody, before anything comes."""
        self.transport: Any = protection.over(outside.transport, self)
        outside.receiver = self.transport

    @property
    def bound(self) -> Address:
        """See :class:`socks5.streams.IStream`."""
        return self.outside.bound

    @property
    def far(self) -> Address | None:
        """See :class:`socks5.streams.IStream`."""
        return self.outside.far

    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.dataReceived`."""
        self.receiver.dataReceived(data)

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.readConnectionLost`."""
        self.receiver.readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.connectionLost`."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.connectionLost(reason)
        if isinstance(reason.value, RemoteProtocolError):
            transport: Any = self.outside.transport
            transport.abortConnection()
