"""The system's files about names."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.net.resolvconf import ResolvConf, parse_hosts, sources_beside_dns
from socks5.protocol.dns import wire_name


def test_an_empty_file_asks_this_host_and_searches_its_domain() -> None:
    conf = ResolvConf.parse("")
    assert conf == ResolvConf()
    assert (conf.servers, conf.search, conf.port) == (("127.0.0.1",), (), 53)
    assert ResolvConf.parse("", "example.org").search == ("example.org",)
    assert ResolvConf.parse("search one.example", "example.org").search == ("one.example",)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("nameserver 192.0.2.1", {"servers": ("192.0.2.1",)}),
        (
            "nameserver 192.0.2.1\nnameserver 2001:DB8::1 # two\nnameserver fe80::1%lo\n",
            {"servers": ("192.0.2.1", "2001:db8::1", "fe80::1%lo")},
        ),
        (
            "".join(f"nameserver 192.0.2.{number}\n" for number in (1, 1, 2, 3)),
            {"servers": ("192.0.2.1", "192.0.2.2")},
        ),
        ("nameserver\nnameserver ns.example\n", {}),
        ("# nameserver 192.0.2.1\n; nameserver 192.0.2.2", {}),
        ("search One.example two.example.", {"search": ("one.example", "two.example")}),
        ("search one.example\ndomain two.example", {"search": ("two.example",)}),
        ("search" + " a" * 9, {"search": ("a",) * 8}),
        ("search .", {"search": ()}),
        ("search m\u00fcller.local", {"search": ("xn--mller-kva.local",)}),
        (f"search a..b {'a' * 64}.example exa/mple good.example", {"search": ("good.example",)}),
        ("options ndots:2 timeout:7 attempts:3", {"ndots": 2, "timeout": 7, "attempts": 3}),
        ("options ndots:99 timeout:99\noptions attempts:99", {"ndots": 15, "timeout": 30, "attempts": 5}),
        ("options ndots:0 timeout:0 attempts:0", {"ndots": 0, "timeout": 1, "attempts": 1}),
        ("options ndots:x rotate", {"rotates": True}),
        ("options rotate ndots:" + "9" * 5000, {"rotates": True}),
        ("options use-vc no-aaaa edns0", {"is_by_tcp": True, "has_ipv6": False}),
        ("sortlist 192.0.2.0/24\noptions", {}),
    ],
)  # fmt: skip
def test_what_a_file_says(text: str, values: dict[str, Any]) -> None:
    assert ResolvConf.parse(text) == ResolvConf(**values)


@pytest.mark.parametrize(
    ("name", "ndots", "candidates"),
    [
        ("host", 1, ["host.one.example", "host.two.example", "host"]),
        ("host.sub", 1, ["host.sub", "host.sub.one.example", "host.sub.two.example"]),
        ("host.sub", 2, ["host.sub.one.example", "host.sub.two.example", "host.sub"]),
        ("host.", 1, ["host."]),
        ("a" * 63 + "." + "b" * 60 + ".c" * 60, 1, ["a" * 63 + "." + "b" * 60 + ".c" * 60]),
    ],
)
def test_a_name_is_searched_by_its_dots(name: str, ndots: int, candidates: list[str]) -> None:
    conf = ResolvConf(search=("one.example", "two.example"), ndots=ndots)
    assert conf.candidates(name) == candidates


@given(st.text(max_size=200))
def test_any_text_is_a_file(text: str) -> None:
    for each in (text, f"options {text}", f"nameserver {text}"):
        assert 1 <= len(ResolvConf.parse(each).servers) <= 3
    parse_hosts(text)


@given(st.text(max_size=80), st.text(max_size=80))
def test_every_candidate_can_be_asked_for(searched: str, domain: str) -> None:
    for name in ResolvConf.parse(f"search {searched}", domain).candidates("host"):
        assert len(wire_name(name)) <= 255
    for name in ResolvConf.parse("", domain).candidates("host"):
        assert len(wire_name(name)) <= 255


def test_hosts_have_their_addresses_in_the_file_s_order() -> None:
    text = (
        "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost\n127.0.0.1 LOCALHOST\n"
        "# 192.0.2.1 commented\n192.0.2.2 Printer. printer.example # in the hall\n"
        "fe80::1%lo linked\nnonsense name\n192.0.2.3\n"
    )
    assert parse_hosts(text) == {
        "localhost": ("127.0.0.1", "::1"),
        "ip6-localhost": ("::1",),
        "printer": ("192.0.2.2",),
        "printer.example": ("192.0.2.2",),
        "linked": ("fe80::1%lo",),
    }


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        (None, []),
        ("passwd: files sss\n", []),
        ("hosts: files dns", []),
        ("hosts:  files resolve [!UNAVAIL=return] dns", []),
        (
            "# a comment\nhosts: files mdns4_minimal [NOTFOUND=return] dns mymachines # more",
            ["mdns4_minimal", "mymachines"],
        ),
        ("hosts: ldap [SUCCESS=return NOTFOUND=continue] dns", ["ldap"]),
    ],
)
def test_who_else_knows_names(tmp_path: Path, text: str | None, sources: list[str]) -> None:
    if text is not None:
        (tmp_path / "nsswitch.conf").write_text(text)
    assert sources_beside_dns(str(tmp_path / "nsswitch.conf")) == sources
