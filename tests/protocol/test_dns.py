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


def test_a_question_is_one_that_wants_recursion() -> None:
    assert wire_name("WWW.example.org.") == NAME
    assert (
        bytes.fromhex(
            "1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 036f7267 00 0001 0001"
        )
        == ASKED
    )
    assert question(0, NAME, Kind.AAAA).endswith(bytes.fromhex("001c 0001"))


@pytest.mark.parametrize(
    ("sent", "host"), [("2001:db8::1", "2001:db8::1"), ("::ffff:192.0.2.1", "192.0.2.1")]
)
def test_an_ipv6_address(sent: str, host: str) -> None:
    asked = question(1, NAME, Kind.AAAA)
    octets = message(asked, [AAAA(NAME, sent)])
    assert read_answer(octets, asked).hosts == (host,)  # type: ignore[union-attr]


def test_names_are_compared_whatever_their_case_and_compression() -> None:
    pointer = b"\xc0\x0c"
    octets = bytearray(message(ASKED, [A(pointer, "192.0.2.1")]))
    octets[12 : len(ASKED) - 4] = NAME.upper()
    assert read_answer(bytes(octets), ASKED).hosts == ("192.0.2.1",)  # type: ignore[union-attr]


HOST, LAST = "192.0.2.1", wire_name("last.example")
NS = record(OTHER, 2, OTHER)

ANSWERS = {
    "addresses in the server's order, the shortest lifetime": (
        message(ASKED, [A(NAME, "192.0.2.2", 60), A(NAME, HOST, 30)]),
        Answer(0, False, ("192.0.2.2", HOST), 30),
    ),
    "a lifetime with the sign bit": (
        message(ASKED, [A(NAME, HOST, 0x80000001)]),
        Answer(0, False, (HOST,), 0),
    ),
    "aliases in whatever order, beside a stranger": (
        message(
            ASKED,
            [
                A(LAST, HOST, 300),
                CNAME(OTHER, LAST, 20),
                CNAME(NAME, OTHER, 40),
                A(wire_name("stranger.example"), "192.0.2.66", 1),
            ],
        ),
        Answer(0, False, (HOST,), 20),
    ),
    "an alias to be asked for": (message(ASKED, [CNAME(NAME, OTHER)]), Answer(0, alias=OTHER)),
    "an alias to nothing": (
        message(ASKED, [CNAME(NAME, OTHER)], [SOA(OTHER, 900, 60)]),
        Answer(0, lifetime=60),
    ),
    "an alias to no name": (message(ASKED, [CNAME(NAME, OTHER)], code=3), Answer(3)),
    "a circle of aliases": (
        message(ASKED, [CNAME(NAME, OTHER), CNAME(OTHER, NAME)]),
        Answer(0, alias=NAME),
    ),
    "a denial, as long as its record": (
        message(ASKED, [], [SOA(OTHER, 60, 900)]),
        Answer(0, lifetime=60),
    ),
    "a denial of the name, as long as that says": (
        message(ASKED, [], [SOA(OTHER, 900, 60)], code=3),
        Answer(3, lifetime=60),
    ),
    "a referral": (message(ASKED, [], [NS], flags=0x8100), Answer(0, is_referral=True)),
    "no referral: recursion": (message(ASKED, [], [NS], flags=0x8180), Answer(0)),
    "no referral: authority": (message(ASKED, [], [NS], flags=0x8500), Answer(0)),
    "no referral: no such name": (message(ASKED, [], [NS], flags=0x8103), Answer(3)),
    "no referral: a denial": (
        message(ASKED, [], [NS, SOA(OTHER, 900, 60)], flags=0x8100),
        Answer(0, lifetime=60),
    ),
    "no referral: nobody": (message(ASKED, [], flags=0x8100), Answer(0)),
    "other records": (
        message(
            ASKED,
            [
                record(NAME, 46, b"signature"),
                record(NAME, 1, b"\x01\x02\x03\x04", network=3),
                AAAA(NAME, "::1"),
            ],
            [NS],
        ),
        Answer(0),
    ),
    "one that is cut": (
        message(ASKED, [A(NAME, HOST)], flags=0x8380)[:-3],
        Answer(0, is_truncated=True),
    ),
    "a refusal without the question": (struct.pack("!6H", 0x1234, 0x8001, 0, 0, 0, 0), Answer(1)),
    "a denial without the question": (struct.pack("!6H", 0x1234, 0x8003, 0, 0, 0, 0), None),
}


@pytest.mark.parametrize(("octets", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_read(octets: bytes, answer: Answer | None) -> None:
    assert read_answer(octets, ASKED) == answer


@pytest.mark.parametrize("length", [MOST_ALIASES, MOST_ALIASES + 1])
def test_a_chain_is_followed_only_so_far(length: int) -> None:
    names = [NAME, *(wire_name(f"alias{number}") for number in range(length))]
    chain = [CNAME(*pair) for pair in pairwise(names)]
    answer = read_answer(message(ASKED, [*chain, A(names[-1], "192.0.2.1")]), ASKED)
    assert answer is not None
    assert bool(answer.hosts) == (length == MOST_ALIASES)


def test_of_many_addresses_some_are_enough() -> None:
    records = [A(b"\xc0\x0c", f"192.0.2.{number % 256}") for number in range(3000)]
    answer = read_answer(message(ASKED, records), ASKED)
    assert answer is not None
    assert len(answer.hosts) == MOST_ADDRESSES


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        bytes(11),
        ASKED,
        message(question(0x1235, NAME, Kind.A), [A(NAME, "192.0.2.1")]),
        message(question(0x1234, OTHER, Kind.A), [A(OTHER, "192.0.2.1")]),
        message(question(0x1234, NAME, Kind.AAAA), [AAAA(NAME, "::1")]),
        message(ASKED, [A(NAME, "192.0.2.1")], flags=0x9180),  # another operation
        message(ASKED, [A(NAME, "192.0.2.1")])[: len(ASKED) - 1],
    ],
)
def test_what_answers_another_question_is_no_answer(octets: bytes) -> None:
    assert read_answer(octets, ASKED) is None


@pytest.mark.parametrize(
    "octets",
    [
        message(ASKED, [A(NAME, "192.0.2.1")])[:-1],
        message(ASKED, [record(NAME, 1, b"\x7f\x00\x01")]),
        message(ASKED, [record(b"\x40" + NAME, 1, bytes(4))]),
        message(ASKED, [record(b"\xc0" + bytes([len(ASKED)]), 1, bytes(4))]),  # itself
        message(ASKED, [record((b"\x3f" + b"a" * 63) * 4 + b"\0", 1, bytes(4))]),
        message(ASKED, [record(b"\xff\xff", 1, bytes(4))]),
        message(ASKED, [b"\x03abc"]),
        message(ASKED, [NAME + b"\0\1"]),
        message(ASKED, [], [record(NAME, 6, b"")])[: len(ASKED) + len(NAME)],
    ],
)
def test_what_is_malformed_is_no_answer(octets: bytes) -> None:
    assert read_answer(octets, ASKED) is None


@pytest.mark.parametrize("pointers", [MOST_POINTERS, MOST_POINTERS + 1])
def test_a_name_may_jump_only_so_often(pointers: int) -> None:
    """Each pointer leads to the one before it, the first to the question's name."""
    start = len(ASKED) + len(NAME) + 10
    chain = b"\xc0\x0c" + b"".join(
        (0xC000 | start + 2 * number).to_bytes(2, "big") for number in range(pointers - 2)
    )
    owner = (0xC000 | start + 2 * (pointers - 2)).to_bytes(2, "big")
    octets = message(ASKED, [record(NAME, 99, chain), A(owner, "192.0.2.1")])
    answer = read_answer(octets, ASKED)
    assert (answer is None) == (pointers > MOST_POINTERS)


@given(st.binary(max_size=600))
def test_any_octets_are_an_answer_or_none(octets: bytes) -> None:
    for head in (b"", ASKED[:2] + b"\x81\x80" + struct.pack("!4H", 1, 3, 2, 0) + ASKED[12:]):
        answer: Any = read_answer(head + octets, ASKED)
        assert answer is None or len(answer.hosts) <= MOST_ADDRESSES
