"""The rules that hold when nothing else is said: where clients of other hosts must not get to, in every
form that leads there.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from socks5.access import Access
from socks5.interfaces import IRules
from socks5.policy.rules import SPECIAL_NETWORKS, Rules, is_special
from socks5.protocol.address import Address
from socks5.protocol.messages import Command

SPECIAL = [
    # RFC 6890: this network, loopback, link-local, limited broadcast; RFC 5771: multicast
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    # the same of IPv6
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "feff:ffff::1",
    "ff02::1",
    "ff0e::1",
    # where clouds keep their machines' credentials
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd00:42::42",
    "fd00:100::100:200",
    "fd00:a9fe:a9fe::1",
    "fd00:c1::a9fe:a9fe",
    "fd20:ce::254",
]

ORDINARY = [
    "1.0.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "10.0.0.1",  # the proxy's own network: its operator's choice
    "192.168.1.1",
    "172.16.0.1",
    "100.100.100.201",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.1",
    "223.255.255.255",
    "240.0.0.1",
    "255.255.255.254",
    "2001:db8::1",
    "2606:4700::1111",
    "fd00::1",
    "fd00:ec3::254",
    "fe00::1",
    "fe7f:ffff::1",
    "2001:1::1",
    "64:ff9b:2::7f00:1",
    "2001:db8::5eff:7f00:1",
    "2001:db8::400:5efe:7f00:1",
]

SPECIAL_IPV4 = [host for host in SPECIAL if ":" not in host]
ORDINARY_IPV4 = [host for host in ORDINARY if ":" not in host]


def mapped(host: str) -> str:
    """RFC 4291 section 2.5.5.2."""
    return f"::ffff:{host}"


def mapped_in_hexadecimal(host: str) -> str:
    return str(IPv6Address(0xFFFF << 32 | int(IPv4Address(host))))


def compatible(host: str) -> str:
    """RFC 4291 section 2.5.5.1."""
    return str(IPv6Address(int(IPv4Address(host))))


def six_to_four(host: str) -> str:
    """RFC 3056: 2002:V4ADDR::/48, whatever follows."""
    return str(IPv6Address(0x2002 << 112 | int(IPv4Address(host)) << 80 | 0xABCD))


def nat64(host: str) -> str:
    """RFC 6052, the well-known prefix."""
    return str(IPv6Address(0x64FF9B << 96 | int(IPv4Address(host))))


def local_nat64(host: str) -> str:
    """RFC 8215, the prefix for local use, with a /96 of it."""
    return str(IPv6Address(0x64FF9B0001 << 80 | 0x77 << 32 | int(IPv4Address(host))))


def translated(host: str) -> str:
    """RFC 2765 section 2.1 (SIIT)."""
    return str(IPv6Address(0xFFFF << 48 | int(IPv4Address(host))))


def teredo(host: str) -> str:
    """RFC 4380 section 4: a client of the server 192.0.2.1, behind a NAT with that address."""
    client = ~int(IPv4Address(host)) & 0xFFFFFFFF
    return str(IPv6Address(0x20010000_C0000201_8000F227 << 32 | client))


def teredo_server(host: str) -> str:
    """The same of the client 192.0.2.45."""
    return str(IPv6Address(0x20010000 << 96 | int(IPv4Address(host)) << 64 | 0x3FFFFDD2))


def isatap(host: str) -> str:
    """RFC 5214 section 6.1."""
    return str(IPv6Address(0x20010DB8_0000_0001_00005EFE << 32 | int(IPv4Address(host))))


def isatap_of_a_unique_address(host: str) -> str:
    return str(IPv6Address(0x20010DB8_0000_0001_02005EFE << 32 | int(IPv4Address(host))))


def behind(prefix: int, length: int, host: str, u: int = 0, suffix: int = 0) -> str:
    """RFC 6052 section 2.2: an IPv4 address behind a prefix, with the octet "u" at bit 64."""
    bits = f"{prefix >> 128 - length:0{length}b}{int(IPv4Address(host)):032b}"
    bits = bits[:64] + f"{u:08b}" + bits[64:]
    return str(IPv6Address(int(bits, 2) << 128 - len(bits) | suffix))


LOCAL = 0x64FF9B0001 << 80


def local_nat64_48(host: str) -> str:
    return behind(LOCAL, 48, host)


def local_nat64_56(host: str) -> str:
    return behind(LOCAL, 56, host)


def local_nat64_64(host: str) -> str:
    return behind(LOCAL, 64, host)


FORMS = [
    mapped,
    mapped_in_hexadecimal,
    compatible,
    six_to_four,
    nat64,
    translated,
    teredo,
    teredo_server,
    isatap,
    isatap_of_a_unique_address,
]
LOCAL_FORMS = [local_nat64, local_nat64_48, local_nat64_56, local_nat64_64]
"""Whether an address has one of them cannot be told, so the readings are mixed up."""


@pytest.mark.parametrize("host", SPECIAL)
def test_special_addresses(host: str) -> None:
    assert is_special(host)


@pytest.mark.parametrize("host", ORDINARY)
def test_ordinary_addresses(host: str) -> None:
    assert not is_special(host)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("host", SPECIAL_IPV4)
def test_a_special_address_is_special_in_every_form(host: str, form: object) -> None:
    assert is_special(form(host))


# Of what a NAT64 of one's own leads to; it sends nothing to 0.0.0.0/8, with which the rest of an address begins.
LED_TO = [host for host in SPECIAL_IPV4 if not host.startswith("0.")]


@pytest.mark.parametrize("form", LOCAL_FORMS)
@pytest.mark.parametrize("host", LED_TO)
def test_what_a_nat64_of_ones_own_leads_to_is_special(host: str, form: object) -> None:
    assert is_special(form(host))


@pytest.mark.parametrize("form", [*FORMS, *LOCAL_FORMS])
@pytest.mark.parametrize("host", ORDINARY_IPV4)
def test_an_ordinary_address_is_ordinary_in_every_form(host: str, form: object) -> None:
    assert not is_special(form(host))


@pytest.mark.parametrize("network", SPECIAL_NETWORKS, ids=str)
def test_each_network_is_special_from_end_to_end(network: object) -> None:
    assert is_special(str(network[0]))
    assert is_special(str(network[-1]))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_has_one_verdict_in_all_its_forms(host: IPv4Address) -> None:
    assert {is_special(form(str(host))) for form in FORMS} == {is_special(str(host))}


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


def test_the_rules_are_rules() -> None:
    assert verifyObject(IRules, Rules())


@pytest.mark.parametrize("client", LOCAL_CLIENTS)
@pytest.mark.parametrize("host", [*SPECIAL, *ORDINARY])
def test_a_client_on_this_host_may_go_anywhere(client: str, host: str) -> None:
    assert access(client).is_local
    assert Rules().allows(access(client), host)


@pytest.mark.parametrize("client", REMOTE_CLIENTS)
def test_a_client_elsewhere_may_go_to_ordinary_addresses_only(client: str) -> None:
    assert not access(client).is_local
    assert [host for host in ORDINARY if not Rules().allows(access(client), host)] == []
    assert [host for host in SPECIAL if Rules().allows(access(client), host)] == []


def test_the_proxy_is_no_client_on_this_host_to_itself() -> None:
    """Else a client elsewhere would ask it to connect to itself, and then to anything on this host."""
    through_itself = access(SERVER, SERVER)
    assert not through_itself.is_local
    assert not Rules().allows(through_itself, "127.0.0.1")


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


@pytest.mark.parametrize("client", [*LOCAL_CLIENTS, *REMOTE_CLIENTS])
def test_a_request_may_be_made_before_its_address_is_known(client: str) -> None:
    assert Rules().allows(access(client), None)


def test_the_tables_of_this_module_are_addresses() -> None:
    """A slip in them would make a test pass that tests nothing."""
    for host in (*SPECIAL, *ORDINARY):
        ip_address(host)
    assert ip_address(local_nat64("1.2.3.4")) in ip_network("64:ff9b:1::/48")
    assert ip_address(six_to_four("1.2.3.4")).sixtofour == IPv4Address("1.2.3.4")
    assert ip_address(mapped_in_hexadecimal("1.2.3.4")).ipv4_mapped == IPv4Address("1.2.3.4")
    # The examples of RFC 4380 section 4, RFC 2765, RFC 5214 and RFC 6052 section 2.4
    assert ip_address(teredo("1.2.3.4")).teredo == (
        IPv4Address("192.0.2.1"),
        IPv4Address("1.2.3.4"),
    )
    assert ip_address(teredo_server("1.2.3.4")).teredo[0] == IPv4Address("1.2.3.4")
    assert ip_address(translated("1.2.3.4")) == ip_address("::ffff:0:1.2.3.4")
    assert ip_address(isatap("1.2.3.4")) == ip_address("2001:db8:0:1:0:5efe:1.2.3.4")
    assert ip_address(isatap_of_a_unique_address("1.2.3.4")) == ip_address(
        "2001:db8:0:1:200:5efe:1.2.3.4"
    )
    example = int(ip_address("2001:db8:122:344::"))
    assert behind(example, 48, "192.0.2.33") == "2001:db8:122:c000:2:2100::"
    assert behind(example, 56, "192.0.2.33") == "2001:db8:122:3c0:0:221::"
    assert behind(example, 64, "192.0.2.33") == "2001:db8:122:344:c0:2:2100:0"
