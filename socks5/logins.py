"""The contracts of those who say who somebody is: sources of users, security contexts, methods and bans."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from socks5.access import IUser
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Credentials
from socks5.protocol.subnegotiation import Subnegotiation
from socks5.streams import IStreamReceiver


class IAuthenticator(Interface):
    """Says which methods a client may use, and judges its credentials."""

    methods: Sequence[int] = Attribute("METHOD octets that are accepted, in order of preference.")

    def authenticate(credentials: Credentials, client: str) -> Deferred[IUser]:
        """Judge a user name and password (RFC 1929).

        :param client: the client's IP literal.
        :returns: the avatar, or a failure with :exc:`twisted.cred.error.LoginFailed`. What has no name
            is no avatar, and refused. Cancelled when the client leaves.
        """

    def renew(user: IUser) -> IUser | None:
        """A user that was let in, as it is known now; quick, without waiting. It may be left out.

        :returns: the same where nobody can tell; None: that is no user any more.
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


class IMethod(Interface):
    """One authentication method (RFC 1928 section 3), looked up by its number."""

    number: int = Attribute("The METHOD octet: 1-254.")

    def negotiate() -> Subnegotiation:
        """What one client and the server say to each other, octet by octet."""

    def login(session: ILoginSession) -> ILogin:
        """What judges one client."""


class ILogin(Interface):
    """Judges what a client's sub-negotiation has understood."""

    refusal: str = Attribute("What a record says of a client that was turned down, in a few words.")

    def take(event: Any) -> None:
        """Judge an event of the sub-negotiation's, now or later: leads to one of the calls of
        :class:`ILoginSession`. Nothing more comes before.
        """

    def cancel() -> None:
        """The client has left or is banned: forget what is being checked. In the latter case that is a failure of
        the check, and told as one.
        """


class ILoginSession(Interface):
    """What a login may do to its session, and may know of it. Behind the session's end nothing of it has an effect."""

    reactor: IReactorTime = Attribute("The clock.")
    client_host: str = Attribute(
        "The IP literal of the client; loopback for a UNIX socket. Checkers share what they have by that."
    )
    subnegotiation: Any = Attribute("What the method's ``negotiate`` gave for this session.")
    is_optional: bool = Attribute("Whether clients may come in without a login, too.")
    name_sent: bytes | None = Attribute(
        "Assign the name that the client claims: the record of a login that is turned down shows it."
    )

    def answered() -> None:
        """The sub-negotiation was answered, and goes on: what it has to send is sent, what waits is looked at."""

    def recognized(user: IUser) -> None:
        """The client has shown who it is, and there is more to agree on: the record of its failure names it."""

    def logged_in(user: IUser, protection: IProtection | None = None) -> None:
        """The client is *user*. Unless that is nobody, or banned, its sub-negotiation is accepted, and the client may
        ask.

        :param protection: what all octets behind the sub-negotiation travel in, both ways.
        """

    def needs_no_login() -> None:
        """What the client sent is no login, where none is needed: it is let in without a name.

        :raises LookupError: one is needed.
        """

    def turned_down(failure: Failure) -> None:
        """The client is not let in: its sub-negotiation is rejected, and the session ends.

        :param failure: with :exc:`~twisted.cred.error.LoginFailed`, which counts, and may be answered late or ban the
            client; with one of :mod:`socks5.protocol.errors`, with which the session ends; anything else is a bug of
            whoever checks, and is logged.
        """

    def crashed(failure: Failure) -> None:
        """A bug of the method: see :meth:`socks5.interfaces.ISession.crashed`."""


class IProtection(Interface):
    """What a session's octets and datagrams travel in behind its sub-negotiation (RFC 1928 section 3)."""

    def over(transport: ITransport, receiver: IStreamReceiver) -> IStreamReceiver:
        """Put the protection over a transport.

        :param receiver: takes what comes, out of the protection. If something is not in it, the receiver's connection
            is lost, with :exc:`~socks5.protocol.errors.RemoteProtocolError` for the reason.
        :returns: the transport for what is to be sent; it takes the events of the one below.
        """

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
