"""``python -m benchmarks.micro``: what the parts cost that move no octets, in µs for an operation.

The negotiation machine, the datagram codec and the rules, timed with :mod:`timeit`: the best of some repetitions,
because everything else that the machine does can only make a repetition slower.
"""

from __future__ import annotations

import argparse
import sys
import timeit
from collections.abc import Callable, Sequence
from functools import cache

from benchmarks.report import aligned
from socks5.access import Access
from socks5.auth import User
from socks5.policy.rules import Rules
from socks5.policy.ruleset import Rule, Ruleset
from socks5.protocol.address import Address
from socks5.protocol.client_negotiation import ClientNegotiation
from socks5.protocol.datagram import Datagram, Reassembler
from socks5.protocol.messages import Command, Credentials, Method, ReplyCode, Request
from socks5.protocol.password_negotiation import PasswordSubnegotiation
from socks5.protocol.server_negotiation import ServerNegotiation

REPEAT = 5
TARGET = Address("192.0.2.1", 443)
NAME = Address(b"www.example.org", 443)
GREETING = b"\x05\x01\x00"
GREETING_WITH_PASSWORD = b"\x05\x02\x00\x02"
CREDENTIALS = Credentials(b"alice", b"secret").encode()
REQUEST = Request(Command.CONNECT, TARGET).encode()
REQUEST_BY_NAME = Request(Command.CONNECT, NAME).encode()
PAYLOAD = bytes(1200)
DATAGRAM = Datagram(TARGET, PAYLOAD)
DATAGRAM_OCTETS = DATAGRAM.encode()
DATAGRAM_BY_NAME = Datagram(NAME, PAYLOAD).encode()
FRAGMENTS = (Datagram(TARGET, PAYLOAD, 1), Datagram(TARGET, PAYLOAD, 0x82))


def _serve(*parts: bytes) -> None:
    """A server's half from the first octet to the reply, without authentication."""
    machine = ServerNegotiation()
    for part in parts:
        machine.receive(part)
        machine.take_output()
    machine.reply(ReplyCode.SUCCEEDED, TARGET)
    machine.take_output()


def _serve_octet_by_octet() -> None:
    _serve(*(bytes((octet,)) for octet in GREETING + REQUEST))


def _serve_with_password() -> None:
    machine = ServerNegotiation({Method.USERNAME_PASSWORD: PasswordSubnegotiation})
    machine.receive(GREETING_WITH_PASSWORD)
    machine.receive(CREDENTIALS)
    assert machine.subnegotiation is not None
    machine.subnegotiation.accept()
    machine.receive(machine.logged_in() + REQUEST)
    machine.reply(ReplyCode.SUCCEEDED, TARGET)
    machine.take_output()


def _ask() -> None:
    machine = ClientNegotiation(Request(Command.CONNECT, TARGET))
    machine.take_output()
    machine.receive(b"\x05\x00")
    machine.take_output()
    machine.receive(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38")


def _reassemble() -> None:
    reassembler = Reassembler()
    for fragment in FRAGMENTS:
        reassembler.receive(fragment)


MANY = 10_000
"""Rules, or entries of a set."""

ACCESS = Access(
    "198.51.100.7", "203.0.113.1", User("u8"), Command.CONNECT, Address(b"www.d9.example", 443)
)


def _rule(number: int) -> Rule:
    """One of many that differ in what they are found by."""
    network, name = f"10.{number >> 8 & 255}.{number & 255}.0/24", f".d{number}.example"
    return (
        Rule(f"r{number}", "deny", users=[f"u{number}"], ports=[25]),
        Rule(f"r{number}", "allow", groups=[f"g{number}"], names=[name]),
        Rule(f"r{number}", "deny", networks=[network]),
        Rule(f"r{number}", "allow", names=[name], networks=["@public"]),
    )[number % 4]


@cache
def many_rules() -> Ruleset:
    """So many rules."""
    return Ruleset(map(_rule, range(MANY)))


@cache
def few_rules() -> Ruleset:
    """As many as a file has that people write."""
    return Ruleset(map(_rule, range(8)))


@cache
def many_entries() -> Ruleset:
    """A rule on so many networks, and one on so many names."""
    networks = [
        f"{100 + number // 6000}.{number >> 8 & 255}.{number & 255}.0/25" for number in range(MANY)
    ]
    names = [f".d{number}.ads.example" for number in range(MANY)]
    rules = [
        Rule("networks", "deny", networks=["@many"]),
        Rule("names", "deny", names=["@many"]),
        Rule("rest", "allow"),
    ]
    return Ruleset(rules, networks={"many": networks}, names={"many": names})


def _walked(count: int) -> Callable[[], object]:
    """So many rules that nothing is found by."""

    @cache
    def made() -> Ruleset:
        rules = [Rule(f"r{number}", "deny", commands=["bind"]) for number in range(count)]
        return Ruleset([*rules, Rule("rest", "allow")])

    return lambda: made().judge(ACCESS, "1.1.1.1")


BUILT_IN = Rules()

OPERATIONS: dict[str, Callable[[], object]] = {
    "server, greeting and request": lambda: _serve(GREETING, REQUEST),
    "server, both in one segment": lambda: _serve(GREETING + REQUEST),
    "server, octet by octet": _serve_octet_by_octet,
    "server, request by name": lambda: _serve(GREETING, REQUEST_BY_NAME),
    "server, with password": _serve_with_password,
    "client": _ask,
    "datagram decode, IPv4": lambda: Datagram.decode(DATAGRAM_OCTETS),
    "datagram decode, name": lambda: Datagram.decode(DATAGRAM_BY_NAME),
    "datagram encode, IPv4": DATAGRAM.encode,
    "reassemble two fragments": _reassemble,
    "verdict, built-in rules": lambda: BUILT_IN.judge(ACCESS, "1.1.1.1"),
    "verdict, 8 rules": lambda: few_rules().judge(ACCESS, "1.1.1.1"),
    f"verdict, {MANY} rules": lambda: many_rules().judge(ACCESS, "1.1.1.1"),
    f"verdict, {MANY} rules, before the address": lambda: many_rules().judge(ACCESS, None),
    f"verdict, sets of {MANY}": lambda: many_entries().judge(ACCESS, "1.1.1.1"),
    "verdict, 100 rules that are walked": _walked(100),
}
"""What is timed, by what it is called."""


def microseconds(operation: Callable[[], object], seconds: float) -> float:
    """What an operation takes, but for what it makes once.

    :param seconds: for all repetitions together, about.
    """
    operation()
    timer = timeit.Timer(operation)
    count = 1
    while (once := timer.timeit(count)) < seconds / REPEAT / 10:
        count *= 2
    count = max(1, int(count * seconds / REPEAT / once))
    return min(timer.repeat(REPEAT, count)) / count * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all of them and print a table."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    options.add_argument("--seconds", type=float, default=0.5, help="for each (%(default)s)")
    seconds = options.parse_args(arguments).seconds
    lines = [["operation", "µs"]]
    lines += [[name, f"{microseconds(each, seconds):.2f}"] for name, each in OPERATIONS.items()]
    sys.stdout.write(aligned(lines) + "\n")


if __name__ == "__main__":
    main()
