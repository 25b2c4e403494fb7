"""PROXY headers as octets: every kind, cut and glued everywhere, and what is none."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.protocol.address import Address
from socks5.protocol.errors import RemoteProtocolError
from socks5.protocol.proxy_header import MAX_LENGTH, SIGNATURE, Header, decode

CLIENT4, SERVER4 = Address("198.51.100.7", 51234), Address("203.0.113.1", 1080)
CLIENT6, SERVER6 = Address("2001:db8::7", 51234), Address("2001:db8::1", 1080)
BLOCK4 = bytes.fromhex("c6336407 cb007101 c822 0438")
BLOCK6 = bytes.fromhex(
    "20010db8000000000000000000000007 20010db8000000000000000000000001 c822 0438"
)
TLV = bytes.fromhex("04 0003 000000")  # PP2_TYPE_NOOP


def version_2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + struct.pack(">BBH", 0x20 | command, family, len(block)) + block


def line(text: str) -> bytes:
    return f"PROXY {text}\r\n".encode()


FOUR = Header(False, CLIENT4, SERVER4)
SIX = Header(False, CLIENT6, SERVER6)
UNKNOWN = Header()
LOCAL = Header(is_local=True)

HEADERS = [
    (line("TCP4 198.51.100.7 203.0.113.1 51234 1080"), FOUR),
    (line("TCP6 2001:db8::7 2001:db8::1 51234 1080"), SIX),
    (line("TCP6 2001:0DB8:0:0:0:0:0:7 2001:db8:0::1 51234 1080"), SIX),
    (line("TCP6 ::ffff:198.51.100.7 ::ffff:203.0.113.1 51234 1080"), FOUR),
    (line("TCP4 0.0.0.0 255.255.255.255 0 65535"), None),
    (line(f"TCP6 {'ffff:' * 7}ffff {'ffff:' * 7}ffff 65535 65535"), None),
    (line("UNKNOWN"), UNKNOWN),
    (line("UNKNOWN ::1 what ever"), UNKNOWN),
    (line("UNKNOWN " + "f" * 91), UNKNOWN),  # 107 octets
    (version_2(1, 0x11, BLOCK4), FOUR),
    (version_2(1, 0x11, BLOCK4 + TLV), FOUR),
    (version_2(1, 0x21, BLOCK6), SIX),
    (version_2(1, 0x21, BLOCK6 + TLV * 40), SIX),
    (version_2(1, 0x11, BLOCK4 + bytes(MAX_LENGTH - 12)), FOUR),
    (version_2(1, 0x31, bytes(216)), UNKNOWN),
    (version_2(1, 0x31, bytes(216) + TLV), UNKNOWN),
    (version_2(1, 0x00, b""), UNKNOWN),
    (version_2(1, 0x00, b"anything"), UNKNOWN),
    (version_2(1, 0x02, TLV), UNKNOWN),
    (version_2(0, 0x00, b""), LOCAL),
    (version_2(0, 0x11, BLOCK4), LOCAL),
    (version_2(0, 0xFF, b"?"), LOCAL),
]


@pytest.mark.parametrize(("octets", "header"), HEADERS)
def test_a_header_is_read_however_it_is_cut_and_glued(octets: bytes, header: Header | None) -> None:
    for size in range(len(octets)):
        assert decode(octets[:size]) is None, size
    found = decode(octets)
    assert found is not None
    assert found[1] == len(octets)
    assert header is None or found[0] == header
    for more in (b"\x05", b"\r\n", octets, b"\x05\x01\x00" * 100):
        assert decode(octets + more) == found


WRONG = [
    b"\x05",
    b"GET / HTTP/1.1\r\n",
    b"PROXX",
    b"proxy TCP4",
    b"\r\n\r\n\0\r\nQUIT\r",
    b"\n",
    line(""),
    line("TCP5 198.51.100.7 203.0.113.1 51234 1080"),
    line("tcp4 198.51.100.7 203.0.113.1 51234 1080"),
    line("TCP4 198.51.100.7 203.0.113.1 51234"),
    line("TCP4 198.51.100.7 203.0.113.1 51234 1080 "),
    line("TCP4 198.51.100.7  203.0.113.1 51234 1080"),
    line("TCP4 198.51.100.7 203.0.113.1 51234 65536"),
    line("TCP4 198.51.100.7 203.0.113.1 -1 1080"),
    line("TCP4 198.51.100.7 203.0.113.1 \u00b9 1080"),
    line("TCP4 198.51.100.7 203.0.113.1 000000 1080"),
    line("TCP4 198.51.100.7 203.0.113.1  1080"),
    line("TCP4 198.51.100 203.0.113.1 51234 1080"),
    line("TCP4 198.51.100.7\0 203.0.113.1 51234 1080"),
    line("TCP4 ::1 203.0.113.1 51234 1080"),
    line("TCP6 198.51.100.7 203.0.113.1 51234 1080"),
    line("TCP6 fe80::1%eth0 2001:db8::1 51234 1080"),
    b"PROXY TCP4 198.51.100.7 203.0.113.1 51234 1080\n\r\n",
    line("UNKNOWN " + "f" * 92),
    b"PROXY " + b"x" * 101,
    SIGNATURE + b"\x11",  # version 1
    SIGNATURE + b"\x22",  # an unknown command
    SIGNATURE + b"\x11\x11\x00\x0c",
    version_2(2, 0x11, BLOCK4),
    version_2(1, 0x11, BLOCK4[:-1])[:16],
    version_2(1, 0x21, BLOCK4)[:16],
    version_2(1, 0x31, bytes(215))[:16],
    version_2(1, 0x12, BLOCK4)[:16],  # datagrams
    version_2(1, 0x10, BLOCK4)[:16],
    version_2(1, 0x41, BLOCK6)[:16],
    version_2(1, 0x11, bytes(MAX_LENGTH + 1))[:16],
    version_2(0, 0x00, bytes(MAX_LENGTH + 1))[:16],
]


@pytest.mark.parametrize("octets", WRONG)
def test_what_is_no_header_is_an_error(octets: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as raised:
        decode(octets)
    assert "PROXY header" in str(raised.value)
    with pytest.raises(RemoteProtocolError):
        decode(octets + b"more")


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]),
    st.binary(max_size=200),
)
def test_arbitrary_octets_are_read_or_refused(start: bytes, data: bytes) -> None:
    try:
        found = decode(start + data)
    except RemoteProtocolError:
        return
    assert found is None or 8 < found[1] <= len(start + data)
