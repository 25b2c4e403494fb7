"""Where to listen, as values: who could reach it, and which are the same."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from socks5 import ListenerPolicy, Networks
from socks5.net.certificate_files import Files
from socks5.net.places import TCP, UNIX, Foreign, Inherited, Listen, is_loopback, name_of

BALANCERS = ListenerPolicy(proxies=Networks.parse("127.0.0.1"))
LOCAL = ["127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1", "localhost", "::ffff:127.0.0.1"]
REACHABLE = [
    *("", "0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1%eth0"),
    *("::ffff:192.0.2.1", "127.evil.example.org", "example.org"),
]


@pytest.mark.parametrize("interface", [*LOCAL, *REACHABLE])
def test_the_loopback_is_what_this_host_alone_can_reach(interface: str) -> None:
    assert is_loopback(interface) is (interface in LOCAL)
    assert Listen(TCP(1080, interface)).is_exposed is (interface not in LOCAL)


@pytest.mark.parametrize(
    ("listener", "is_exposed"),
    [
        (Listen(UNIX("/run/proxy.sock")), False),
        (Listen(UNIX("/run/proxy.sock"), policy=BALANCERS), True),  # which bring others
        (Listen(Foreign("ssl:1080", is_exposed=False)), False),
        (Listen(Foreign("elsewhere:")), True),
        (Listen(Inherited("of nobody", 1_000_000)), True),
        (Listen(Inherited("of the parent")), True),
    ],
)
def test_when_in_doubt_others_can_reach_it(listener: Listen, is_exposed: bool) -> None:
    assert listener.is_exposed is is_exposed


@pytest.mark.parametrize(
    ("family", "address", "is_exposed"),
    [
        (socket.AF_INET, ("127.0.0.1", 0), False),
        (socket.AF_INET, ("0.0.0.0", 0), True),
        (socket.AF_UNIX, "inherited.sock", False),
    ],
)
def test_an_inherited_socket_is_looked_at(
    family: int, address: Any, is_exposed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(family) as inherited:
        inherited.bind(address)
        assert Listen(Inherited("tcp", inherited.fileno())).is_exposed is is_exposed
        inherited.getsockname()  # is still ours


def test_required_certificates_let_nobody_else_in() -> None:
    required = Files("a.pem", "a.pem", "ca.pem")
    assert Listen(TCP(1443), required).is_authenticated
    for other in (None, Files("a.pem", "a.pem"), replace(required, is_required=False)):
        assert not Listen(TCP(1443), other).is_authenticated


def test_listeners_can_be_compared() -> None:
    """A socket that is inherited has another number in another process."""
    policy = ListenerPolicy(clients=Networks.parse("192.0.2.0/24"))
    listeners = [Listen(TCP(1080), Files("a", "b"), policy), Listen(Inherited("tcp", 3))]
    same = [Listen(TCP(1080), Files("a", "b"), policy), Listen(Inherited("tcp"))]
    assert {*listeners} == {*same}
    assert Listen(TCP(1080)) not in listeners


def test_a_place_has_one_name_whatever_else_its_listener_is() -> None:
    """What has another may be open beside it."""
    alike: list[tuple[Any, Any]] = [
        (TCP(1080), TCP(1080, "0.0.0.0", backlog=5)),
        (TCP(1080, "2001:db8::1"), TCP(1080, "2001:0db8::0001")),
        (TCP(1080, "127.0.0.1"), TCP(1080, "::ffff:127.0.0.1")),
        (TCP(1080, "::"), TCP(1080, "::")),
        (UNIX("/run/a", 0o600, is_locked=False), UNIX("/run//a")),
        (UNIX("a"), UNIX(str(Path.cwd() / "a"))),
        (Inherited("a", 3), Inherited("a")),
        (Foreign("a"), Foreign("a", False)),
    ]
    names = [{name_of(where) for where in places} for places in alike]
    assert [len(each) for each in names] == [1] * len(alike)
    assert len(set.union(*names)) == len(alike)
    assert name_of(TCP(1080, "localhost")) == "[localhost]:1080"
