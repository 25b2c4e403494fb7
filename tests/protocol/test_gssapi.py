"""The messages of RFC 1961 in octets written out by hand, and which level of protection is agreed."""

from collections.abc import Collection
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.protocol.errors import LocalProtocolError, NoAcceptableProtection, RemoteProtocolError
from socks5.protocol.gssapi import (
    ABORT,
    MAX_TOKEN,
    Message,
    MessageType,
    Protection,
    Tokens,
    choose,
    token_of,
)

octets = bytes.fromhex

MESSAGES = [
    (Message(1, b"token"), "01 01 0005 746f6b656e"),
    (Message(1), "01 01 0000"),
    (Message(2, b"\0"), "01 02 0001 00"),
    (Message(3, bytes(258)), "01 03 0102" + "00" * 258),
    (Message(3, bytes(MAX_TOKEN)), "01 03 ffff" + "00" * MAX_TOKEN),
    (Message(255), "01 ff"),
]


@pytest.mark.parametrize(("message", "encoded"), MESSAGES, ids=lambda each: None)
def test_a_message_is_so_in_octets(message: Message, encoded: str) -> None:
    data = octets(encoded)
    kind = MessageType(message.kind)
    assert message.encode() == data
    assert Message.decode(data, kind) == (message, len(data))
    assert Message.decode(bytearray(data) + b"behind", kind) == (message, len(data))
    for end in range(min(len(data), 300)):
        assert Message.decode(data[:end], kind) is None


@pytest.mark.parametrize("expected", list(MessageType)[:3])
def test_an_abort_may_come_at_any_time(expected: MessageType) -> None:
    assert Message.decode(ABORT + b"anything", expected) == (Message(MessageType.ABORT), 2)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("00", "first octet 0"),
        ("05 01 00", "first octet 5"),
        ("01 00", "message 0 where 1 is due"),
        ("01 02 0001 00", "message 2 where 1 is due"),
        ("01 04", "message 4 where 1 is due"),
    ],
)
def test_what_is_no_such_message_is_an_error_at_once(data: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=text) as caught:
        Message.decode(octets(data), MessageType.CONTEXT)
    assert caught.value.reply is None


def test_a_token_that_does_not_fit_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError, match="65536 octets"):
        Message(1, bytes(MAX_TOKEN + 1)).encode()


def test_no_token_in_the_text_of_a_message() -> None:
    assert "secret" not in repr(Message(1, b"secret"))


@given(st.binary(max_size=20), st.sampled_from(list(MessageType)[:3]))
def test_arbitrary_octets_raise_nothing_else(data: bytes, expected: MessageType) -> None:
    try:
        found = Message.decode(data, expected)
    except RemoteProtocolError:
        return
    assert found is None or found[0].encode() == data[: found[1]]


# ---------------------------------------------------------------- a stream of tokens


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_tokens_come_out_whole_however_they_are_cut(size: int) -> None:
    sent = [b"one", b"", b"three" * 10]
    stream = b"".join(Message(MessageType.ENCAPSULATED, each).encode() for each in sent)
    tokens, found = Tokens(), []
    for start in range(0, len(stream), size):
        tokens.add(stream[start : start + size])
        while (token := tokens.next()) is not None:
            found.append(token)
    assert found == sent
    assert len(tokens) == 0


@pytest.mark.parametrize("data", ["02", "01 01", "01 02 0000", "01 ff"])
def test_a_stream_holds_nothing_else(data: str) -> None:
    tokens = Tokens()
    tokens.add(octets("01 03 0001 78" + data))
    assert tokens.next() == b"x"
    with pytest.raises(RemoteProtocolError):
        tokens.next()


def test_a_datagram_is_one_message() -> None:
    assert token_of(octets("01 03 0002 6869")) == b"hi"
    assert token_of(octets("01 03 0000")) == b""


@pytest.mark.parametrize(
    "data",
    ["", "01 03", "01 03 0002 68", "01 03 0001 6869", "01 01 0001 68", "01 ff", "00 00 00 01"],
)
def test_a_datagram_is_nothing_else(data: str) -> None:
    with pytest.raises(RemoteProtocolError):
        token_of(octets(data))


# ---------------------------------------------------------------- the choice

N, I, C = Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY  # noqa: E741
SUBSETS = [set(each) for size in range(4) for each in combinations((N, I, C), size)]

# RFC 1961 section 4.2, and docs/protocol.rst: what is answered, by what is required and permitted.
CHOICES: list[tuple[int, Collection[Protection], Protection | None]] = [
    (0, {N, I, C}, N),
    (0, {I, C}, None),
    (1, {N, I, C}, I),
    (1, {I}, I),
    (1, {N, C}, C),
    (1, {N}, N),
    (2, {N, I, C}, C),
    (2, {N, I}, None),
    (2, {N}, N),
    (2, {I}, None),
    (3, {N, I, C}, C),
    (3, {N, I}, I),
    (3, {N}, N),
    (0, set(), None),
    (3, set(), None),
]


@pytest.mark.parametrize(("required", "permitted", "agreed"), CHOICES)
def test_the_level_that_is_agreed(
    required: int, permitted: Collection[Protection], agreed: Protection | None
) -> None:
    if agreed is not None:
        assert choose(bytes((required,)), permitted) is agreed
        return
    with pytest.raises(NoAcceptableProtection) as caught:
        choose(bytes((required,)), permitted)
    assert (caught.value.required, set(caught.value.permitted)) == (required, set(permitted))
    names = sorted(int(each) for each in permitted)
    assert str(caught.value) == f"protection level {required} required, permitted {names}"


@pytest.mark.parametrize("permitted", SUBSETS)
@pytest.mark.parametrize("required", Protection)
def test_it_is_always_permitted_and_weaker_only_where_nothing_is_protected(
    required: Protection, permitted: Collection[Protection]
) -> None:
    try:
        agreed = choose(bytes((required,)), permitted)
    except NoAcceptableProtection:
        return
    assert agreed in permitted
    if permitted == {N}:
        return
    assert agreed >= min(required, Protection.INTEGRITY if required == 3 else required)
    assert (agreed is N) == (required is N)


@pytest.mark.parametrize("required", [b"", b"\4", b"\xff", b"\1\1"])
def test_what_is_no_level_is_an_error(required: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no level of protection"):
        choose(required, {N, I, C})
