"""A SOCKS5 proxy that reaches some names through other proxies, one behind the other, and everything else directly.

    python examples/chained_server.py 1080 .corp.example socks5://127.0.0.1:9050 socks5s://alice:secret@proxy.example

The nearest proxy comes first. Names that end so are resolved by the last one; TCP, UDP and BIND go through all of them.
Listens on 127.0.0.1; port 0 is one that is free. Each session is a line, with what it went through.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from zope.interface import implementer

from socks5 import IAccessLog, Rule, Ruleset, ServerFactory, SessionInfo, Upstreams, listen
from socks5.client import Proxy


@implementer(IAccessLog)
class Printed:
    """An access log on the standard output."""

    def write(self, record: SessionInfo) -> None:
        """A session is over."""
        way = f"through the {record.upstream}" if record.upstream else "directly"
        octets = f"{record.bytes_up} octets up, {record.bytes_down} down"
        print(record.command, record.target, way, octets, flush=True)


async def main(reactor: Any, proxy_port: str, names: str, *proxies: str) -> None:
    """Listen until it is interrupted."""
    rules = Ruleset([Rule("inner", "allow", names=[names], via="chain"), Rule("rest", "allow")])
    dialer = Upstreams(reactor, {"chain": Proxy.chain(reactor, proxies)})
    factory = ServerFactory(reactor, rules=rules, dialer=dialer, access_log=Printed())
    port = await listen(reactor, f"tcp:{proxy_port}:interface=127.0.0.1", factory)
    print("proxy", port.getHost())
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
