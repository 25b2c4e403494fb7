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


def test_addresses_come_in_the_server_s_order_with_the_shortest_lifetime() -> None:
    octets = message(ASKED, [A(NAME, "192.0.2.2", 60), A(NAME, "192.0.2.1", 30)])
    assert read_answer(octets, ASKED) == Answer(0, False, ("192.0.2.2", "192.0.2.1"), 30)


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


def test_aliases_are_followed_in_whatever_order_they_come() -> None:
    last = wire_name("last.example")
    records = [
        A(last, "192.0.2.1", 300),
        CNAME(OTHER, last, 20),
        CNAME(NAME, OTHER, 40),
        A(wire_name("stranger.example"), "192.0.2.66", 1),
    ]
    assert read_answer(message(ASKED, records), ASKED) == Answer(0, False, ("192.0.2.1",), 20)


def test_a_chain_that_the_server_has_not_followed_is_to_be_asked_on() -> None:
    octets = message(ASKED, [CNAME(NAME, OTHER)])
    assert read_answer(octets, ASKED) == Answer(0, alias=OTHER)


def test_a_chain_to_nothing_is_a_denial() -> None:
    octets = message(ASKED, [CNAME(NAME, OTHER)], [SOA(OTHER, 900, 60)])
    assert read_answer(octets, ASKED) == Answer(0, lifetime=60)
    octets = message(ASKED, [CNAME(NAME, OTHER)], code=3)
    assert read_answer(octets, ASKED) == Answer(3)


@pytest.mark.parametrize("length", [MOST_ALIASES, MOST_ALIASES + 1])
def test_a_chain_is_followed_only_so_far(length: int) -> None:
    names = [NAME, *(wire_name(f"alias{number}") for number in range(length))]
    chain = [CNAME(*pair) for pair in pairwise(names)]
    answer = read_answer(message(ASKED, [*chain, A(names[-1], "192.0.2.1")]), ASKED)
    assert answer is not None
    assert bool(answer.hosts) == (length == MOST_ALIASES)


def test_a_circle_of_aliases_ends() -> None:
    octets = message(ASKED, [CNAME(NAME, OTHER), CNAME(OTHER, NAME)])
    assert read_answer(octets, ASKED) == Answer(0, alias=NAME)


@pytest.mark.parametrize(("lifetime", "minimum", "seconds"), [(900, 60, 60), (60, 900, 60)])
@pytest.mark.parametrize("code", [0, 3])
def test_a_denial_says_how_long(code: int, lifetime: int, minimum: int, seconds: int) -> None:
    octets = message(ASKED, [], [SOA(OTHER, lifetime, minimum)], code=code)
    assert read_answer(octets, ASKED) == Answer(code, lifetime=seconds)


@pytest.mark.parametrize(
    ("flags", "authorities", "answer"),
    [
        (0x8100, [record(OTHER, 2, OTHER)], Answer(0, is_referral=True)),
        (0x8180, [record(OTHER, 2, OTHER)], Answer(0)),
        (0x8500, [record(OTHER, 2, OTHER)], Answer(0)),
        (0x8103, [record(OTHER, 2, OTHER)], Answer(3)),
        (0x8100, [record(OTHER, 2, OTHER), SOA(OTHER, 900, 60)], Answer(0, lifetime=60)),
        (0x8100, [], Answer(0)),
    ],
)
def test_a_referral_to_other_servers_is_no_denial(
    flags: int, authorities: list[bytes], answer: Answer
) -> None:
    assert read_answer(message(ASKED, [], authorities, flags=flags), ASKED) == answer


def test_other_records_say_nothing() -> None:
    records = [
        record(NAME, 46, b"signature"),
        record(NAME, 1, b"\x01\x02\x03\x04", network=3),
        AAAA(NAME, "::1"),
    ]
    octets = message(ASKED, records, [record(OTHER, 2, OTHER)])
    assert read_answer(octets, ASKED) == Answer(0)


def test_a_lifetime_with_the_sign_bit_is_none() -> None:
    octets = message(ASKED, [A(NAME, "192.0.2.1", 0x80000001)])
    assert read_answer(octets, ASKED).lifetime == 0  # type: ignore[union-attr]


def test_of_many_addresses_some_are_enough() -> None:
    records = [A(b"\xc0\x0c", f"192.0.2.{number % 256}") for number in range(3000)]
    answer = read_answer(message(ASKED, records), ASKED)
    assert answer is not None
    assert len(answer.hosts) == MOST_ADDRESSES


def test_an_answer_that_is_cut_says_that() -> None:
    octets = message(ASKED, [A(NAME, "192.0.2.1")], flags=0x8380)
    assert read_answer(octets[:-3], ASKED) == Answer(0, is_truncated=True)


def test_a_refusal_may_lack_the_question() -> None:
    refusal = struct.pack("!6H", 0x1234, 0x8001, 0, 0, 0, 0)
    assert read_answer(refusal, ASKED) == Answer(1)
    assert read_answer(struct.pack("!6H", 0x1234, 0x8003, 0, 0, 0, 0), ASKED) is None


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
