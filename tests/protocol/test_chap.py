"""The messages of CHAP in octets written out by hand after draft-ietf-aft-socks-chap-01, and its one algorithm."""

import pytest

from socks5.protocol.chap import MAX_MESSAGE, AttributeValues, response_to, size_of
from socks5.protocol.errors import RemoteProtocolError
from tests.support.negotiations import octets

MESSAGES = [
    ({}, "01 00"),
    ({0x11: b"\x05\x85", 2: b"user"}, "01 02  11 02 0585  02 04 75736572"),
    ({0: b"\0"}, "01 01  00 01 00"),
    ({0xEE: b"", 4: bytes(255)}, "01 02  ee 00  04 ff" + "00" * 255),
]


@pytest.mark.parametrize(("values", "encoded"), MESSAGES, ids=[len(each) for _, each in MESSAGES])
def test_a_message_is_so_in_octets_and_a_part_of_it_is_none_yet(
    values: dict[int, bytes], encoded: str
) -> None:
    data, message = octets(encoded), AttributeValues(values)
    assert message.encode() == data
    assert AttributeValues.decode(data + b"behind") == (message, len(data))
    for end in range(len(data)):
        assert AttributeValues.decode(data[:end]) is None
        assert end < size_of(data[:end]) <= len(data)
    assert "secret" not in repr(AttributeValues({4: b"secret"}))
    of_two_the_last = octets("01 02  02 01 61  02 01 62")
    assert AttributeValues.decode(of_two_the_last) == (AttributeValues({2: b"b"}), 8)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\5\1\0", "first octet 5"),
        (b"\1\xff" + (b"\2\xff" + bytes(255)) * 8, f"more than {MAX_MESSAGE} octets"),
    ],
)
def test_what_is_no_message_is_refused_as_soon_as_that_is_known(data: bytes, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=text):
        AttributeValues.decode(data)


def test_a_response_is_the_hmac_of_the_challenge() -> None:
    """RFC 2202 section 2."""
    response = response_to(b"what do ya want for nothing?", b"Jefe")
    assert response.hex() == "750c783e6ab0b503eaa86e310a5db738"
