"""What a process leaves to the next: how places are called, and who gets which sockets."""

import os
import socket
from collections.abc import Iterator

import pytest
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.python.systemd import ListenFDs

from socks5.app.estate import VARIABLE, Estate, Left, systemds
from socks5.net.places import TCP, UNIX, Inherited
from tests.support.descriptors import numbered


def test_an_estate_is_told_of_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    left = Left(3, [("[127.0.0.1]:1080", 2), ("unix:/run/b\udcff", 1)], 6)
    monkeypatch.setenv(VARIABLE, left.environment)
    found = Left.from_environment()
    assert found is not None
    assert [*map(tuple, found.places)] == left.places
    assert (found.first, found.channel) == (3, 6)
    assert Left.from_environment() is None, "what it starts has none"


@pytest.mark.parametrize("handed", [[], [7, 9]])
def test_what_systemd_has_handed_to_this_process(
    handed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what Twisted has found in the environment, and taken out of there."""
    names = [f"name-{number}" for number in handed]
    found = ListenFDs(handed, names)
    monkeypatch.setattr("twisted.internet.endpoints._SystemdParser._sddaemon", found)
    monkeypatch.setattr(AdoptedStreamServerEndpoint, "_setNonBlocking", lambda *_: None)
    assert systemds() == handed


@pytest.fixture
def descriptors() -> Iterator[list[int]]:
    """Those of sockets that were left, four in a row."""
    with socket.socket() as own:
        first = numbered([own] * 4)
        yield [*range(first, first + 4)]


def is_open(number: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{number}")


def test_each_listener_takes_all_that_was_left_for_it_and_nobody_the_rest(
    descriptors: list[int],
) -> None:
    first, second, third, fourth = descriptors
    left = Left(first, [("unix:/run/a", 1), ("[127.0.0.1]:0", 2), ("[127.0.0.1]:0", 1)], 0)
    found = Estate(left)
    where = TCP(0, "127.0.0.1")
    assert found.take(Inherited("systemd:name=a")) == []
    one, two, three = (found.take(where) for _ in range(3))
    assert [[sock.fileno() for sock in group] for group in (one, two, three)] == [
        [second, third],
        [fourth],
        [],
    ]
    assert not any(os.get_inheritable(each) for each in descriptors)
    found.close()
    assert [is_open(each) for each in descriptors] == [False, True, True, True]
    for sock in (*one, *two):
        sock.close()
    assert found.take(UNIX("/run/a")) == []


def test_nothing_may_be_left() -> None:
    nothing = Estate()
    assert nothing.take(TCP(1080)) == []
    nothing.close()
