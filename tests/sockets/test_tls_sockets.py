"""SOCKS over TLS on real sockets: certificates both ways, and what is no TLS."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from socks5.net.tls import tls_endpoint
from tests.sockets.clients import Far, Proxy, packed
from tests.sockets.tls import TLS
from tests.sockets.wires import turn, until
from tests.support.certificates import DAY, Authority
from tests.support.providers import Allow, Logins
from tests.support.sessions import (
    GREETING,
    NO_AUTHENTICATION,
    PASSWORD_CHOSEN,
    PASSWORD_GREETING,
    octets,
)

BOTH_METHODS = octets("05 02 02 00")
SERVER = x509.ExtendedKeyUsageOID.SERVER_AUTH
EMAIL = x509.RFC822Name("anna@example.org")


class Certified:
    """An authority, a server of it, and clients."""

    def __init__(self, serve: Any, directory: Path) -> None:
        self._serve = serve
        self.authority = Authority(directory)
        self.server = self.authority.server()
        self.anna = self.authority.client("anna", alternatives=[EMAIL])

    async def serve(self, clients: str = "", **parameters: Any) -> Proxy:
        """A server that takes certificates of our authority; *clients* are further options."""
        return await self.serve_at(self.description(clients), **parameters)

    def description(self, clients: str = "") -> str:
        text = f"tls:0:interface=127.0.0.1:cert={self.server}"
        return f"{text}:clients={self.authority.path}{clients}"

    async def serve_at(self, endpoint: Any, **parameters: Any) -> Proxy:
        proxy: Proxy = await self._serve(endpoint=endpoint, **parameters)
        return proxy

    async def connect(self, proxy: Proxy, own: Path | None = None, **versions: Any) -> TLS:
        client = TLS(proxy.connect(proxy.address), self.authority.path, own, **versions)
        await client.handshake()
        return client


@pytest.fixture
def certified(serve: Any, tmp_path: Path) -> Certified:
    return Certified(serve, tmp_path)


async def connect(proxy: Proxy, client: TLS, greeting: bytes, answer: bytes) -> Far:
    """CONNECT to a target, which is returned."""
    target = proxy.listen()
    client.send(greeting)
    assert await client.receive(2) == answer
    client.send(octets("05 01 00") + packed(*target.host))
    far, _ = await target.accept()
    assert (await client.receive(10))[:2] == octets("05 00")
    return far


async def over(proxy: Proxy, client: TLS) -> None:
    client.far.close()
    await proxy.gone()


async def lines_of(step: Callable[[], Any]) -> list[tuple[LogLevel, str]]:
    """What the log says meanwhile."""
    with capturedLogs() as events:
        await step()
    return [(event["log_level"], formatEvent(event)) for event in events]


# ---------------------------------------------------------------- who has shown a certificate


@pytest.mark.parametrize(
    ("clients", "version", "greeting", "user"),
    [
        ("", ssl.TLSVersion.TLSv1_2, GREETING, "anna@example.org"),
        ("", ssl.TLSVersion.TLSv1_3, BOTH_METHODS, "anna@example.org"),
        (":client-certificates=optional", ssl.TLSVersion.TLSv1_3, GREETING, "anna@example.org"),
        (":client-name=cn", ssl.TLSVersion.TLSv1_3, GREETING, "anna"),
    ],
    ids=["TLS 1.2", "preferred to a password", "optional", "by its common name"],
)
@pytest_twisted.ensureDeferred
async def test_a_certificate_is_its_users_login(
    certified: Certified, clients: str, version: ssl.TLSVersion, greeting: bytes, user: str
) -> None:
    rules = Allow()
    proxy = await certified.serve(clients, authenticator=Logins(), rules=rules)
    client = await certified.connect(proxy, certified.anna, maximum_version=version)
    far = await connect(proxy, client, greeting, NO_AUTHENTICATION)
    client.send(b"up")
    far.send(b"down")
    assert await far.receive(2) == b"up"
    assert await client.receive(4) == b"down"
    await over(proxy, client)
    assert {access.user.name for access, _ in rules.asked} == {user}
    assert [record.user for record in proxy.records] == [user]


@pytest.mark.parametrize("has_authorities", [False, True])
@pytest_twisted.ensureDeferred
async def test_without_a_certificate_passwords_hold(
    certified: Certified, has_authorities: bool
) -> None:
    """Where none is asked for, one that a client has is not shown."""
    where = certified.description(":client-certificates=optional")
    if not has_authorities:
        where = f"tls:0:interface=127.0.0.1:cert={certified.server}"
    proxy = await certified.serve_at(where, authenticator=Logins())
    own = None if has_authorities else certified.anna
    for greeting, answer in (GREETING, octets("05 ff")), (PASSWORD_GREETING, PASSWORD_CHOSEN):
        client = await certified.connect(proxy, own)
        client.send(greeting)
        assert await client.receive(2) == answer
        client.far.close()
    await proxy.gone(2)


@pytest_twisted.ensureDeferred
async def test_one_of_several_authorities_is_enough(certified: Certified, tmp_path: Path) -> None:
    other = Authority(tmp_path, "another authority")
    with certified.authority.path.open("ab") as file:
        file.write(other.path.read_bytes())
    proxy = await certified.serve()
    for own in (certified.anna, other.client("bert")):
        client = await certified.connect(proxy, own)
        await connect(proxy, client, GREETING, NO_AUTHENTICATION)
        client.far.close()
    await until(lambda: len(proxy.records) == 2)
    assert {record.user for record in proxy.records} == {"anna@example.org", "bert"}


# ---------------------------------------------------------------- who is turned away


def strangers(authority: Authority) -> dict[str, Path]:
    """Certificates with which nobody gets in, and what the client is told."""
    elsewhere = authority.directory / "elsewhere"
    elsewhere.mkdir()
    return {
        "UNKNOWN_CA": Authority(elsewhere, "a stranger").client("anna", alternatives=[EMAIL]),
        "UNSUPPORTED_CERTIFICATE": authority.client("proxy", purpose=SERVER),
        "CERTIFICATE_EXPIRED": authority.client("anna", since=-2 * DAY, until=-DAY),
        "BAD_CERTIFICATE": authority.client("anna", since=DAY, until=2 * DAY),
        "INTERNAL_ERROR": authority.client(),  # names nobody, for which TLS has no alert
    }


@pytest.mark.parametrize("clients", ["", ":client-certificates=optional"])
@pytest.mark.parametrize(
    "alert",
    [
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "BAD_CERTIFICATE",
        "INTERNAL_ERROR",
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_certificate_that_does_not_hold_ends_it(
    certified: Certified, clients: str, alert: str
) -> None:
    """Over TLS 1.3 the client thinks that it is connected, and hears of it afterwards."""
    own = strangers(certified.authority)[alert]
    proxy = await certified.serve(clients)

    async def come() -> None:
        client = await certified.connect(proxy, own)
        client.send(GREETING)
        assert alert in await client.refusal()
        await proxy.gone()

    [(level, line)] = await lines_of(come)
    assert level == LogLevel.debug
    assert line.startswith("no TLS with 127.0.0.1:")
    assert line.endswith(": certificate verify failed")
    assert proxy.records == []


@pytest_twisted.ensureDeferred
async def test_no_certificate_ends_it_where_one_is_required(certified: Certified) -> None:
    """Over TLS 1.2 the handshake itself fails."""
    proxy = await certified.serve()
    client = await certified.connect(proxy)
    client.send(GREETING)
    assert "CERTIFICATE_REQUIRED" in await client.refusal()
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        await certified.connect(proxy, maximum_version=ssl.TLSVersion.TLSv1_2)
    await proxy.gone(2)
    assert proxy.records == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_older_tls_is_turned_away(certified: Certified) -> None:
    proxy = await certified.serve()
    far = proxy.connect(proxy.address)
    # A ClientHello of TLS 1.1 (RFC 4346 section 7.4.1.2), for today's OpenSSL sends none.
    hello = octets("0302") + bytes(32) + octets("00 0004 c013 002f 01 00")
    message = b"\1" + len(hello).to_bytes(3, "big") + hello
    far.send(octets("16 0301") + len(message).to_bytes(2, "big") + message)
    answer = await far.rest()
    assert answer[:1] + answer[5:] == octets("15 02 46")  # fatal: protocol_version
    await proxy.gone()


# ---------------------------------------------------------------- what is no TLS


@pytest.mark.parametrize(
    "sent",
    [
        GREETING,
        b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n",
        bytes(300),
        octets("16 0301 ffff") + bytes(300),
        b"\xff" * 70_000,
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_tls_is_closed_at_once(certified: Certified, sent: bytes) -> None:
    """The clock stands still: no deadline is what ends it. Others go on."""
    proxy = await certified.serve(clock=Clock())
    other = await certified.connect(proxy, certified.anna)

    async def come() -> None:
        far = proxy.connect(proxy.address)
        far.send(sent)
        await until(far.sees_now)
        await until(lambda: proxy.counters.open_connections == 1)

    lines = await lines_of(come)
    assert [level for level, _ in lines] == [LogLevel.debug]
    assert proxy.records == []
    other.send(GREETING)
    assert await other.receive(2) == NO_AUTHENTICATION
    await over(proxy, other)


@pytest.mark.parametrize("count", [0, 1, 5, 60])
@pytest_twisted.ensureDeferred
async def test_a_handshake_that_stops_has_a_deadline(certified: Certified, count: int) -> None:
    clock = Clock()
    proxy = await certified.serve(clock=clock)
    client = TLS(proxy.connect(proxy.address), certified.authority.path)
    client.start(count)
    await until(lambda: proxy.counters.open_connections)
    await turn()
    clock.advance(9.9)
    await turn()
    assert not client.far.sees_now()
    clock.advance(0.2)
    await proxy.gone()


@pytest_twisted.ensureDeferred
async def test_who_takes_too_many_steps_of_tlss_own_is_cut_off(
    certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with new keys without end, the answers to which nobody takes."""
    proxy = await certified.serve()
    client = await certified.connect(proxy, certified.anna)
    monkeypatch.setattr("socks5.net.tls.MAX_STEPS", 10)
    client.send(GREETING)
    await until(client.far.sees_now)
    assert client.far.sees == "reset"
    await proxy.gone()


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("says_goodbye", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_goodbye_is_an_end_and_an_end_without_one_is_a_reset(
    certified: Certified, says_goodbye: bool
) -> None:
    """Somebody on the path may have cut it: the target must not take it for a whole (RFC 8446 section 6.1)."""
    proxy = await certified.serve()
    client = await certified.connect(proxy, certified.anna)
    far = await connect(proxy, client, GREETING, NO_AUTHENTICATION)
    client.send(b"octets")
    assert await far.receive(6) == b"octets"
    if says_goodbye:
        await client.goodbye()
    else:
        client.far.end()
    await until(far.sees_now)
    assert far.sees == ("end" if says_goodbye else "reset")
    await proxy.gone()


@pytest_twisted.ensureDeferred
async def test_the_targets_end_is_a_goodbye(certified: Certified) -> None:
    """At an endpoint that a program has made itself, too."""
    proxy = await certified.serve_at(lambda own: tls_endpoint(own, certified.description()))
    client = await certified.connect(proxy, certified.anna)
    far = await connect(proxy, client, GREETING, NO_AUTHENTICATION)
    far.send(b"all of it")
    far.end()
    assert await client.receive(9) == b"all of it"
    await client.goodbye()
    await proxy.gone()
    assert [record.user for record in proxy.records] == ["anna@example.org"]
