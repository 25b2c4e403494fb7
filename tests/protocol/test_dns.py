"""Questions to a name server, and what is read out of its answers."""

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.protocol.dns import (
    MOST_ADDRESSES,
    MOST_ALIASES,
    MOST_POINTERS,
    Answer,
    Kind,
    question,
    read_answer,
    wire_name,
)
from tests.support.nameserver import AAAA, CNAME, SOA, A, message, record

NAME = wire_name("www.example.org")
ASKED = question(0x1234, NAME, Kind.A)
OTHER = wire_name("edge.example.net")


HOST, LAST = "192.0.2.1", wire_name("last.example")
NS = record(OTHER, 2, OTHER)
POINTER = b"\xc0\x0c"


def to_it(*records: bytes, then: list[bytes] | None = None, **more: Any) -> bytes:
    """An answer with these records, and these in its second part."""
    return message(ASKED, [*records], then, **more)


def test_a_question_is_one_that_wants_recursion() -> None:
    assert wire_name("WWW.example.org.") == NAME
    octets = "1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 036f7267 00 0001 0001"
    assert bytes.fromhex(octets) == ASKED
    assert question(0, NAME, Kind.AAAA).endswith(bytes.fromhex("001c 0001"))


@pytest.mark.parametrize(
    ("sent", "host"), [("2001:db8::1", "2001:db8::1"), ("::ffff:192.0.2.1", "192.0.2.1")]
)
def test_an_ipv6_address(sent: str, host: str) -> None:
    asked = question(1, NAME, Kind.AAAA)
    assert read_answer(message(asked, [AAAA(NAME, sent)]), asked) == Answer(0, False, (host,), 300)


UPPER = to_it(A(POINTER, HOST)).replace(NAME, NAME.upper())
STRANGER = A(wire_name("stranger.example"), "192.0.2.66", 1)
ANSWERS = {
    "a name in another case, and compressed": (UPPER, Answer(0, False, (HOST,), 300)),
    "addresses in the server's order, the shortest lifetime": (
        to_it(A(NAME, "192.0.2.2", 60), A(NAME, HOST, 30)),
        Answer(0, False, ("192.0.2.2", HOST), 30),
    ),
    "a lifetime with the sign bit": (
        to_it(A(NAME, HOST, 0x80000001)),
        Answer(0, False, (HOST,), 0),
    ),
    "aliases in whatever order, beside a stranger": (
        to_it(A(LAST, HOST, 300), CNAME(OTHER, LAST, 20), CNAME(NAME, OTHER, 40), STRANGER),
        Answer(0, False, (HOST,), 20),
    ),
    "an alias to be asked for": (to_it(CNAME(NAME, OTHER)), Answer(0, alias=OTHER)),
    "an alias to nothing": (
        to_it(CNAME(NAME, OTHER), then=[SOA(OTHER, 900, 60)]),
        Answer(0, lifetime=60),
    ),
    "an alias to no name": (to_it(CNAME(NAME, OTHER), code=3), Answer(3)),
    "a circle of aliases": (to_it(CNAME(NAME, OTHER), CNAME(OTHER, NAME)), Answer(0, alias=NAME)),
    "a denial, as long as its record": (
        to_it(then=[SOA(OTHER, 60, 900)]),
        Answer(0, lifetime=60),
    ),
    "a denial of the name, as long as that says": (
        to_it(then=[SOA(OTHER, 900, 60)], code=3),
        Answer(3, lifetime=60),
    ),
    "a referral": (to_it(then=[NS], flags=0x8100), Answer(0, is_referral=True)),
    "no referral: recursion": (to_it(then=[NS], flags=0x8180), Answer(0)),
    "no referral: authority": (to_it(then=[NS], flags=0x8500), Answer(0)),
    "no referral: no such name": (to_it(then=[NS], flags=0x8103), Answer(3)),
    "no referral: a denial": (
        to_it(then=[NS, SOA(OTHER, 900, 60)], flags=0x8100),
        Answer(0, lifetime=60),
    ),
    "no referral: nobody": (to_it(flags=0x8100), Answer(0)),
    "other records": (
        to_it(
            record(NAME, 46, b"signature"),
            record(NAME, 1, b"\x01\x02\x03\x04", network=3),
            AAAA(NAME, "::1"),
            then=[NS],
        ),
        Answer(0),
    ),
    "one that is cut": (to_it(A(NAME, HOST), flags=0x8380)[:-3], Answer(0, is_truncated=True)),
    "a refusal without the question": (struct.pack("!6H", 0x1234, 0x8001, 0, 0, 0, 0), Answer(1)),
}


@pytest.mark.parametrize(("octets", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_read(octets: bytes, answer: Answer | None) -> None:
    assert read_answer(octets, ASKED) == answer


def test_a_chain_is_followed_only_so_far_and_of_many_addresses_some_are_enough() -> None:
    for length in (MOST_ALIASES, MOST_ALIASES + 1):
        names = [NAME, *(wire_name(f"alias{number}") for number in range(length))]
        chain = [CNAME(*pair) for pair in pairwise(names)]
        answer = read_answer(to_it(*chain, *[A(names[-1], HOST)] * 3000), ASKED)
        assert answer is not None
        assert len(answer.hosts) == (MOST_ADDRESSES if length == MOST_ALIASES else 0)


@pytest.mark.parametrize(
    "octets",
    [
        # another question's
        b"",
        bytes(11),
        ASKED,
        message(question(0x1235, NAME, Kind.A), [A(NAME, HOST)]),
        message(question(0x1234, OTHER, Kind.A), [A(OTHER, HOST)]),
        message(question(0x1234, NAME, Kind.AAAA), [AAAA(NAME, "::1")]),
        to_it(A(NAME, HOST), flags=0x9180),  # another operation
        to_it(A(NAME, HOST))[: len(ASKED) - 1],
        struct.pack("!6H", 0x1234, 0x8003, 0, 0, 0, 0),  # a denial without the question
        # malformed
        to_it(A(NAME, HOST))[:-1],
        to_it(record(NAME, 1, b"\x7f\x00\x01")),
        to_it(record(b"\x40" + NAME, 1, bytes(4))),
        to_it(record(b"\xc0" + bytes([len(ASKED)]), 1, bytes(4))),  # itself
        to_it(record((b"\x3f" + b"a" * 63) * 4 + b"\0", 1, bytes(4))),
        to_it(record(b"\xff\xff", 1, bytes(4))),
        to_it(b"\x03abc"),
        to_it(NAME + b"\0\1"),
        to_it(then=[record(NAME, 6, b"")])[: len(ASKED) + len(NAME)],
    ],
)
def test_what_answers_another_question_or_is_malformed_is_no_answer(octets: bytes) -> None:
    assert read_answer(octets, ASKED) is None


@pytest.mark.parametrize("pointers", [MOST_POINTERS, MOST_POINTERS + 1])
def test_a_name_may_jump_only_so_often(pointers: int) -> None:
    """Each pointer leads to the one before it, the first to the question's name."""
    start = len(ASKED) + len(NAME) + 10
    places = range(0xC000 | start, (0xC000 | start) + 2 * (pointers - 1), 2)
    *chain, owner = (place.to_bytes(2, "big") for place in places)
    octets = to_it(record(NAME, 99, b"".join([POINTER, *chain])), A(owner, HOST))
    assert (read_answer(octets, ASKED) is None) == (pointers > MOST_POINTERS)


@given(st.binary(max_size=600))
def test_any_octets_are_an_answer_or_none(octets: bytes) -> None:
    for head in (b"", ASKED[:2] + b"\x81\x80" + struct.pack("!4H", 1, 3, 2, 0) + ASKED[12:]):
        answer: Any = read_answer(head + octets, ASKED)
        assert answer is None or len(answer.hosts) <= MOST_ADDRESSES
