"""The way through proxies, once there is a connection to the first: what drives their machines, one after another.

It knows neither how the connection came to be nor who gets it: any stream will do (:class:`~socks5.streams.IStream`), a
program's as a server's. Time is its owner's: :class:`Standing` tells how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from OpenSSL import SSL
from service_identity.exceptions import VerificationError
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.client.contexts import ContextLogin, IInitiator
from socks5.client.errors import (
    ClientError,
    ProxyClosed,
    ProxyProtocolError,
    ProxyUnreachable,
    ReplyError,
    error_for,
)
from socks5.client.hops import Hop, Negotiation
from socks5.client.names import TwistedAddress
from socks5.net.protected import Envelope, ProtectedStream
from socks5.protocol.address import Address
from socks5.protocol.client_negotiation import ClientEvent, ClientNegotiation, ReplyReceived
from socks5.protocol.errors import SOCKSError
from socks5.protocol.messages import Command, Reply
from socks5.protocol.stages import Rejected, Stage
from socks5.streams import IStream, IStreamReceiver

_STAGES = {
    Stage.METHOD: "method",
    Stage.CHECKING: "login",
    Stage.TOKEN: "login",
    Stage.CONTEXT: "login",
    Stage.PROTECTION: "login",
    Stage.CHOICE: "login",
    Stage.COMMAND: "reply",
    Stage.SECOND_REPLY: "peer",
}
"""The words of :class:`~socks5.client.errors.ClientError` for what a machine awaits."""


_ASKED: dict[int, Callable[[Address], str]] = {
    Command.BIND: lambda peer: f"a port for {'a peer' if peer.is_unspecified else peer.text}",
    Command.UDP_ASSOCIATE: lambda _: "an association for UDP",
    Command.RESOLVE: lambda name: f"an address of {name.text}",
    Command.RESOLVE_PTR: lambda address: f"the name of {address.text}",
}
"""What a hop is asked for where it is not the target itself."""

_BROKEN = {"connect": "no connection to it: ", "tls": "no TLS with it: "}
"""What there is none of, by stage."""


def _words_of(cause: BaseException) -> str:
    """What an exception says; OpenSSL's without its functions, and of a certificate for whom it is not."""
    if isinstance(cause, VerificationError):
        wanted: list[Any] = [each.mismatched_id for each in cause.errors]
        names = (str(each.ip) if hasattr(each, "ip") else each.hostname.decode() for each in wanted)
        return f"its certificate is not for {', '.join(names)}"
    if isinstance(cause, SSL.Error) and cause.args and cause.args[0]:
        return "; ".join(reason for *_, reason in cause.args[0])
    return str(cause) or type(cause).__name__


def exception_of(failure: Failure) -> BaseException:
    """What a Failure is about, which Twisted's annotations do not promise."""
    assert failure.value is not None
    return failure.value


class Standing:
    """How far a request has come: the hop it is at, from 1, and the stage there; and whether nobody waits any more."""

    __slots__ = ("hop", "is_over", "stage")

    client = ""
    """Whom it is for: the IP literal of a server's client; "" for a program's own."""

    def __init__(self) -> None:
        self.hop = 1
        self.stage = "connect"
        self.is_over = False

    def moved(self) -> None:
        """A hop awaits something else now, or another one is asked."""

    def announced(self, step: Step, transport: Any) -> Address:
        """What a hop is asked for.

        :param transport: to the first hop of its layer.
        """
        return step.target

    def listens(self, reply: Reply, step: Step, transport: Any) -> None:
        """The last hop awaits a peer, its first reply of two to BIND says.

        :param transport: to the first hop of its layer.
        """

    def ends(self, reply: Reply, step: Step) -> tuple[TwistedAddress, TwistedAddress] | None:
        """Who has connected and where to, as the second one says.

        :returns: None: it is our own connection that counts.
        :raises ClientError: it is not the peer that was asked for.
        """


@dataclass(frozen=True, slots=True)
class Step:
    """What one hop is asked for.

    :param number: the hop's, from 1.
    :param target: the next hop, or the target itself.
    :param command: the CMD octet; CONNECT of all hops but the last.
    """

    number: int
    hop: Hop
    target: Address
    command: int = Command.CONNECT

    @property
    def text(self) -> str:
        """As texts name it: without a login."""
        what = _ASKED.get(self.command, str)(self.target)
        return f"{self.hop} (hop {self.number}), asked for {what}"

    def unreachable(self, cause: BaseException, stage: str = "connect") -> ProxyUnreachable:
        """There is no connection to the hop, or no TLS over it."""
        text = f"{self.text}: {_BROKEN.get(stage, '')}{_words_of(cause)}"
        error = ProxyUnreachable(text, stage=stage, hop=self.number)
        error.__cause__ = cause
        return error


def steps_to(hops: Sequence[Hop], target: Address, command: int) -> list[Step]:
    """What each hop is asked for: the next one, and the last for the target.

    :param command: the CMD octet for the last hop.
    """
    count = len(hops)
    steps = [Step(at, hops[at - 1], hops[at].address) for at in range(1, count)]
    steps.append(Step(count, hops[-1], target, command))
    return steps


@implementer(IStreamReceiver)
class Handshake:
    """Asks hops, each behind the one before, on one connection, whose events it is given. It tells its outcome once,
    and what comes afterwards is not looked at; closing the connection is its owner's.

    :param steps: one at least.
    :param done: is told the last reply, and the octets that came behind it; :attr:`stream` is where others come.
    :param failed: is told what went wrong.
    """

    __slots__ = (
        *("_at", "_done", "_failed", "_is_over", "_login", "_machine", "_standing", "_steps"),
        *("envelope", "stream"),
    )

    def __init__(
        self,
        steps: Sequence[Step],
        standing: Standing,
        done: Callable[[Reply, bytes], None],
        failed: Callable[[ClientError], None],
    ) -> None:
        self._steps = steps
        self._standing = standing
        self._done = done
        self._failed = failed
        self._at = 0
        self._is_over = False
        self._machine: Negotiation | None = None
        self._login: ContextLogin | None = None
        self.stream: IStream
        """Leads to the hop that is asked: the connection, or what is inside the protections of hops."""
        self.envelope: Envelope | None = None
        """What the messages of that hop travel in, and its datagrams."""

    def begin(self, stream: IStream) -> None:
        """The connection is there, and so is its TLS, if it has one."""
        self.stream = stream
        stream.receiver = self
        self._ask()

    @property
    def _step(self) -> Step:
        return self._steps[self._at]

    def _ask(self) -> None:
        step = self._step
        self._standing.hop = step.number
        target = self._standing.announced(step, self.stream.transport)
        self._machine = machine = step.hop.ask(step.command, target)
        self._login = self.envelope = None
        if step.hop.gssapi is not None:
            assert isinstance(machine, ClientNegotiation)
            initiator: IInitiator = step.hop.gssapi.value
            context = initiator.initiate(
                *(step.hop.context_host, self._standing.client),
                for_datagrams=step.command == Command.UDP_ASSOCIATE,
            )
            self._login = ContextLogin(initiator, context, machine, self)
        self._send(machine)

    def _send(self, machine: Negotiation) -> None:
        """Send what there is to send, and know what is awaited then."""
        self._standing.stage = _STAGES.get(machine.stage, self._standing.stage)
        output = machine.take_output()
        if output:
            self.stream.transport.write(output)
        self._standing.moved()

    def protect(self, envelope: Envelope) -> None:
        """See :meth:`socks5.client.contexts.Asker.protect`. It is within those of the hops before."""
        self.envelope = envelope
        self.stream = ProtectedStream(self.stream, envelope)
        self.stream.receiver = self

    def dataReceived(self, data: bytes) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.dataReceived`."""
        if self._is_over:
            return
        machine = self._machine
        assert machine is not None
        self.go_on(machine.receive(data))

    def go_on(self, events: Sequence[ClientEvent]) -> None:
        """See :meth:`socks5.client.contexts.Asker.go_on`; or it has made this of what came."""
        machine = self._machine
        assert machine is not None
        self._send(machine)
        for event in events:
            if self._standing.is_over:
                return  # who was told of the first reply has given up
            is_first = event is not events[-1] or machine.stage is Stage.SECOND_REPLY
            if isinstance(event, ReplyReceived) and is_first:
                self._standing.listens(event.reply, self._step, self.stream.transport)
            elif isinstance(event, ReplyReceived):
                self._replied(event.reply, machine.take_trailing())
            elif isinstance(event, Rejected):
                self.refused(event.error, _STAGES.get(event.stage or Stage.COMMAND, "reply"))
            else:
                assert self._login is not None
                self._login.take(event)

    def refused(self, error: SOCKSError, stage: str = "login") -> None:
        """See :meth:`socks5.client.contexts.Asker.refused`; or a hop has said no, or what it should not."""
        if not self._is_over:
            step = self._step
            self._fail(error_for(error, step.text, stage, step.number))

    def _replied(self, reply: Reply, trailing: bytes) -> None:
        if self._at + 1 == len(self._steps):
            self._is_over = True
            self._done(reply, trailing)
            return
        self._at += 1
        if trailing:
            text = f"{self._step.text}: octets came before they were asked for"
            self._fail(ProxyProtocolError(text, stage="method", hop=self._step.number))
        else:
            self._ask()

    def readConnectionLost(self) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.readConnectionLost`."""
        self.connectionLost(Failure(ConnectionDone()))

    def connectionLost(self, reason: Failure) -> None:
        """See :meth:`socks5.streams.IStreamReceiver.connectionLost`."""
        if self._is_over:
            return
        step, stage, machine = self._step, self._standing.stage, self._machine
        if isinstance(reason.value, SOCKSError):
            self.refused(reason.value, stage)
            return
        if machine is None or not isinstance(reason.value, ConnectionClosed):
            self._fail(step.unreachable(exception_of(reason), stage))
            return
        text = f"{step.text}: it closed the connection when this was due: {machine.stage.value}"
        error = ProxyClosed(text, stage=stage, hop=step.number)
        error.__cause__ = reason.value
        self._fail(error)

    def _fail(self, error: ClientError) -> None:
        """The refusal of a hop before the last is about the next hop, and never about the target."""
        self._is_over = True
        if self._login is not None:
            self._login.cancel()
        if isinstance(error, ReplyError) and self._at + 1 < len(self._steps):
            error = self._steps[self._at + 1].unreachable(error)
        self._failed(error)
