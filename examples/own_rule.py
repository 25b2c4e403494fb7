"""A SOCKS5 proxy with rules of one's own: only some ports, and not everywhere.

    python examples/own_rule.py PROXY_PORT PORT [PORT ...]

Listens on 127.0.0.1; port 0 is one that is free. Lets clients connect to the ports that are named, as in
``own_rule.py 1080 80 443``, unless the host is called ``something.internal``.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from socks5 import Access, Rules, ServerFactory, Verdict, listen


class PortsOnly(Rules):
    """The rules that hold when nothing else is said, and two more."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports

    def judge(self, access: Access, address: str | None) -> Verdict:
        """Asked for each request, with *address* None, and again for each address behind a name."""
        if access.target.port not in self.ports:
            return Verdict(False, "ports")
        if access.target.text.lower().rstrip(".").endswith(".internal"):
            return Verdict(False, "internal")
        return super().judge(access, address)


async def main(reactor: Any, proxy_port: str, *ports: str) -> None:
    """Listen until it is interrupted."""
    factory = ServerFactory(reactor, rules=PortsOnly(*map(int, ports)))
    port = await listen(reactor, f"tcp:{proxy_port}:interface=127.0.0.1", factory)
    print("proxy", port.getHost())
    await Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
