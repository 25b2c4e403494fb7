"""Kerberos: MIT's KDC on loopback, curl, and a client of our own for what curl cannot do."""

import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.defer import succeed as succeeded
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from socks5 import client
from socks5.client.kerberos import Initiator
from socks5.protocol.errors import RemoteProtocolError
from tests.interop.association import address
from tests.interop.conftest import StartProxy
from tests.interop.processes import poll, run, running, succeed
from tests.interop.programs import require_program
from tests.interop.proxy import SOURCES, Proxy, Since, running_proxy
from tests.interop.realm import PASSWORD, Realm, running_realm
from tests.interop.servers import Echo, Web, payload, serving, sha256, text
from tests.interop.ticket import (
    ASSOCIATE,
    CONFIDENTIALITY,
    CONNECT,
    CONTEXT,
    ENCAPSULATED,
    FLAGS_FOR_DATAGRAMS,
    INTEGRITY,
    NONE,
    Aborted,
    Client,
    initiator,
    message,
)
from tests.process.conftest import Echo as EchoingStreams
from tests.process.conftest import Echoing
from tests.process.program import MODULE, Program, until_end
from tests.process.program import running as start
from tests.support.deferreds import told
from tests.support.kerberos import REALM
from tests.support.ports import free_port
from tests.support.readme import named
from tests.support.skips import needs_gssapi

pytestmark = needs_gssapi

REJECTED = 97
SIZE = 5_000_000
ALICE = f"alice@{REALM}"
ALL = ("--gssapi-protection", "none,integrity,confidentiality")


@pytest.fixture(scope="module", autouse=True)
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A realm with users, the proxy's service, and one that the proxy has no key of; this process, and the proxies
    that it starts, are in it.
    """
    with (
        running_realm(tmp_path_factory.mktemp("realm")) as realm,
        pytest.MonkeyPatch.context() as environment,
    ):
        realm.add_user("alice", "bob")
        realm.add_service("rcmd/localhost", "socks/localhost", "other/localhost")
        realm.keytab("rcmd/localhost", "socks/localhost")
        for name, value in realm.env.items():
            environment.setenv(name, value)
        yield realm


@pytest.fixture(scope="module")
def alice(realm: Realm) -> dict[str, str]:
    """An environment with alice's ticket."""
    return realm.log_in("alice")


def keys(realm: Realm, service: str = "rcmd") -> tuple[str, ...]:
    """The options of a proxy that takes tickets for a service."""
    return "--gssapi", service, "--keytab", str(realm.directory / "keytab")


@pytest.fixture(scope="module")
def shared(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that allows every level, for all tests that take it as it is."""
    with running_proxy(tmp_path_factory.mktemp("proxy"), *keys(realm), *ALL) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared: Proxy) -> Proxy:
    return Since(shared)


# ---------------------------------------------------------------- curl

CURL = (sys.executable, Path(__file__).with_name("libcurl.py"))


def curl(proxy: Proxy, web: Web, *more: str) -> tuple[str | Path, ...]:
    """A curl that can log in by Kerberos, for a page through a proxy by the name that its key is for."""
    by = ("--socks5-hostname", f"localhost:{proxy.port}", f"http://{web.address}/")
    return *CURL, "--socks5-gssapi", *more, *by


@pytest.mark.parametrize("more", [[], ["--socks5-gssapi-nec"]], ids=["RFC", "NEC"])
def test_curl_fetches_a_page(
    more: list[str], realm: Realm, start_proxy: StartProxy, web: Web, alice: dict[str, str]
) -> None:
    proxy = start_proxy(*keys(realm), "--gssapi-protection", "none")
    assert succeed(*curl(proxy, web, *more), env=alice) == b"a page"
    session = proxy.session()
    assert (session.user, session.command, session.reply) == (ALICE, "connect", 0)
    assert {session.bound} == web.clients


def test_an_expired_ticket(proxy: Proxy, web: Web, realm: Realm) -> None:
    done = run(*curl(proxy, web), env=realm.log_in_long_ago("bob"))
    assert done.returncode == REJECTED
    assert b"Failed to receive GSS-API authentication response" in done.stderr
    assert not web.requests
    assert proxy.session().user is None
    assert proxy.session().detail.startswith("AuthenticationFailed")


# ---------------------------------------------------------------- our own client half

LEVELS = ("none", "integrity", "confidentiality")


class Page(Protocol):
    """Fetches a page, and keeps what comes."""

    def __init__(self) -> None:
        self.received = b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"GET / HTTP/1.0\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(self.received)


@pytest.mark.parametrize("protection", LEVELS)
@pytest.mark.parametrize("nec", [False, True], ids=["RFC", "NEC"])
@pytest_twisted.ensureDeferred
async def test_our_client_fetches_a_page(
    protection: Any,
    nec: bool,
    proxy: Proxy,
    web: Web,
    alice: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    monkeypatch.setenv("KRB5CCNAME", alice["KRB5CCNAME"])
    initiator = Initiator(reactor, protection=protection, nec=nec, host="localhost")
    way = client.Proxy.from_url(reactor, f"socks5://127.0.0.1:{proxy.port}", gssapi=initiator)
    host, _, port = web.address.rpartition(":")
    page = await way.endpoint(host, int(port)).connect(Factory.forProtocol(Page))
    assert (await page.done).endswith(b"a page")
    assert proxy.session().user == ALICE


@pytest_twisted.ensureDeferred
async def test_our_client_without_a_ticket(proxy: Proxy, web: Web) -> None:
    from twisted.internet import reactor

    way = client.Proxy.from_url(
        *(reactor, f"socks5://localhost:{proxy.port}"), gssapi=Initiator(reactor)
    )
    with pytest.raises(client.ProxyAuthError, match="no security context"):
        await way.endpoint("127.0.0.1", 1).connect(Factory.forProtocol(Page))


def in_this_thread(client: str, call: Any, *arguments: Any) -> Deferred[Any]:
    return succeeded(call(*arguments))


@pytest.mark.parametrize("is_lossy", [True, False])
def test_datagrams_of_ours_may_be_lost_and_overtake_each_other_but_come_once(
    is_lossy: bool, realm: Realm, alice: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Octets come in their order: where one message is missing, what follows is none."""
    import gssapi

    monkeypatch.setenv("KRB5CCNAME", alice["KRB5CCNAME"])
    ours = Initiator(None, run=in_this_thread).initiate("localhost", for_datagrams=is_lossy)
    keytab = {"keytab": str(realm.directory / "keytab")}
    theirs = gssapi.SecurityContext(
        creds=gssapi.Credentials(usage="accept", store=keytab), usage="accept"
    )
    ours.step(theirs.step(told(ours.step(b""))[0]))
    assert ours.is_complete
    heard: list[bytes] = []
    messages = [theirs.wrap(b"%d" % number, True).message for number in range(5)]
    for number in (0, 2, 1, 1, 4):
        with suppress(RemoteProtocolError):
            heard.append(ours.unwrap(messages[number])[0])
    assert heard == ([b"0", b"2", b"1", b"4"] if is_lossy else [b"0"])


UPSTREAM = """\
log.access = "access.log"
listener.here = { address = "127.0.0.1", port = 0 }
upstream.far = { url = "socks5://localhost:PORT", gssapi = true }
rule = [{ name = "far", action = "allow", commands = "connect", unguarded = true, networks = "127.0.0.1", via = "far" }]
"""


def test_our_server_logs_in_to_an_upstream_with_a_key_of_its_own(
    realm: Realm, proxy: Proxy, web: Web, tmp_path: Path
) -> None:
    realm.keytab("alice", file="client.keytab")
    text = UPSTREAM.replace("PORT", str(proxy.port))
    (tmp_path / "s.toml").write_text(text)
    kerberos = {
        "KRB5_CLIENT_KTNAME": f"FILE:{realm.directory / 'client.keytab'}",
        "KRB5CCNAME": f"FILE:{tmp_path / 'tickets'}",
    }
    command = [*MODULE, "--config", "s.toml"]
    with start(tmp_path, command, environment=kerberos) as program:
        by = ("--no-progress-meter", "--socks5-hostname", f"127.0.0.1:{program.port}")
        for _ in range(2):
            assert succeed(require_program("curl"), *by, f"http://{web.address}/") == b"a page"
        program.terminate()
    assert [each.user for each in proxy.sessions(2)] == [ALICE] * 2
    assert [each["upstream"] for each in program.records] == ["far"] * 2


# ---------------------------------------------------------------- a client for every level

LEVEL = pytest.mark.parametrize("level", [NONE, INTEGRITY, CONFIDENTIALITY])


@LEVEL
@pytest.mark.parametrize("is_nec", [False, True], ids=["RFC", "NEC"])
def test_connect(level: int, is_nec: bool, proxy: Proxy, web: Web, alice: dict[str, str]) -> None:
    data = payload(SIZE)
    web.pages["/large"] = ("application/octet-stream", data)
    put = f"PUT / HTTP/1.1\r\nContent-Length: {SIZE}\r\n\r\n".encode()
    sent = put + data + b"GET /large HTTP/1.0\r\n\r\n"
    with Client(proxy.address, initiator(alice)) as client:
        assert client.log_in(level, is_nec) == level
        bound = client.request(CONNECT, *web.server_address[:2])
        client.send(sent)
        up, _, down = client.receive_all().rpartition(b"HTTP/1.1 200 OK")
        assert sha256(data).encode() in up
        assert sha256(down.partition(b"\r\n\r\n")[2]) == sha256(data)
    session = proxy.session()
    assert (session.user, session.target) == (ALICE, web.address)
    assert {session.bound} == web.clients == {text(bound)}
    assert session.bytes_up == len(sent)
    assert session.bytes_down > SIZE


@pytest.mark.parametrize("service", ["any", "socks", "socks@localhost"])
def test_another_service(
    service: str, start_proxy: StartProxy, realm: Realm, alice: dict[str, str]
) -> None:
    proxy = start_proxy(*keys(realm, service))
    with Client(proxy.address, initiator(alice, "socks@localhost")) as client:
        assert client.log_in(CONFIDENTIALITY) == CONFIDENTIALITY
    assert proxy.session().user == ALICE


@pytest.fixture
def datagrams() -> Iterator[socket.socket]:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(10)
        yield datagrams


@LEVEL
def test_associate(
    level: int, proxy: Proxy, echo: Echo, alice: dict[str, str], datagrams: socket.socket
) -> None:
    with Client(proxy.address, initiator(alice)) as client:
        client.log_in(level)
        relay = client.request(ASSOCIATE)
        for data in (b"hello", b"", payload(20_000)):
            request = b"\0\0\0" + address(*echo.server_address) + data
            datagrams.sendto(client.wrapped(request), relay)
            answer, source = datagrams.recvfrom(65535)
            assert source == relay
            if level != NONE:
                assert answer[:2] == bytes([1, ENCAPSULATED])
                assert int.from_bytes(answer[2:4], "big") == len(answer) - 4
                answer = client.unwrapped(answer[4:])
            assert answer == request
    session = proxy.session()
    assert (session.user, session.command, session.dropped) == (ALICE, "udp", 0)
    assert session.bytes_up == session.bytes_down == 20_005


def test_datagrams_may_be_lost_and_overtake_each_other_but_come_once(
    proxy: Proxy, echo: Echo, alice: dict[str, str], datagrams: socket.socket
) -> None:
    """If the client does not ask for their sequence, as RFC 1961 section 3.2 wants it for UDP."""
    with Client(proxy.address, initiator(alice, flags=FLAGS_FOR_DATAGRAMS)) as client:
        client.log_in(CONFIDENTIALITY)
        relay = client.request(ASSOCIATE)
        header = b"\0\0\0" + address(*echo.server_address)
        messages = [client.wrapped(header + bytes([number])) for number in range(6)]
        heard: list[int] = []
        for number in (0, 2, 1, 1, 4, 0, 5):
            datagrams.sendto(messages[number], relay)
            if number not in heard:
                heard.append(client.unwrapped(datagrams.recv(65535)[4:])[-1])
    assert heard == [0, 2, 1, 4, 5]
    assert (proxy.session().bytes_up, proxy.session().dropped) == (5, 2)


# ---------------------------------------------------------------- limits

LIMITED = """\
server = { limits = "all", zone = "UTC", state = "state.sqlite3" }
log.access = "access.log"
listener.here = { address = "127.0.0.1", port = 0 }
gssapi = { service = "rcmd", keytab = "KEYTAB", protection = ["none", "integrity", "confidentiality"] }
limit.all = { per = "user", sessions = 1, quota = "250KB/month", total = "200KB/s" }
"""


@pytest.fixture
def limited(tmp_path: Path, realm: Realm) -> Iterator[Program]:
    """A proxy where a user may have one session, and not much through it."""
    text = LIMITED.replace("KEYTAB", str(realm.directory / "keytab"))
    (tmp_path / "s.toml").write_text(text)
    with start(tmp_path, [*MODULE, "--config", "s.toml"]) as program:
        yield program
        program.terminate()


def was_turned_away(program: Program, alice: dict[str, str], level: int) -> bool:
    with Client(("127.0.0.1", program.port), initiator(alice)) as client:
        client.log_in(level)
        client.send(bytes([5, CONNECT, 0]) + address("127.0.0.1", 9))
        return client.receive(10)[:2] == b"\5\2"


def record_of_the_first(program: Program) -> dict[str, Any]:
    """That of the session that has used up the quota, while which another one was refused."""
    poll(lambda: len(program.records) == 2, "both have ended")
    refused, record = program.records
    assert refused["detail"] == "limit all: 1 sessions"
    assert record["user"] == ALICE
    assert record["detail"].startswith("limit all: quota is used up until ")
    assert 250_000 <= record["bytes_up"] + record["bytes_down"] <= 250_000 + (1 << 20)
    return record


@LEVEL
def test_limits_hold_inside_a_protection(
    level: int, limited: Program, alice: dict[str, str]
) -> None:
    """What is counted is what is inside."""
    with (
        EchoingStreams(("127.0.0.1", 0), Echoing) as target,
        serving(target),
        Client(("127.0.0.1", limited.port), initiator(alice)) as client,
    ):
        client.log_in(level)
        client.request(CONNECT, *target.server_address[:2])
        assert was_turned_away(limited, alice, level)
        with suppress(OSError, Aborted):
            client.send(bytes(10_000))
            while client.receive(10_000):
                client.send(bytes(10_000))
    assert record_of_the_first(limited)["slowed"] > 0.3
    assert was_turned_away(limited, alice, level)


@LEVEL
def test_limits_hold_for_datagrams_inside_a_protection(
    level: int, limited: Program, alice: dict[str, str], datagrams: socket.socket
) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as target,
        Client(("127.0.0.1", limited.port), initiator(alice)) as client,
    ):
        target.bind(("127.0.0.1", 0))
        client.log_in(level)
        relay = client.request(ASSOCIATE)
        assert was_turned_away(limited, alice, level)
        datagram = b"\0\0\0" + address(*target.getsockname()) + bytes(1000)

        def has_ended() -> bool:
            for _ in range(20):
                datagrams.sendto(client.wrapped(datagram), relay)
            return bool(select([client.socket], (), (), 0)[0])

        poll(has_ended, "the quota is used up")
    assert record_of_the_first(limited)["dropped"] > 0


# ---------------------------------------------------------------- what is wrong


def test_tokens_of_garbage(proxy: Proxy) -> None:
    for size in (0, 300, 65535):
        with Client(proxy.address) as client:
            client.socket.sendall(message(CONTEXT, payload(size)))
            with pytest.raises(Aborted):
                client.token(CONTEXT)
    assert {each.user for each in proxy.sessions(3)} == {None}


@pytest.mark.parametrize("service", ["other", "socks"])
def test_a_ticket_for_another_service(service: str, proxy: Proxy, alice: dict[str, str]) -> None:
    """One that the keytab has no key for, and one that it has."""
    context = initiator(alice, f"{service}@localhost")
    with Client(proxy.address, context) as client, pytest.raises(Aborted):
        client.log_in(CONFIDENTIALITY)
    assert proxy.session().detail.startswith("AuthenticationFailed")


def test_a_token_is_taken_once_by_all_workers(
    realm: Realm, start_proxy: StartProxy, alice: dict[str, str]
) -> None:
    proxy = start_proxy(*keys(realm), "--workers", "2")
    token = message(CONTEXT, initiator(alice).step())
    answers = []
    for _ in range(40):  # which worker gets a connection is the kernel's choice
        with Client(proxy.address) as client:
            client.socket.sendall(token)
            try:
                answers.append(bool(client.token(CONTEXT)))
            except Aborted:
                answers.append(False)
    assert answers == [True] + 39 * [False]
    assert len({session.worker for session in proxy.sessions(40)}) == 2


@pytest.mark.parametrize("level", [INTEGRITY, CONFIDENTIALITY])
@pytest.mark.parametrize("what", ["another octet", "the same twice", "out of order"])
def test_a_message_that_is_not_the_clients_ends_the_session(
    level: int, what: str, proxy: Proxy, alice: dict[str, str]
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as target,
        Client(proxy.address, initiator(alice)) as client,
    ):
        client.log_in(level)
        client.request(CONNECT, *target.getsockname())
        target.settimeout(10)
        served, _ = target.accept()
        with served:
            first = client.wrapped(b"right")
            second = client.wrapped(b"wrong")
            if what == "out of order":
                client.socket.sendall(second)
            else:
                changed = second[:-1] + bytes([second[-1] ^ 1])
                wrong = first if what == "the same twice" else changed
                client.socket.sendall(first)
                served.settimeout(10)
                assert served.recv(100) == b"right"
                client.socket.sendall(wrong)
            heard = until_end(served)
            assert b"wrong" not in heard
            assert until_end(client.socket) in (b"", b"\1\xff")
    assert proxy.session().detail.startswith("RemoteProtocolError: ")


# ---------------------------------------------------------------- the README


def test_the_recipe_of_the_readme(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line of it, with another port, and this machine for the KDC's, the proxy's and the target."""
    monkeypatch.chdir(tmp_path)
    port, recipe = free_port(), named("kerberos").text
    changes = {
        "kadmin -q": f"{require_program('kadmin.local')} -q",
        "--interface 0.0.0.0": f"--port {port} --interface 127.0.0.1",
        "proxy.example": "localhost",
        "localhost:1080": f"localhost:{port}",
        "https://example.com/": f"http://{web.address}/",
    }
    for old, new in changes.items():
        assert old in recipe
        recipe = recipe.replace(old, new)
    *making, serving, login, asking = recipe.splitlines()
    program, *options = shlex.split(serving)
    assert program.endswith("/socks5")
    serve = [sys.executable, "-m", "socks5", *options, "--access-log", "access.log"]
    log, records = tmp_path / "proxy.log", tmp_path / "access.log"
    with running_realm(tmp_path / "realm") as realm:
        realm.add_user("alice")
        env = {**realm.env, "PYTHONPATH": str(SOURCES), "KRB5CCNAME": str(tmp_path / "tickets")}
        for line in making:
            succeed("bash", "-c", line, env=env)
        with running(*serve, log=log, env=env):
            poll(lambda: "listens on" in log.read_text(), "the proxy listens")
            succeed("bash", "-c", login, stdin=f"{PASSWORD}\n".encode(), env=env)
            program, *asks = shlex.split(asking)
            assert program == "curl"
            assert succeed(*CURL, *asks, env=env) == b"a page"
            poll(lambda: f'"user": "{ALICE}"' in records.read_text(), "the user is in the log")
