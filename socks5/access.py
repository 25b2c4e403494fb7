"""Who asks for what, whether that is allowed, and what became of it: plain values that pass between the rooms."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Literal, NamedTuple

from typing_extensions import override
from zope.interface import Attribute, Interface

from socks5.protocol.address import UNSPECIFIED, Address
from socks5.protocol.messages import Command, ReplyCode
from socks5.settings import PerFamily


class IUser(Interface):
    """The avatar of somebody who is logged in: what :mod:`twisted.cred` gives for accepted
    credentials.
    """

    name: str = Attribute("The user's name, for rules and logs.")
    groups: frozenset[str] = Attribute("The groups that the user belongs to, for rules.")
    settings: Mapping[str, str] = Attribute(
        "What else the source of users says of this one, for rules."
    )


_CONNECT = int(Command.CONNECT)
"""Asked for each target; a member of an Enum is found slowly by its name."""


class Access(NamedTuple):
    """Who asks for what: the facts that rules decide on.

    :param client: the client's IP literal, never IPv4-mapped; "" for a client on a UNIX socket or
        in memory.
    :param server: the IP literal on which the client reached us, likewise.
    :param user: the avatar, or None without authentication.
    :param command: the CMD octet.
    :param target: DST.ADDR and DST.PORT as the client sent them; for a datagram, the datagram's.
    :param listeners: holds every IP literal and port at which a connection comes to this proxy.
    :param listener: the name of the listener that the client came to; "" for one without.
    :param method: how the client has said who it is: "none", "password", "chap", "gssapi", "certificate", or the number
        of another method.
    :param rule: the name of the rule that has allowed the request, once that is decided.
    :param is_datagram: whether this is about a datagram of an association; else about the request itself.
    """

    client: str
    server: str
    user: IUser | None
    command: int
    target: Address
    listeners: Container[tuple[str, int]] = ()
    listener: str = ""
    method: str = "none"
    rule: str = ""
    is_datagram: bool = False

    def leads_to_us(self, address: str) -> bool:
        """Whether a CONNECT to this IP literal, and the target's port, would come to the proxy itself."""
        return self.command == _CONNECT and (address, self.target.port) in self.listeners

    @property
    def is_local(self) -> bool:
        """Whether the client certainly runs on this host: it comes from loopback or a UNIX socket.

        A client with this host's own address may be the proxy itself, on behalf of anybody.
        """
        client = self.client
        return client[:4] == "127." or client in ("", "::1")


class ClaimedAccess(Access):
    """The same for a client of which only a balancer knows: whatever address it is said to have, it does
    not certainly run on this host.
    """

    __slots__ = ()

    @property
    @override
    def is_local(self) -> bool:
        """Never."""
        return False


NOBODY = ClaimedAccess("", "", None, 0, UNSPECIFIED)
"""Asks for nothing, and is not taken for somebody on this host."""


class Accepted(Enum):
    """A source that depends on the client."""

    ADDRESS = "accepted"


ACCEPTED = Accepted.ADDRESS
"""The address on which the client reached us (:attr:`Access.server`)."""

NO_SOURCE = PerFamily()
"""None of its own."""

Source = PerFamily | Literal[Accepted.ADDRESS]
"""From where targets are reached: see :class:`Verdict`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rules say of one access.

    :param is_allowed: whether it may be.
    :param rule: the name of the rule that decided, for the record; "" for one without a name, and as long as none has:
        what is allowed so far is judged again by the address.
    :param via: the name of the upstream that it goes through; None: none. Who cannot go there does not go.
    :param reply: the REP octet of a refusal (RFC 1928 section 6); a datagram is dropped.
    :param source: what targets see as the source: an address of each family that they may be reached over, or
        :data:`ACCEPTED`. Of neither family: as the settings say.
    :param would: names of rules that only report, and would have decided otherwise.
    :param agreed: names of those that would have decided the same.
    :param limits: names of the limits that the session is under by this rule.
    """

    is_allowed: bool
    rule: str = ""
    via: str | None = None
    reply: int = ReplyCode.NOT_ALLOWED
    source: Source = NO_SOURCE
    would: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    agreed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """A verdict is not true or false: a refusal that is taken for an object that is there would let everybody in.

        :raises TypeError: always.
        """
        raise TypeError("a Verdict has no truth value: ask for its is_allowed")


ALLOWED = Verdict(True)
DENIED = Verdict(False)
"""Those of rules without names."""

NO_NAME = Verdict(False, reply=ReplyCode.HOST_UNREACHABLE)
"""On what cannot be the name of a host, before any rule."""


class Reason(StrEnum):
    """Why a session ended: what the access log shows, beside a text that says more where there is one."""

    CLIENT_CLOSED = "client closed"
    """The client sent its end, or closed."""

    CLIENT_RESET = "reset by client"
    """The client's connection was reset, or lost."""

    TARGET_CLOSED = "target closed"
    """The target's connection ended in order."""

    TARGET_RESET = "reset by target"
    """The target's connection was reset, or lost."""

    ANSWERED = "answered"
    """The reply said all that was asked for: a RESOLVE or RESOLVE_PTR."""

    IDLE = "idle"
    """Nothing came for too long: :attr:`~socks5.settings.Settings.idle_timeout`, or
    :attr:`~socks5.settings.Settings.udp_idle_timeout` of an association."""

    HALF_CLOSED = "half-closed and silent"
    """One side had sent its end, and the other nothing for :attr:`~socks5.settings.Settings.linger_timeout`."""

    CLOSING = "closing and silent"
    """The last octets were not taken within :attr:`~socks5.settings.Settings.linger_timeout`."""

    NO_HANDSHAKE = "handshake timed out"
    """See :attr:`~socks5.settings.Settings.handshake_timeout`."""

    NO_REQUEST = "no request in time"
    """See :attr:`~socks5.settings.Settings.request_timeout`."""

    REFUSED = "refused"
    """A failure reply, or a failed negotiation. The text is the error: its class, and what it says."""

    NO_HEADER = "no PROXY header"
    """Who listens for balancers hears nobody else."""

    NETWORK = "network"
    """The listener's policy does not list the client."""

    BANNED = "banned"
    """Too many failed logins came from the client's address."""

    CONNECTIONS = "too many connections"
    """The client has as many as the listener lets one have."""

    NOT_ALLOWED = "no longer allowed"
    """The rules were replaced, and the new ones do not allow what the session is about. They have no name for it."""

    RELOAD = "reload"
    """The same, or it is another time of day, and a rule with a name forbids it: the text is "reload: rule NAME"."""

    KICKED = "ended by the operator"
    """Somebody closed the session from outside."""

    LIMIT = "limit reached"
    """More has moved than may. The log says of which limit."""

    SHUTDOWN = "shutdown"
    """The proxy stops."""

    CRASHED = "internal error"
    """A bug, which the program's log tells."""


MOST_RULES = 8
"""Rules that the record of one association names."""


@dataclass(slots=True)
class SessionInfo:
    """What there is to say of one session at a moment; at its end, what the access log says.

    :param session: number of the session in this process, from 1.
    :param user: the user's name, or None.
    :param client: the client's address and port.
    :param command: one of :data:`~socks5.settings.COMMAND_NAMES`, a number for an unknown command, or None before a
        request.
    :param target: the requested address and port, or None.
    :param bound: BND.ADDR and BND.PORT of the last reply that succeeded, or None.
    :param reply: the REP octet of the last reply, or None before one.
    :param bytes_up: octets relayed towards the target, payload only.
    :param bytes_down: octets relayed towards the client.
    :param seconds: from accepted to closed.
    :param reason: why the session ended (:class:`Reason`); "" while it lasts.
    :param detail: the same with more words, if there are any.
    :param rule: the name of the rule that decided, or None if that had no name.
    :param would: names of rules that only report, and would have decided otherwise.
    :param denied: datagrams dropped by a rule, by its name: of so many rules at the most
        (:data:`MOST_RULES`).
    :param upstream: the name of the proxy, or of several behind one another, that the target was reached through, or
        that was tried last; None: none was.
    :param dropped: datagrams dropped.
    :param drops: how many of them for which reason.
    :param worker: number of the process, from 1, where there are several; else None.
    :param slowed: seconds that limits had it wait.
    """

    session: int
    client: str
    user: str | None = None
    command: str | None = None
    target: str | None = None
    bound: str | None = None
    reply: int | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    reason: str = ""
    dropped: int = 0
    drops: Mapping[str, int] = field(default_factory=dict)
    worker: int | None = None
    rule: str | None = None
    slowed: float = 0.0
    detail: str = ""
    would: Sequence[str] = ()
    denied: Mapping[str, int] = field(default_factory=dict)
    upstream: str | None = None
