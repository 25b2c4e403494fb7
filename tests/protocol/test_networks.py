"""Sets of networks: what is in them, what is not, and what is no network."""

import errno
import socket
from ipaddress import ip_address

import pytest

from socks5.protocol.networks import Networks, packed, socket_name, subscriber


@pytest.mark.parametrize(
    ("text", "host", "is_in"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.0/24", "::ffff:192.0.2.7", True),
        ("192.0.2.0/24", "::192.0.2.7", False),
        ("::ffff:192.0.2.0/120", "192.0.2.7", True),
        ("::ffff:192.0.2.0/120", "192.0.3.7", False),
        ("::/0", "192.0.2.7", False),
        ("::/0", "2001:db8::1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("2001:db8::/32, 192.0.2.0/24,198.51.100.7", "198.51.100.7", True),
        ("192.0.2.0/24", "", False),
        ("192.0.2.0/24", "localhost", False),
        ("0.0.0.0/0", "192.0.2", False),
    ],
)
def test_an_address_is_in_its_networks(text: str, host: str, is_in: bool) -> None:
    assert (host in Networks.parse(text)) is is_in


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", ""),
        ("192.0.2.1/24", "192.0.2.1/24"),
        ("192.0.2.0/24,", ""),
        ("192.0.2.0/24,here", "here"),
        ("192.0.2.0/33", "192.0.2.0/33"),
        ("192.0.2", "192.0.2"),
        ("2001:db8::1/32", "2001:db8::1/32"),
        ("example.org", "example.org"),
    ],
)
def test_what_is_no_network_is_named(text: str, part: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared below
        Networks.parse(text)
    assert str(raised.value) == part


def test_sets_can_be_joined_and_compared() -> None:
    both = Networks.parse("192.0.2.0/24") | Networks.parse("2001:db8::/32")
    assert both == Networks.parse("192.0.2.0/24,2001:db8::/32")
    assert both != Networks()
    assert "2001:db8::1" in both
    assert "192.0.2.1" not in Networks()


def test_a_literal_is_its_octets() -> None:
    assert packed("192.0.2.1") == packed("::ffff:192.0.2.1") == ip_address("192.0.2.1").packed
    assert packed("fe80::1%2") == ip_address("fe80::1").packed
    with pytest.raises(ValueError, match="no IP address: 'x'"):
        packed("x")


def test_a_subscriber_is_an_ipv4_address_or_a_64_of_ipv6() -> None:
    """Link-local ones are one each: all of a network's hosts have them in one /64."""
    assert subscriber("192.0.2.1") == subscriber("::ffff:192.0.2.1") == bytes((192, 0, 2, 1))
    assert subscriber("254.128.0.1") == bytes((254, 128, 0, 1))
    assert subscriber("2001:db8::1") == subscriber("2001:db8::ffff:0:0:2")
    assert subscriber("2001:db8::1") != subscriber("2001:db8:0:1::1")
    assert subscriber("fe80::1") == subscriber("fe80::1%lo") == ip_address("fe80::1").packed
    assert subscriber("fe80::1") != subscriber("fe80::2")
    assert subscriber("") == b""


def test_a_socket_is_told_the_zone_of_an_address() -> None:
    """Which the socket module leaves out if it stands in the text."""
    assert socket_name("192.0.2.1", 80) == ("192.0.2.1", 80)
    assert socket_name("2001:db8::1", 80) == ("2001:db8::1", 80)
    assert socket_name("fe80::1%lo", 80) == ("fe80::1", 80, 0, socket.if_nametoindex("lo"))
    with pytest.raises(OSError, match="No such device") as raised:
        socket_name("fe80::1%no-such-zone", 80)
    assert raised.value.errno == errno.ENODEV


@pytest.mark.parametrize(
    ("text", "is_everything"),
    [
        ("0.0.0.0/0", True),
        ("10.0.0.0/8,::/0", True),
        ("0.0.0.0/1,128.0.0.0/1", True),
        ("::ffff:0:0/97,128.0.0.0/2,192.0.0.0/2", True),
        ("8000::/1,::/2,4000::/2", True),
        ("0.0.0.0/1,8000::/1", False),
        ("0.0.0.0/1,128.0.0.0/2", False),
        ("10.0.0.0/8", False),
    ],
)
def test_all_addresses_are_everything_however_they_are_cut(text: str, is_everything: bool) -> None:
    assert Networks.parse(text).is_everything is is_everything
