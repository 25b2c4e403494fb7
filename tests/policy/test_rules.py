"""The rules that hold when nothing else is said: where clients of other hosts must not get to, in every
form that leads there.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from socks5.access import Access
from socks5.interfaces import IRules
from socks5.policy.rules import Rules, is_special
from socks5.policy.special import SPECIAL_NETWORKS
from socks5.protocol.address import Address
from socks5.protocol.messages import Command

SPECIAL = [
    # RFC 6890: this network, loopback, link-local, limited broadcast; RFC 5771: multicast
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.0.1", "224.0.0.1"),
    *("239.255.255.250", "255.255.255.255"),
    # the same of IPv6
    *("::", "::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff:ffff::1"),
    *("ff02::1", "ff0e::1"),
    # where clouds keep their machines' credentials
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("fd00:ec2::254", "fd00:ec2::23", "fd00:42::42", "fd00:100::100:200"),
    *("fd00:a9fe:a9fe::1", "fd00:c1::a9fe:a9fe", "fd20:ce::254"),
]

ORDINARY = [
    *("1.0.0.1", "126.255.255.255", "128.0.0.1", "169.253.255.255", "169.255.0.1"),
    *("223.255.255.255", "240.0.0.1", "255.255.255.254", "100.100.100.201", "168.63.129.17"),
    # the proxy's own network: its operator's choice
    *("10.0.0.1", "192.168.1.1", "172.16.0.1"),
    *("2001:db8::1", "2606:4700::1111", "fd00::1", "fd00:ec3::254", "fe00::1"),
    *("fe7f:ffff::1", "2001:1::1"),
    *("64:ff9b:2::7f00:1", "2001:db8::5eff:7f00:1", "2001:db8::400:5efe:7f00:1"),
]

SPECIAL_IPV4 = [host for host in SPECIAL if ":" not in host]
ORDINARY_IPV4 = [host for host in ORDINARY if ":" not in host]


def behind(prefix: int, length: int, host: str, u: int = 0, suffix: int = 0) -> str:
    """RFC 6052 section 2.2: an IPv4 address behind a prefix, with the octet "u" at bit 64."""
    bits = f"{prefix >> 128 - length:0{length}b}{int(IPv4Address(host)):032b}"
    bits = bits[:64] + f"{u:08b}" + bits[64:]
    return str(IPv6Address(int(bits, 2) << 128 - len(bits) | suffix))


LOCAL = 0x64FF9B0001 << 80
"""RFC 8215: the prefix for local use."""


def ipv6(prefix: int, host: str, shift: int = 0, suffix: int = 0) -> str:
    """An IPv4 address among the bits of an IPv6 one."""
    return str(IPv6Address(prefix | int(IPv4Address(host)) << shift | suffix))


Form = Callable[[str], str]

FORMS: dict[str, Form] = {
    "mapped (RFC 4291 section 2.5.5.2)": lambda host: f"::ffff:{host}",
    "mapped, in hexadecimal": lambda host: ipv6(0xFFFF << 32, host),
    "compatible (RFC 4291 section 2.5.5.1)": lambda host: ipv6(0, host),
    "6to4 (RFC 3056), whatever follows": lambda host: ipv6(0x2002 << 112, host, 80, 0xABCD),
    "NAT64 (RFC 6052), the well-known prefix": lambda host: ipv6(0x64FF9B << 96, host),
    "translated (RFC 2765 section 2.1, SIIT)": lambda host: ipv6(0xFFFF << 48, host),
    "a client of Teredo (RFC 4380 section 4)": lambda host: str(
        IPv6Address(0x20010000_C0000201_8000F227 << 32 | ~int(IPv4Address(host)) & 0xFFFFFFFF)
    ),
    "a server of Teredo": lambda host: ipv6(0x20010000 << 96, host, 64, 0x3FFFFDD2),
    "ISATAP (RFC 5214 section 6.1)": lambda host: ipv6(0x20010DB8_0000_0001_00005EFE << 32, host),
    "ISATAP, unique": lambda host: ipv6(0x20010DB8_0000_0001_02005EFE << 32, host),
}
LOCAL_FORMS: dict[str, Form] = {
    "NAT64 of one's own, /96": lambda host: ipv6(LOCAL | 0x77 << 32, host),
    "NAT64 of one's own, /48": lambda host: behind(LOCAL, 48, host),
    "NAT64 of one's own, /56": lambda host: behind(LOCAL, 56, host),
    "NAT64 of one's own, /64": lambda host: behind(LOCAL, 64, host),
}
"""Whether an address has one of them cannot be told, so the readings are mixed up."""


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("host", SPECIAL_IPV4)
def test_a_special_address_is_special_in_every_form(host: str, form: Form) -> None:
    assert is_special(form(host))


# Of what a NAT64 of one's own leads to; it sends nothing to 0.0.0.0/8, with which the rest of an address begins.
LED_TO = [host for host in SPECIAL_IPV4 if not host.startswith("0.")]


@pytest.mark.parametrize("form", (FORMS | LOCAL_FORMS).values(), ids=FORMS | LOCAL_FORMS)
@pytest.mark.parametrize("host", ORDINARY_IPV4)
def test_an_ordinary_address_is_ordinary_in_every_form(host: str, form: Form) -> None:
    assert not is_special(form(host))


@pytest.mark.parametrize("network", SPECIAL_NETWORKS, ids=str)
def test_each_network_is_special_from_end_to_end(network: object) -> None:
    assert is_special(str(network[0]))
    assert is_special(str(network[-1]))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_has_one_verdict_in_all_its_forms(host: IPv4Address) -> None:
    assert {is_special(form(str(host))) for form in FORMS.values()} == {is_special(str(host))}


@given(
    length=st.sampled_from([48, 56, 64]),
    host=st.sampled_from(LED_TO),
    within=st.integers(0, 2**16 - 1),
    u=st.integers(0, 255),
    suffix=st.integers(0, 2**24 - 1),
)
def test_a_special_address_is_special_whatever_is_around_it(
    length: int, host: str, within: int, u: int, suffix: int
) -> None:
    """RFC 6052 section 2.3: a translator looks neither at "u" nor at what follows."""
    assert is_special(behind(LOCAL | within << 64, length, host, u, suffix))
    assert is_special(
        str(IPv6Address(LOCAL | within << 64 | suffix << 32 | int(IPv4Address(host))))
    )


@given(st.ip_addresses())
def test_every_address_has_a_verdict(host: object) -> None:
    by_hand = any(
        host in network for network in SPECIAL_NETWORKS if network.version == host.version
    )
    assert is_special(str(host)) >= by_hand


@pytest.mark.parametrize("host", ["example.org", "", "127.1", "1.2.3.4:80", "[::1]"])
def test_what_is_no_ip_literal_is_an_error(host: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        is_special(host)


# ---------------------------------------------------------------- who may go there

SERVER = "203.0.113.1"
LOCAL_CLIENTS = ["127.0.0.1", "127.8.8.8", "::1", ""]
REMOTE_CLIENTS = [SERVER, "203.0.113.9", "10.0.0.1", "2001:db8::1", "128.0.0.1", "12.7.0.1"]


def access(client: str, server: str = SERVER) -> Access:
    return Access(client, server, None, Command.CONNECT, Address(b"example.org", 80))


@pytest.mark.parametrize("client", LOCAL_CLIENTS + REMOTE_CLIENTS)
def test_a_client_elsewhere_may_go_to_ordinary_addresses_only(client: str) -> None:
    """And one on this host anywhere; nobody is refused before the address is known. The proxy itself is no client on
    this host: else a client elsewhere would ask it to connect to itself, and then to anything here.
    """
    assert verifyObject(IRules, rules := Rules())
    asks = access(client)
    assert asks.is_local is (client in LOCAL_CLIENTS)
    assert [host for host in ORDINARY if not rules.allows(asks, host)] == []
    assert [host for host in SPECIAL if rules.allows(asks, host) is not asks.is_local] == []
    assert rules.allows(asks, None)


class Chained(Rules):
    reaches_itself = True


@pytest.mark.parametrize("client", [*LOCAL_CLIENTS, *REMOTE_CLIENTS])
def test_nobody_connects_to_the_proxy_through_itself(client: str) -> None:
    """Neither its bans nor its sessions are to be had by its own address; unless a rule says so."""
    listeners = {("203.0.113.1", 1080)}
    ours = Access(client, SERVER, None, Command.CONNECT, Address(SERVER, 1080), listeners)
    assert not Rules().allows(ours, SERVER)
    assert Rules().allows(ours, "203.0.113.2")
    assert Rules().allows(ours._replace(target=Address(SERVER, 1081)), SERVER)
    assert Rules().allows(ours._replace(command=Command.BIND), SERVER)
    assert Rules().allows(ours._replace(command=Command.UDP_ASSOCIATE), SERVER)
    assert Chained().allows(ours, SERVER)
    assert Chained().allows(ours, "127.0.0.1") is ours.is_local


def test_the_forms_of_this_module_are_those_of_the_rfcs() -> None:
    """A slip in them would make a test pass that tests nothing."""
    forms = [ip_address(form("1.2.3.4")) for form in FORMS.values()]
    assert forms[0] == forms[1] == ip_address("::ffff:1.2.3.4")
    assert forms[3].sixtofour == IPv4Address("1.2.3.4")
    assert forms[6].teredo == (IPv4Address("192.0.2.1"), IPv4Address("1.2.3.4"))
    assert forms[7].teredo[0] == IPv4Address("1.2.3.4")
    assert forms[9] == ip_address("2001:db8:0:1:200:5efe:1.2.3.4")
    example = int(ip_address("2001:db8:122:344::"))
    assert behind(example, 48, "192.0.2.33") == "2001:db8:122:c000:2:2100::"
    assert behind(example, 56, "192.0.2.33") == "2001:db8:122:3c0:0:221::"
    assert behind(example, 64, "192.0.2.33") == "2001:db8:122:344:c0:2:2100:0"
