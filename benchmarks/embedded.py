"""A program with a proxy in it, for the cost of rules of one's own and of limits.

``python -m benchmarks.embedded PORT [rule|sessions|rates|OCTETS]`` serves 127.0.0.1 until it is ended, on the reactor
that the command line has: with the rules that hold when nothing else is said, or with one more; under limits of
sessions, or of rates, that nobody reaches; or with so many octets a second down, for all.
"""

from __future__ import annotations

import sys

from typing_extensions import override

from socks5 import Access, Limit, Limits, Rules, ServerFactory, Verdict, listen
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


SESSIONS = [
    Limit("uplink", sessions=10**6),
    Limit("client", per="client", sessions=10**6, new_sessions=(10**7, 1.0)),
    Limit("session", per="session"),
]
RATES = [
    Limit("uplink", total=1e12),
    Limit("client", per="client", down=1e12, up=1e12),
    Limit("session", per="session", down=1e12, up=1e12),
]
"""Three counters each, that nobody reaches."""


def limits_of(word: str) -> Limits | None:
    """What the program's word asks for."""
    found = {"": [], "rule": [], "sessions": SESSIONS, "rates": RATES}.get(word)
    if found is None:
        found = [Limit("reached", down=float(word))]
    return Limits(found, server=[each.name for each in found]) if found else None


def main(port: str, word: str = "") -> None:
    """Serve."""
    install()
    from twisted.internet import reactor

    rules = OwnRule() if word == "rule" else Rules()
    factory = ServerFactory(reactor, rules=rules, limits=limits_of(word))
    listen(reactor, f"tcp:{port}:interface=127.0.0.1", factory)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
