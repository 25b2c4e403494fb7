"""User name and password (RFC 1929) in octets written out by hand; what is the same for every method is in
test_subnegotiation.py.
"""

from collections.abc import Iterator, Sequence

import pytest

from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.messages import Credentials
from socks5.protocol.password_negotiation import CredentialsReceived, PasswordSubnegotiation
from socks5.protocol.stages import Stage
from tests.support.negotiations import (
    TARGET_OCTETS,
    USER,
    USER_OCTETS,
    Cut,
    Outcome,
    at_once_or_late,
    converse,
    in_any_cut,
    octets,
)

CHECKED, DUE = Stage.LOGGED_IN, Stage.CREDENTIALS

FLOWS: dict[str, tuple[str, Sequence[object], str, Stage, bytes]] = {
    "right": (f"{USER_OCTETS} 05 01", [CredentialsReceived(USER)], "01 00", CHECKED, b"\5\1"),
    "wrong": (
        "01 04 75736572 05 77726f6e67 05 01",
        [CredentialsReceived(Credentials(b"user", b"wrong"))],
        "01 01",
        Stage.CLOSED,
        b"",
    ),
    "empty credentials are the caller's to judge": (
        "01 00 00",
        [CredentialsReceived(Credentials(b"", b""))],
        "01 01",
        Stage.CLOSED,
        b"",
    ),
    "the longest ones": (
        f"01 ff {'61' * 255} ff {'62' * 255}",
        [CredentialsReceived(Credentials(b"a" * 255, b"b" * 255))],
        "01 01",
        Stage.CLOSED,
        b"",
    ),
    "another version": ("05 04 75736572", [RemoteProtocolError], "", Stage.CLOSED, b""),
    "a request": (f"05 01 00 {TARGET_OCTETS}", [RemoteProtocolError], "", Stage.CLOSED, b""),
    "not whole": ("01 04 75736572 06 7365637265", [], "", DUE, b""),
}


def judge(machine: PasswordSubnegotiation, event: CredentialsReceived) -> Iterator[bytes]:
    (machine.accept if event.credentials == USER else machine.reject)()
    yield b""


@in_any_cut
@at_once_or_late
@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_a_flow(
    flow: tuple[str, Sequence[object], str, Stage, bytes], cut: Cut, is_late: bool
) -> None:
    data, events, output, stage, trailing = flow
    outcome = converse(PasswordSubnegotiation(), cut(octets(data)), judge, is_late)
    assert outcome == Outcome(list(events), octets(output), stage, trailing)
