"""User name and password (RFC 1929) in octets written out by hand; what is the same for every method is in
test_subnegotiation.py.
"""

from collections.abc import Iterator

from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.messages import Credentials
from socks5.protocol.password_negotiation import CredentialsReceived, PasswordSubnegotiation
from socks5.protocol.stages import Stage
from tests.support import negotiations as said
from tests.support.negotiations import USER, USER_OCTETS, Cut, Flow


def received(name: bytes, password: bytes) -> list[object]:
    return [CredentialsReceived(Credentials(name, password))]


# fmt: off
FLOWS = {
    "right": Flow(f"{USER_OCTETS} 05 01", [CredentialsReceived(USER)], "01 00", Stage.LOGGED_IN, b"\5\1"),
    "wrong": Flow("01 04 75736572 05 77726f6e67 05 01", received(b"user", b"wrong"), "01 01"),
    "empty credentials are the caller's to judge": Flow("01 00 00", received(b"", b""), "01 01"),
    "the longest ones": Flow(f"01 ff {'61' * 255} ff {'62' * 255}", received(b"a" * 255, b"b" * 255), "01 01"),
    "a request": Flow(said.ASK, [RemoteProtocolError], ""),
    "not whole": Flow("01 04 75736572 06 7365637265", [], "", Stage.CREDENTIALS),
}
# fmt: on


def judge(machine: PasswordSubnegotiation, event: CredentialsReceived) -> Iterator[bytes]:
    (machine.accept if event.credentials == USER else machine.reject)()
    yield b""


@said.every_flow(FLOWS)
def test_a_flow(flow: Flow, cut: Cut, is_late: bool) -> None:
    pieces = cut(said.octets(flow.client))
    said.check(said.converse(PasswordSubnegotiation(), pieces, judge, is_late), flow)
