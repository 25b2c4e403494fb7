"""The contracts between the rooms of the house, and the values that pass over them.

A command knows its client only as :class:`ISession`; a server knows its commands only as
:class:`ICommand`; rules, resolver, dialer, authenticator and access log are whatever provides their
interface. That is what cuts the circle between server and commands, and what an embedding program
replaces.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from socks5.access import Access, IUser, Reason, SessionInfo, Verdict
from socks5.counters import Counters
from socks5.deadlines import IdleTimers
from socks5.limits import ILease, ILimits
from socks5.logins import IAcceptor, IAuthenticator, IMethod, IProtection
from socks5.protocol.address import UNSPECIFIED, Address
from socks5.settings import Settings
from socks5.streams import IStream


class IAccessLog(Interface):
    """Takes one record for each session, when it ends."""

    def write(record: SessionInfo) -> None:
        """Keep *record*; must not block and must not raise."""


class IRules(Interface):
    """Decides who may do what. Only a :class:`~socks5.access.Verdict` that says so lets anybody through
    (:mod:`socks5.server.verdicts`).
    """

    def judge(access: Access, address: str | None) -> Verdict | Awaitable[Verdict]:
        """Judge one access. Asked for each request, address and UDP target, so it must be quick; what takes
        longer gives something to await, as an ``async def`` does, and is cancelled when the client leaves.

        :param access: who asks for what.
        :param address: the IP literal about to be dialled, sent to, or (BIND) that of the peer that
            connected; None when only the request is known, before any name is resolved.
        """


class IResolver(Interface):
    """Turns names into addresses, and addresses into names."""

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

    def name_of(address: str, client: str) -> Deferred[bytes]:
        """Look up the name of an address. Asked only where clients may ask for that
        (:attr:`~socks5.protocol.messages.Command.RESOLVE_PTR`).

        :param address: an IP literal.
        :param client: as for :meth:`resolve`.
        :returns: a name as the wire has it, without a dot at its end; or a failure, likewise.
        """


Judge = Callable[..., Verdict | Deferred[Verdict]]
"""How a way asks the session's rules of that moment: :meth:`ISession.judge`."""


class IDialer(Interface):
    """How targets are reached: directly, or through others. A way is told for each of its clients

    - *access*, who asks for what; ``access.client`` is whose share of what is bounded it takes
    - *judge*, to be asked for every IP literal before anything is sent there (:meth:`ISession.judge`). What a verdict
      wants besides is obeyed. Whom it gives a ``source`` leaves from there, and not over a family that has none; whom
      it sends by a ``via`` goes by no other way
    - *settings*, those that the client's session has
    - *near*, the IP literal of our end of the control connection, with its zone if it is link-local
    """

    def dial(
        access: Access, target: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IStream]:
        """Connect to *target* (CONNECT).

        :param target: an IP literal is never sent as a name.
        :returns: a connected stream without a receiver, which must be given one before control
            returns to the reactor; or a failure, which :func:`socks5.outbound.failures.reply_for` turns into
            a REP octet, :exc:`~socks5.protocol.errors.ReplyError` into its own. Cancelling gives up every attempt.
        """

    def open_datagrams(
        access: Access,
        judge: Judge,
        receiver: IDatagramReceiver,
        *,
        settings: Settings,
        near: str,
    ) -> IDatagrams:
        """Exchange datagrams with any number of targets (UDP ASSOCIATE).

        :param judge: asked for every datagram's target that is not known to be allowed, with None and then with the
            address: ``judge(None, target)``, ``judge(address, target)``.
        :param receiver: what comes from the targets, and what becomes of what is sent.
        """

    def await_peer(
        access: Access, expected: Address, judge: Judge, *, settings: Settings, near: str
    ) -> Deferred[IPeerPort]:
        """Listen for one peer (BIND).

        :param expected: the request's address: only that host may come, zeros stand for any. The way resolves it,
            and chooses the port; beside zeros it may be a port that the client would like.
        :returns: a port that listens, or a failure as of :meth:`dial`. Cancelling gives up.
        """


class IPeerPort(Interface):
    """Where the peer of a BIND is awaited."""

    bound: Address = Attribute("Where it may connect to: what the first reply says.")
    peer: Deferred[IStream] = Attribute(
        "The peer's stream, under the conditions of IDialer.dial, or a failure: no peer came in time."
    )

    def close() -> None:
        """Wait no longer, and for nobody any more; may be called twice."""


class IDatagrams(Interface):
    """The targets' side of an association."""

    def send(target: Address, payload: bytes, client: Hashable) -> None:
        """Send a datagram, now or when its name is resolved and its address judged; or drop it, and say so.

        :param client: whom answers of that target are for, from now on; the receiver gets it with each of them.
        """

    def join(port: Any) -> None:
        """The client's datagrams come from *port*, plain. Where both sides can, they go in batches from there on."""

    def rejudge() -> None:
        """The rules are others now: whatever was judged is judged anew."""

    def close() -> None:
        """The association is over. Nobody is told anything any more, but what was dropped until now."""


class IDatagramMeter(Interface):
    """The limits of one rule, for the datagrams to and from the targets that it allows an association."""

    def holds() -> bool:
        """Whether they have a datagram dropped now. If so, it is counted."""

    def moved(up: int, down: int) -> None:
        """Datagrams with so many octets of payload have passed. :meth:`IDatagramReceiver.sent` or
        :meth:`~IDatagramReceiver.received` is called for each as well.
        """


class IDatagramReceiver(Interface):
    """The client's side of an association."""

    hold_back: Any = Attribute(
        "Says whether limits have the datagrams of now dropped, see socks5.net.batch_held.HoldBack; None: never. "
        "Whoever does not ask finds them dropped all the same, one by one."
    )

    def meter_of(verdict: Verdict) -> IDatagramMeter | None:
        """Who is to be asked and told of each datagram to and from a target that *verdict* allows, if anybody is. The
        limits of a rule of which nobody asks this are told of all that the association moves.
        """

    def received(payload: bytes, sender: Address, client: Hashable) -> bool:
        """A datagram has come from a target.

        :param client: whom it is for: see :meth:`IDatagrams.send`.
        :returns: whether it went there.
        """

    def sent(octets: int) -> None:
        """A datagram has left for its target."""

    def moved(is_up: bool, count: int, octets: int) -> None:
        """That many datagrams, with that many octets of payload, have passed in a batch."""

    def dropped(why: str, count: int = 1, rule: str = "") -> None:
        """That many datagrams were dropped, for that reason: a few words.

        :param count: may be 0, which is nothing.
        :param rule: the name of the rule that forbids them.
        """

    def crashed(failure: Failure) -> None:
        """A bug, which would meet every datagram."""


class ICommand(Interface):
    """One command of one session, from the request to its end."""

    bytes_up: int = Attribute("Octets towards the target so far.")
    bytes_down: int = Attribute("Octets towards the client so far.")
    dropped: int = Attribute("Datagrams dropped so far.")
    drops: Mapping[str, int] = Attribute("How many of them for which reason.")
    far: Address | None = Attribute(
        "Whom it is connected to, as the rules were asked; None before, or if there is nobody."
    )

    def start() -> None:
        """Begin; leads to ``session.reply`` or ``session.fail``, then or later."""

    def client_ended() -> bool:
        """The client sent its end while no receiver was set.

        :returns: whether the command goes on all the same; if not, the session ends.
        """

    def rejudge() -> bool | Deferred[bool]:
        """The session's rules are others now, and allow the request itself.

        :returns: whether what the command is doing now is still allowed.
        """

    def stop(reason: Reason, within: float) -> None:
        """End. Gives everything back, and leads to ``session.end(reason)`` once its streams are gone: at once where
        there are none, else when their readers have what is written.

        :param within: seconds that this may take. 0: it is done now, by force. The session says so itself when the
            time is over; it also says so when the session is over by other means, and hears no ``end`` then.
        """


class ISession(Interface):
    """What a command may do to its client and may know of its server."""

    reactor: IReactorTime = Attribute("The clock and, where the command needs them, sockets.")
    idle_timers: IdleTimers = Attribute("Those who notice silence.")
    settings: Settings = Attribute("The settings this session began with.")
    dialer: IDialer = Attribute("How targets are reached.")
    resolver: IResolver = Attribute("Who knows the names of targets.")
    counters: Counters = Attribute("The process's totals.")
    access: Access = Attribute(
        "Who asks for what. Its target is the request's; an IP literal that was sent as a name is one here."
    )
    control: IStream = Attribute("The control connection; setting its receiver takes it over.")
    client_host: str = Attribute(
        "The IP literal of the control connection's far end; loopback for a UNIX socket."
    )
    near: str = Attribute(
        "The IP literal of its near end, likewise, with an IPv6 zone where it needs one: what to listen on."
    )

    meter: ILease | None = Attribute("Is asked and told what moves; None: nobody is.")
    meter_of_datagrams: ILease | None = Attribute(
        "The same for an association, where rules that are asked later may have limits."
    )

    def meter_of_rule(rule: str) -> ILease | None:
        """Is asked and told, instead of :attr:`meter_of_datagrams` from now on, what moves between an association and
        the targets that a rule allows. None: nobody has to be.
        """

    protection: IProtection | None = Attribute(
        "What the client's datagrams travel in; None: they are plain."
    )

    pending_octets: int = Attribute(
        "How many octets came behind the request and have not been taken."
    )
    has_client_ended: bool = Attribute("Whether the client has sent its end already.")

    def judge(address: str | None, target: Address | None = None) -> Verdict | Deferred[Verdict]:
        """Ask the rules of now. What they answer with besides a verdict refuses; what they raise is raised.

        :param address: the IP literal; None: only what is asked for.
        :param target: a datagram's; None: the request's.
        :returns: the verdict, if it is there at once.
        """

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

    def end(reason: Reason, text: str = "") -> None:
        """The session is over: closes the control connection in order, once everything written is
        sent. Called again, it does nothing.

        :param text: what the record shows beside the reason.
        """


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for sessions: replaced as a whole, between two events.

    :param settings: values.
    :param rules: who may do what; None: :class:`socks5.policy.rules.Rules`.
    :param authenticator: which methods, and whose password is right; None: nobody is asked for one, unless *gssapi*
        or *methods* ask who somebody is.
    :param gssapi: accepts security contexts (RFC 1961), such as :class:`socks5.auth.kerberos.Acceptor`. Goes before
        *methods*, and these before the *authenticator*.
    :param methods: other ways to log in, in the order of preference.
    :param dialer: how targets are reached; None: :class:`socks5.outbound.direct.DirectDialer`.
    :param limits: how much there may be; None: as much as there is room for.
    """

    settings: Settings = field(default_factory=Settings)
    rules: IRules | None = None
    authenticator: IAuthenticator | None = None
    gssapi: IAcceptor | None = None
    methods: Sequence[IMethod] = ()
    dialer: IDialer | None = None
    limits: ILimits | None = None


class IManagedSession(Interface):
    """A session as others see it: :class:`ISessions` has them."""

    number: int = Attribute("The session's number in this process, from 1.")
    client: str = Attribute(
        'The client\'s IP literal; "" for a UNIX socket, and before it has sent anything.'
    )
    user: IUser | None = Attribute("Who is logged in.")
    access: Access = Attribute(
        "Who asks for what: :data:`socks5.access.NOBODY`, before there is a request."
    )

    def info() -> SessionInfo:
        """What there is to say of it now; behind its end, what the access log said."""

    def close(reason: Reason = Reason.KICKED, within: float = 2.0, text: str = "") -> None:
        """End it, whatever it is doing: what is written is still sent, if both ends take it in time.

        :param reason: for the access log, whose record is written once the session's streams are gone.
        :param within: seconds that this may take, whoever does not read; then by force. 0: at once.
        :param text: what the record shows beside the reason.
        """

    def rejudge(rules: IRules) -> Deferred[bool]:
        """Judge what it is about by other rules, which hold for it from now on. If they do not allow it, it ends.

        :returns: fires with whether it stays.
        """


class ISessions(Interface):
    """The sessions of now. Iterating goes over those of its beginning, whatever happens meanwhile."""

    def __iter__() -> Iterator[IManagedSession]:
        """All of them, from the oldest."""

    def __len__() -> int:
        """How many there are."""

    def find(
        *, user: str | None = None, client: str | None = None, number: int | None = None
    ) -> list[IManagedSession]:
        """Those with all of these.

        :param user: the name that they are logged in with.
        :param client: the client's IP literal; "" for UNIX sockets.
        :param number: the session's.
        """

    def watch(
        opened: Callable[[IManagedSession], object] | None = None,
        closed: Callable[[IManagedSession], object] | None = None,
    ) -> Callable[[], None]:
        """Be told of sessions.

        :param opened: called when a client has greeted.
        :param closed: called when a session is over, with its record complete.
        :returns: ends that.
        """
