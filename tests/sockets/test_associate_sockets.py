"""UDP ASSOCIATE on real sockets: addresses, sizes, and errors that only a system makes."""

import socket
from typing import Any

import pytest
import pytest_twisted

from socks5 import PerFamily, Settings
from socks5.wire import Address, Datagram
from tests import sessions
from tests.sockets.clients import Far, packed
from tests.sockets.wires import until

failures = sessions.failures

ON_IPV6 = "tcp6:0:interface=\\:\\:1"
LARGEST = 65507
"""Octets that one IPv4 datagram carries."""


@pytest_twisted.ensureDeferred
async def test_targets_of_every_kind_share_an_association(serve: Any) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    ipv4, other, ipv6 = (proxy.datagrams(host) for host in ("127.0.0.1", "127.0.0.9", "::1"))
    sources = []
    for target, asked in [
        (ipv4, ipv4.host),
        (other, other.host),
        (ipv4, (b"localhost", ipv4.host[1])),
        (ipv6, ipv6.host),
    ]:
        client.ask(asked)
        data, source = await target.receive()
        assert data == b"ping"
        target.send(b"pong", source)
        assert await client.answer() == (b"pong", target.host)
        sources.append(source)
    # RFC 4787 section 4.1: the mapping does not depend on the target.
    assert len({source[1] for source in sources[:3]}) == 1
    assert sources[0][0] == "127.0.0.1"


@pytest.mark.parametrize("endpoint", ["tcp:0:interface=127.0.0.1", ON_IPV6])
@pytest_twisted.ensureDeferred
async def test_reply_is_where_answers_come_from(serve: Any, endpoint: str) -> None:
    proxy = await serve(endpoint=endpoint)
    host = proxy.address[0]
    control, client = await proxy.associate(host)
    assert client.relay[0] == host
    target = proxy.datagrams(host)
    client.ask(target.host)
    target.send(b"pong", (await target.receive())[1])
    assert await client.answer() == (b"pong", target.host)  # which looks at the sender
    assert control.sees_now() == ""


@pytest_twisted.ensureDeferred
async def test_mapped_control_connection_has_an_ipv4_association(serve: Any) -> None:
    proxy = await serve(endpoint="tcp6:0:interface=\\:\\:")
    control, client = await proxy.associate(address=("127.0.0.1", proxy.address[1]))
    assert control.value()[3] == 1 or client.relay[0] == "127.0.0.1"
    target = proxy.datagrams()
    client.ask(target.host)
    target.send(b"pong", (await target.receive())[1])
    assert await client.answer() == (b"pong", target.host)


@pytest_twisted.ensureDeferred
async def test_other_hosts_cannot_use_it(serve: Any) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    stranger, target = proxy.datagrams("127.0.0.9"), proxy.datagrams()
    stranger.send(Datagram(Address(*target.host), b"mine").encode(), client.relay)
    client.ask(target.host)
    assert (await target.receive())[0] == b"ping"
    assert proxy.counters.dropped == {"stranger": 1}


@pytest.mark.parametrize("size", [0, 1, 8193, LARGEST - 10])
@pytest_twisted.ensureDeferred
async def test_payloads_pass_whole(serve: Any, size: int) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    target = proxy.datagrams()
    client.ask(target.host, b"u" * size)
    data, source = await target.receive()
    assert data == b"u" * size
    target.send(b"d" * size, source)
    assert await client.answer() == (b"d" * size, target.host)


@pytest_twisted.ensureDeferred
async def test_answer_that_is_too_long_for_its_header_is_dropped(serve: Any) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    target = proxy.datagrams()
    client.ask(target.host)
    _, source = await target.receive()
    for size in (LARGEST, LARGEST - 9, 4):
        target.send(b"d" * size, source)
    assert await client.answer() == (b"dddd", target.host)
    assert proxy.counters.dropped == {"unsendable": 2}


@pytest_twisted.ensureDeferred
async def test_whatever_fits_passes_over_ipv6(serve: Any) -> None:
    proxy = await serve(endpoint=ON_IPV6)
    _, client = await proxy.associate("::1")
    target = proxy.datagrams()
    client.ask(target.host, b"u" * LARGEST)
    data, source = await target.receive()
    target.send(data, source)
    assert await client.answer() == (b"u" * LARGEST, target.host)


@pytest_twisted.ensureDeferred
async def test_datagrams_that_cannot_be_sent_are_dropped(serve: Any) -> None:
    proxy = await serve(endpoint=ON_IPV6)
    _, client = await proxy.associate("::1")
    target = proxy.datagrams()
    client.ask(("127.0.0.1", 0))
    client.ask(("255.255.255.255", 9))  # EACCES
    client.ask(target.host, b"u" * (LARGEST + 1))  # EMSGSIZE, IPv4 carries less
    client.ask(target.host)
    assert (await target.receive())[0] == b"ping"
    assert proxy.counters.dropped == {"unsendable": 3}


@pytest_twisted.ensureDeferred
async def test_target_that_is_not_there_ends_nothing(serve: Any) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    target, gone = proxy.datagrams(), proxy.datagrams()
    gone.socket.close()  # the system answers for it: port unreachable
    for _ in range(3):
        client.ask(gone.host)
        client.ask(target.host)
        target.send(b"pong", (await target.receive())[1])
        assert await client.answer() == (b"pong", target.host)
    assert proxy.counters.dropped == {}


@pytest_twisted.ensureDeferred
async def test_client_that_is_not_there_ends_nothing(serve: Any) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    target = proxy.datagrams()
    client.ask(target.host)
    _, source = await target.receive()
    moved = proxy.datagrams(kind=type(client))
    moved.relay = client.relay
    client.socket.close()
    target.send(b"lost", source)
    moved.ask(target.host)
    await target.receive()
    target.send(b"pong", source)
    assert (await moved.answer())[0] in (b"lost", b"pong")


def is_free(address: tuple[str, int]) -> bool:
    """Whether a UDP socket could be bound there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(address)
        except OSError:
            return False
        return True


@pytest.mark.parametrize("leave", [Far.close, Far.end, Far.reset])
@pytest_twisted.ensureDeferred
async def test_sockets_close_with_the_control_connection(serve: Any, leave: Any) -> None:
    proxy = await serve()
    control, client = await proxy.associate()
    target = proxy.datagrams()
    client.ask(target.host)
    _, source = await target.receive()
    assert not is_free(client.relay)
    leave(control)
    await until(lambda: is_free(client.relay) and is_free(("0.0.0.0", source[1])))
    await proxy.gone()
    assert proxy.counters.open_associations == {}


@pytest_twisted.ensureDeferred
async def test_silence_ends_the_association(serve: Any) -> None:
    proxy = await serve(Settings(udp_idle_timeout=0.02))
    control, client = await proxy.associate()
    assert await control.rest() == b""
    await until(lambda: is_free(client.relay))
    assert [record.reason for record in proxy.records] == ["idle"]


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Twisted's, unbound
@pytest_twisted.ensureDeferred
async def test_exhausted_port_range_gets_reply_1(serve: Any) -> None:
    network = await serve()
    taken = network.datagrams().host[1]
    proxy = await serve(Settings(udp_ports=(taken, taken)))
    control = await proxy.client(3, packed("0.0.0.0", 0))
    assert await control.rest() == sessions.refusal(1)


@pytest_twisted.ensureDeferred
async def test_reply_has_the_advertised_address(serve: Any) -> None:
    proxy = await serve(Settings(advertise=PerFamily(ipv4="192.0.2.99")))
    _, client = await proxy.associate()
    assert client.relay[0] == "192.0.2.99"
    target = proxy.datagrams()
    client.relay = ("127.0.0.1", client.relay[1])
    client.ask(target.host)
    assert (await target.receive())[0] == b"ping"


@pytest_twisted.ensureDeferred
async def test_fragments_make_one_datagram(serve: Any) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    target = proxy.datagrams()
    for position, payload in ((1, b"one "), (2, b"two "), (0x83, b"three")):
        fragment = Datagram(Address(*target.host), payload, position)
        client.send(fragment.encode(), client.relay)
    assert (await target.receive())[0] == b"one two three"
