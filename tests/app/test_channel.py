"""What parent and worker tell each other arrives: whole, in order, with its descriptors; and nothing else does."""

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet.interfaces import IReadWriteDescriptor
from zope.interface.verify import verifyObject

from socks5.app import channel
from socks5.app.channel import Channel, Message
from tests.support.failures import Failures


class End(Channel):
    """One that notes what it hears of one kind."""

    def __init__(self, end: socket.socket) -> None:
        self.reactor = Mock()
        super().__init__(self.reactor, end)
        self.heard: list[Any] = []
        self.descriptors: list[int] = []
        self.ended = 0
        self.hear("word", self.take)
        self.open(self.note_end)

    def take(self, message: Message, descriptors: Sequence[int]) -> None:
        self.heard.append(message["word"])
        self.descriptors += descriptors

    def note_end(self) -> None:
        self.ended += 1

    def say(self, word: object, descriptors: Sequence[int] = ()) -> None:
        self.send({"is": "word", "word": word}, descriptors)


@pytest.fixture
def pair() -> Iterator[tuple[End, End]]:
    one, other = socket.socketpair()
    made = End(one), End(other)
    yield made
    for each in made:
        each.close()
        for number in each.descriptors:
            os.close(number)


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, End]]:
    """The other end as a socket."""
    one, other = socket.socketpair()
    end = End(other)
    yield one, end
    one.close()
    end.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_messages_arrive_whole_and_in_order(pair: tuple[End, End]) -> None:
    """Also those that the system does not take at once; then others wait behind them."""
    one, other = pair
    verifyObject(IReadWriteDescriptor, one)
    assert one.logPrefix() == "channel"
    words = ["a", "ü" * 3_000_000, {"b": [1, None]}, "c"]
    for word in words:
        one.say(word)
    assert not one.is_clear
    one.reactor.addWriter.assert_called_once_with(one)
    while not one.is_clear:
        other.doRead()
        one.doWrite()
    one.reactor.removeWriter.assert_called_once_with(one)
    other.doRead()
    assert other.heard == words
    other.say("answer")
    one.doRead()
    assert one.heard == ["answer"]


def test_descriptors_come_with_their_message(pair: tuple[End, End]) -> None:
    """Whatever waits before them; they are copies."""
    one, other = pair
    pipes = [os.pipe() for _ in range(3)]
    one.say("x" * 1_000_000)
    one.say("first", [pipes[0][1]])
    one.say("none")
    one.say("others", [pipes[1][1], pipes[2][1]])
    for _, writing in pipes:
        os.close(writing)
    while not one.is_clear:
        other.doRead()
        one.doWrite()
    other.doRead()
    assert other.heard[1:] == ["first", "none", "others"]
    assert len(other.descriptors) == 3
    for number, (reading, _) in zip(other.descriptors, pipes, strict=True):
        os.write(number, b"here")
        assert os.read(reading, 10) == b"here"
        os.close(reading)


def test_the_end_is_told_once_behind_all_that_was_said(pair: tuple[End, End]) -> None:
    """Whoever has said its end still hears."""
    one, other = pair
    one.say("x" * 1_000_000)
    one.end()
    one.say("too late")
    while not one.is_clear:
        other.doRead()
        one.doWrite()
    other.say("last word")
    other.doRead()
    other.doRead()
    for _ in range(2):
        other.connectionLost()
    assert (len(other.heard), other.ended, other.fileno()) == (1, 1, -1)
    other.say("lost")
    one.doRead()
    assert (one.heard, one.ended) == (["last word"], 1)


def test_whoever_has_heard_the_end_may_still_speak(pair: tuple[End, End]) -> None:
    one, other = pair
    one.end()
    other.doRead()
    other.doRead()
    other.reactor.removeReader.assert_called_with(other)
    other.say("last word")
    one.doRead()
    assert (other.ended, one.heard, one.ended) == (1, ["last word"], 0)


def test_an_end_without_anything_before_it_is_told_at_once(pair: tuple[End, End]) -> None:
    one, other = pair
    one.end()
    other.doRead()
    assert other.ended == 1
    one.close()
    one.end()
    assert one.ended == 0, "its own"


def test_what_is_said_to_nobody_is_forgotten(pair: tuple[End, End]) -> None:
    one, other = pair
    reading, writing = os.pipe()
    one.say("x" * 1_000_000)
    one.say("with a descriptor", [writing])
    os.close(writing)
    other.close()
    one.doWrite()
    assert one.is_clear
    assert os.read(reading, 1) == b"", "nobody holds it"
    os.close(reading)
    one.say("lost, too")
    assert one.is_clear
    one.end()
    assert one.ended == 0, "that is told where it is read"
    one.doRead()
    assert one.ended == 1


@pytest.mark.parametrize(
    "octets",
    [
        b"\xff\xff\xff\xffx",
        b"\0\0\0\1{",
        b"\0\0\0\2[]",
        b"\0\0\0\2{}",
        b'\0\0\0\x1f{"is":"word","descriptors":"two"}',
        b'\0\0\0\x1e{"is":"word","descriptors":100}',
        b"\0\0\0\1\xff",
    ],
)
def test_what_is_no_message_ends_it(octets: bytes, raw: tuple[socket.socket, End]) -> None:
    sock, end = raw
    reading, writing = os.pipe()
    socket.send_fds(sock, [octets], [writing])
    os.close(writing)
    end.doRead()
    assert (end.heard, end.ended, end.fileno()) == ([], 1, -1)
    assert os.read(reading, 1) == b"", "what came with it is closed"
    os.close(reading)


def test_a_connection_that_is_reset_ends_it(raw: tuple[socket.socket, End]) -> None:
    sock, end = raw
    end.say("never read")
    sock.close()
    end.doRead()
    assert end.ended == 1


def test_more_than_a_message_may_be_is_not_read(
    raw: tuple[socket.socket, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    sock, end = raw
    monkeypatch.setattr(channel, "MAX_MESSAGE", 60)
    sock.sendall(b'\0\0\0\x2b{"is":"word","word":"this","descriptors":0}' + b"\0\0\0\x3d")
    end.doRead()
    assert (end.heard, end.ended) == (["this"], 1)


def test_what_nobody_hears_is_said_in_the_log(pair: tuple[End, End], log: list[str]) -> None:
    one, other = pair
    reading, writing = os.pipe()
    one.send({"is": "riddle"}, [writing])
    os.close(writing)
    one.say("next")
    other.doRead()
    assert log == ["the other process says riddle, which is unknown here"]
    assert os.read(reading, 1) == b"", "its descriptor is closed"
    os.close(reading)
    assert other.heard == ["next"]


def test_a_message_that_cannot_be_obeyed_is_one_message(
    pair: tuple[End, End], failures: Failures
) -> None:
    one, other = pair
    one.send({"is": "word"})
    one.say("next")
    other.doRead()
    assert len(failures.take(KeyError)) == 1
    assert other.heard == ["next"]


def test_it_may_be_closed_by_what_it_hears(pair: tuple[End, End]) -> None:
    """Once; then nothing more is heard."""
    one, other = pair
    other.hear("word", lambda message, descriptors: other.close())
    one.say("first")
    one.say("second")
    before = open_descriptors()
    other.doRead()
    other.doRead()
    assert (other.fileno(), other.ended, open_descriptors()) == (-1, 0, before - 1)
    other.reactor.removeReader.assert_called_once_with(other)
