"""UDP ASSOCIATE on real sockets: addresses, sizes, and errors that only a system makes."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from socks5 import Settings, UDPFiltering
from socks5.net import datagram_sockets
from socks5.net.batch_held import HeldUpPort
from socks5.net.batch_up import UpPort
from socks5.net.datagram_ports import SinglePort
from socks5.net.datagram_turns import turns_of
from socks5.net.own import OwnPorts, ports_of
from socks5.outbound import batch_routes, ourselves
from socks5.outbound.targets import Targets
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.policy.ruleset import Ruleset
from socks5.protocol.address import Address
from socks5.protocol.datagram import Datagram
from tests.sockets.clients import Datagrams, Factory, Far, Proxy, UDPClient
from tests.sockets.wires import turn, until
from tests.support.limited import FakeQuotas
from tests.support.ports import free_port
from tests.support.providers import FakeResolver
from tests.support.rules import allow

HIGH = Limit("high", total=1e12)


@pytest.fixture(autouse=True, params=["batches", "one by one", "metered batches"])
def is_batched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the system has the calls that move batches; to whom it serves that makes no difference. Nor do limits
    that are not reached.
    """
    is_available: bool = request.param != "one by one"
    monkeypatch.setattr(datagram_sockets, "is_available", lambda: is_available)
    if request.param.startswith("metered"):
        make = Factory.__init__

        def limited(self: Factory, *arguments: Any, **options: Any) -> None:
            limits = Limits([HIGH], server=["high"])
            make(self, *arguments, **{"limits": limits, **options})

        monkeypatch.setattr(Factory, "__init__", limited)
    return is_available


ON_IPV6 = "tcp6:0:interface=\\:\\:1"
ON_BOTH = "tcp6:0:interface=\\:\\:"
ENDPOINTS = {"127.0.0.1": "tcp:0:interface=127.0.0.1", "::1": ON_IPV6}
"""By where clients are."""

LARGEST = 65507
"""Octets that one IPv4 datagram carries."""

LARGEST_IPV6 = 65527


async def exchange(client: UDPClient, target: Datagrams, asked: Any = None) -> tuple[str, int]:
    """A datagram passes, and its answer.

    :returns: where the datagram came from.
    """
    client.ask(asked or target.host)
    data, source = await target.receive()
    assert data == b"ping"
    target.send(b"pong", source)
    assert await client.answer() == (b"pong", target.host)
    return source


async def in_use(
    proxy: Proxy, host: str = "127.0.0.1"
) -> tuple[UDPClient, Datagrams, tuple[str, int]]:
    """A client at *host* whose datagrams and answers have passed already, its target, and where those came from."""
    _, client = await proxy.associate(host)
    target = proxy.datagrams()
    for _ in range(3):
        source = await exchange(client, target)
    return client, target, source


def sibling(proxy: Proxy, client: UDPClient, host: str = "127.0.0.1") -> UDPClient:
    """Another socket that uses the same association."""
    made: UDPClient = proxy.datagrams(host, UDPClient)
    made.relay = client.relay
    return made


@pytest_twisted.ensureDeferred
async def test_datagrams_leave_from_the_source_of_their_rule(serve: Any) -> None:
    """And come back there; others leave from where they always do."""
    proxy = await serve(rules=None)
    other = proxy.datagrams()
    rules = Ruleset([allow("usual", ports=[other.host[1]]), allow("rest", source=["127.0.0.2"])])
    proxy = await serve(rules=rules)
    client, _, source = await in_use(proxy)
    assert source[0] == "127.0.0.2"
    assert (await exchange(client, other))[0] == "127.0.0.1"
    assert proxy.counters.rules == {"rest": 1, "usual": 1}


@pytest_twisted.ensureDeferred
async def test_targets_of_every_kind_share_an_association(serve: Any) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    ipv4, other, ipv6 = (proxy.datagrams(host) for host in ("127.0.0.1", "127.0.0.9", "::1"))
    named = (b"localhost", ipv4.host[1])
    asked = [(ipv4, ipv4.host), (other, other.host), (ipv4, named), (ipv6, ipv6.host)]
    sources = [await exchange(client, *each) for each in asked]
    # RFC 4787 section 4.1: the mapping does not depend on the target.
    assert len({source[1] for source in sources[:3]}) == 1
    assert sources[0][0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [("tcp:0:interface=127.0.0.1", "127.0.0.1"), (ON_IPV6, "::1"), (ON_BOTH, "127.0.0.1")],
)
@pytest_twisted.ensureDeferred
async def test_reply_is_where_answers_come_from(serve: Any, endpoint: str, host: str) -> None:
    """A mapped address means IPv4."""
    proxy = await serve(endpoint=endpoint)
    control, client = await proxy.associate(host, address=(host, proxy.address[1]))
    assert client.relay[0] == host
    await exchange(client, proxy.datagrams(host))  # which looks at the sender
    assert control.sees_now() == ""


@pytest_twisted.ensureDeferred
async def test_an_address_that_a_name_has_left_may_not_answer_any_more(serve: Any) -> None:
    """Nor by the route that its answers have gone so far."""
    proxy = await serve(resolver=FakeResolver({b"example.org": ["127.0.0.8", "127.0.0.9"]}))
    _, client = await proxy.associate()
    target = proxy.datagrams("127.0.0.9")
    port = target.host[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.8", port))
        for _ in range(3):
            await exchange(client, Datagrams(plain), (b"example.org", port))
    for _ in range(3):  # the first is lost, and perhaps what follows before that is known
        client.ask((b"example.org", port))
        await turn()
        await turn()
    _, source = await target.receive()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.8", port))
        Datagrams(plain).send(b"late", source)
        await until(lambda: proxy.counters.dropped == {"unasked": 1})


@pytest.mark.parametrize(
    ("host", "there", "size"),
    [
        ("127.0.0.1", "127.0.0.1", 0),
        ("127.0.0.1", "127.0.0.1", LARGEST - 10),
        ("127.0.0.1", "::1", LARGEST - 22),
        ("::1", "127.0.0.1", LARGEST),
        ("::1", "::1", 0),
        ("::1", "::1", LARGEST_IPV6 - 22),
    ],
)
@pytest_twisted.ensureDeferred
async def test_payloads_pass_whole(serve: Any, host: str, there: str, size: int) -> None:
    """To targets of either family, for clients of either."""
    proxy = await serve(endpoint=ENDPOINTS[host])
    _, client = await proxy.associate(host)
    target = proxy.datagrams(there)
    for _ in range(2):  # the first to a target is looked at, the others are not
        client.ask(target.host, b"u" * size)
        data, source = await target.receive()
        assert data == b"u" * size
        target.send(b"d" * size, source[:2])
        assert await client.answer() == (b"d" * size, target.host)


@pytest.mark.parametrize("host", ENDPOINTS)
@pytest.mark.parametrize(
    ("there", "asked", "is_known"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", False),
        ("127.0.0.1", b"abc", False),
    ],
    ids=["IPv4", "IPv6", "IPv4-mapped", "a name with a header as long as an address's"],
)
@pytest_twisted.ensureDeferred
async def test_what_was_let_through_is_not_looked_at_again(
    serve: Any,
    monkeypatch: pytest.MonkeyPatch,
    is_batched: bool,
    host: str,
    there: str,
    asked: str | bytes,
    is_known: bool,
) -> None:
    looked_at: list[str] = []

    def watched(method: str) -> Callable[..., Any]:
        call = getattr(Targets, method)

        def look(*arguments: Any) -> Any:
            looked_at.append(method)
            return call(*arguments)

        return look

    for method in ("sent", "asked"):
        monkeypatch.setattr(Targets, method, watched(method))
    resolver = FakeResolver({b"abc": ["127.0.0.1"]})
    proxy = await serve(endpoint=ENDPOINTS[host], resolver=resolver)
    _, client = await proxy.associate(host)
    target = proxy.datagrams(there)
    for _ in range(3):
        await exchange(client, target, (asked, target.host[1]))
    assert looked_at.count("sent") == (1 if is_batched and is_known else 3)
    assert looked_at.count("asked") == (1 if is_batched else 3)


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
async def test_who_is_not_there_ends_nothing(serve: Any) -> None:
    """Targets and clients for whom the system answers: port unreachable."""
    proxy = await serve()
    _, client = await proxy.associate()
    target, gone = proxy.datagrams(), proxy.datagrams()
    await exchange(client, target)  # before: else the proxy's own socket may get the port
    gone.socket.close()
    for _ in range(3):
        client.ask(gone.host)
        source = await exchange(client, target)
    assert proxy.counters.dropped == {}
    moved = sibling(proxy, client)
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


# ---------------------------------------------------------------- ourselves


@pytest_twisted.ensureDeferred
async def test_nested_headers_do_not_go_round(serve: Any) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    target = proxy.datagrams()
    header = Datagram(Address(*client.relay), b"").encode()
    client.send(header * 6000, client.relay)
    client.ask(target.host)
    await target.receive()
    assert proxy.counters.dropped == {"ourselves": 1}
    assert proxy.counters.datagrams_up == 1


@pytest.fixture
def own_ports() -> OwnPorts:
    """Those of the reactor that serves here."""
    from twisted.internet import reactor

    return ports_of(reactor)


@pytest_twisted.ensureDeferred
async def test_who_becomes_an_association_is_no_target_nor_client_any_more(serve: Any) -> None:
    """Two associations that forward to each other's port would never stop."""
    port = free_port()
    proxy = await serve(Settings(udp_ports=(port, port)))
    other = await serve()
    (_, client), (_, relay) = await other.associate(), await other.associate()
    target = proxy.datagrams()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", port))
        there = UDPClient(plain)
        there.relay = relay.relay
        for _ in range(3):
            client.ask(there.host)
            await there.receive()
            source = await exchange(there, target)
    _, after = await proxy.associate()
    assert after.relay == ("127.0.0.1", port)
    before_up = other.counters.datagrams_up
    for _ in range(3):
        client.ask(("127.0.0.1", port), Datagram(Address(*client.relay), b"").encode())
        target.send(b"pong", source)
    await until(lambda: other.counters.dropped["ourselves"] == 6)
    assert other.counters.datagrams_up == before_up
    assert proxy.counters.dropped == {}


@pytest.mark.parametrize("is_same", [False, True])
@pytest_twisted.ensureDeferred
async def test_another_port_and_the_same_elsewhere_are_anothers(
    serve: Any, monkeypatch: pytest.MonkeyPatch, own_ports: OwnPorts, is_same: bool
) -> None:
    """Routes are looked at again, and stay."""
    monkeypatch.setattr(ourselves, "is_own_address", lambda host, unknown: False)
    proxy = await serve()
    client, target, _ = await in_use(proxy)
    new = target.host if is_same else ("127.0.0.1", free_port())
    own_ports.add(*new)
    await exchange(client, target)
    own_ports.discard(*new)


@pytest.mark.parametrize("there", ENDPOINTS)
@pytest_twisted.ensureDeferred
async def test_a_port_that_becomes_ours_while_its_route_is_made_is_ours(
    serve: Any, monkeypatch: pytest.MonkeyPatch, own_ports: OwnPorts, there: str
) -> None:
    proxy = await serve()
    _, client = await proxy.associate()
    target = proxy.datagrams(there)

    def becomes_ours(host: str, unknown: bool) -> bool:
        if target.host[1] not in own_ports:
            own_ports.add(*target.host)
        return True

    with monkeypatch.context() as patched:
        patched.setattr(ourselves, "is_own_address", becomes_ours)
        client.ask(target.host)
        await target.receive()
    if target.host[1] not in own_ports:  # where there are no batches there are no routes
        own_ports.add(*target.host)
    client.ask(target.host)
    await until(lambda: proxy.counters.dropped == {"ourselves": 1})
    own_ports.discard(*target.host)


# ---------------------------------------------------------------- many datagrams to one target


@pytest_twisted.ensureDeferred
async def test_a_whole_datagram_between_fragments_drops_the_sequence(serve: Any) -> None:
    """By whichever way it goes: the first to a target is looked at, the others are not."""
    proxy = await serve()
    _, client = await proxy.associate()
    target = proxy.datagrams()
    for dropped in (2, 4):
        for payload, position in ((b"old", 1), (b"whole", 0), (b"x", 0x82), (b"next", 0)):
            fragment = Datagram(Address(*target.host), payload, position)
            client.send(fragment.encode(), client.relay)
        assert [(await target.receive())[0] for _ in range(2)] == [b"whole", b"next"]
        assert proxy.counters.dropped == {"fragment": dropped}


@pytest.mark.parametrize("host", ENDPOINTS)
@pytest.mark.parametrize("there", ENDPOINTS)
@pytest_twisted.ensureDeferred
async def test_many_datagrams_pass_in_order_and_are_counted(
    serve: Any, host: str, there: str
) -> None:
    proxy = await serve(endpoint=ENDPOINTS[host])
    control, client = await proxy.associate(host)
    target = proxy.datagrams(there)
    payloads = [b"%d" % number * (number % 50) for number in range(100)]
    for payload in payloads:
        client.ask(target.host, payload)
    received = [await target.receive() for _ in payloads]
    assert [data for data, _ in received] == payloads
    for payload in payloads:
        target.send(payload, received[0][1])
    assert [await client.answer() for _ in payloads] == [(each, target.host) for each in payloads]
    control.end()
    await proxy.gone()
    counters, octets = proxy.counters, sum(map(len, payloads))
    assert (counters.datagrams_up, counters.datagrams_down) == (100, 100)
    (record,) = proxy.records
    assert (record.bytes_up, record.bytes_down, record.dropped) == (octets, octets, 0)


@pytest.mark.parametrize(
    ("filtering", "dropped"),
    [
        (UDPFiltering.ENDPOINT_INDEPENDENT, 0),
        (UDPFiltering.ADDRESS_DEPENDENT, 1),
        (UDPFiltering.ADDRESS_AND_PORT_DEPENDENT, 2),
    ],
)
@pytest.mark.parametrize("host", ENDPOINTS)
@pytest_twisted.ensureDeferred
async def test_others_answers_are_filtered(
    serve: Any, filtering: UDPFiltering, dropped: int, host: str
) -> None:
    proxy = await serve(Settings(udp_filtering=filtering), endpoint=ENDPOINTS[host])
    client, target, source = await in_use(proxy, host)
    same_host, other_host = proxy.datagrams(), proxy.datagrams("127.0.0.9")
    for _ in range(2):
        for sender in (other_host, same_host, target):
            sender.send(b"pong", source)
    let_in = [other_host, same_host, target][dropped:]
    for sender in let_in * 2:
        assert await client.answer() == (b"pong", sender.host)
    assert proxy.counters.dropped == ({"unasked": 2 * dropped} if dropped else {})


@pytest_twisted.ensureDeferred
async def test_datagrams_that_cannot_pass_do_not_hold_up_the_others(serve: Any) -> None:
    proxy = await serve()
    client, target, source = await in_use(proxy)
    for payload in (b"1", b"x" * LARGEST, b"2"):
        target.send(payload, source)
    client.send(b"garbage", client.relay)
    client.ask(target.host, b"3")
    assert [(await client.answer())[0] for _ in range(2)] == [b"1", b"2"]
    assert (await target.receive())[0] == b"3"
    assert proxy.counters.dropped == {"unsendable": 1, "malformed": 1}


@pytest.mark.parametrize("filtering", UDPFiltering)
@pytest.mark.parametrize("host", ENDPOINTS)
@pytest_twisted.ensureDeferred
async def test_answers_go_to_the_port_that_last_sent_to_their_sender_or_at_all(
    serve: Any, filtering: UDPFiltering, host: str
) -> None:
    proxy = await serve(Settings(udp_filtering=filtering), endpoint=ENDPOINTS[host])
    first, target, source = await in_use(proxy, host)
    second = sibling(proxy, first, host)
    clients = {target: first, proxy.datagrams("127.0.0.9"): second}
    for _ in range(4):
        for asked, client in clients.items():
            client.ask(asked.host)
            await asked.receive()
        for asked, client in clients.items():
            asked.send(b"pong", source)
            assert await client.answer() == (b"pong", asked.host)
    await exchange(second, target)
    stranger = proxy.datagrams("127.0.0.10")
    for client in (first, second) * 2 if filtering is UDPFiltering.ENDPOINT_INDEPENDENT else ():
        for _ in range(2):
            await exchange(client, target)
            stranger.send(b"pong", source)
            assert await client.answer() == (b"pong", stranger.host)


@pytest.mark.parametrize("host", ["::ffff:127.0.0.1", b"localhost", "127.0.0.1"])
@pytest_twisted.ensureDeferred
async def test_a_target_has_one_last_port_whatever_it_is_called(
    serve: Any, host: str | bytes
) -> None:
    """A batch's way to it is found by what stands in the header."""
    proxy = await serve()
    _, one = await proxy.associate()
    target = proxy.datagrams()
    own_way, another = (one, target.host[0]), (sibling(proxy, one), host)
    for client, called in (own_way, another, own_way) * 3:
        await exchange(client, target, (called, target.host[1]))


@pytest_twisted.ensureDeferred
async def test_what_the_receive_buffer_does_not_take_is_in_the_record(serve: Any) -> None:
    proxy = await serve(Settings(udp_buffer=1))
    control, client = await proxy.associate()
    for _ in range(2000):
        client.send(b"malformed", client.relay)
    await until(lambda: proxy.counters.dropped["malformed"] > 50)
    control.end()
    await proxy.gone()
    (record,) = proxy.records
    assert record.drops == proxy.counters.dropped
    assert record.drops["receive buffer"] > 0
    assert sum(record.drops.values()) == record.dropped <= 2000


@pytest_twisted.ensureDeferred
async def test_a_client_with_many_associations_has_less_buffer_for_each(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twisted.internet import reactor

    asked: list[int] = []
    for kind in (UpPort, HeldUpPort, SinglePort):

        def ask(*arguments: Any, kind: Any = kind) -> Any:
            asked.append(arguments[6])
            return kind(*arguments)

        monkeypatch.setattr(datagram_sockets, kind.__name__, ask)
    proxy = await serve(Settings(udp_buffer=600_000))
    share = turns_of(reactor).share_of("127.0.0.1")
    for others in (0, 64, 700):
        share.budget.associations = others
        await proxy.associate()
    assert asked == [600_000, 300_000, 65_536]
    share.budget.associations = 3


@pytest.mark.parametrize("is_up", [False, True])
@pytest_twisted.ensureDeferred
async def test_datagrams_either_way_keep_it_alive(serve: Any, is_up: bool) -> None:
    clock = Clock()
    proxy = await serve(clock=clock)
    client, target, source = await in_use(proxy)
    for _ in range(10):
        clock.pump([74] * 3)
        if is_up:
            client.ask(target.host)
            await target.receive()
        else:
            target.send(b"pong", source)
            await client.answer()
    assert proxy.factory.ended == 0
    clock.pump([75] * 6)
    await proxy.gone()


# ---------------------------------------------------------------- batches


@pytest_twisted.ensureDeferred
async def test_whoever_may_answer_answers_however_many_they_are(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than are remembered at a time."""
    monkeypatch.setattr(batch_routes, "MOST_SENDERS", 2)
    settings = Settings(udp_filtering=UDPFiltering.ENDPOINT_INDEPENDENT, udp_targets=2)
    proxy = await serve(settings)
    client, _, source = await in_use(proxy)
    others = [proxy.datagrams() for _ in range(5)] * 2
    for other in others:
        other.send(b"pong", source)
        assert await client.answer() == (b"pong", other.host)
    assert proxy.counters.dropped == {}


@pytest.mark.parametrize("is_up", [True, False])
@pytest_twisted.ensureDeferred
async def test_while_it_has_to_pay_datagrams_are_dropped_both_ways(serve: Any, is_up: bool) -> None:
    clock = Clock()
    limits = Limits([Limit("slow", total=1000.0)], server=["slow"], clock=clock)
    proxy = await serve(limits=limits)
    control, client = await proxy.associate()
    target = proxy.datagrams()
    for _ in range(2):
        source = await exchange(client, target)
    large = bytes(35_000)
    for _ in range(2):
        if is_up:
            client.send(Datagram(Address(*target.host), large).encode(), client.relay)
            assert (await target.receive())[0] == large
        else:
            target.send(large, source)
            assert (await client.answer())[0] == large
    for _ in range(5):
        client.ask(target.host)
        target.send(b"pong", source)
    await until(lambda: proxy.counters.dropped["limit"] == 10)
    [session] = proxy.factory.sessions
    assert session.info().drops == {"limit": 10}
    control.end()
    await proxy.gone()
    (record,) = proxy.records
    assert (record.bytes_up, record.bytes_down) == (
        (8 + 70_000 * is_up),
        (8 + 70_000 * (not is_up)),
    )


@pytest_twisted.ensureDeferred
async def test_a_rule_s_limits_are_told_of_its_own_targets_only(serve: Any) -> None:
    """Whatever goes in batches meanwhile, and whoever else is at that address."""
    proxy = await serve(rules=None)
    counted, free = proxy.datagrams(), proxy.datagrams()
    named = (b"localhost", free.host[1])
    rules = Ruleset([allow("counted", ports=[counted.host[1]], limits=["counted"]),
                     allow("named", names=["localhost"], limits=["counted"]),
                     allow("few", limits=["few"])])  # fmt: skip
    quotas = FakeQuotas()
    limits = [Limit("counted", quota=(1000, "day")), Limit("few", sessions=5)]
    of_rules = {"counted": ["counted"], "named": ["counted"], "few": ["few"]}
    proxy = await serve(rules=rules, limits=Limits(limits, rules=of_rules, quotas=quotas))
    control, client = await proxy.associate()
    for _ in range(3):
        for target, asked in ((counted, counted.host), (free, free.host)):
            for _ in range(3):
                await exchange(client, target, asked)
        await exchange(client, free, named)
    control.end()
    await proxy.gone()
    (record,) = proxy.records
    assert (record.bytes_up, record.bytes_down, record.drops) == (4 * 21, 4 * 21, {})
    assert quotas.used["counted", "", "day"].octets == 2 * 4 * (9 + 3)
