"""``all_proxy`` and ``no_proxy``."""

import pytest

from socks5.client.environment import NoProxy, proxy_url
from socks5.client.names import target_of


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"all_proxy": "", "ALL_PROXY": ""}, None),
        ({"all_proxy": "socks5://a", "ALL_PROXY": "socks5://b"}, "socks5://a"),
        ({"ALL_PROXY": "socks5://b"}, "socks5://b"),
        ({"all_proxy": "", "ALL_PROXY": "socks5://b"}, "socks5://b"),
        ({"http_proxy": "socks5://a"}, None),
    ],
)
def test_which_proxy(environ: dict[str, str], url: str | None) -> None:
    assert proxy_url(environ) == url


@pytest.mark.parametrize(
    ("text", "direct", "through"),
    [
        ("", [], ["internal", "192.0.2.1"]),
        ("internal", ["internal", "INTERNAL.", "a.internal"], ["notinternal", "internal.x"]),
        (".internal", ["internal", "a.internal"], ["notinternal"]),
        ("*.internal.", ["internal", "a.b.internal"], ["notinternal"]),
        ("bücher.example", ["xn--bcher-kva.example"], ["b.example"]),
        ("*", ["a", "192.0.2.1", "::1"], []),
        ("10.0.0.0/8", ["10.1.2.3", "::ffff:10.1.2.3"], ["11.1.2.3", "10.1.2.3.example", "::1"]),
        ("10.1.2.3/8", ["10.3.2.1"], ["11.1.2.3"]),
        ("192.0.2.1", ["192.0.2.1"], ["192.0.2.10", "192.0.2.1.example"]),
        ("2001:db8::/32", ["2001:db8::1"], ["2001:db9::1", "192.0.2.1"]),
        ("2001:db8::1", ["2001:db8::1", "[2001:db8:0::1]"], ["2001:db8::2"]),
        ("[2001:db8::1]", ["2001:db8::1"], ["2001:db8::2"]),
        ("a, b\tc", ["a", "b", "c"], ["d"]),
    ],
)
def test_what_is_reached_directly(text: str, direct: list[str], through: list[str]) -> None:
    found = NoProxy.from_environment({"no_proxy": text})
    assert [host for host in direct + through if found.holds(target_of(host, 443))] == direct


@pytest.mark.parametrize(
    ("text", "host"),
    [
        *(("internal:443", "a.internal"), ("192.0.2.1:443", "192.0.2.1"), ("*:443", "a")),
        *(("[2001:db8::1]:443", "2001:db8::1"), ("10.0.0.0/8:443", "10.0.0.1")),
    ],
)
def test_a_port_of_it(text: str, host: str) -> None:
    found = NoProxy.from_environment({"NO_PROXY": text})
    assert found.holds(target_of(host, 443))
    assert not found.holds(target_of(host, 80))


@pytest.mark.parametrize(
    "text",
    ["10.0.0.0/33", "010.0.0.1/8", "a/8", "[::zz]", "a:b", "a:443:1", "[a", "a*", "1.2.3.400"],
)
def test_what_cannot_be_read_does_not_mean_nothing(text: str) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        with pytest.raises(ValueError, match=f"{name}: "):
            NoProxy.from_environment({name: f"a,{text}"})


@pytest.mark.parametrize("name", ["all_proxy", "ALL_PROXY"])
def test_a_variable_that_names_no_proxy_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: the URL has no scheme"):
        proxy_url({name: "proxy.example:1080"})


def test_an_error_repeats_no_login() -> None:
    with pytest.raises(ValueError, match="no_proxy: an entry with an @ is neither"):
        NoProxy.from_environment({"no_proxy": "socks5://alice:secret@proxy.example"})


def test_the_small_letters_go_first() -> None:
    found = NoProxy.from_environment({"no_proxy": "a", "NO_PROXY": "b"})
    assert found.holds(target_of("a", 80))
    assert not found.holds(target_of("b", 80))
