"""A program with a proxy in it, for the cost of rules of one's own.

``python -m benchmarks.embedded PORT [rule]`` serves 127.0.0.1 until it is ended, on the reactor that the command line
has, with the rules that hold when nothing else is said, or with one more.
"""

from __future__ import annotations

import sys

from typing_extensions import override

from socks5 import Access, Rules, ServerFactory, Verdict, listen
from socks5.net.reactor import install


class OwnRule(Rules):
    """As in ``examples/own_rule.py``: by port, and by the target's name."""

    @override
    def judge(self, access: Access, address: str | None) -> Verdict:
        """Let everybody reach all but mail, and nobody what is called ``something.internal``."""
        if access.target.port == 25:
            return Verdict(False, "ports")
        if access.target.text.lower().rstrip(".").endswith(".internal"):
            return Verdict(False, "internal")
        return super().judge(access, address)


def main(port: str, *words: str) -> None:
    """Serve."""
    install()
    from twisted.internet import reactor

    factory = ServerFactory(reactor, rules=OwnRule() if words else Rules())
    listen(reactor, f"tcp:{port}:interface=127.0.0.1", factory)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
