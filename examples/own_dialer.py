"""A SOCKS5 proxy that reaches one name by a UNIX socket, and everything else directly: a dialer of one's own.

    python examples/own_dialer.py 1080 database.example /run/postgresql/.s.PGSQL.5432

Listens on 127.0.0.1; port 0 is one that is free. The name is never looked up: a CONNECT to it goes to the socket,
whatever the port; a BIND is refused, and datagrams are dropped.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import react

from socks5 import (
    Access,
    Address,
    DirectDialer,
    IDatagramReceiver,
    IDatagrams,
    IPeerPort,
    IStream,
    Judge,
    ReplyCode,
    ReplyError,
    Resolver,
    ServerFactory,
    Stream,
    Verdict,
    listen,
)


class OneSocket(DirectDialer):
    """The usual dialer, but for one name."""

    def __init__(self, reactor: Any, name: str, path: str) -> None:
        super().__init__(reactor, Resolver(reactor))
        self.name = name
        self.endpoint = UNIXClientEndpoint(reactor, path)

    def leads_there(self, target: Address) -> bool:
        """Whether it is the name, however that is written."""
        return target.text.lower().rstrip(".") == self.name

    def dial(
        self, access: Access, target: Address, judge: Judge, **circumstances: Any
    ) -> Deferred[IStream]:
        """CONNECT. The request has been judged, and there is no address to judge."""
        if not self.leads_there(target):
            return super().dial(access, target, judge, **circumstances)
        stream: Deferred[IStream] = self.endpoint.connect(Factory.forProtocol(Stream))
        return stream

    def await_peer(
        self, access: Access, expected: Address, judge: Judge, **circumstances: Any
    ) -> Deferred[IPeerPort]:
        """BIND."""
        if not self.leads_there(expected):
            return super().await_peer(access, expected, judge, **circumstances)
        return fail(ReplyError("nobody comes from there", ReplyCode.HOST_UNREACHABLE))

    def open_datagrams(
        self, access: Access, judge: Judge, receiver: IDatagramReceiver, **circumstances: Any
    ) -> IDatagrams:
        """UDP ASSOCIATE. Each datagram's target is judged before its name is looked up."""

        def judge_others(address: str | None, target: Address) -> Verdict | Deferred[Verdict]:
            return Verdict(False) if self.leads_there(target) else judge(address, target)

        return super().open_datagrams(access, judge_others, receiver, **circumstances)


async def main(reactor: Any, proxy_port: str, name: str, path: str) -> None:
    """Listen until it is interrupted."""
    factory = ServerFactory(reactor, dialer=OneSocket(reactor, name, path))
    port = await listen(reactor, f"tcp:{proxy_port}:interface=127.0.0.1", factory)
    print("proxy", port.getHost())
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
