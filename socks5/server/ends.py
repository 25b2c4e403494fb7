"""The two ends of an ordinary session: plain TCP both ways, and small messages. The client's is here, the target's in
:mod:`socks5.server.target_end`.

Most sessions are of one kind: CONNECT to an address that is allowed at once, messages of some octets. Such a session
has one object for each of its sockets, and its octets go a short way: the poller tells the one end, which sends on the
other's socket. The client's end is the session's transport, the target's is its command.

Whatever else happens - a name for a target, a verdict that is not there yet, octets before the reply, a kernel that
takes no more, bulk, an end that others have to wait for, somebody who closes the session - hands over to the
general way, with what has come so far: :meth:`ClientEnd.hand_over` puts a :class:`~socks5.net.connection.Connection` in
the place of the transport, :meth:`ClientEnd.general` a :class:`~socks5.server.connect.Connect` with a relay in the
place of the command.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.python.failure import Failure
from typing_extensions import override

from socks5.access import ALLOWED, Reason
from socks5.deadlines import IdleTimer
from socks5.limits import ILease
from socks5.net.connection import ABORTED, Connection
from socks5.net.poller import ARRIVALS, HUNG_UP, Poller
from socks5.net.tcp_options import keep_alive
from socks5.net.tcp_socket import TCPSocket, reset_on_close, unacknowledged
from socks5.outbound.direct import literal_of, waited_for
from socks5.outbound.judging import is_plain
from socks5.protocol.address import Address
from socks5.relay.meter import BLOCK
from socks5.relay.metered_passing import MeteredPassing
from socks5.relay.passing import PassingEnd
from socks5.server.connect import Connect
from socks5.server.target_end import MeteredTargetEnd, TargetEnd

_ENDS = Reason.CLIENT_CLOSED, Reason.CLIENT_RESET
"""Of an end that is a reset or not. A member of an Enum is found slowly by its name."""

READ_SIZE = 448
"""Octets of the negotiation that are taken at a time; who sends so many goes the general way. Few messages are longer,
and Python has memory at hand for as many."""


class ClientEnd(TCPSocket, PassingEnd):
    """The client's.

    :param poller: tells us when the socket is ready.
    :param sock: the socket; ours from now on.
    :param near: its near end, or None to ask when needed.
    :param far: the client's address, as the socket module has it.
    """

    __slots__ = (
        "_timer",
        "_unsent",
        "fd",
        "has_ended",
        "octets",
        "peer",
        "poller",
        "receiver",
        "target",
    )

    events = ARRIVALS
    """What it registers for: it hands over when it has to wait for room."""

    def __init__(self, poller: Poller, sock: Any, near: Address | None, far: Any) -> None:
        self.poller, self.socket, self.fd = poller, sock, sock.fileno()
        self._near, self._far = near, far
        self.octets, self.has_ended, self._unsent = 0, False, b""
        self.receiver = self.peer = self.target = self._timer = None

    receiver: Any
    """The session; None once that is over, or goes the general way."""
    peer: TargetEnd | None
    target: TargetEnd | None
    _timer: IdleTimer | None

    # What happens to the socket

    @override
    def ready_alone(self, events: int) -> None:
        """Octets of the negotiation. Whoever sends more than a message, or ends, is the general way's."""
        if events & HUNG_UP or self.target is not None:
            self.hand_over()
            return
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.hand_over().fail()
            return
        session, count = self.receiver, len(data)
        if not count or count == READ_SIZE:
            self.hand_over()
        if count:
            session.dataReceived(data)

    def crashed(self, failure: Failure) -> None:
        """See :class:`socks5.net.poller.Owner`."""
        self.receiver.crashed(failure)

    # The session's transport

    def write(self, data: bytes) -> None:
        """See :meth:`twisted.internet.interfaces.ITransport.write`. Clients are woken one behind another."""
        self._unsent += data
        self.poller.behind(self._send)

    def _send(self) -> None:
        if self.receiver is not None:  # neither over, nor is it somebody else's by now
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except OSError:  # no room, or nobody there: whoever takes our place finds out
                self.hand_over()
            else:
                if self._unsent:
                    self.hand_over()

    def pauseProducing(self) -> None:
        """See :meth:`twisted.internet.interfaces.IPushProducer.pauseProducing`."""
        self.hand_over().pauseProducing()

    def loseConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITransport.loseConnection`."""
        self.hand_over().loseConnection()

    def abortConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.abortConnection`."""
        if self.target is not None or self.peer is not None:
            self.hand_over().abortConnection()
            return
        session, self.receiver = self.receiver, None
        reset_on_close(self.socket)
        self.poller.forget(self.fd)
        self.socket.close()
        session.connectionLost(ABORTED)

    def loseWriteConnection(self) -> None:
        """See :meth:`twisted.internet.interfaces.ITCPTransport.loseWriteConnection`."""
        self.hand_over().loseWriteConnection()

    def hand_over(self) -> Any:
        """Let a connection be the session's transport from now on. If the target is being dialled, a command waits for
        it; if it is there, a relay has both, and is the transport.
        """
        if self.peer is not None:
            return self.general()
        session, self.receiver = self.receiver, None
        connection = self._connection(session)
        if self._unsent:
            connection.write(self._unsent)
        self.poller.hand_over(self.fd, connection)
        self.poller.again(self.fd)
        target, self.target = self.target, None
        if target is not None:
            session.command = command = Connect(session)
            command.waiting, target.waiter = target, command
        return connection

    def _connection(self, session: Any) -> Connection:
        connection = Connection(self.poller, self.socket, self._near, self._far)
        connection.receiver = session
        session.transport = connection
        return connection

    # The target

    def connect_for(self, session: Any) -> bool:
        """Serve the session's CONNECT by the target's end; or by what goes on from a verdict that is no, or late.

        :returns: whether it is our business. If not, nothing has happened.
        """
        policy, target = session.policy, session.access.target
        if policy.dials is None or session.rules is not policy.rules:  # whose dialer may be another
            return False
        host = literal_of(target, policy.family)
        if host is None:
            return False
        verdict, settings = session.judge(host), policy.settings
        if verdict is ALLOWED or is_plain(verdict):
            source = settings.outgoing.like(host)
            target = TargetEnd(self.poller, host, target.port, source, policy.dials, self)
            self.target = session.command = target
        else:
            self.hand_over()
            asked = (session.access, verdict, host, target.port, settings)
            session.command = _Judged(session, policy.dialer.dial_judged(*asked))
        session.command.start()
        return True

    def join(self, target: TargetEnd, name: Any) -> None:
        """The target's end is connected. From now on octets go from one end to the other.

        :param name: what that sees, as the socket module has it.
        """
        session = self.receiver
        self.target, self.peer, target.peer = None, target, self
        self._far = None  # who needs it has asked; it takes as much memory as an end
        entered = session.entered
        if entered is not None and entered.is_metered:  # so others pay nothing for that
            self.__class__, target.__class__ = MeteredClientEnd, MeteredTargetEnd
        try:
            session.succeed(name)
        except Exception:  # here, for the poller knows nothing of the session
            self.peer = target.peer = None
            target.cancel()
            session.crashed(Failure())
        else:
            if self.peer is target and session.policy.settings.keepalive:
                session.shared.idle_timers.young.add(self)

    def failed(self, failure: Failure) -> None:
        """See :class:`socks5.outbound.attempts.Waiter`."""
        self.target = None
        self.receiver.fail(failure)

    def lasts(self) -> None:
        """See :class:`socks5.deadlines.Lasting` and :meth:`socks5.relay.relay.Relay.lasts`."""
        assert self.peer is not None
        with suppress(OSError):  # it is about to be lost
            keep_alive(self.peer.socket, self.receiver.settings.keepalive)

    def general_command(self) -> Any:
        """Go the general way from now on; what is returned is the command of that."""
        session = self.receiver
        self.hand_over()
        return session.command

    @override
    def general(self) -> Any:
        session, self.receiver = self.receiver, None
        target, self.peer = self.peer, None
        assert target is not None
        target.peer = None
        self._watch_no_more(session)
        near, far = self._connection(session), Connection(self.poller, target.socket, None, None)
        session.command = command = Connect(session)
        command.goes_on(far, self.octets, target.octets)
        if self._unsent:
            session.receiver.send(self._unsent)
        self.poller.again(near.fd)
        self.poller.again(far.fd)
        return session.receiver

    # The end

    @override
    def watch(self) -> None:
        session = self.receiver
        self._timer = session.idle_timers.start(
            session.settings.linger_timeout, self._progress, self._silent
        )

    def _progress(self) -> int:
        assert self.peer is not None
        ends: tuple[PassingEnd, ...] = (self, self.peer)
        return sum(end.octets - unacknowledged(end.socket) for end in ends)

    def _silent(self) -> None:
        self.general_command().stop(Reason.HALF_CLOSED, 0)

    def _watch_no_more(self, session: Any) -> None:
        session.shared.idle_timers.young.discard(self)
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()

    @override
    def close_both(self, is_reset: bool = False) -> None:
        self.over(_ENDS[is_reset])

    def over(self, reason: Reason) -> None:
        """Close both sockets; whoever is woken by that is woken together with others."""
        session, target, poller = self.receiver, self.peer, self.poller
        assert target is not None
        self.receiver = None
        poller.forget(self.fd)
        poller.forget(target.fd)
        poller.behind(self._close_both)
        self._watch_no_more(session)
        entered = session.entered
        if entered is not None:
            session.entered = None
            entered.leave(self.octets % BLOCK, target.octets % BLOCK)
        session.is_connected = False
        session.end(reason)

    def _close_both(self) -> None:
        target, self.peer = self.peer, None
        assert target is not None
        self.socket.close()
        target.socket.close()
        target.peer = None


class _Judged(Connect):
    """The command where the verdict on the target is known to be no, or awaited."""

    __slots__ = ("_dialling",)

    def __init__(self, session: Any, dialling: Any) -> None:
        super().__init__(session)
        self._dialling = dialling

    @override
    def start(self) -> None:
        self.waiting = waited_for(self._dialling, self)


class MeteredClientEnd(MeteredPassing, ClientEnd):
    """The client's, of a session whose octets are counted."""

    __slots__ = ()

    @override
    def charge(self) -> float:
        meter: ILease = self.receiver.meter
        return meter.moved(BLOCK, 0)
