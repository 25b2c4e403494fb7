"""UDP ASSOCIATE (RFC 1928 sections 4 and 7): datagrams between one client and any number of targets.

.. code-block:: text

    client <-> ClientDatagrams <-> IDatagrams (of the session's dialer) <-> targets

Here is when an association begins and ends: with its control connection, after a silence, or when it is stopped. What
cannot be understood, allowed or sent is dropped and counted by the two sides; nothing that a datagram holds or causes
ends the association.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import Reason
from socks5.deadlines import IdleTimer
from socks5.interfaces import ICommand, IDatagrams, ISession
from socks5.net.datagram_turns import turns_of
from socks5.outbound.targets import looks_in
from socks5.outbound.ways import Upstreams
from socks5.protocol.errors import NotAllowed
from socks5.protocol.messages import ReplyCode
from socks5.server.client_datagrams import ClientDatagrams
from socks5.server.metered_datagrams import MeteredDatagrams
from socks5.streams import IStreamReceiver


@implementer(IStreamReceiver)
class _Control:
    """The control connection while the association lasts: octets mean nothing, its end is the
    end.
    """

    def __init__(self, session: ISession) -> None:
        self._session = session

    def dataReceived(self, data: bytes) -> None:
        """RFC 1928 gives octets here no meaning: dropped."""

    def readConnectionLost(self) -> None:
        self._session.end(Reason.CLIENT_CLOSED)

    def connectionLost(self, reason: Failure) -> None:
        is_orderly = reason.check(ConnectionDone)
        self._session.end(Reason.CLIENT_CLOSED if is_orderly else Reason.CLIENT_RESET)


@implementer(ICommand)
class Associate:
    """One UDP association."""

    far = None
    """It is connected to nobody."""

    def __init__(self, session: ISession) -> None:
        self._session = session
        share = turns_of(session.reactor).share_of(session.client_host)
        self._budget = share.budget
        meter = session.meter_of_datagrams
        self._client = (
            ClientDatagrams(session, share)
            if meter is None
            else MeteredDatagrams(session, share, meter)
        )
        self._targets: IDatagrams | None = None
        self.upstream = ""
        """The names of the upstreams that datagrams went through, or that were tried for them, once it is over."""
        self._idle: IdleTimer | None = None

    @property
    def bytes_up(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return self._client.bytes_up

    @property
    def bytes_down(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return self._client.bytes_down

    @property
    def dropped(self) -> int:
        """See :class:`socks5.interfaces.ICommand`."""
        return self._client.dropped_in_all

    @property
    def drops(self) -> Mapping[str, int]:
        """See :class:`socks5.interfaces.ICommand`."""
        return self._client.drops

    @property
    def denied(self) -> Mapping[str, int]:
        """How many datagrams which rule has dropped."""
        return self._client.denied

    def start(self) -> None:
        """See :meth:`socks5.interfaces.ICommand.start`."""
        session = self._session
        if self._budget.associations >= session.settings.associations_per_client:
            session.fail(Failure(NotAllowed("too many associations of this client")))
            return
        try:
            bound = self._client.open()
        except CannotListenError:
            session.fail(Failure())
            return
        self._begin()
        session.reply(ReplyCode.SUCCEEDED, bound)
        session.take_optimistic()
        session.control.receiver = _Control(session)
        if session.has_client_ended:
            session.end(Reason.CLIENT_CLOSED)

    def _begin(self) -> None:
        session, client = self._session, self._client
        self._targets = session.dialer.open_datagrams(
            session.access, session.judge, client, settings=session.settings, near=session.near
        )
        client.join(self._targets)
        session.counters.open_associations[session.client_host] += 1
        self._budget.associations += 1
        seconds = session.settings.udp_idle_timeout
        self._idle = session.idle_timers.start(
            seconds, self._look, lambda: session.end(Reason.IDLE), looks_in(seconds)
        )

    def _look(self) -> int:
        """A part of the time is over after which silence ends the association.

        :returns: what changes with every sign of life.
        """
        self._client.count_lost()
        return self._client.signs

    def client_ended(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.client_ended`. An association ends with its control
        connection.
        """
        return False

    def rejudge(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.rejudge`. The next datagram is judged anew."""
        targets, dialer = self._targets, self._session.dialer
        if targets is not None:
            if isinstance(dialer, Upstreams):
                dialer.lead(targets)
            targets.rejudge()
        return True

    def stop(self, reason: Reason, within: float) -> None:
        """See :meth:`socks5.interfaces.ICommand.stop`."""
        self._client.close()
        targets, self._targets = self._targets, None
        if targets is not None:
            self.upstream = getattr(targets, "upstream", "")
            targets.close()
            self._end_count()
        if self._idle is not None:
            self._idle.stop()
        self._session.end(reason)

    def _end_count(self) -> None:
        self._budget.associations -= 1
        counts, host = self._session.counters.open_associations, self._session.client_host
        counts[host] -= 1
        if not counts[host]:
            del counts[host]
