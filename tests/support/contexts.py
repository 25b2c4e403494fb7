"""Security contexts in memory, and a client of RFC 1961 that can be driven without a socket.

The fake mechanism keeps what GSS-API promises and nothing more: tokens cannot be changed, repeated or taken from
another context; a token that is encrypted shows nothing of its octets.
"""

import hashlib
from collections.abc import Collection, Iterator
from itertools import count
from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from socks5.access import IUser
from socks5.auth import User
from socks5.logins import IAcceptor, IContext, Step
from socks5.protocol.address import Address
from socks5.protocol.client_negotiation import ClientEvent, ClientNegotiation, ReplyReceived
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.gssapi import Message, MessageType, Protection, Tokens, token_of
from socks5.protocol.messages import Method, Reply, Request
from socks5.protocol.stages import ProtectionReceived, Rejected, TokenReceived

SECRET = b"ticket"
"""What the client's first token holds, behind its user's name: no log and no text may show it."""

OVERHEAD = 2 + 8 + 16

_keys = count(1)

_ENCRYPTED = bytes(octet ^ 0x5A for octet in range(256))


class Half:
    """One side of a complete fake context: its messages.

    :param key: what both sides have and nobody else.
    :param limit: the most octets of a message.
    """

    def __init__(self, key: bytes, side: bytes, limit: int = 65535 - OVERHEAD) -> None:
        self._key = key
        self._side = side
        self._sent: Iterator[int] = count()
        self._seen: set[bytes] = set()
        self.limit = limit

    def _seal(self, side: bytes, number: bytes, flag: bytes, body: bytes) -> bytes:
        return hashlib.blake2b(side + number + flag + body, key=self._key, digest_size=16).digest()

    def wrap(self, data: bytes, is_confidential: bool) -> bytes:
        assert len(data) <= self.limit, "longer than size_limit"
        number, flag = next(self._sent).to_bytes(8), b"e" if is_confidential else b"p"
        body = data.translate(_ENCRYPTED) if is_confidential else data
        return b"W" + flag + number + self._seal(self._side, number, flag, body) + body

    def unwrap(self, token: bytes) -> tuple[bytes, bool]:
        flag, number, seal, body = token[1:2], token[2:10], token[10:26], token[26:]
        other = b"client" if self._side == b"server" else b"server"
        if token[:1] != b"W" or seal != self._seal(other, number, flag, body):
            raise RemoteProtocolError("not this context's")
        if number in self._seen:
            raise RemoteProtocolError("not its next")
        self._seen.add(number)
        is_encrypted = flag == b"e"
        return body.translate(_ENCRYPTED) if is_encrypted else body, is_encrypted


class _Side:
    """What both sides of a context do once it is complete."""

    _half: Half | None = None

    def wrap(self, data: bytes, is_confidential: bool) -> bytes:
        assert self._half is not None
        return self._half.wrap(data, is_confidential)

    def unwrap(self, token: bytes) -> tuple[bytes, bool]:
        assert self._half is not None
        return self._half.unwrap(token)


@implementer(IContext)
class FakeContext(_Side):
    """The server's side: complete after ``legs`` tokens.

    The client's first token is its user's name, a NUL, and what :data:`SECRET` says; others are not looked at.
    """

    def __init__(self, acceptor: "FakeAcceptor") -> None:
        self._acceptor = acceptor
        self._key = next(_keys).to_bytes(8)
        self._name = b""
        self.tokens: list[bytes] = []

    def step(self, token: bytes) -> Deferred[Step]:
        acceptor = self._acceptor
        self.tokens.append(token)
        if acceptor.is_slow:
            acceptor.waiting = Deferred(acceptor.cancelled.append)
            return acceptor.waiting.addCallback(lambda _: self.judge(token))
        try:
            return succeed(self.judge(token))
        except UnauthorizedLogin as error:
            return fail(error)

    def judge(self, token: bytes) -> Step:
        if len(self.tokens) == 1:
            self._name, _, secret = token.partition(b"\0")
            if secret != SECRET:
                raise UnauthorizedLogin("not accepted")
        if len(self.tokens) < self._acceptor.legs:
            return Step(b"more")
        self._half = Half(self._key, b"server", self._acceptor.limit)
        user: IUser = User(self._name.decode())
        return Step(self._key if self._acceptor.says_more else b"", user)

    def judge_first(self, token: bytes) -> Step:
        """:meth:`step` without a Deferred, for its first token."""
        self.tokens.append(token)
        return self.judge(token)

    def protections(self) -> Collection[Protection]:
        return self._acceptor.protections

    def size_limit(self, is_confidential: bool) -> int:
        return self._acceptor.limit


@implementer(IAcceptor)
class FakeAcceptor:
    """Accepts clients whose first token is right.

    :param protections: the levels that may be agreed.
    :param legs: tokens of the client's until a context is complete.
    :param is_slow: whether a verdict waits for ``waiting.callback(None)``.
    :param limit: octets that a token of the server's can carry.
    """

    says_more = True
    """Whether the last token holds something: the key, which a client needs for messages."""

    def __init__(
        self,
        protections: Collection[Protection] = (Protection.INTEGRITY, Protection.CONFIDENTIALITY),
        legs: int = 1,
        is_slow: bool = False,
        limit: int = 65535 - OVERHEAD,
    ) -> None:
        self.protections = protections
        self.legs = legs
        self.is_slow = is_slow
        self.limit = limit
        self.waiting: Deferred[Any] = Deferred()
        self.cancelled: list[Any] = []
        self.accepted: list[FakeContext] = []

    def accept(self, client: str) -> IContext:
        self.accepted.append(FakeContext(self))
        return self.accepted[-1]


class FakeInitiator(_Side):
    """The client's side of a :class:`FakeContext`."""

    def __init__(self, user: str = "alice", secret: bytes = SECRET) -> None:
        self._first = user.encode() + b"\0" + secret

    @property
    def complete(self) -> bool:
        return self._half is not None

    def step(self, token: bytes | None) -> bytes | None:
        if token is None:
            return self._first
        if token == b"more":
            return b"and more"
        self._half = Half(token, b"client")
        return None


class ClientContext:
    """The same for :mod:`socks5.client`, whose steps a test may hold back until ``go``.

    :param initiator: what to do.
    """

    def __init__(self, initiator: FakeInitiator, is_slow: bool) -> None:
        self._initiator = initiator
        self._is_slow = is_slow
        self.go: Deferred[None] = Deferred()

    def step(self, token: bytes) -> Deferred[bytes]:
        if self._is_slow:
            return self.go.addCallback(lambda _: self._initiator.step(token or None) or b"")
        return succeed(self._initiator.step(token or None) or b"")

    @property
    def is_complete(self) -> bool:
        return self._initiator.complete

    def size_limit(self, is_confidential: bool) -> int:
        return 65535 - OVERHEAD

    def wrap(self, data: bytes, is_confidential: bool) -> bytes:
        return self._initiator.wrap(data, is_confidential)

    def unwrap(self, token: bytes) -> tuple[bytes, bool]:
        return self._initiator.unwrap(token)


class Initiating:
    """Begins them: see :class:`socks5.client.contexts.IInitiator`."""

    host: str | None = None

    def __init__(
        self,
        level: Protection = Protection.CONFIDENTIALITY,
        is_bare: bool = False,
        is_slow: bool = False,
        secret: bytes = SECRET,
    ) -> None:
        self.level = level
        self.is_bare = is_bare
        self._is_slow = is_slow
        self._secret = secret
        self.hosts: list[str] = []
        self.clients: list[str] = []
        self.kinds: list[str] = []
        self.contexts: list[ClientContext] = []

    def initiate(self, host: str, client: str = "", for_datagrams: bool = False) -> ClientContext:
        self.hosts.append(host)
        self.kinds.append("datagrams" if for_datagrams else "octets")
        self.clients.append(client)
        self.contexts.append(ClientContext(FakeInitiator(secret=self._secret), self._is_slow))
        return self.contexts[-1]


class ContextClient:
    """A client of RFC 1961, without a socket: what :meth:`take_output` gives is to be sent, what comes goes to
    :meth:`receive`.

    :param initiator: the client's side of the context, of whatever mechanism: see :class:`FakeInitiator`.
    :param level: what to require.
    :param is_bare: whether the level goes as NEC's implementation has it.
    :param piece: octets of a token, at the most.
    """

    def __init__(
        self,
        request: Request,
        initiator: Any,
        level: Protection = Protection.INTEGRITY,
        is_bare: bool = False,
        piece: int = 32768,
    ) -> None:
        self.initiator = initiator
        self.machine = ClientNegotiation(request, (Method.GSSAPI,))
        self.agreed: Protection | None = None
        self.replies: list[Reply] = []
        self.error: Exception | None = None
        self.received = bytearray()
        """What the target sent."""
        self._level = level
        self._is_bare = is_bare
        self._piece = piece
        self._tokens = Tokens()
        self._output = bytearray(self.machine.take_output())

    @property
    def is_protected(self) -> bool:
        return self.agreed is not None and self.agreed is not Protection.NONE

    @property
    def is_confidential(self) -> bool:
        return self.agreed is Protection.CONFIDENTIALITY

    @property
    def bound(self) -> Address:
        """BND of the last reply."""
        return self.replies[-1].address

    def take_output(self) -> bytes:
        """What is to be sent now."""
        output, self._output = self._output, bytearray()
        return bytes(output)

    def receive(self, data: bytes) -> None:
        """The proxy sent octets."""
        if not self.is_protected:
            self._take(data)
            return
        self._tokens.add(data)
        while (token := self._tokens.next()) is not None:
            self._take(self.open(token))

    def send(self, data: bytes) -> None:
        """Send octets to the target, or whatever is to be sent now."""
        if not self.is_protected:
            self._output += data
            return
        for start in range(0, len(data), self._piece):
            self._output += self.seal(data[start : start + self._piece])

    def seal(self, data: bytes) -> bytes:
        """One message with octets, or with a datagram."""
        token = self.initiator.wrap(data, self.is_confidential)
        return Message(MessageType.ENCAPSULATED, token).encode()

    def open(self, token: bytes) -> bytes:
        data, is_encrypted = self.initiator.unwrap(token)
        assert is_encrypted is self.is_confidential, "another protection than was agreed"
        return data

    def open_datagram(self, datagram: bytes) -> bytes:
        """What a datagram of the proxy's holds, its header included."""
        return self.open(token_of(datagram))

    def _take(self, data: bytes) -> None:
        events = self.machine.receive(data)
        while events:
            event = events.pop(0)
            if isinstance(event, TokenReceived):
                events += self._step(event.token)
            elif isinstance(event, ProtectionReceived):
                self._agree(event)
                return
            elif isinstance(event, ReplyReceived):
                self.replies.append(event.reply)
            elif isinstance(event, Rejected):
                self.error = event.error
        self._output += self.machine.take_output()
        if self.machine.stage.name == "ESTABLISHED":
            self.received += self.machine.take_trailing()

    def _step(self, token: bytes) -> list[ClientEvent]:
        initiator = self.initiator
        ours = None if initiator.complete else initiator.step(token or None)
        if ours:
            return self.machine.send_token(ours)
        level = bytes((self._level,))
        return self.machine.require_protection(
            level if self._is_bare else initiator.wrap(level, False)
        )

    def _agree(self, event: ProtectionReceived) -> None:
        assert event.is_bare is self._is_bare, "not in the client's form"
        answer = event.token if event.is_bare else self.initiator.unwrap(event.token)[0]
        self.agreed = Protection(answer[0])
        assert self.machine.accept_protection() == []
        self.send(self.machine.take_output())
