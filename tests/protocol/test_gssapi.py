"""The messages of RFC 1961 in octets written out by hand, and which level of protection is agreed."""

from collections.abc import Collection

import pytest

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
    assert Message.decode(ABORT + b"anything", kind) == (Message(MessageType.ABORT), 2)
    assert "secret" not in repr(Message(1, b"secret"))


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


@pytest.mark.parametrize(
    "data",
    ["", "01 03", "01 03 0002 68", "01 03 0001 6869", "01 01 0001 68", "01 ff", "00 00 00 01"],
)
def test_a_datagram_is_one_message_and_nothing_else(data: str) -> None:
    assert token_of(octets("01 03 0002 6869")) == b"hi"
    assert token_of(octets("01 03 0000")) == b""
    with pytest.raises(RemoteProtocolError):
        token_of(octets(data))


# ---------------------------------------------------------------- the choice

N, I, C = Protection.NONE, Protection.INTEGRITY, Protection.CONFIDENTIALITY  # noqa: E741

# RFC 1961 section 4.2, and docs/protocol.rst: what is answered, by what is required and permitted.
CHOICES: list[tuple[int, Collection[Protection], Protection | None]] = [
    *((each, {N, I, C}, level) for each, level in enumerate((N, I, C, C))),
    *((each, {N, I}, level) for each, level in enumerate((N, I, None, I))),
    *((each, {N, C}, level) for each, level in enumerate((N, C, C, C))),
    *((each, {I, C}, level) for each, level in enumerate((None, I, C, C))),
    *((each, {N}, N) for each in range(4)),
    *((each, {I}, level) for each, level in enumerate((None, I, None, I))),
    *((each, {C}, level) for each, level in enumerate((None, C, C, C))),
    *((each, set(), None) for each in range(4)),
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


@pytest.mark.parametrize("required", [b"", b"\4", b"\xff", b"\1\1"])
def test_what_is_no_level_is_an_error(required: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no level of protection"):
        choose(required, {N, I, C})
