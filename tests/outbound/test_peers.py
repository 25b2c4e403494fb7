"""Where a BIND's peer is awaited, as far as the system is asked."""

import pytest

from socks5.outbound import peers
from socks5.protocol.networks import socket_name


@pytest.mark.parametrize(
    ("host", "near", "can"),
    [
        ("192.0.2.1", "203.0.113.1", True),
        ("2001:db8::1", "203.0.113.1", False),
        ("192.0.2.1", "::1", False),
        ("192.0.2.1", "127.0.0.1", False),
        ("127.0.0.2", "127.0.0.1", True),
        ("127.0.0.1", "203.0.113.1", True),
        ("2001:db8::1", "::1", False),
        ("::1", "::1", True),
    ],
)
def test_loopback_is_reached_from_this_host_only(host: str, near: str, can: bool) -> None:
    assert peers.can_reach(host, near) is can


def test_way_out_has_an_address() -> None:
    assert peers.local_address_towards("127.0.0.1") == "127.0.0.1"
    assert peers.local_address_towards("::1") == "::1"


@pytest.mark.parametrize(
    ("host", "near", "expected"),
    [
        ("fe80::7%lo", "fe80::1", "fe80::1%lo"),
        ("fe80::7%lo", "2001:db8::1", "2001:db8::1"),
        ("2001:db8::7", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_a_link_local_peer_is_awaited_in_its_zone(
    host: str, near: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Probe:
        def __init__(self, *_: object) -> None:
            """Of whatever family."""

        def __enter__(self) -> "Probe":
            return self

        def __exit__(self, *_: object) -> None:
            """Closed."""

        def connect(self, name: tuple[object, ...]) -> None:
            assert name == socket_name(host, 9)

        def getsockname(self) -> tuple[str, int, int, int]:
            return near, 50000, 0, 1

    monkeypatch.setattr(peers.socket, "socket", Probe)
    assert peers.local_address_towards(host) == expected
