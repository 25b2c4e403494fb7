"""The octets of every message, written out by hand after RFC 1928 and RFC 1929.

The documentation addresses of RFC 5737 and RFC 3849 stand in the tables: 192.0.2.1 is ``c0 00 02 01``,
2001:db8::1 is ``20 01 0d b8`` + eleven zeros + ``01``; "example.org" has 11 = ``0b`` octets.
"""

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import IntEnum
from socket import AF_INET, AF_INET6, inet_ntop
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from socks5.protocol import (
    address,
    client_negotiation,
    datagram,
    gssapi,
    messages,
    server_negotiation,
    stages,
)
from socks5.protocol.address import UNSPECIFIED, Address, AddressType, unmap
from socks5.protocol.datagram import MAX_UDP_HEADER, Datagram, Reassembler
from socks5.protocol.errors import LocalProtocolError, RemoteProtocolError
from socks5.protocol.messages import (
    Command,
    Credentials,
    CredentialsStatus,
    Greeting,
    Method,
    MethodSelection,
    Reply,
    ReplyCode,
    Request,
)

Message = Address | Greeting | MethodSelection | Credentials | CredentialsStatus | Request | Reply

octets = bytes.fromhex

IPV4 = Address("192.0.2.1", 80)
IPV4_OCTETS = "01 c0000201 0050"
IPV6 = Address("2001:db8::1", 443)
IPV6_OCTETS = "04 20010db8 00000000 00000000 00000001 01bb"
NAME = Address(b"example.org", 8080)
NAME_OCTETS = "03 0b 6578616d706c652e6f7267 1f90"
LONGEST = "61" * 255

# Both ways: decoding the octets gives the message, encoding the message gives the octets.
MESSAGES: list[tuple[Message, str]] = [
    (IPV4, IPV4_OCTETS),
    (IPV6, IPV6_OCTETS),
    (NAME, NAME_OCTETS),
    (Address("0.0.0.0", 0), "01 00000000 0000"),
    (Address("255.255.255.255", 65535), "01 ffffffff ffff"),
    (Address("::", 0), "04 00000000 00000000 00000000 00000000 0000"),
    (Address("::1", 256), "04 00000000 00000000 00000000 00000001 0100"),
    (Address("::ffff:192.0.2.1", 1), "04 00000000 00000000 0000ffff c0000201 0001"),
    (Address(b"a", 80), "03 01 61 0050"),
    (Address(b"a" * 255, 80), f"03 ff {LONGEST} 0050"),
    (Address(b"\xff\xfe", 80), "03 02 fffe 0050"),
    (Address(b"192.0.2.1", 80), "03 09 3139322e302e322e31 0050"),
    (Greeting((0,)), "05 01 00"),
    (Greeting((0, 2)), "05 02 00 02"),
    (Greeting((2, 1, 0, 3, 0xFE)), "05 05 02 01 00 03 fe"),
    (Greeting((7,) * 255), "05 ff" + "07" * 255),
    (MethodSelection(0), "05 00"),
    (MethodSelection(2), "05 02"),
    (MethodSelection(0x80), "05 80"),
    (MethodSelection(0xFF), "05 ff"),
    (Credentials(b"user", b"secret"), "01 04 75736572 06 736563726574"),
    (Credentials(b"u", b"p"), "01 01 75 01 70"),
    (Credentials(b"\0\xff", b"\xfe:\0"), "01 02 00ff 03 fe3a00"),
    (Credentials(b"a" * 255, b"b" * 255), f"01 ff {LONGEST} ff {'62' * 255}"),
    (CredentialsStatus(0), "01 00"),
    (CredentialsStatus(1), "01 01"),
    (CredentialsStatus(255), "01 ff"),
    (Request(1, IPV4), f"05 01 00 {IPV4_OCTETS}"),
    (Request(2, IPV6), f"05 02 00 {IPV6_OCTETS}"),
    (Request(3, UNSPECIFIED), "05 03 00 01 00000000 0000"),
    (Request(1, NAME), f"05 01 00 {NAME_OCTETS}"),
    (Request(1, Address(b"a" * 255, 80)), f"05 01 00 03 ff {LONGEST} 0050"),
    (Request(0, IPV4), f"05 00 00 {IPV4_OCTETS}"),
    (Request(4, IPV4), f"05 04 00 {IPV4_OCTETS}"),
    (Request(0xF0, NAME), f"05 f0 00 {NAME_OCTETS}"),
    (Request(255, IPV4), f"05 ff 00 {IPV4_OCTETS}"),
    (Reply(0, IPV4), f"05 00 00 {IPV4_OCTETS}"),
    (Reply(0, IPV6), f"05 00 00 {IPV6_OCTETS}"),
    (Reply(0, NAME), f"05 00 00 {NAME_OCTETS}"),
    (Reply(5), "05 05 00 01 00000000 0000"),
    (Reply(8, Address("::", 0)), "05 08 00 04 00000000 00000000 00000000 00000000 0000"),
    (Reply(9), "05 09 00 01 00000000 0000"),
    (Reply(255), "05 ff 00 01 00000000 0000"),
]

# What others send and we never do.
ONLY_RECEIVED: list[tuple[Message, str]] = [
    (Address(b"", 80), "03 00 0050"),
    (Greeting(()), "05 00"),
    (Greeting((0, 0xFF)), "05 02 00 ff"),
    (Credentials(b"", b""), "01 00 00"),
    (Credentials(b"", b"p"), "01 00 01 70"),
    (Credentials(b"u", b""), "01 01 75 00"),
    (CredentialsStatus(0), "05 00"),
    (CredentialsStatus(1), "05 01"),
    (Request(1, IPV4), f"05 01 ff {IPV4_OCTETS}"),
    (Request(1, Address(b"", 0)), "05 01 00 03 00 0000"),
    (Reply(0, IPV4), f"05 00 01 {IPV4_OCTETS}"),
    (Reply(1, Address(b"", 0)), "05 01 00 03 00 0000"),
]


def name_of(value: object) -> str | None:
    """Name a row of a table by its octets, the long ones by how they begin."""
    return value[:32] if isinstance(value, str) else type(value).__name__


Decode = Callable[[type[Any], bytes], tuple[Any, int] | None]


def decode_alone(kind: type[Any], data: bytes) -> tuple[Any, int] | None:
    """Decode octets that arrive one by one: nothing before the last of them."""
    for end in range(len(data)):
        assert kind.decode(data[:end]) is None
    return kind.decode(data)


def decode_glued(kind: type[Any], data: bytes) -> tuple[Any, int] | None:
    """Decode octets with the next message stuck to them."""
    return kind.decode(data + octets("05 01 00") + b"\xff")


def decode_bytearray(kind: type[Any], data: bytes) -> tuple[Any, int] | None:
    return kind.decode(bytearray(data))


@pytest.fixture(params=[decode_alone, decode_glued, decode_bytearray], ids=lambda f: f.__name__)
def decode(request: pytest.FixtureRequest) -> Decode:
    return request.param


# ---------------------------------------------------------------- the numbers

NUMBERS = [
    (
        Method,
        {
            "NO_AUTHENTICATION": 0,
            "GSSAPI": 1,
            "USERNAME_PASSWORD": 2,
            "CHAP": 3,
            "NO_ACCEPTABLE": 255,
        },
    ),
    (Command, {"CONNECT": 1, "BIND": 2, "UDP_ASSOCIATE": 3}),
    (AddressType, {"IPV4": 1, "NAME": 3, "IPV6": 4}),
    (
        ReplyCode,
        {
            "SUCCEEDED": 0,
            "GENERAL_FAILURE": 1,
            "NOT_ALLOWED": 2,
            "NETWORK_UNREACHABLE": 3,
            "HOST_UNREACHABLE": 4,
            "CONNECTION_REFUSED": 5,
            "TTL_EXPIRED": 6,
            "COMMAND_NOT_SUPPORTED": 7,
            "ADDRESS_TYPE_NOT_SUPPORTED": 8,
        },
    ),
]


@pytest.mark.parametrize(("kind", "numbers"), NUMBERS)
def test_the_numbers_are_those_of_the_rfc(kind: type[IntEnum], numbers: dict[str, int]) -> None:
    assert {name: int(number) for name, number in kind.__members__.items()} == numbers


# ---------------------------------------------------------------- every message


@pytest.mark.parametrize(("message", "known"), MESSAGES + ONLY_RECEIVED, ids=name_of)
def test_decode(decode: Decode, message: Message, known: str) -> None:
    data = octets(known)
    assert decode(type(message), data) == (message, len(data))


@pytest.mark.parametrize(("message", "known"), MESSAGES, ids=name_of)
def test_encode(message: Message, known: str) -> None:
    assert message.encode() == octets(known)


@pytest.mark.parametrize(
    ("kind", "right", "reply"),
    [
        (Greeting, {5}, None),
        (MethodSelection, {5}, None),
        (Credentials, {1}, None),
        (CredentialsStatus, {1, 5}, None),
        (Request, {5}, 1),
        (Reply, {5}, None),
    ],
    ids=name_of,
)
@pytest.mark.parametrize("rest", [b"", octets(f"01 00 {IPV4_OCTETS}")], ids=["alone", "glued"])
def test_a_wrong_version_is_refused_at_the_first_octet(
    kind: type[Any], right: set[int], reply: int | None, rest: bytes
) -> None:
    """And answered where there is an answer."""
    for version in set(range(256)) - right:
        with pytest.raises(RemoteProtocolError) as caught:
            kind.decode(bytes((version,)) + rest)
        assert caught.value.reply == reply


@pytest.mark.parametrize("kind", [Request, Reply])
def test_an_unknown_address_type_is_reply_8(kind: type[Any]) -> None:
    for address_type in set(range(256)) - {1, 3, 4}:
        with pytest.raises(RemoteProtocolError) as caught:
            kind.decode(bytes((5, 1, 0, address_type)))
        assert caught.value.reply == 8


@pytest.mark.parametrize("kind", [Request, Reply])
@pytest.mark.parametrize("name", ["00", "0061", "6100", "610062"])
def test_a_zero_octet_in_a_received_name_is_reply_1(kind: type[Any], name: str) -> None:
    length = len(octets(name))
    with pytest.raises(RemoteProtocolError) as caught:
        kind.decode(octets(f"05 01 00 03 {length:02x} {name} 0050"))
    assert caught.value.reply == 1


@pytest.mark.parametrize(
    "module", [address, client_negotiation, datagram, gssapi, messages, server_negotiation, stages]
)
def test_messages_and_events_cannot_be_changed(module: ModuleType) -> None:
    values = [kind for kind in vars(module).values() if is_dataclass(kind)]
    assert values
    for kind in values:
        assert kind.__dataclass_params__.frozen  # type: ignore[union-attr]


@pytest.mark.parametrize("command", [*Command, 0, 4, 0xF0, 0xFF])
def test_only_an_unknown_command_stays_an_int(command: int) -> None:
    found = Request.decode(bytes((5, command, 0)) + octets(IPV4_OCTETS))
    assert found is not None
    assert type(found[0].command) is (Command if command in tuple(Command) else int)


# ---------------------------------------------------------------- what we must not send


@pytest.mark.parametrize(
    "address",
    [
        Address(b"", 80),
        Address(b"a" * 256, 80),
        Address(b"a\0", 80),
        Address(b"\0", 80),
        Address("192.0.2.1", -1),
        Address("192.0.2.1", 65536),
        Address("2001:db8::1", -1),
        Address("2001:db8::1", 65536),
        Address(b"a", -1),
        Address(b"a", 65536),
        Address("", 80),
        Address("example.org", 80),
        Address("192.0.2", 80),
        Address("192.0.2.256", 80),
        Address("192.0.2.1.1", 80),
        Address("192.0.2.1\0", 80),
        Address("192.0.2.\u0661", 80),
        Address("2001:db8::1::", 80),
        Address("2001:db8::g", 80),
        Address("fe80::1%eth0", 80),
        Address("[2001:db8::1]", 80),
    ],
    ids=repr,
)
def test_an_impossible_address_is_refused_in_every_message(address: Address) -> None:
    for message in (address, Request(1, address), Reply(0, address), Datagram(address, b"")):
        with pytest.raises(LocalProtocolError):
            message.encode()


@pytest.mark.parametrize(
    "greeting",
    [Greeting(()), Greeting((0,) * 256), Greeting((0, 0xFF)), Greeting((-1,)), Greeting((256,))],
    ids=lambda greeting: f"{len(greeting.methods)} methods to {greeting.methods[-1:]}",
)
def test_an_impossible_greeting_is_refused(greeting: Greeting) -> None:
    with pytest.raises(LocalProtocolError):
        greeting.encode()


@pytest.mark.parametrize(("user", "password"), [(0, 1), (1, 0), (0, 0), (256, 1), (1, 256)])
def test_impossible_credentials_are_refused(user: int, password: int) -> None:
    with pytest.raises(LocalProtocolError):
        Credentials(b"u" * user, b"p" * password).encode()


@pytest.mark.parametrize("number", [-1, 256])
@pytest.mark.parametrize(
    "message",
    [
        MethodSelection,
        CredentialsStatus,
        lambda number: Request(number, IPV4),
        Reply,
        lambda number: Datagram(IPV4, b"", number),
    ],
    ids=["MethodSelection", "CredentialsStatus", "Request", "Reply", "Datagram"],
)
def test_a_number_that_is_no_octet_is_refused(message: Callable[[int], Any], number: int) -> None:
    """What we must not send raises LocalProtocolError, as the module says, and nothing else."""
    with pytest.raises(LocalProtocolError):
        message(number).encode()


# ---------------------------------------------------------------- no password in any text


SECRET = b"correct horse"


def test_no_password_in_the_texts_of_credentials() -> None:
    credentials = Credentials(b"user", SECRET)
    for text in (repr(credentials), str(credentials), f"{credentials}", f"{[credentials]}"):
        assert "user" in text
        assert "horse" not in text


@pytest.mark.parametrize(
    ("attempt", "kind"),
    [
        (lambda: Credentials(b"", SECRET).encode(), LocalProtocolError),
        (lambda: Credentials(b"user", SECRET * 20).encode(), LocalProtocolError),
        (lambda: Credentials.decode(b"\x05\x04user\x0d" + SECRET), RemoteProtocolError),
    ],
    ids=["no user name", "too long", "wrong version"],
)
def test_no_password_in_exceptions(attempt: Callable[[], object], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        attempt()
    error = caught.value
    assert "horse" not in str(error) + repr(error) + repr(error.__cause__ or error.__context__)


# ---------------------------------------------------------------- Address


@pytest.mark.parametrize(
    ("address", "address_type", "is_name", "is_unspecified", "text"),
    [
        (IPV4, AddressType.IPV4, False, False, "192.0.2.1:80"),
        (IPV6, AddressType.IPV6, False, False, "[2001:db8::1]:443"),
        (NAME, AddressType.NAME, True, False, "example.org:8080"),
        (UNSPECIFIED, AddressType.IPV4, False, True, "0.0.0.0:0"),
        (Address("0.0.0.0", 80), AddressType.IPV4, False, True, "0.0.0.0:80"),
        (Address("::", 0), AddressType.IPV6, False, True, "[::]:0"),
        (Address(b"", 0), AddressType.NAME, True, True, ":0"),
        (Address(b"192.0.2.1", 1), AddressType.NAME, True, False, "192.0.2.1:1"),
        (Address(b"0.0.0.0", 1), AddressType.NAME, True, False, "0.0.0.0:1"),
        (Address(b"2001:db8::1", 1), AddressType.NAME, True, False, "[2001:db8::1]:1"),
        (Address(b"caf\xc3\xa9", 1), AddressType.NAME, True, False, "caf\\xc3\\xa9:1"),
    ],
    ids=lambda value: str(value) if isinstance(value, Address) else None,
)
def test_what_an_address_says_of_itself(
    address: Address, address_type: AddressType, is_name: bool, is_unspecified: bool, text: str
) -> None:
    assert address.type is address_type
    assert address.is_name is is_name
    assert address.is_unspecified is is_unspecified
    assert str(address) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"a\r\nb", r"a\x0d\x0ab"),
        (b"\x1b[2J", r"\x1b[2J"),
        (b"\t\x7f\x80", r"\x09\x7f\x80"),
        (b"a b~", "a b~"),
    ],
)
def test_a_name_is_shown_in_printable_ascii_only(name: bytes, text: str) -> None:
    r"""A name cannot forge a line of a log, nor speak to a terminal: the rest is shown as \xNN."""
    assert Address(name, 80).text == text
    assert str(Address(name, 80)) == f"{text}:80"


def test_an_address_is_read_at_an_offset() -> None:
    """And the offset behind it is returned; a port is not in the machine's byte order."""
    data = b"###" + octets(IPV4_OCTETS) + b"behind"
    for buffer in (data, bytearray(data), memoryview(data)):
        assert Address.decode(buffer, 3) == (IPV4, 10)


def test_an_offset_behind_the_end_is_missing_octets() -> None:
    assert Address.decode(b"##", 3) is None


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:0.0.0.0", "0.0.0.0"),
        ("::FFFF:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::", "::"),
        ("::192.0.2.1", "::192.0.2.1"),
        ("::ffff:0:192.0.2.1", "::ffff:0:192.0.2.1"),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.1"),
        ("2001:db8::ffff:192.0.2.1", "2001:db8::ffff:192.0.2.1"),
        ("::ffff:1", "::ffff:1"),
        ("::ffff:example.org", "::ffff:example.org"),
        ("", ""),
    ],
)
def test_unmap(host: str, plain: str) -> None:
    """Every spelling of an IPv4-mapped address (RFC 4291 section 2.5.5.2), and nothing else."""
    assert unmap(host) == plain


# ---------------------------------------------------------------- Datagram


DATAGRAMS = [
    (Datagram(IPV4, b"hello"), f"0000 00 {IPV4_OCTETS} 68656c6c6f"),
    (Datagram(IPV6, b"hello"), f"0000 00 {IPV6_OCTETS} 68656c6c6f"),
    (Datagram(NAME, b"hello"), f"0000 00 {NAME_OCTETS} 68656c6c6f"),
    (Datagram(IPV4, b""), f"0000 00 {IPV4_OCTETS}"),
    (Datagram(Address(b"a" * 255, 0), b"!"), f"0000 00 03 ff {LONGEST} 0000 21"),
    (Datagram(IPV4, b"!", 1), f"0000 01 {IPV4_OCTETS} 21"),
    (Datagram(IPV4, b"!", 0x7F), f"0000 7f {IPV4_OCTETS} 21"),
    (Datagram(IPV4, b"!", 0x80), f"0000 80 {IPV4_OCTETS} 21"),
    (Datagram(IPV4, b"!", 0xFF), f"0000 ff {IPV4_OCTETS} 21"),
]


@pytest.mark.parametrize(("datagram", "known"), DATAGRAMS, ids=name_of)
def test_datagram(datagram: Datagram, known: str) -> None:
    assert Datagram.decode(octets(known)) == datagram
    assert datagram.encode() == octets(known)


def test_the_longest_header() -> None:
    assert len(Datagram(Address(b"a" * 255, 80), b"").encode()) == MAX_UDP_HEADER == 262


@pytest.mark.parametrize("known", [IPV4_OCTETS, IPV6_OCTETS, NAME_OCTETS, "03 00 0050"])
def test_a_datagram_shorter_than_its_header_is_refused(known: str) -> None:
    data = octets(f"0000 00 {known}")
    for end in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            Datagram.decode(data[:end])


@pytest.mark.parametrize("reserved", ["0001", "0100", "ffff"])
def test_a_datagram_with_a_reserved_octet_is_refused(reserved: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Datagram.decode(octets(f"{reserved} 00 {IPV4_OCTETS} 21"))


@pytest.mark.parametrize("address", ["00", "02", "05", "ff", "03 02 6100 0050"])
def test_a_datagram_without_an_address_is_refused(address: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Datagram.decode(octets(f"0000 00 {address} 00000000 00000000 0000"))


# ---------------------------------------------------------------- Reassembler


OTHER_PORT = Address("192.0.2.1", 81)
OTHER_HOST = Address("192.0.2.2", 80)


TARGETS = {"": IPV4, "@host": OTHER_HOST, "@port": OTHER_PORT}

FRAGMENT = re.compile(
    r"(?P<number>\w+):(?P<payload>\w*)(?P<to>@\w+)?(=(?P<whole>\w*))?(!(?P<dropped>\d+))?"
)


def run(reassembler: Reassembler, sequence: str) -> None:
    """Receive fragments, and see what each leads to.

    :param sequence: of each its number in hexadecimal and its payload, ``@`` whom it is for unless they are all for the
        same one, ``=`` the payload of the datagram that is whole then, ``!`` how many fragments are dropped then.
    """
    for written in sequence.split():
        step = FRAGMENT.fullmatch(written)
        assert step is not None
        to, whole = TARGETS[step["to"] or ""], step["whole"]
        got = reassembler.receive(Datagram(to, step["payload"].encode(), int(step["number"], 16)))
        expected = None if whole is None else Datagram(to, whole.encode())
        assert got == (expected, int(step["dropped"] or 0))


# Afterwards no sequence is pending.
SEQUENCES = {
    "in order": "1:ab 2:cd 83:ef=abcdef",
    "two sequences": "1:a 82:b=ab 1:c@host 82:d@host=cd",
    "a whole one in a single fragment": "81:ab=ab",
    "empty fragments": "1: 2: 83:=",
    "a gap abandons all": "1:a 2:b 4:d!3",
    "a gap, then the rest": "1:a 3:c!2 84:d!1",
    "the last one behind a gap": "1:a 83:c!2",
    "the first one lost": "2:b!1 83:c!1",
    "after a gap a new sequence": "1:a 3:c!2 1:d 82:e=de",
    "a repeat is dropped": "1:a 1:a!1 2:b 2:b!1 2:b!1 83:c=abc",
    "a repeat of the last one": "1:a 82:b=ab 82:b!1",
    "position 1 starts anew": "1:a 2:b 3:c 1:d!3 82:e=de",
    "a lower position that is not 1": "1:a 2:b 3:c 2:b!4",
    "position 1 as the last starts anew": "1:a 2:b 81:c=c!2",
    "position 0 as the last": "80:a!1",
    "position 0 as the last, in a sequence": "1:a 2:b 80:c!3 83:c!1",
    "another host goes on": "1:a 82:b@host!2",
    "another port goes on": "1:a 82:b@port!2",
    "another host at the same position": "1:a 2:b 2:c@host!3",
    "another host starts anew": "1:a 1:b@host!1 82:c@host=bc",
    "a datagram without a number abandons them": "1:a 0:alone=alone!1 82:b!1",
    "one for another host too": "1:a 0:alone@host=alone!1 0:again=again",
    "the longest sequence": " ".join(f"{n:x}:a" for n in range(1, 127)) + f" ff:b={'a' * 126}b",
    "behind position 127 nothing follows": " ".join(f"{n:x}:" for n in range(1, 128)) + " 80:!128",
}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_reassembly(sequence: str) -> None:
    reassembler = Reassembler()
    assert not reassembler.is_pending
    run(reassembler, sequence)
    assert not reassembler.is_pending
    assert reassembler.clear() == 0


@pytest.mark.parametrize(
    "sequence",
    [
        "1:1234 82:5678=12345678",
        "81:12345678=12345678",
        "1:12345678 82:=12345678",
        "81:123456789!1",
        "1:123456789!1 82:!1",
        "1:1234 2:56789!2 83:!1",
        "1:1234 82:56789!2",
        "1:1234 2:5 1:678!2 82:12345=67812345",  # the abandoned sequence does not count
        "81:12345678=12345678 81:12345678=12345678",  # nor does the complete one
    ],
)
def test_reassembly_is_bounded(sequence: str) -> None:
    reassembler = Reassembler(limit=8)
    run(reassembler, sequence)
    assert not reassembler.is_pending


def test_the_limit_is_what_udp_carries() -> None:
    run(Reassembler(), f"1:{'a' * 65000} 82:{'a' * 507}={'a' * 65507}")
    run(Reassembler(), f"1:{'a' * 65000} 82:{'a' * 508}!2")


def test_clear_counts_and_abandons() -> None:
    reassembler = Reassembler()
    run(reassembler, "1: 2:b")
    assert reassembler.is_pending
    assert reassembler.clear() == 2
    assert not reassembler.is_pending
    assert reassembler.clear() == 0
    run(reassembler, "83:c!1 81:d=d")


# ---------------------------------------------------------------- properties


ports = st.integers(0, 0xFFFF)
names = st.binary(min_size=1, max_size=255).filter(lambda name: 0 not in name)
addresses = st.builds(
    Address,
    st.one_of(
        st.binary(min_size=4, max_size=4).map(lambda packed: inet_ntop(AF_INET, packed)),
        st.binary(min_size=16, max_size=16).map(lambda packed: inet_ntop(AF_INET6, packed)),
        names,
    ),
    ports,
)
octet = st.integers(0, 255)
one_to_255 = st.binary(min_size=1, max_size=255)
any_message = st.one_of(
    addresses,
    st.builds(Greeting, st.lists(st.integers(0, 254), min_size=1, max_size=255).map(tuple)),
    st.builds(MethodSelection, octet),
    st.builds(Credentials, one_to_255, one_to_255),
    st.builds(CredentialsStatus, octet),
    st.builds(Request, octet, addresses),
    st.builds(Reply, octet, addresses),
)
KINDS = [Address, Greeting, MethodSelection, Credentials, CredentialsStatus, Request, Reply]


@given(any_message, st.binary(max_size=20))
def test_decode_of_encode(message: Message, behind: bytes) -> None:
    data = message.encode()
    assert type(message).decode(data + behind) == (message, len(data))


@given(st.builds(Datagram, addresses, st.binary(max_size=300), octet))
def test_decode_of_encode_of_a_datagram(datagram: Datagram) -> None:
    assert Datagram.decode(datagram.encode()) == datagram


# Octets that get past the first checks more often than pure noise does.
noise = st.one_of(
    st.binary(max_size=40),
    st.tuples(
        st.sampled_from([b"\x05", b"\x05\x01\x00", b"\x01", b"\x00\x00\x00", b"\x00\x00\x81"]),
        st.sampled_from([b"", b"\x01", b"\x03", b"\x03\x05", b"\x04", b"\x02"]),
        st.binary(max_size=30),
    ).map(b"".join),
)


@given(st.sampled_from(KINDS), noise)
@settings(max_examples=300)
def test_noise_is_a_message_or_incomplete_or_refused(kind: type[Any], data: bytes) -> None:
    """Nothing but RemoteProtocolError comes out, and never more than went in."""
    try:
        found = kind.decode(data)
    except RemoteProtocolError:
        return
    assert found is None or (isinstance(found[0], kind) and 0 < found[1] <= len(data))


@given(noise)
@example(b"")
@settings(max_examples=300)
def test_noise_is_a_datagram_or_refused(data: bytes) -> None:
    try:
        datagram = Datagram.decode(data)
    except RemoteProtocolError:
        return
    assert data.endswith(datagram.payload)


# Mostly short sequences that begin as they should, so that whole datagrams come out too.
fragments = st.builds(
    Datagram,
    st.sampled_from([IPV4, IPV4, IPV4, OTHER_HOST]),
    st.binary(max_size=6),
    st.one_of(st.sampled_from([1, 2, 3, 0x81, 0x82, 0x83]), st.integers(1, 255)),
)


@given(st.lists(fragments, max_size=30), st.integers(0, 12))
@settings(max_examples=300)
def test_every_fragment_is_delivered_or_dropped_or_waits(
    arrived: list[Datagram], limit: int
) -> None:
    """A whole datagram takes as many fragments as its last one's position; none is lost uncounted."""
    reassembler = Reassembler(limit)
    delivered = dropped = 0
    for fragment in arrived:
        whole, dropped_now = reassembler.receive(fragment)
        dropped += dropped_now
        if whole is not None:
            delivered += fragment.fragment & 0x7F
            assert whole.fragment == 0
            assert whole.address == fragment.address
            assert len(whole.payload) <= limit
            assert not reassembler.is_pending
    assert delivered + dropped + reassembler.clear() == len(arrived)


@given(addresses, st.lists(st.binary(max_size=20), min_size=1, max_size=127))
def test_whatever_is_cut_in_order_is_whole_again(to: Address, parts: list[bytes]) -> None:
    reassembler = Reassembler()
    last = len(parts)
    for position, part in enumerate(parts[:-1], 1):
        assert reassembler.receive(Datagram(to, part, position)) == (None, 0)
    whole = reassembler.receive(Datagram(to, parts[-1], 0x80 | last))
    assert whole == (Datagram(to, b"".join(parts)), 0)
