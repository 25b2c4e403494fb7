"""What this machine takes for its own."""

import errno
import os
import socket
from typing import Any

import pytest

from socks5 import own
from socks5.own import is_own_address


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
    ],
)
def test_what_comes_back_whatever_the_network_is_own(host: str) -> None:
    assert is_own_address(host)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "example.org"])
def test_others_addresses_are_not_own(host: str) -> None:
    assert not is_own_address(host)


class Kernel:
    """A socket on a machine that has one address."""

    def __init__(self, address: str, error: int = 0) -> None:
        self._address = address
        self._error = error
        self.asked: list[str] = []

    def __call__(self, *arguments: Any) -> "Kernel":
        return self

    def __enter__(self) -> "Kernel":
        return self

    def __exit__(self, *arguments: Any) -> None:
        pass

    def connect(self, name: tuple[str, int]) -> None:
        self.asked.append(name[0])
        if self._error:
            raise OSError(self._error, os.strerror(self._error))

    def getsockname(self) -> tuple[str, int]:
        return self._address, 50000


@pytest.fixture(autouse=True)
def forget() -> None:
    own._is_source.cache_clear()


@pytest.mark.parametrize(
    ("source", "host", "is_own"),
    [
        ("198.51.100.1", "198.51.100.1", True),
        ("198.51.100.1", "198.51.100.2", False),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("fe80::1", "fe80::1%eth0", True),
        ("::ffff:198.51.100.1", "198.51.100.1", True),
    ],
)
def test_the_kernels_source_towards_its_own_address_is_that_address(
    monkeypatch: pytest.MonkeyPatch, source: str, host: str, is_own: bool
) -> None:
    monkeypatch.setattr(socket, "socket", Kernel(source))
    assert is_own_address(host) is is_own


@pytest.mark.parametrize(
    ("number", "is_own"),
    [(errno.ENETUNREACH, False), (errno.EAFNOSUPPORT, False), (errno.EMFILE, True)],
)
def test_an_address_that_cannot_be_judged_for_want_of_descriptors_is_own(
    monkeypatch: pytest.MonkeyPatch, number: int, is_own: bool
) -> None:
    monkeypatch.setattr(socket, "socket", Kernel("", number))
    assert is_own_address("198.51.100.1") is is_own


def test_the_kernel_is_asked_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    kernel = Kernel("198.51.100.1")
    monkeypatch.setattr(socket, "socket", kernel)
    monkeypatch.setattr(own.time, "monotonic", lambda: now)
    for _ in range(3):
        assert is_own_address("198.51.100.1")
    assert len(kernel.asked) == 1
    now += own.LIFETIME
    assert is_own_address("198.51.100.1")
    assert len(kernel.asked) == 2
