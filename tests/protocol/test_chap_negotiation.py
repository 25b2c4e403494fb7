"""CHAP in octets written out by hand; what is the same for every method is in test_subnegotiation.py."""

from collections.abc import Iterator

from socks5.protocol.chap_negotiation import CHAPSubnegotiation, ResponseReceived
from socks5.protocol.errors import AuthenticationFailed, RemoteProtocolError
from socks5.protocol.stages import Stage
from tests.support import negotiations as said
from tests.support.negotiations import CHALLENGE, OFFER, OUR_CHALLENGE, RESPONSE, Cut, Flow


def answered(response: bytes, theirs: bytes | None = None) -> list[object]:
    return [ResponseReceived(b"user", CHALLENGE, response, theirs)]


RIGHT, ACCEPTED = answered(b"right"), f"{OUR_CHALLENGE} 01 01 00 01 00"
PROVED = f"{OUR_CHALLENGE} 01 02 04 05 70726f6f66 00 01 00"
GIVEN_UP, WRONG = [AuthenticationFailed], [RemoteProtocolError]
LOGGED_IN = Stage.LOGGED_IN

# fmt: off
FLOWS = {
    "the user with the algorithms": Flow(f"{OFFER} {RESPONSE} {said.HELLO}", RIGHT, ACCEPTED, LOGGED_IN, b"hello"),
    "the user with the response, of several algorithms": Flow(
        "01 01 11 02 0585 01 02 04 05 7269676874 02 04 75736572", RIGHT, ACCEPTED, LOGGED_IN,
    ),
    "the client challenges us beside its response": Flow(
        f"{OFFER} 01 02 04 05 7269676874 03 02 6162", answered(b"right", b"ab"), PROVED, LOGGED_IN,
    ),
    "the client challenges us at once, and with nothing": Flow(
        f"01 03 11 01 85 02 04 75736572 03 00 {RESPONSE}", answered(b"right", b""), PROVED, LOGGED_IN,
    ),
    "attributes that nobody knows, and some without a meaning here": Flow(
        f"01 05 77 01 00 05 05 7574662d38 01 01 21 11 01 85 02 04 75736572 {RESPONSE}", RIGHT, ACCEPTED, LOGGED_IN,
    ),
    "a wrong response": Flow(f"{OFFER} 01 01 04 05 77726f6e67", answered(b"wrong"), f"{OUR_CHALLENGE} 01 01 00 01 01"),
    "plain MD5 alone": Flow("01 01 11 01 05", GIVEN_UP, "01 00"),
    "no algorithm": Flow("01 01 02 04 75736572", GIVEN_UP, "01 00"),
    "nothing at all at once": Flow("01 00", GIVEN_UP, "01 00"),
    "the client gives up": Flow(f"{OFFER} 01 00", GIVEN_UP, OUR_CHALLENGE),
    "no response": Flow(f"{OFFER} 01 01 01 01 21", WRONG, OUR_CHALLENGE),
    "no user": Flow(f"01 01 11 01 85 {RESPONSE}", WRONG, OUR_CHALLENGE),
    "another version": Flow("05 01 00", WRONG, ""),
    "another version of the response": Flow(f"{OFFER} 05 01 00", WRONG, OUR_CHALLENGE),
    "the offer is not whole": Flow("01 02 11 01 85 02 04 7573", [], "", Stage.ALGORITHMS),
    "the response is not whole": Flow(f"{OFFER} 01 01", [], OUR_CHALLENGE, Stage.RESPONSE),
}
# fmt: on


def judge(machine: CHAPSubnegotiation, event: ResponseReceived) -> Iterator[bytes]:
    if event.their_challenge is not None:
        machine.prove(b"proof")
    (machine.accept if event.response == b"right" else machine.reject)()
    yield b""


@said.every_flow(FLOWS)
def test_a_flow(flow: Flow, cut: Cut, is_late: bool) -> None:
    pieces = cut(said.octets(flow.client))
    said.check(said.converse(CHAPSubnegotiation(CHALLENGE), pieces, judge, is_late), flow)


def test_a_part_of_a_message_says_that_the_caller_must_read_on() -> None:
    machine = CHAPSubnegotiation(CHALLENGE)
    machine.receive(said.octets(OFFER))
    assert machine.is_gathering
    machine.receive(said.octets(RESPONSE))
    assert not machine.is_gathering
