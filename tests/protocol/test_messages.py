"""The octets of every message, written out by hand after RFC 1928 and RFC 1929.

The documentation addresses of RFC 5737 and RFC 3849 stand in the tables: 192.0.2.1 is ``c0 00 02 01``,
2001:db8::1 is ``20 01 0d b8`` + eleven zeros + ``01``; "example.org" has 11 = ``0b`` octets.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socks5.protocol.address import UNSPECIFIED, Address, AddressType, unmap
from socks5.protocol.datagram import MAX_UDP_HEADER, Datagram, Reassembler
from socks5.protocol.errors import LocalProtocolError, RemoteProtocolError
from socks5.protocol.messages import (
    Command,
    Credentials,
    CredentialsStatus,
    Greeting,
    MethodSelection,
    Reply,
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
    (Address("255.255.255.255", 65535), "01 ffffffff ffff"),
    (Address("::ffff:192.0.2.1", 1), "04 00000000 00000000 0000ffff c0000201 0001"),
    (Address(b"a", 80), "03 01 61 0050"),
    (Address(b"a" * 255, 80), f"03 ff {LONGEST} 0050"),
    (Address(b"\xff\xfe", 80), "03 02 fffe 0050"),
    (Address(b"192.0.2.1", 80), "03 09 3139322e302e322e31 0050"),
    (Greeting((0,)), "05 01 00"),
    (Greeting((2, 1, 0, 3, 0xFE)), "05 05 02 01 00 03 fe"),
    (Greeting((7,) * 255), "05 ff" + "07" * 255),
    (MethodSelection(0), "05 00"),
    (MethodSelection(0xFF), "05 ff"),
    (Credentials(b"user", b"secret"), "01 04 75736572 06 736563726574"),
    (Credentials(b"u", b"p"), "01 01 75 01 70"),
    (Credentials(b"u", b""), "01 01 75 00"),
    (Credentials(b"\0\xff", b"\xfe:\0"), "01 02 00ff 03 fe3a00"),
    (Credentials(b"a" * 255, b"b" * 255), f"01 ff {LONGEST} ff {'62' * 255}"),
    (CredentialsStatus(0), "01 00"),
    (CredentialsStatus(255), "01 ff"),
    (Request(1, IPV4), f"05 01 00 {IPV4_OCTETS}"),
    (Request(2, IPV6), f"05 02 00 {IPV6_OCTETS}"),
    (Request(3, UNSPECIFIED), "05 03 00 01 00000000 0000"),
    (Request(1, NAME), f"05 01 00 {NAME_OCTETS}"),
    (Request(0xF0, NAME), f"05 f0 00 {NAME_OCTETS}"),
    (Request(255, IPV4), f"05 ff 00 {IPV4_OCTETS}"),
    (Reply(0, NAME), f"05 00 00 {NAME_OCTETS}"),
    (Reply(5), "05 05 00 01 00000000 0000"),
    (Reply(8, Address("::", 0)), "05 08 00 04 00000000 00000000 00000000 00000000 0000"),
    (Reply(255), "05 ff 00 01 00000000 0000"),
]

# What others send and we never do.
ONLY_RECEIVED: list[tuple[Message, str]] = [
    (Address(b"", 80), "03 00 0050"),
    (Greeting(()), "05 00"),
    (Greeting((0, 0xFF)), "05 02 00 ff"),
    (Credentials(b"", b""), "01 00 00"),
    (CredentialsStatus(0), "05 00"),
    (Request(1, IPV4), f"05 01 ff {IPV4_OCTETS}"),
    (Request(1, Address(b"", 0)), "05 01 00 03 00 0000"),
    (Reply(0, IPV4), f"05 00 01 {IPV4_OCTETS}"),
    (Reply(1, Address(b"", 0)), "05 01 00 03 00 0000"),
]


def name_of(value: object) -> str | None:
    """Name a row of a table by its octets, the long ones by how they begin."""
    return value[:32] if isinstance(value, str) else type(value).__name__


# ---------------------------------------------------------------- every message


@pytest.mark.parametrize(("message", "known"), MESSAGES + ONLY_RECEIVED, ids=name_of)
def test_a_message_is_so_in_octets(message: Message, known: str) -> None:
    """Whether they arrive one by one or with the next message stuck to them; never before the last of them."""
    kind: Any = type(message)
    data = octets(known)
    for end in range(len(data)):
        assert kind.decode(data[:end]) is None
    for received in (data, bytearray(data), data + octets("05 01 00 ff")):
        assert kind.decode(received) == (message, len(data))
    if (message, known) in MESSAGES:
        assert message.encode() == data


@pytest.mark.parametrize(
    "kind", [Greeting, MethodSelection, Credentials, CredentialsStatus, Request, Reply]
)
def test_a_wrong_version_is_refused_at_the_first_octet(kind: type[Any]) -> None:
    """And answered where there is an answer."""
    right = {Credentials: {1}, CredentialsStatus: {1, 5}}.get(kind, {5})
    for version in set(range(256)) - right:
        for rest in (b"", octets(f"01 00 {IPV4_OCTETS}")):
            with pytest.raises(RemoteProtocolError) as caught:
                kind.decode(bytes((version,)) + rest)
            assert caught.value.reply == (1 if kind is Request else None)


@pytest.mark.parametrize("kind", [Request, Reply])
def test_an_address_that_is_none_is_refused_with_a_reply(kind: type[Any]) -> None:
    wrong = [(bytes((5, 1, 0, each)), 8) for each in set(range(256)) - {1, 3, 4}]
    wrong += [(b"\5\1\0\3%c%s\0\x50" % (len(n), n), 4) for n in (b"\0", b"\0a", b"a\0b")]
    for data, reply in wrong:
        with pytest.raises(RemoteProtocolError) as caught:
            kind.decode(data)
        assert caught.value.reply == reply


@pytest.mark.parametrize("command", [*Command, 0, 4, 0xF0, 0xFF])
def test_only_an_unknown_command_stays_an_int(command: int) -> None:
    found = Request.decode(bytes((5, command, 0)) + octets(IPV4_OCTETS))
    assert found is not None
    assert type(found[0].command) is (Command if command in tuple(Command) else int)


# ---------------------------------------------------------------- what we must not send


HOSTS = [
    "",
    "example.org",
    "192.0.2",
    "192.0.2.256",
    "192.0.2.1.1",
    "192.0.2.1\0",
    "192.0.2.\u0661",
]
HOSTS += ["2001:db8::1::", "2001:db8::g", "fe80::1%eth0", "[2001:db8::1]"]
NAMES = [b"", b"a" * 256, b"a\0", b"\0"]
PORTS = [-1, 65536]
NO_OCTETS = [-1, 256]


@pytest.mark.parametrize(
    "address",
    [
        *(Address(host, 80) for host in [*HOSTS, *NAMES]),
        *(Address(host, port) for host in ("192.0.2.1", "::1", b"a") for port in PORTS),
    ],
    ids=repr,
)
def test_an_impossible_address_is_refused_in_every_message(address: Address) -> None:
    for message in (address, Request(1, address), Reply(0, address), Datagram(address, b"")):
        with pytest.raises(LocalProtocolError):
            message.encode()


@pytest.mark.parametrize(
    "message",
    [
        *(Greeting(methods) for methods in ((), (0,) * 256, (0, 0xFF), (-1,), (256,))),
        *(Credentials(b"u" * u, b"p" * p) for u, p in ((0, 1), (256, 1), (1, 256))),
        *(MethodSelection(number) for number in NO_OCTETS),
        *(CredentialsStatus(number) for number in NO_OCTETS),
        *(Request(number, IPV4) for number in NO_OCTETS),
        *(Reply(number) for number in NO_OCTETS),
        *(Datagram(IPV4, b"", number) for number in NO_OCTETS),
    ],
    ids=name_of,
)
def test_an_impossible_message_is_refused(message: Message | Datagram) -> None:
    """What we must not send raises LocalProtocolError, as the module says, and nothing else."""
    with pytest.raises(LocalProtocolError):
        message.encode()


# ---------------------------------------------------------------- no password in any text


SECRET = b"correct horse"


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
    credentials = Credentials(b"user", SECRET)
    for text in (repr(credentials), str(credentials), f"{credentials}", f"{[credentials]}"):
        assert "user" in text
        assert "horse" not in text


# ---------------------------------------------------------------- Address


@pytest.mark.parametrize(
    ("address", "address_type", "is_unspecified", "text"),
    [
        (IPV4, AddressType.IPV4, False, "192.0.2.1:80"),
        (IPV6, AddressType.IPV6, False, "[2001:db8::1]:443"),
        (NAME, AddressType.NAME, False, "example.org:8080"),
        (UNSPECIFIED, AddressType.IPV4, True, "0.0.0.0:0"),
        (Address("0.0.0.0", 80), AddressType.IPV4, True, "0.0.0.0:80"),
        (Address("::", 0), AddressType.IPV6, True, "[::]:0"),
        (Address(b"", 0), AddressType.NAME, True, ":0"),
        (Address(b"0.0.0.0", 1), AddressType.NAME, False, "0.0.0.0:1"),
        (Address(b"2001:db8::1", 1), AddressType.NAME, False, "[2001:db8::1]:1"),
        (Address(b"caf\xc3\xa9", 1), AddressType.NAME, False, r"caf\xc3\xa9:1"),
        (Address(b"a\r\nb \t~", 1), AddressType.NAME, False, r"a\x0d\x0ab \x09~:1"),
        (Address(b"\x1b[2J\x7f", 1), AddressType.NAME, False, r"\x1b[2J\x7f:1"),
    ],
    ids=lambda value: str(value) if isinstance(value, Address) else None,
)
def test_what_an_address_says_of_itself(
    address: Address, address_type: AddressType, is_unspecified: bool, text: str
) -> None:
    r"""A name cannot forge a line of a log, nor speak to a terminal: what is not printable ASCII is shown as \xNN."""
    assert address.type is address_type
    assert address.is_name is (address_type is AddressType.NAME)
    assert address.is_unspecified is is_unspecified
    assert str(address) == text
    assert address.text == text.rpartition(":")[0].strip("[]")


def test_an_address_is_read_at_an_offset() -> None:
    """And the offset behind it is returned; a port is not in the machine's byte order."""
    data = b"###" + octets(IPV4_OCTETS) + b"behind"
    for buffer in (data, bytearray(data), memoryview(data)):
        assert Address.decode(buffer, 3) == (IPV4, 10)
    assert Address.decode(b"##", 3) is None


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        *(
            (other, other)
            for other in (
                *("192.0.2.1", "2001:db8::1", "::", "::192.0.2.1", "::ffff:0:192.0.2.1", ""),
                *("64:ff9b::192.0.2.1", "2001:db8::ffff:192.0.2.1", "::ffff:1", "::ffff:a.test"),
            )
        ),
    ],
)
def test_unmap(host: str, plain: str) -> None:
    """Every spelling of an IPv4-mapped address (RFC 4291 section 2.5.5.2), and nothing else."""
    assert unmap(host) == plain


# ---------------------------------------------------------------- Datagram


@pytest.mark.parametrize(
    ("datagram", "known"),
    [
        (Datagram(IPV6, b"hello"), f"0000 00 {IPV6_OCTETS} 68656c6c6f"),
        (Datagram(NAME, b"hello"), f"0000 00 {NAME_OCTETS} 68656c6c6f"),
        (Datagram(IPV4, b""), f"0000 00 {IPV4_OCTETS}"),
        (Datagram(Address(b"a" * 255, 0), b"!"), f"0000 00 03 ff {LONGEST} 0000 21"),
        (Datagram(IPV4, b"!", 1), f"0000 01 {IPV4_OCTETS} 21"),
        (Datagram(IPV4, b"!", 0xFF), f"0000 ff {IPV4_OCTETS} 21"),
    ],
    ids=name_of,
)
def test_datagram(datagram: Datagram, known: str) -> None:
    data = octets(known)
    assert Datagram.decode(data) == datagram
    assert datagram.encode() == data
    assert len(data) - len(datagram.payload) <= MAX_UDP_HEADER == 262
    for end in range(len(data) - len(datagram.payload)):
        with pytest.raises(RemoteProtocolError):
            Datagram.decode(data[:end])
    for reserved in ("0001", "0100", "ffff"):
        with pytest.raises(RemoteProtocolError):
            Datagram.decode(octets(reserved) + data[2:])


@pytest.mark.parametrize("address", ["00", "02", "05", "ff", "03 02 6100 0050"])
def test_a_datagram_without_an_address_is_refused(address: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Datagram.decode(octets(f"0000 00 {address} 00000000 00000000 0000"))


# ---------------------------------------------------------------- Reassembler


TARGETS = {"": IPV4, "@host": Address("192.0.2.2", 80), "@port": Address("192.0.2.1", 81)}

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
    "two sequences": "1:a 82:b=ab 1:c@host 82:d@host=cd",
    "a whole one in a single fragment": "81:ab=ab",
    "empty fragments": "1: 2: 83:=",
    "a gap abandons all": "1:a 2:b 4:d!3",
    "the last one behind a gap": "1:a 83:c!2",
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
    "another host starts anew": "1:a 1:b@host!1 82:c@host=bc",
    "a datagram without a number abandons them": "1:a 0:alone=alone!1 82:b!1",
    "one for another host too": "1:a 0:alone@host=alone!1 0:again=again",
    "the longest sequence": " ".join(f"{n:x}:a" for n in range(1, 127)) + f" ff:b={'a' * 126}b",
    "behind position 127 nothing follows": " ".join(f"{n:x}:" for n in range(1, 128)) + " 80:!128",
}


LIMIT = 8
BOUNDED = [
    "1:1234 82:5678=12345678",
    "1:12345678 82:=12345678",
    "81:123456789!1",
    "1:123456789!1 82:!1",
    "1:1234 2:56789!2 83:!1",
    "1:1234 2:5 1:678!2 82:12345=67812345",  # the abandoned sequence does not count
    "81:12345678=12345678 81:12345678=12345678",  # nor does the complete one
]


@pytest.mark.parametrize(
    ("sequence", "limit"),
    [
        *((sequence, ()) for sequence in SEQUENCES.values()),
        *((sequence, (LIMIT,)) for sequence in BOUNDED),
        (f"1:{'a' * 65000} 82:{'a' * 507}={'a' * 65507}", ()),  # what UDP carries
        (f"1:{'a' * 65000} 82:{'a' * 508}!2", ()),
    ],
    ids=[*SEQUENCES, *BOUNDED, "the most", "more"],
)
def test_reassembly(sequence: str, limit: tuple[int, ...]) -> None:
    reassembler = Reassembler(*limit)
    assert not reassembler.is_pending
    run(reassembler, sequence)
    assert not reassembler.is_pending
    assert reassembler.clear() == 0


def test_clear_counts_and_abandons() -> None:
    reassembler = Reassembler()
    run(reassembler, "1: 2:b")
    assert reassembler.is_pending
    assert reassembler.clear() == 2
    assert not reassembler.is_pending
    assert reassembler.clear() == 0
    run(reassembler, "83:c!1 81:d=d")


# ---------------------------------------------------------------- properties

# Octets that get past the first checks more often than pure noise does.
noise = st.one_of(
    st.binary(max_size=40),
    st.tuples(
        st.sampled_from([b"\x05", b"\x05\x01\x00", b"\x01", b"\x00\x00\x00", b"\x00\x00\x81"]),
        st.sampled_from([b"", b"\x01", b"\x03", b"\x03\x05", b"\x04", b"\x02"]),
        st.binary(max_size=30),
    ).map(b"".join),
)


@given(st.sampled_from([*{type(each) for each, _ in MESSAGES}, Datagram]), noise)
@settings(max_examples=500)
def test_noise_is_a_message_or_incomplete_or_refused(kind: type[Any], data: bytes) -> None:
    """Nothing but RemoteProtocolError comes out, and never more than went in."""
    try:
        found = kind.decode(data)
    except RemoteProtocolError:
        return
    if kind is Datagram:
        assert data.endswith(found.payload)
    else:
        assert found is None or (isinstance(found[0], kind) and 0 < found[1] <= len(data))
