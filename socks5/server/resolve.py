"""RESOLVE and RESOLVE_PTR: names and addresses of targets, asked for by clients that connect to none.

They are Tor's (its ``socks-extensions.txt``, section 2): the answer stands in BND.ADDR of the reply, with port 0, and
behind the reply the connection ends. Both are off unless :attr:`~socks5.settings.Settings.commands` has them. The rules
are asked about the request, and about each address: one that is not allowed does not appear. Where they send the
request to an upstream, that is asked, if it serves the command, and nobody here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from socks5.access import Reason
from socks5.interfaces import ICommand, ISession
from socks5.outbound.direct import MOST_ADDRESSES, literal_of
from socks5.outbound.judging import Allowed, allowed, known
from socks5.outbound.through import plain
from socks5.outbound.ways import Upstreams
from socks5.protocol.address import Address
from socks5.protocol.errors import (
    AddressTypeNotSupported,
    CommandNotSupported,
    GeneralFailure,
    HostUnreachable,
)
from socks5.protocol.messages import Command, ReplyCode


@implementer(ICommand)
class Resolve:
    """One RESOLVE or RESOLVE_PTR."""

    __slots__ = ("_has_new_rules", "_is_stopped", "_waiting", "session", "upstream")

    bytes_up = bytes_down = dropped = 0
    drops: Mapping[str, int] = {}
    far: Address | None = None

    def __init__(self, session: ISession) -> None:
        self.session = session
        self.upstream = ""
        """The name of the upstream that was asked, or was tried last."""
        self._waiting: Deferred[None] | None = None
        self._has_new_rules = False
        self._is_stopped = False

    def start(self) -> None:
        """See :meth:`socks5.interfaces.ICommand.start`."""
        self._waiting = Deferred.fromCoroutine(self._answer())
        self._waiting.addErrback(self._failed)

    async def _answer(self) -> None:
        session = self.session
        is_of_address = session.access.command == Command.RESOLVE_PTR
        answer = await (self._name() if is_of_address else self._address())
        session.reply(ReplyCode.SUCCEEDED, Address(answer, 0))
        session.end(Reason.ANSWERED)

    async def _address(self) -> str:
        """An address of the request's name, without a zone, which is of use on this host only."""
        session = self.session
        access, family = session.access, session.settings.family
        host = access.target.host
        found: Sequence[str]
        if isinstance(host, bytes):
            via = (await known(session.judge(None))).via
            if via is None:
                found = family.in_order(await session.resolver.resolve(host, access.client))
            else:
                said = plain(await self._said_by(via, access.target))
                if said is None:
                    raise GeneralFailure("the upstream has answered something else")
                found = family.in_order([said.text])
            if not found:
                raise HostUnreachable("the name has no address of a family that is reached")
        else:
            found = (self._literal(),)
        told, _ = await self._allowed(found[:MOST_ADDRESSES])
        return told.partition("%")[0]

    async def _name(self) -> bytes:
        """The name of the request's address."""
        host, client = self._literal(), self.session.access.client
        _, via = await self._allowed((host,))
        name: str | bytes
        if via is None:
            name = await self.session.resolver.name_of(host, client)
        else:
            name = (await self._said_by(via, Address(host, 0))).host
        if isinstance(name, str) or not name:
            raise GeneralFailure("the upstream has answered something else")
        if self._has_new_rules:
            await self._allowed((host,))
        return name

    async def _said_by(self, via: str, target: Address) -> Address:
        """What an upstream says, which is asked instead of anybody here."""
        session = self.session
        dialer: Any = session.dialer
        if not isinstance(dialer, Upstreams):
            raise CommandNotSupported("nobody here asks upstreams")
        through = await dialer.look_up(
            session.access, via, target, settings=session.settings, near=session.near
        )
        self.upstream = through.upstream
        return through.said

    def _literal(self) -> str:
        """The request's address.

        :raises AddressTypeNotSupported: it is of a family that is not used, or a name.
        """
        session = self.session
        literal = literal_of(session.access.target, session.settings.family)
        if literal is None:
            raise AddressTypeNotSupported("this is no address, or of a family that is not reached")
        return literal

    async def _allowed(self, hosts: Sequence[str]) -> tuple[str, str | None]:
        """The first of them that the rules of now allow, and through which upstream it is reached.

        :raises socks5.protocol.errors.ReplyError: there is none.
        """
        session = self.session
        while True:
            self._has_new_rules = False
            asking = allowed(hosts, session.judge, 1, Allowed(session.access, takes_via=True))
            found = await asking if isinstance(asking, Deferred) else asking
            if not self._has_new_rules:
                break
        if not found.hosts:
            raise found.refusal("no address may be told")
        return found.hosts[0], found.via

    def _failed(self, failure: Failure) -> None:
        self.upstream = getattr(failure.value, "upstream", self.upstream)
        if not self._is_stopped:
            self.session.fail(failure)

    # The end

    def client_ended(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.client_ended`. Nobody is there to be told the answer."""
        return False

    def rejudge(self) -> bool:
        """See :meth:`socks5.interfaces.ICommand.rejudge`. What is found is judged by the rules of then."""
        self._has_new_rules = True
        return True

    def stop(self, reason: Reason, within: float) -> None:
        """See :meth:`socks5.interfaces.ICommand.stop`."""
        self._is_stopped = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        self.session.end(reason)
