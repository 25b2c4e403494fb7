"""What a proxy is asked for, and what it cannot be asked for."""

import pytest
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address

from socks5.client.names import target_of, twisted_address
from socks5.protocol.address import Address

TARGETS: dict[str | bytes, str | bytes] = {
    "192.0.2.1": "192.0.2.1",
    b"192.0.2.1": "192.0.2.1",
    "2001:DB8:0::1": "2001:db8::1",
    "[2001:db8::1]": "2001:db8::1",
    b"[2001:db8::1]": "2001:db8::1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "127.1": b"127.1",
    "www.Example.org.": b"www.Example.org.",
    "_dmarc.example": b"_dmarc.example",
    "xn--ls8h.la": b"xn--ls8h.la",
    "bücher.example": b"xn--bcher-kva.example",
    "b\u0075\u0308cher.example": b"xn--bcher-kva.example",
    b"b\xc3\xbccher": b"b\xc3\xbccher",
    b"a:b": b"a:b",
    "a": b"a",
    "a" * 64: b"a" * 64,
    "a" * 128: b"a" * 128,
    "a" * 255: b"a" * 255,
}


@pytest.mark.parametrize("host", TARGETS)
def test_a_target(host: str | bytes) -> None:
    assert target_of(host, 443) == Address(TARGETS[host], 443)


@pytest.mark.parametrize(
    "host",
    [
        *("", b"", "a" * 256, b"a" * 256, "a\0b", b"a\0b", "fe80::1%eth0", "example.org:80", "1:2"),
        *("\u2028", "ü" * 64, "\udc80"),
    ],
)
def test_what_no_proxy_can_be_asked_for(host: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        target_of(host, 443)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_no_port(port: int) -> None:
    for host in ("192.0.2.1", "example.org"):
        with pytest.raises(ValueError, match="65535"):
            target_of(host, port)


def test_the_same_for_twisted() -> None:
    shown = [twisted_address(target_of(host, 80)) for host in ("192.0.2.1", "2001:db8::1", "a")]
    assert shown == [
        IPv4Address("TCP", "192.0.2.1", 80),
        IPv6Address("TCP", "2001:db8::1", 80),
        HostnameAddress(b"a", 80),
    ]
