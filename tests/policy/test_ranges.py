"""Numbers on a line: where an address is, and what may be written for a port."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.policy.ranges import (
    IPV6,
    Ranges,
    check_port,
    meanings_of,
    number_of,
    quoted,
    range_of,
    shown,
)
from socks5.protocol.networks import network_of

pairs = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple))


@given(pairs, pairs)
def test_ranges_are_the_numbers_within_them(some: list, others: list) -> None:
    def numbers(pairs: list) -> set[int]:
        return {number for first, last in pairs for number in range(first, last + 1)}

    ranges = Ranges(some)
    assert {n for n in range(-1, 62) if n in ranges} == numbers(some)
    left = ranges.without(Ranges(others))
    assert {n for n in range(-1, 62) if n in left} == numbers(some) - numbers(others)
    ends = [edge for pair in left for edge in pair]
    assert ends == sorted(ends)


@given(st.ip_addresses())
def test_an_address_is_in_the_range_of_its_network(host: object) -> None:
    assert range_of(network_of(str(host))) == (number_of(str(host)),) * 2


def test_a_mapped_address_is_the_ipv4_address_and_not_a_second_meaning() -> None:
    assert meanings_of("::ffff:192.0.2.1") == meanings_of("192.0.2.1") == (0xC0000201,)
    assert range_of(network_of("::ffff:192.0.2.0/120")) == (0xC0000200, 0xC00002FF)
    assert range_of(network_of("::fffe:0:0/95"))[0] >= IPV6


def test_loopback_has_no_other_meaning_though_it_has_the_form_of_one() -> None:
    assert [len(meanings_of(host)) for host in ("::", "::1", "::2")] == [1, 1, 2]


def test_an_address_is_shown_with_its_other_meanings() -> None:
    assert shown("fe80::1%lo") == "fe80::1%lo"
    assert shown("64:ff9b::a14:7") == "64:ff9b::a14:7 (also 10.20.0.7)"
    assert meanings_of("fe80::1%lo") == (int(ip_address("fe80::1")) + IPV6,)


@pytest.mark.parametrize(
    ("written", "pair"), [(443, (443, 443)), ("443", (443, 443)), ("0-65535", (0, 65535))]
)
def test_ports_are_numbers_and_ranges(written: int | str, pair: tuple[int, int]) -> None:
    assert check_port(written) == pair


@pytest.mark.parametrize(
    "written", [-1, 65536, "", "-", "1-", "-1", "2-1", "1-70000", "http", "¹", "1-²", "000080"]
)
def test_what_is_no_port_is_said(written: int | str) -> None:
    with pytest.raises(ValueError, match=r'expected a port or a range, got ".*"; write 443'):
        check_port(written)


def test_values_are_quoted_on_one_line_and_cut() -> None:
    assert quoted('a"\\\n') == r'"a\"\\\x0a"'
    assert quoted("x" * 61) == '"' + "x" * 59 + '…"'
