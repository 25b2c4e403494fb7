"""Through other proxies on real sockets: plain, over TLS, on a UNIX socket, and behind one another."""

from pathlib import Path as File
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from socks5 import Capacity, PasswordAuthentication, Policy
from socks5.auth import Realm
from socks5.client.hops import Hop, Same
from socks5.client.urls import read
from socks5.net.client_tls import client_options
from socks5.net.ports import Port
from socks5.outbound.path import Path
from socks5.outbound.terms import Terms
from socks5.outbound.upstream import Upstream
from socks5.outbound.ways import Upstreams
from socks5.policy.limit import Limit
from socks5.policy.limits import Limits
from socks5.policy.ruleset import Ruleset
from socks5.protocol.address import Address
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Credentials, Reply
from socks5.relay import joining
from socks5.relay.sockets import SocketSide
from tests.sockets.clients import Far, Proxy, packed
from tests.sockets.streams import MUCH
from tests.sockets.wires import until
from tests.support.certificates import Authority
from tests.support.contexts import FakeAcceptor, Initiating
from tests.support.limited import FakeQuotas
from tests.support.providers import Allow, FakeResolver
from tests.support.rules import allow, deny
from tests.support.sessions import GREETING, NO_AUTHENTICATION

LOCAL = ["127.0.0.0/8"]


def far_off(**keys: Any) -> Ruleset:
    return Ruleset([allow("far", via="up", **keys)])


def to(*hops: Hop) -> Upstreams:
    """The dialer of who has them, one behind the other."""
    from twisted.internet import reactor

    legs = [Upstream(f"hop{number}", hop, Terms()) for number, hop in enumerate(hops)]
    return Upstreams(reactor, {"up": Path("up", legs, reactor)})


def at(proxy: Proxy, scheme: str = "socks5", **options: Any) -> Hop:
    return Hop(read(f"{scheme}://{Address(*proxy.address)}")[0], **options)


class Certified:
    """An authority, a server of it, and us as its client."""

    def __init__(self, directory: File) -> None:
        self.authority = Authority(directory)
        server = self.authority.server()
        certified = f"cert={server}:clients={self.authority.path}"
        self.endpoint = f"tls:0:interface=127.0.0.1:{certified}:client-certificates=optional"
        self.anna = self.authority.client("anna")

    def options(self, name: str = "localhost", cert: str | None = None) -> Same:
        return Same(client_options(name, str(self.authority.path), cert))


@pytest.fixture
def certified(tmp_path: File) -> Certified:
    return Certified(tmp_path)


@implementer(IOpenSSLClientConnectionCreator)
class Late:
    """Gives a handshake up in its last moment, as Twisted may for another name, and lets it be told all the same."""

    def __init__(self, options: Any) -> None:
        self._options = options

    def clientConnectionForTLS(self, tls: Any) -> Any:  # noqa: N802
        within = tls.wrappedProtocol
        completed = within.handshakeCompleted

        def give_up() -> None:
            tls.abortConnection()
            completed()

        within.handshakeCompleted = give_up
        return self._options.clientConnectionForTLS(tls)


async def talk(front: Proxy, target: Any = None) -> Far:
    """A client that is through: octets pass both ways, and the target has no more to say."""
    target = front.listen() if target is None else target
    client = await front.client(1, packed(*target.host), b"a question")
    far, _ = await target.accept()
    assert (await client.reply())[0] == 0
    assert await far.receive(10) == b"a question"
    far.send(b"an answer")
    far.end()
    assert await client.rest() == b"an answer"
    return client


@pytest_twisted.ensureDeferred
async def test_a_plain_proxy_is_relayed_to_as_a_target_is(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where sockets are ours, a relay has both."""
    sides: list[Any] = []

    class Side(SocketSide):
        def __init__(self, *of: Any) -> None:
            super().__init__(*of)
            sides.append(of)

    monkeypatch.setattr(joining, "SocketSide", Side)
    checker = InMemoryUsernamePasswordDatabaseDontUse(relay=b"secret")
    far = await serve(
        rules=Allow(), authenticator=PasswordAuthentication(Portal(Realm(), [checker]))
    )
    login = Credentials(b"relay", b"secret")
    front = await serve(rules=far_off(), dialer=to(at(far, login=login)))
    client = await talk(front)
    assert front.counters.upstreams["up"].open == 1
    client.close()
    await front.gone()
    await far.gone()
    assert front.counters.upstreams["up"].open == 0
    [record] = front.records
    assert (record.upstream, record.rule) == ("up", "far")
    assert (record.bytes_up, record.bytes_down) == (10, 9)
    assert [each.user for each in far.records] == ["relay"]
    assert len(sides) == 2 * isinstance(front.port, Port)


@pytest_twisted.ensureDeferred
async def test_what_no_rule_sends_there_goes_directly(serve: Any) -> None:
    rules = Ruleset([allow("near", ports=["1-65534"])])
    front = await serve(rules=rules, dialer=to(Hop(read("socks5://proxy.example")[0])))
    client = await talk(front)
    client.close()
    await front.gone()
    [record] = front.records
    assert (record.upstream, record.rule, record.bytes_down) == (None, "near", 9)


@pytest_twisted.ensureDeferred
async def test_through_tls_and_tls_within_that(serve: Any, certified: Certified) -> None:
    first = await serve(endpoint=certified.endpoint, rules=Allow())
    second = await serve(endpoint=certified.endpoint, rules=Allow())
    third = await serve(rules=Allow())
    options = certified.options(cert=str(certified.anna))
    hops = at(first, "socks5s", options=options), at(third), at(second, "socks5s", options=options)
    front = await serve(rules=far_off(), dialer=to(*hops))
    client = await talk(front)
    client.close()
    for each in (front, second, third, first):
        await each.gone()
    assert [each.user for each in first.records] == ["anna"]
    [record] = front.records
    assert (record.reason, record.bytes_down) == ("target closed", 9)


ALL_LEVELS = tuple(Protection)[:3]


@pytest.mark.parametrize("scheme", ["socks5", "socks5s"])
@pytest_twisted.ensureDeferred
async def test_through_tokens_and_tls_and_tokens_within_them(
    serve: Any, certified: Certified, scheme: str
) -> None:
    """Whatever is in whatever, more than buffers hold comes through both ways; and a half-close without TLS."""
    plain = "tcp:0:interface=127.0.0.1"
    how = {"endpoint": certified.endpoint if scheme == "socks5s" else plain, "rules": Allow()}
    tls = {"options": certified.options()} if scheme == "socks5s" else {}
    proxies = [
        await serve(gssapi=FakeAcceptor(ALL_LEVELS, legs=2), **how),
        await serve(gssapi=FakeAcceptor(ALL_LEVELS), **how),
        await serve(**how),
    ]
    initiating = [Same(Initiating(level)) for level in (Protection.INTEGRITY, *ALL_LEVELS[2:])]
    hops = [
        at(proxy, scheme, gssapi=each, **tls)
        for proxy, each in zip(proxies, [*initiating, None], strict=True)
    ]
    front = await serve(rules=far_off(), dialer=to(*hops))
    target = front.listen()
    client = await front.client(1, packed(*target.host))
    far, _ = await target.accept()
    assert (await client.reply())[0] == 0
    for source, sink in ((client, far), (far, client)):
        left = bytearray(MUCH)

        def is_through(source: Far = source, sink: Far = sink, left: bytearray = left) -> bool:
            del left[: source.push(left[:65536])]
            sink.look()
            return not left and sink.value().endswith(MUCH[-100:])

        await until(is_through)
        assert sink.value().endswith(MUCH)
        if scheme == "socks5":
            source.end()
            await until(sink.sees_now)
            assert sink.sees == "end"
    client.close()
    far.close()
    for each in (front, *reversed(proxies)):
        await each.gone()
    assert [each.user for each in proxies[0].records + proxies[1].records] == ["alice"] * 2
    [record] = front.records
    assert (record.bytes_up, record.bytes_down) == (len(MUCH), len(MUCH))


@pytest.mark.parametrize("name", ["other.example", "plain", "client", "late"])
@pytest_twisted.ensureDeferred
async def test_without_tls_there_is_no_connection(
    serve: Any, certified: Certified, name: str
) -> None:
    """Of the right one, on both sides."""
    endpoint = {
        "plain": "tcp:0:interface=127.0.0.1",
        "client": certified.endpoint.removesuffix(":client-certificates=optional"),
    }.get(name, certified.endpoint)
    far = await serve(endpoint=endpoint, rules=Allow())
    options = certified.options("other.example" if name == "other.example" else "localhost")
    if name == "late":
        options = Same(Late(options.value))
    front = await serve(rules=far_off(), dialer=to(at(far, "socks5s", options=options)))
    client = await front.client(1, packed("127.0.0.1", 9))
    assert (await client.reply())[0] == 1
    client.close()
    await front.gone()
    [record] = front.records
    assert "upstream up, hop 1, " in record.detail
    assert record.upstream == "up"


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_within_a_handshake_says_nothing(
    serve: Any, certified: Certified
) -> None:
    silent = (await serve()).listen()
    hop = Hop(read("socks5s://{}:{}".format(*silent.host))[0], options=certified.options())
    front = await serve(rules=far_off(), dialer=to(hop))
    client = await front.client(1, packed("192.0.2.80", 80))
    far, _ = await silent.accept()
    assert await far.receive(1) == b"\x16"
    client.close()
    await front.gone()
    assert not front.counters.upstreams["up"].failures


@pytest_twisted.ensureDeferred
async def test_a_proxy_on_a_unix_socket(serve: Any, tmp_path: File) -> None:
    path = str(tmp_path / "s")
    far = await serve(endpoint=f"unix:{path}", rules=Allow())
    hop = Hop(read(f"socks5://localhost{path}")[0])
    front = await serve(rules=far_off(), dialer=to(hop))
    client = await talk(front)
    client.close()
    await front.gone()
    await far.gone()


class Script:
    """A proxy that says what it is told to."""

    def __init__(self, proxy: Proxy) -> None:
        self._target = proxy.listen()
        host, port = self._target.host
        self.hop = Hop(read(f"socks5://{host}:{port}")[0])

    async def asked(self, count: int = 10) -> Far:
        """Somebody has asked it for a target, in so many octets."""
        far, _ = await self._target.accept()
        assert await far.receive(3) == GREETING
        far.send(NO_AUTHENTICATION)
        assert len(await far.receive(count)) == count
        return far


@pytest_twisted.ensureDeferred
async def test_octets_before_tls_are_no_tls(serve: Any, certified: Certified) -> None:
    script = Script(await serve())
    second = Hop(read("socks5s://second.example")[0], options=certified.options())
    front = await serve(rules=far_off(), dialer=to(script.hop, second))
    client = await front.client(1, packed("192.0.2.80", 80))
    far = await script.asked(21)
    far.send(Reply(0).encode() + b"x")
    assert (await client.reply())[0] == 1
    client.close()
    await front.gone()
    [record] = front.records
    assert "octets came before they were asked for" in record.detail


@pytest.mark.parametrize("is_metered", [False, True])
@pytest_twisted.ensureDeferred
async def test_octets_behind_the_reply_come_first(serve: Any, is_metered: bool) -> None:
    plain = await serve()
    script = Script(plain)
    limits = Limits([Limit("all", quota=(1 << 20, "day"))], server=["all"], quotas=FakeQuotas())
    given = {"limits": limits} if is_metered else {}
    front = await serve(rules=far_off(), dialer=to(script.hop), **given)
    client = await front.client(1, packed("192.0.2.80", 80))
    far = await script.asked()
    far.send(Reply(0).encode() + b"first ")
    far.send(b"then")
    assert (await client.reply())[0] == 0
    assert await client.receive(10) == b"first then"
    far.end()
    assert await client.rest() == b""
    client.close()
    await front.gone()
    assert [each.bytes_down for each in front.records] == [10]


@pytest.mark.parametrize("is_name", [False, True])
@pytest_twisted.ensureDeferred
async def test_sessions_are_judged_again_by_what_was_asked_for(serve: Any, is_name: bool) -> None:
    """Not by the address of the proxy; one whose name went there lives while nothing says no to that name."""
    far = await serve(rules=Allow())
    front = await serve(rules=far_off(), dialer=to(at(far)))
    target = front.listen()
    host = b"localhost" if is_name else target.host[0]
    client = await front.client(1, packed(host, target.host[1]))
    await target.accept()
    assert (await client.reply())[0] == 0

    async def replaced(*rules: Any) -> int:
        policy = Policy(front.factory.settings, Ruleset(rules), dialer=front.factory.policy.dialer)
        ended: int = await front.factory.replace(policy)
        return ended

    assert await replaced(deny("other", networks=["192.0.2.0/24"]), allow("far", via="up")) == 0
    assert await replaced(deny("local", networks=LOCAL), allow("far", via="up")) == (not is_name)
    if is_name:
        assert await replaced(deny("names", names=["localhost"]), allow("far", via="up")) == 1
    assert await client.rest() == b""
    await front.gone()
    [record] = front.records
    assert (record.reason, record.upstream) == ("reload", "up")


@pytest_twisted.ensureDeferred
async def test_who_began_before_there_were_upstreams_goes_through_them(serve: Any) -> None:
    far = await serve(rules=Allow())
    front = await serve()
    client = front.connect(front.address)
    client.send(GREETING)
    assert await client.receive(2) == NO_AUTHENTICATION
    await front.factory.replace(Policy(front.factory.settings, far_off(), dialer=to(at(far))))
    target = front.listen()
    client.send(b"\5\1\0" + packed(*target.host))
    await target.accept()
    assert (await client.reply())[0] == 0
    assert len(far.factory.sessions) == 1


@pytest_twisted.ensureDeferred
async def test_two_servers_that_lead_to_each_other_end_in_a_refusal(serve: Any) -> None:
    """Each connection on the way is a session, of which there may be so many."""
    capacity = Capacity(max_sessions=8, max_sessions_wait=0.1)
    proxies = [await serve(rules=far_off(), capacity=capacity) for _ in range(2)]
    for each, other in (proxies, proxies[::-1]):
        policy = Policy(each.factory.settings, far_off(), dialer=to(at(other)))
        await each.factory.replace(policy)
    client = await proxies[0].client(1, packed("192.0.2.80", 80))
    assert (await client.reply())[0] == 1
    client.close()
    await until(lambda: not any(len(each.factory.sessions) for each in proxies))


@pytest_twisted.ensureDeferred
async def test_who_leads_to_this_proxy_itself_is_not_asked(serve: Any) -> None:
    names = FakeResolver({b"proxy.example": ["127.0.0.1"]})
    front = await serve(rules=far_off(), resolver=names)
    front.factory.listens_on(front.port)
    hop = Hop(read(f"socks5://proxy.example:{front.address[1]}")[0])
    await front.factory.replace(Policy(front.factory.settings, far_off(), dialer=to(hop)))
    client = await front.client(1, packed("192.0.2.80", 80))
    assert (await client.reply())[0] == 1
    client.close()
    await front.gone()
    [record] = front.records
    assert "it leads to this proxy itself" in record.detail
