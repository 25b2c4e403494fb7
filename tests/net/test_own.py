"""What this machine takes for its own."""

import errno
import os
import socket
from itertools import count
from typing import Any

import pytest
from twisted.internet.task import Clock

from socks5.net import own
from socks5.net.own import OwnListeners, OwnPorts, is_own_address, ports_of, share_ports
from socks5.protocol.address import Address

COMING_BACK = [
    *("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"),
    *("224.0.0.1", "255.255.255.255", "ff02::1"),
]
OTHERS = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "example.org"]


@pytest.mark.parametrize("host", [*COMING_BACK, *OTHERS])
def test_what_comes_back_whatever_the_network_is_own_and_others_addresses_are_not(
    host: str,
) -> None:
    assert is_own_address(host, unknown=False) is (host in COMING_BACK)


class Kernel:
    """A socket on a machine.

    :param address: the primary one: what sockets are bound to that nobody has bound.
    :param error: the number of the error that a connection meets.
    :param bindable: what else can be bound.
    :param within: what is reached from loopback.
    """

    def __init__(self, address: str, error: int = 0, bindable: str = "", within: str = "") -> None:
        self._address = address
        self._error = error
        self._bindable = ("127.0.0.1", bindable)
        self._within = within
        self._bound = ""
        self.asked: list[str] = []

    def __call__(self, *arguments: Any) -> "Kernel":
        return self

    def __enter__(self) -> "Kernel":
        return self

    def __exit__(self, *arguments: Any) -> None:
        self._bound = ""

    def bind(self, name: tuple[str, int]) -> None:
        if name[0] not in self._bindable:
            raise OSError(errno.EADDRNOTAVAIL, "")
        self._bound = name[0]

    def connect(self, name: tuple[str, int]) -> None:
        self.asked.append(name[0])
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        if self._bound and name[0] != self._within:
            raise OSError(errno.EINVAL, "")

    def getsockname(self) -> tuple[str, int]:
        return self._address, 50000


PERIODS = count(2, 2)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which is another one for each test: what was found out for one is not believed in the next."""
    now = [next(PERIODS) * own.LIFETIME]
    monkeypatch.setattr(own.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("kernel", "host", "is_own"),
    [
        (Kernel("198.51.100.1"), "198.51.100.1", True),
        (Kernel("198.51.100.1"), "198.51.100.2", False),
        (Kernel("2001:db8::1"), "2001:DB8:0::1", True),
        (Kernel("fe80::1"), "fe80::1%lo", True),
        (Kernel("::ffff:198.51.100.1"), "198.51.100.1", True),
        # a secondary address can be bound, and is reached from loopback
        (Kernel("198.51.100.1", 0, "198.51.100.2", "198.51.100.2"), "198.51.100.2", True),
        (Kernel("198.51.100.1", 0, "198.51.100.2"), "198.51.100.2", False),  # ip_nonlocal_bind
        (Kernel("198.51.100.1", 0, "", "198.51.100.2"), "198.51.100.2", False),  # route_localnet
        # no way leads there
        (Kernel("", errno.ENETUNREACH), "198.51.100.1", False),
        (Kernel("", errno.EAFNOSUPPORT), "198.51.100.1", False),
    ],
)
def test_an_address_is_own_by_what_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, host: str, is_own: bool
) -> None:
    monkeypatch.setattr(socket, "socket", kernel)
    assert is_own_address(host, unknown=True) is is_own


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_what_cannot_be_found_out_now_is_what_the_caller_says_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", Kernel("", number))
        assert is_own_address("198.51.100.1", unknown=True)
        assert not is_own_address("198.51.100.1", unknown=False)
        assert is_own_address("127.0.0.1", unknown=False)
    monkeypatch.setattr(socket, "socket", Kernel("198.51.100.1"))
    assert is_own_address("198.51.100.1", unknown=False)


def test_the_kernel_is_asked_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    kernel = Kernel("198.51.100.1")
    monkeypatch.setattr(socket, "socket", kernel)
    for _ in range(3):
        assert is_own_address("198.51.100.1", unknown=False)
    assert len(kernel.asked) == 1
    now[0] += own.LIFETIME
    assert is_own_address("198.51.100.1", unknown=False)
    assert len(kernel.asked) == 2


# ---------------------------------------------------------------- ports


HERE = "127.0.0.1"


def test_a_port_is_ours_while_a_socket_has_it() -> None:
    ports = OwnPorts()
    ports.add(HERE, 5000)
    ports.add("::1", 5000)
    ports.add(HERE, 65535)
    assert [port in ports for port in (0, 4999, 5000, 65535)] == [False, False, True, True]
    ports.discard(HERE, 5000)
    assert 5000 in ports
    assert not ports.hear(HERE, 5000)
    ports.discard("::1", 5000)
    assert 5000 not in ports


@pytest.mark.parametrize(
    ("bound", "heard", "unheard"),
    [
        (HERE, [HERE, "0.0.0.0", "::ffff:127.0.0.1", "255.255.255.255"], ["127.0.0.2", "::1"]),
        ("0.0.0.0", [HERE, "127.0.0.2", "192.0.2.1", "224.0.0.1"], ["::1", "2001:db8::1"]),
        ("::", [HERE, "192.0.2.1", "::1", "2001:db8::1", "ff02::1"], []),
        ("::1", ["::1", "::"], [HERE, "2001:db8::1"]),
        ("fe80::1%lo", ["fe80::1", "fe80::1%lo"], ["::1"]),
    ],
)
def test_a_socket_hears_what_is_sent_to_its_address(
    bound: str, heard: list[str], unheard: list[str]
) -> None:
    """Another program may have the same port at another address."""
    ports = OwnPorts()
    ports.add(bound, 5000)
    assert [each for each in [*heard, *unheard] if ports.hear(each, 5000)] == heard
    assert not any(ports.hear(each, 5001) for each in heard)


def test_processes_see_each_others_ports_and_that_they_change() -> None:
    memory = bytearray(OwnPorts.size(2))
    first, second = OwnPorts(memory, 0), OwnPorts(memory, 1)
    seen = {first.changes[0]}
    for ports, port in ((first, 5000), (second, 5000), (second, 5001), (first, 5002)):
        ports.add(HERE, port)
        for process in (first, second):
            assert port in process
            assert process.hear(HERE, port)
        assert second.changes[0] == first.changes[0]
        seen.add(first.changes[0])
    assert len(seen) == 5
    first.discard(HERE, 5000)
    assert 5000 in first
    OwnPorts(memory, 1)  # a successor, for the second was killed
    assert [port in first for port in (5000, 5001, 5002)] == [False, False, True]


def test_a_successor_s_changes_are_none_of_its_predecessor_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has seen the latter sees the former."""
    memory = bytearray(OwnPorts.size(1024))
    seen = set()
    for now in (10**9, 2 * 10**9, 10**17):
        monkeypatch.setattr(own.time, "monotonic_ns", lambda now=now: now)
        for process in (0, 1, 1023):
            ports = OwnPorts(memory, process)
            for port in range(1024, 1034):
                ports.add(HERE, port)
                seen.add(ports.changes[0])
    assert len(seen) == 90


def test_a_reactor_has_one_table_whatever_wraps_it() -> None:
    class Wrapper:
        def __init__(self, reactor: Clock) -> None:
            self.wrapped = reactor

    clock, shared = Clock(), OwnPorts()
    assert ports_of(Wrapper(clock)) is ports_of(clock)
    assert ports_of(clock) is not ports_of(Clock())
    share_ports(clock, shared)
    assert ports_of(clock) is shared


@pytest.mark.parametrize("has_memory", [True, False])
def test_processes_inherit_the_table_as_a_file(
    monkeypatch: pytest.MonkeyPatch, has_memory: bool
) -> None:
    if not has_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with OwnPorts.file_for(3) as file:
        first, third = (OwnPorts.inherited(file.fileno(), number) for number in (0, 2))
    first.add(HERE, 5000)
    assert 5000 in third


# ---------------------------------------------------------------- listeners


def listening(*places: tuple[str, int]) -> OwnListeners:
    listeners = OwnListeners()
    for place in places:
        listeners.add(Address(*place))
    return listeners


@pytest.mark.parametrize(
    ("listener", "ours", "others"),
    [
        ("127.0.0.1", ["127.0.0.1", "0.0.0.0"], ["127.0.0.2", "192.0.2.1"]),
        ("192.0.2.1", ["192.0.2.1", "0.0.0.0", "64:ff9b::192.0.2.1"], ["64:ff9b::192.0.2.2"]),
        ("0.0.0.0", ["127.0.0.1", "127.0.0.9", "::127.0.0.1"], ["192.0.2.1"]),
        ("::", ["::1", "127.0.0.1"], ["2001:db8::1"]),  # which takes both families
        ("::1", ["::"], []),
        ("fe80::1", ["fe80::1%eth0"], []),
    ],
)
def test_a_connection_to_a_listener_of_ours_comes_to_us(
    listener: str, ours: list[str], others: list[str]
) -> None:
    """Another program may listen on the same port of another address."""
    listeners = listening((listener, 1080))
    assert [host for host in (*ours, *others) if (host, 1080) in listeners] == ours
    assert not any((host, 1081) in listeners for host in ours)


def test_a_wildcard_listener_is_at_every_address_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own, "is_own_address", lambda host, unknown: host == "192.0.2.1")
    listeners = listening(("0.0.0.0", 1080), ("192.0.2.9", 1080), ("127.0.0.1", 1081))
    assert ("192.0.2.1", 1080) in listeners
    assert ("192.0.2.2", 1080) not in listeners
    assert ("192.0.2.1", 1081) not in listeners


def test_a_listener_that_is_closed_is_ours_no_more() -> None:
    here, there = ("127.0.0.1", 1080), ("::1", 1080)
    listeners = listening(here, here, there)
    for place, left in ((here, [here, there]), (here, [there]), (there, [])):
        listeners.discard(Address(*place))
        assert [each for each in (here, there) if each in listeners] == left
