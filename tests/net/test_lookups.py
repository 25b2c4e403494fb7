"""One name to its addresses: by name servers in memory, and by resolvers of Twisted's kind."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure

from socks5.net import lookups, preference
from socks5.net.lookups import (
    GIVEN_UP,
    HostnameLookups,
    NameServerLookups,
    Outcome,
    SystemLookups,
)
from socks5.protocol.dns import wire_name
from socks5.settings import OutgoingFamily
from tests.sockets.wires import until
from tests.support.failures import Failures
from tests.support.nameserver import (
    CNAME,
    NO_SUCH_NAME,
    REFUSED,
    SERVER_FAILURE,
    SOA,
    A,
    NameServers,
    message,
    record,
)
from tests.support.providers import FakeLookup
from tests.support.reactor import FakeReactor
from tests.support.transports import FakeTransport, address

NAME = "www.example.org"
FIRST, SECOND = "192.0.2.53", "2001:db8::53"


class World:
    """Lookups by a resolv.conf, and the servers in it."""

    def __init__(self, path: Path, text: str, family: OutgoingFamily) -> None:
        self.reactor = FakeReactor()
        self.servers = NameServers()
        self.path = path
        path.write_text(text)
        self.lookups = NameServerLookups(self.reactor, str(path), lambda: family, self.servers)
        self.outcomes: list[Outcome | Failure] = []

    def begin(self, name: str = NAME) -> Callable[[], None]:
        return self.lookups.begin(name, self.outcomes.append)

    def over(self) -> Outcome:
        """The outcome; nothing is left open."""
        [outcome] = self.outcomes
        assert isinstance(outcome, Outcome)
        assert (self.servers.open, self.reactor.getDelayedCalls()) == ([], [])
        return outcome

    @property
    def asked(self) -> list[str]:
        """The servers that were asked for an IPv4 address, in order."""
        return [server for server, _, kind in self.servers.asked if kind == "A"]


@pytest.fixture(autouse=True)
def no_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6 first, as where both families lead everywhere."""
    monkeypatch.setattr(
        lookups, "preferred", lambda hosts: preference.preferred(hosts, lambda host: host)
    )
    monkeypatch.setattr(socket, "gethostname", lambda: "proxy")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., World]:
    def world(
        text: str = f"nameserver {FIRST}\n", family: OutgoingFamily = OutgoingFamily.ANY
    ) -> World:
        return World(tmp_path / "resolv.conf", text, family)

    return world


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


@pytest.fixture
def two(make: Callable[..., World]) -> World:
    """Two servers."""
    return make(f"nameserver {FIRST}\nnameserver {SECOND}\noptions timeout:2 attempts:2\n")


# ---------------------------------------------------------------- one server, and aliases


def test_both_families_are_asked_for_at_once(world: World) -> None:
    world.begin()
    assert world.servers.asked == [(FIRST, NAME, "AAAA"), (FIRST, NAME, "A")]
    world.servers.answer(NAME, "A", "192.0.2.1", lifetime=60)
    assert world.outcomes == []
    world.servers.answer(NAME, "AAAA", "2001:db8::1", lifetime=90)
    assert world.over() == Outcome(("2001:db8::1", "192.0.2.1"), 60)


@pytest.mark.parametrize(
    ("kind", "host", "seconds", "lifetime"),
    [("A", "192.0.2.1", 0.05, 300), ("AAAA", "2001:db8::1", 2.5, 0)],
)
def test_one_family_s_answer_is_enough_after_a_wait(
    world: World, kind: str, host: str, seconds: float, lifetime: float
) -> None:
    """As where a name server drops the questions for the other. What lacks the IPv4 addresses is not kept for long."""
    world.begin()
    world.servers.answer(NAME, kind, host)
    world.reactor.advance(seconds - 0.001)
    assert world.outcomes == []
    world.reactor.advance(0.001)
    assert world.over() == Outcome((host,), lifetime, is_certain=False)


def test_ipv4_addresses_are_not_lost_with_the_question_for_them(world: World) -> None:
    """It is put again, and the name has addresses where IPv6 leads nowhere."""
    world.begin()
    world.servers.answer(NAME, "AAAA", "2001:db8::1")
    world.reactor.advance(2)
    assert world.asked == [FIRST] * 2
    world.servers.answer(NAME, "A", "192.0.2.1")
    assert world.over() == Outcome(("2001:db8::1", "192.0.2.1"), 300)


@pytest.mark.parametrize(
    ("family", "text", "kinds"),
    [
        (OutgoingFamily.IPV4, "", ["A"]),
        (OutgoingFamily.IPV6, "", ["AAAA"]),
        (OutgoingFamily.IPV6, "options no-aaaa\n", ["AAAA"]),
        (OutgoingFamily.ANY, "options no-aaaa\n", ["A"]),
        (OutgoingFamily.PREFER_IPV4, "", ["AAAA", "A"]),
    ],
)
def test_families_that_are_not_reached_are_not_asked_for(
    make: Callable[..., World], family: OutgoingFamily, text: str, kinds: list[str]
) -> None:
    world = make(text, family)
    world.begin()
    assert [kind for _, _, kind in world.servers.asked] == kinds
    for kind in kinds:
        world.servers.answer(NAME, kind, "192.0.2.1" if kind == "A" else "2001:db8::1")
    assert len(world.over().hosts) == len(kinds)
    assert world.over().is_certain


IPV4, IPV6 = "192.0.2.1", "2001:db8::1"
Said = list[str] | int | None


@pytest.mark.parametrize(
    ("aaaa", "a", "outcome"),
    [
        ([], [IPV4], Outcome((IPV4,), 300)),
        ([IPV6], [], Outcome((IPV6,), 300)),
        # RFC 4074 section 4.2; the other way round, it exists in neither family
        (NO_SUCH_NAME, [IPV4], Outcome((IPV4,), 300)),
        (None, NO_SUCH_NAME, Outcome(())),
        # a refusal is no denial
        (SERVER_FAILURE, [IPV4], Outcome((IPV4,), 300, is_certain=False)),
        (SERVER_FAILURE, [], Outcome((), is_certain=False)),
        (SERVER_FAILURE, REFUSED, Outcome((), is_certain=False)),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_what_is_said_of_one_family_is_not_said_of_the_other(
    world: World, aaaa: Said, a: Said, outcome: Outcome, order: int
) -> None:
    world.begin()
    for kind, said in (("AAAA", aaaa), ("A", a))[::order]:
        if said is None:
            continue
        assert world.outcomes == []
        if isinstance(said, int):
            world.servers.answer(NAME, kind, code=said)
        else:
            world.servers.answer(NAME, kind, *said)
            world.reactor.advance(0 if said else 1)
    assert world.over() == outcome


def test_a_denial_tells_how_long(world: World) -> None:
    world.begin()
    for kind, minimum in (("A", 60), ("AAAA", 30)):
        channel, asked = world.servers.question(NAME, kind)
        channel.received(message(asked, [], [SOA(wire_name("example.org"), 900, minimum)]))
    assert world.over() == Outcome((), 30)


def test_a_lookup_that_is_given_up_leaves_nothing_behind(world: World) -> None:
    give_up = world.begin()
    world.servers.answer(NAME, "A", "192.0.2.1")
    give_up()
    assert world.over() is GIVEN_UP
    give_up()
    world.servers.answer(NAME, "AAAA", "2001:db8::1")
    world.reactor.advance(20)
    assert world.over() is GIVEN_UP


def test_what_is_no_answer_to_our_question_is_dropped(world: World) -> None:
    world.begin()
    channel, asked = world.servers.question(NAME, "A")
    number = bytes([asked[0] ^ 1]) + asked[1:2]
    channel.received(message(number + asked[2:], [A(b"\xc0\x0c", "192.0.2.66")]))
    channel.received(b"nonsense")
    assert world.outcomes == []
    world.servers.answer(NAME, "A", "192.0.2.1")
    world.servers.answer(NAME, "A", "192.0.2.66")
    world.servers.answer(NAME, "AAAA")
    assert world.over().hosts == ("192.0.2.1",)


def test_an_alias_is_asked_for_if_the_server_has_not(world: World) -> None:
    world.begin()
    channel, asked = world.servers.question(NAME, "A")
    channel.received(message(asked, [CNAME(b"\xc0\x0c", wire_name("edge.example.net"))]))
    world.servers.answer(NAME, "AAAA")
    assert world.servers.asked[2:] == [(FIRST, "edge.example.net", "A")]
    world.servers.answer("edge.example.net", "A", "192.0.2.1")
    assert world.over().hosts == ("192.0.2.1",)


def test_a_chain_of_aliases_ends(world: World) -> None:
    world.begin()
    world.servers.answer(NAME, "AAAA")
    count = 0
    while not world.outcomes:
        channel, asked = world.servers.channels[-1], world.servers.channels[-1].sent[-1]
        count += 1
        channel.received(message(asked, [CNAME(b"\xc0\x0c", wire_name(f"next{count}.example"))]))
    assert world.over() == Outcome(())
    assert count == 17


# ---------------------------------------------------------------- the search list


def test_the_search_list_is_gone_through_until_a_name_has_addresses(
    make: Callable[..., World],
) -> None:
    world = make("search one.example two.example three.example\n")
    world.begin("host")
    world.servers.answer("host.one.example", "A", code=NO_SUCH_NAME)
    world.servers.answer("host.two.example", "A")
    world.servers.answer("host.two.example", "AAAA")
    world.servers.answer("host.three.example", "A", "192.0.2.1")
    world.servers.answer("host.three.example", "AAAA")
    assert world.over().hosts == ("192.0.2.1",)


def test_a_failure_on_the_way_leaves_the_denial_uncertain(make: Callable[..., World]) -> None:
    world = make("search one.example\n")
    world.begin("host")
    for kind in ("A", "AAAA"):
        world.servers.answer("host.one.example", kind, code=SERVER_FAILURE)
    world.servers.answer("host", "A", code=NO_SUCH_NAME)
    assert world.over() == Outcome((), is_certain=False)


def test_this_host_s_own_domain_is_searched(
    make: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "proxy.example.org")
    world = make("")
    world.begin("host")
    assert world.servers.asked[0] == ("127.0.0.1", "host.example.org", "AAAA")


# ---------------------------------------------------------------- several servers


def test_a_silent_server_gets_company_and_may_still_answer(two: World) -> None:
    two.begin()
    two.servers.answer(NAME, "AAAA")
    two.reactor.advance(1.999)
    assert two.asked == [FIRST]
    two.reactor.advance(0.001)
    assert two.asked == [FIRST, SECOND]
    assert two.servers.asked[2:] == [(SECOND, NAME, "A")]
    two.servers.answer(NAME, "A", "192.0.2.1", server=FIRST)
    assert two.over().hosts == ("192.0.2.1",)


def test_each_server_is_asked_so_often_and_then_an_answer_is_awaited(two: World) -> None:
    give_up = two.begin()
    for _ in range(10):
        two.reactor.advance(2)
    assert two.asked == [FIRST, SECOND] * 2
    assert two.servers.open == [FIRST, SECOND]
    assert two.reactor.getDelayedCalls() == []
    give_up()
    assert two.over() is GIVEN_UP


def test_rotation_begins_with_another_server_each_time(make: Callable[..., World]) -> None:
    world = make(f"nameserver {FIRST}\nnameserver {SECOND}\noptions rotate\n")
    for number in range(3):
        world.begin(f"host{number}.example")
    assert world.asked == [SECOND, FIRST, SECOND]
    for _ in range(2):
        world.reactor.advance(2)
    assert world.asked[3:6] == [FIRST, SECOND, FIRST]


@pytest.mark.parametrize("how", [SERVER_FAILURE, REFUSED, "knows others", "is down", "no route"])
def test_a_server_that_is_of_no_use_is_passed_over_at_once(two: World, how: int | str) -> None:
    """As one that does no recursion, where the name is not its own."""
    if how == "no route":
        two.servers.unreachable.add(FIRST)
    two.begin()
    if how == "is down":
        two.servers.channels[0].refused()
        assert two.servers.open == [SECOND]
    elif how != "no route":
        for kind in ("AAAA", "A"):
            assert two.asked == [FIRST]
            channel, asked = two.servers.question(NAME, kind)
            others = record(wire_name("org"), 2, wire_name("ns.example"))
            is_code = isinstance(how, int)
            options: Any = {"code": how} if is_code else {"flags": 0x8100}
            channel.received(message(asked, [], [] if is_code else [others], **options))
    assert two.asked == [FIRST, SECOND][how == "no route" :]
    for kind, host in (("AAAA", IPV6), ("A", IPV4)):
        two.servers.answer(NAME, kind, host, server=SECOND)
    assert two.over() == Outcome((IPV6, IPV4), 300)


def test_a_server_that_was_down_is_asked_again(two: World) -> None:
    two.begin()
    two.servers.channels[0].refused()
    two.reactor.advance(2)
    assert two.servers.open == [SECOND, FIRST]


def test_where_no_server_can_be_asked_nobody_can_say(two: World) -> None:
    two.servers.unreachable.update((FIRST, SECOND))
    two.begin()
    assert two.over() == Outcome((), is_certain=False)


# ---------------------------------------------------------------- TCP


def connected(world: World) -> FakeTransport:
    """The connection to a server that was begun last."""
    stream = world.reactor.connectors[-1].succeed()
    world.reactor.turn()
    return stream


def framed(octets: bytes) -> bytes:
    return len(octets).to_bytes(2, "big") + octets


@pytest.mark.parametrize("size", [1, 7, 65537])
def test_an_answer_that_is_cut_is_asked_for_over_tcp(two: World, size: int) -> None:
    two.begin()
    _, asked = two.servers.question(NAME, "A")
    for _ in range(2):  # which makes no second connection
        two.servers.answer(NAME, "A", flags=0x8380)
    two.servers.answer(NAME, "AAAA")
    assert [(each.host, each.port) for each in two.reactor.connectors] == [(FIRST, 53)]
    stream = connected(two)
    assert stream.value() == framed(asked)
    octets = framed(message(asked, [A(b"\xc0\x0c", "192.0.2.1")] * 40)) + b"more"
    for start in range(0, len(octets), size):
        if stream.connected:
            stream.deliver(octets[start : start + size])
    two.reactor.turn()
    assert two.over().hosts == ("192.0.2.1",)
    assert not stream.connected


@pytest.mark.parametrize("how", ["refused", "nonsense", "cut again", "closed", "silent"])
def test_a_server_that_fails_over_tcp_is_passed_over(two: World, how: str) -> None:
    two.begin()
    _, asked = two.servers.question(NAME, "A")
    two.servers.answer(NAME, "AAAA")
    two.servers.answer(NAME, "A", flags=0x8380)
    if how == "refused":
        two.reactor.connectors[-1].fail(ConnectionRefusedError())
    else:
        stream = connected(two)
        if how == "nonsense":
            stream.deliver(framed(b"nonsense"))
        elif how == "cut again":
            stream.deliver(framed(message(asked, [], flags=0x8380)))
        elif how == "closed":
            stream.deliver_end()
        else:
            two.reactor.advance(2)
    two.reactor.turn()
    assert two.asked == [FIRST, SECOND]
    two.servers.answer(NAME, "A", "192.0.2.1", server=SECOND)
    two.reactor.turn()
    assert two.over().hosts == ("192.0.2.1",)


@pytest.mark.parametrize("is_connected", [False, True])
def test_giving_up_ends_a_connection(world: World, is_connected: bool) -> None:
    give_up = world.begin()
    world.servers.answer(NAME, "A", flags=0x8380)
    stream = connected(world) if is_connected else None
    give_up()
    world.reactor.turn()
    assert world.over() is GIVEN_UP
    assert world.reactor.connectors[-1].state == ("connected" if stream else "disconnected")
    assert stream is None or not stream.connected


def test_an_answer_over_tcp_that_comes_too_late_is_dropped(two: World) -> None:
    two.begin()
    _, asked = two.servers.question(NAME, "A")
    two.servers.answer(NAME, "A", flags=0x8380)
    stream = connected(two)
    two.reactor.advance(2)
    two.servers.answer(NAME, "A", "192.0.2.1", server=SECOND)
    stream.deliver(framed(message(asked, [A(b"\xc0\x0c", "192.0.2.66")])))
    two.servers.answer(NAME, "AAAA", server=SECOND)
    two.reactor.turn()
    assert two.over().hosts == ("192.0.2.1",)


def test_a_file_may_want_tcp_only(make: Callable[..., World]) -> None:
    world = make(f"nameserver {SECOND}\noptions use-vc\n")
    world.begin()
    assert world.servers.asked == []
    assert [each.host for each in world.reactor.connectors] == [SECOND] * 2


MANY = [f"2001:db8::{number:x}" for number in range(1, 3000)]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (["::ffff:192.0.2.1", "192.0.2.1", "::1"], Outcome(("192.0.2.1", "::1"))),
        ([], Outcome((), is_certain=False)),  # it may just have found nobody to ask
        ([MANY[0], *MANY, "192.0.2.1", "192.0.2.1"], Outcome((*MANY[:64], "192.0.2.1"))),
    ],
    ids=["in both forms", "none", "very many"],
)
def test_a_resolver_of_twisted_s_kind_is_asked(answer: list[str], outcome: Outcome) -> None:
    """Each address is taken once, and so many of each family; what is begun cannot be given up."""
    lookup = FakeLookup()
    outcomes: list[Any] = []
    give_up = HostnameLookups(lookup).begin(NAME, outcomes.append)
    give_up()
    assert outcomes == []
    lookup.answer(NAME, answer)
    assert outcomes == [outcome]


# ---------------------------------------------------------------- resolvers of Twisted's kind


@pytest.mark.parametrize("hosts", [(), ("192.0.2.1", "192.0.2.2")])
@pytest.mark.parametrize("fails", [False, True])
def test_a_resolver_answers_once_and_may_break(
    hosts: tuple[str, ...], fails: bool, failures: Failures
) -> None:
    class Hasty:
        def resolveHostName(self, receiver: Any, name: str) -> None:
            for host in hosts:
                receiver.addressResolved(address(host, 0))
                receiver.resolutionComplete()
            if fails:
                raise ZeroDivisionError("a bug")

    outcomes: list[Any] = []
    HostnameLookups(Hasty()).begin(NAME, outcomes.append)  # type: ignore[arg-type]
    if hosts:
        assert outcomes == [Outcome(("192.0.2.1",))]
        assert failures.take(ZeroDivisionError) == ["a bug"] * fails
    else:
        assert [outcome.type for outcome in outcomes] == [ZeroDivisionError] * fails


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if "socks5-names" in each.name]


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files"),
        MemoryError(),
        UnicodeError(),
        socket.gaierror(socket.EAI_AGAIN, "later"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_whatever_the_system_raises_ends_the_lookup(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Or it would keep its place for ever."""
    from twisted.internet import reactor

    def broken(*_: Any) -> Any:
        raise error

    system, outcomes = SystemLookups(reactor, 1), []
    monkeypatch.setattr(socket, "getaddrinfo", broken)
    system.begin("one.example", outcomes.append)
    await until(lambda: outcomes)
    assert outcomes == [Outcome((), is_certain=False)]
    system.close()
    await until(lambda: threads() == [])


@pytest_twisted.ensureDeferred
async def test_without_a_thread_a_lookup_ends_and_nothing_is_left_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or it would keep its place for ever."""
    from twisted.internet import reactor

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    system, outcomes = SystemLookups(reactor, 1), []
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            system.begin("127.1", outcomes.append)
        await until(lambda: len(outcomes) == 3)
    assert outcomes == [Outcome((), is_certain=False)] * 3
    system.begin("127.1", outcomes.append)
    await until(lambda: len(outcomes) == 4)
    assert outcomes[-1] == Outcome(("127.0.0.1",))
    system.close()
    await until(lambda: threads() == [])


@pytest_twisted.ensureDeferred
async def test_the_system_s_threads_are_bounded_and_end_without_being_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    asked: list[str] = []
    answers = threading.Event()

    def hang(host: str, *_: Any) -> Any:
        asked.append(host)
        answers.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    system, outcomes = SystemLookups(reactor, 2), []
    for number in range(3):
        system.begin(f"name{number}.example", outcomes.append)
    await until(lambda: len(asked) == 2)
    found = threads()
    assert [thread.daemon for thread in found] == [True] * 2
    for _ in range(2):
        system.close()
    assert all(thread.is_alive() for thread in found)
    answers.set()
    await until(lambda: len(outcomes) == 3 and threads() == [])
    assert outcomes == [Outcome(("192.0.2.1",))] * 3
