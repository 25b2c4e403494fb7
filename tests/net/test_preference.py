"""Which family begins, where a name has addresses of both."""

from collections.abc import Callable

import pytest

from socks5.net.preference import preferred, source_towards

IPV4, IPV6 = "192.0.2.1", "2001:db8::1"


def sources(ipv4: str | None, ipv6: str | None) -> Callable[[str], str | None]:
    return lambda host: ipv6 if ":" in host else ipv4


@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6", "is_ipv6_first"),
    [
        (IPV6, "192.0.2.10", "2001:db8::10", True),
        (IPV6, None, "2001:db8::10", True),
        (IPV6, "192.0.2.10", None, False),
        (IPV6, None, None, False),
        (IPV6, "192.0.2.10", "fe80::10", False),  # a scope too small
        (IPV6, None, "fe80::10", True),
        (IPV6, "192.0.2.10", "fd00::10", False),  # another label
        (IPV6, None, "fd00::10", True),
        ("fd00::1", "192.0.2.10", "fd00::10", False),  # precedence 3 against 35
        ("2002::1", "192.0.2.10", "2001:db8::10", False),
        ("fe80::1%lo", "192.0.2.10", "fe80::10%lo", True),
        ("::1", "127.0.0.1", "::1", True),
    ],
)
def test_the_better_family_is_first(
    host: str, ipv4: str | None, ipv6: str | None, is_ipv6_first: bool
) -> None:
    found = preferred([IPV4, host], sources(ipv4, ipv6))
    assert found == ((host, IPV4) if is_ipv6_first else (IPV4, host))


def test_inside_a_family_the_order_stays_and_each_is_there_once() -> None:
    hosts = [IPV6, "192.0.2.9", "2001:db8::5", IPV4, IPV6, "192.0.2.9"]
    assert preferred(hosts, sources("192.0.2.10", None)) == ("192.0.2.9", IPV4, IPV6, "2001:db8::5")


def test_one_family_needs_no_question() -> None:
    def nobody(host: str) -> None:
        pytest.fail("asked")

    assert preferred([IPV4], nobody) == (IPV4,)
    assert preferred([IPV6], nobody) == (IPV6,)


def test_the_source_is_what_the_routing_table_says() -> None:
    assert source_towards("127.0.0.1") == "127.0.0.1"
    assert source_towards("fe80::1%no-such-one") is None
