"""The contracts between the rooms of the house, and the values that pass over them.

A command knows its client only as :class:`ISession`; a server knows its commands only as
:class:`ICommand`; rules, resolver, dialer, authenticator and access log are whatever provides their
interface. That is what cuts the circle between server and commands, and what an embedding program
replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from socks5.access import Access, IUser, SessionInfo
from socks5.counters import Counters
from socks5.deadlines import IdleTimers
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Credentials, Request
from socks5.settings import Settings


class IAccessLog(Interface):
    """Takes one record for each session, when it ends."""

    def write(record: SessionInfo) -> None:
        """Keep *record*; must not block and must not raise."""


class IRules(Interface):
    """Decides who may do what. Pure: no I/O, no waiting; called for each request, address and UDP
    target. Only the value True allows (:mod:`socks5.server.verdicts`).
    """

    def allows(access: Access, address: str | None) -> bool:
        """Judge one access.

        :param access: who asks for what.
        :param address: the IP literal about to be dialled, sent to, or (BIND) that of the peer that
            connected; None when only the request is known, before any name is resolved.
        """


class IAuthenticator(Interface):
    """Says which methods a client may use, and judges its credentials."""

    methods: Sequence[int] = Attribute("METHOD octets that are accepted, in order of preference.")

    def authenticate(credentials: Credentials, client: str) -> Deferred[IUser]:
        """Judge a user name and password (RFC 1929).

        :param client: the client's IP literal.
        :returns: the avatar, or a failure with :exc:`twisted.cred.error.LoginFailed`. What has no name
            is no avatar, and refused. Cancelled when the client leaves.
        """


class IFromClient(Interface):
    """Credentials of :mod:`twisted.cred` that know where they come from: a checker sees nothing else of a login."""

    client: str = Attribute(
        "The client's IP literal; checkers share what they have fairly by that."
    )


class IMemory(Interface):
    """A checker of :mod:`twisted.cred` that remembers some logins that were right."""

    def recall(credentials: IUsernamePassword) -> object:
        """The avatar ID of such a login, at once; None if it must be checked."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a security context makes of a token.

    :param token: the answer, which may be empty; in no ``repr``.
    :param user: the avatar, if the context is complete; None: the client must send another token.
    """

    token: bytes = field(repr=False)
    user: IUser | None = None


class IContext(Interface):
    """One client's security context (GSS-API, RFC 2743)."""

    def step(token: bytes) -> Deferred[Step]:
        """Take a token of the client's.

        :returns: the answer, or a failure with :exc:`twisted.cred.error.LoginFailed`. Cancelled when the
            client leaves.
        """

    def protections() -> Collection[Protection]:
        """The levels of protection that may be agreed, once the context is complete."""

    def size_limit(is_confidential: bool) -> int:
        """How many octets :meth:`wrap` takes at a time, for a token of 65535 octets at the most."""

    def wrap(data: bytes, is_confidential: bool) -> bytes:
        """Put octets into a token, encrypted if *is_confidential*. Quick, and may be called for each message."""

    def unwrap(token: bytes) -> tuple[bytes, bool]:
        """Take octets out of a token. Quick, likewise.

        :returns: the octets, and whether they were encrypted.
        :raises socks5.protocol.errors.RemoteProtocolError: the token is not of this context, has been changed, or has
            come before.
        """


class IAcceptor(Interface):
    """Says who somebody is by a security context: METHOD 1 (RFC 1961)."""

    def accept(client: str) -> IContext:
        """A context with a new client.

        :param client: its IP literal.
        """


class IProtection(Interface):
    """What the datagrams of a session travel in (RFC 1961 section 5)."""

    def wrap(datagram: bytes) -> bytes:
        """Put one into a message.

        :raises socks5.protocol.errors.LocalProtocolError: it is too long for that.
        """

    def unwrap(message: bytes) -> bytes:
        """Take one out of its message.

        :raises socks5.protocol.errors.RemoteProtocolError: it is not one message, or not this session's.
        """


class IBans(Interface):
    """Remembers where failed logins come from. Quick and without waiting; addresses are IP literals, "" for
    a UNIX socket.
    """

    def is_banned(client: str) -> bool:
        """Whether an address may not log in for now. Asked for each connection and each login. Only the value
        False lets somebody in (:mod:`socks5.server.verdicts`).
        """

    def failed(client: str, is_judged: bool = True) -> float:
        """A login from an address was refused, which may ban it.

        :param is_judged: not so where the client left before the verdict, or some source of users could not
            judge: that counts little.
        :returns: how many seconds the negative answer is to wait.
        """

    def succeeded(client: str) -> None:
        """A login from an address was accepted."""


class IResolver(Interface):
    """Turns names into addresses."""

    def resolve(name: bytes, client: str) -> Deferred[Sequence[str]]:
        """Look up *name*.

        :param client: the IP literal of the client that asks, "" for a UNIX socket: whose share of the
            lookups it is.
        :returns: at least one IP literal, in the system's order of preference, or a failure with
            :exc:`~twisted.internet.error.DNSLookupError`. Never blocks; cancelling it forgets the
            answer.
        """

    def failed(name: bytes) -> None:
        """No address of *name* could be reached: what is remembered of it may be wrong."""


class IStreamReceiver(Interface):
    """Who takes the events of one end of a stream."""

    def dataReceived(data: bytes) -> None:
        """Octets arrived."""

    def readConnectionLost() -> None:
        """The other side will send nothing more (half-close)."""

    def connectionLost(reason: Failure) -> None:
        """The transport is gone."""


class IStream(Interface):
    """A connected transport whose events go to a receiver that can be changed."""

    transport: ITransport = Attribute("The transport.")
    receiver: IStreamReceiver | None = Attribute("Who takes the events from now on.")


class IDialer(Interface):
    """Connects to targets: directly, or one day through other proxies."""

    def dial(
        access: Access, target: Address, is_allowed: Callable[[str], bool]
    ) -> Deferred[IStream]:
        """Connect to *target*.

        :param access: who asks; ``access.client`` is whose share of what is bounded it takes.
        :param is_allowed: asked for every IP literal before it is dialled; the others are not
            tried.
        :returns: a connected stream without a receiver, which must be given one before control
            returns to the reactor; or a failure, which :func:`socks5.outbound.failures.reply_for` turns into
            a REP octet. Cancelling gives up every attempt.
        """


class ICommand(Interface):
    """One command of one session, from the request to its end."""

    bytes_up: int = Attribute("Octets towards the target so far.")
    bytes_down: int = Attribute("Octets towards the client so far.")
    dropped: int = Attribute("Datagrams dropped so far.")
    drops: Mapping[str, int] = Attribute("How many of them for which reason.")

    def start() -> None:
        """Begin; leads to ``session.reply`` or ``session.fail``, then or later."""

    def client_ended() -> bool:
        """The client sent its end while no receiver was set.

        :returns: whether the command goes on all the same; if not, the session ends.
        """

    def stop(reason: str) -> None:
        """End at once, give back every port, timer and connection. Called at most once, by the
        session.
        """


class ISession(Interface):
    """What a command may do to its client and may know of its server."""

    reactor: IReactorTime = Attribute("The clock and, where the command needs them, TCP and UDP.")
    idle_timers: IdleTimers = Attribute("Those who notice silence.")
    settings: Settings = Attribute("The settings this session began with.")
    rules: IRules = Attribute("Who may do what.")
    resolver: IResolver = Attribute("Names to addresses.")
    dialer: IDialer = Attribute("How targets are reached.")
    counters: Counters = Attribute("The process's totals.")
    stream: IStream = Attribute("The control connection; setting its receiver takes it over.")
    request: Request = Attribute("What the client asked for.")
    access: Access = Attribute("The same with the client, for the rules.")
    client_host: str = Attribute(
        "The IP literal of the control connection's far end; loopback for a UNIX socket."
    )
    server_host: str = Attribute("The IP literal of the control connection's near end, likewise.")
    server_interface: str = Attribute(
        "The same, with an IPv6 zone where it needs one: what to listen on."
    )

    protection: IProtection | None = Attribute(
        "What the client's datagrams travel in; None: they are plain."
    )

    pending_octets: int = Attribute(
        "How many octets came behind the request and have not been taken."
    )
    has_client_ended: bool = Attribute("Whether the client has sent its end already.")

    def reply(code: int, address: Address = UNSPECIFIED) -> None:
        """Send a reply. After a success the next octets are the command's business."""

    def fail(failure: Failure) -> None:
        """Send the failure reply that fits (:func:`socks5.outbound.failures.reply_for`) and end the session.

        What is neither this package's error nor the network's is a bug, and treated as in
        :meth:`crashed`.
        """

    def crashed(failure: Failure) -> None:
        """A bug: log it, send reply 1 where a reply is due, end this session and no other."""

    def take_optimistic() -> bytes:
        """The octets that came behind the request; only after a reply that succeeded."""

    def end(reason: str) -> None:
        """The session is over: closes the control connection in order, once everything written is
        sent.
        """
