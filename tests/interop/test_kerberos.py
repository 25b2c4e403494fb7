"""Kerberos: MIT's KDC on loopback, curl, and a client of our own for what curl cannot do."""

import select
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.interop.association import address
from tests.interop.conftest import StartProxy
from tests.interop.driven import Driven
from tests.interop.processes import poll, run, running, succeed
from tests.interop.programs import require_program
from tests.interop.proxy import SOURCES, Proxy, Since, running_proxy
from tests.interop.servers import Echo, Web, free_port, payload, receive_all, sha256
from tests.interop.ticket import (
    ASSOCIATE,
    BIND,
    CONFIDENTIALITY,
    CONNECT,
    CONTEXT,
    ENCAPSULATED,
    FLAGS_FOR_DATAGRAMS,
    INTEGRITY,
    NONE,
    SELECTIVE,
    Aborted,
    Client,
    initiator,
    message,
)
from tests.support.kerberos import PASSWORD, REALM, Realm, running_realm
from tests.support.readme import named
from tests.support.skips import needs_gssapi

pytestmark = needs_gssapi

REJECTED = 97
SIZE = 10_000_000
ALICE = f"alice@{REALM}"
LEVELS = [NONE, INTEGRITY, CONFIDENTIALITY]
ALL = ("--gssapi-protection", "none,integrity,confidentiality")


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A realm with users, the proxy's service, and one that the proxy has no key of."""
    with running_realm(tmp_path_factory.mktemp("realm")) as realm:
        realm.add_user("alice", "bob")
        realm.add_service("rcmd/localhost", "socks/localhost", "other/localhost")
        realm.keytab("rcmd/localhost", "socks/localhost")
        yield realm


@pytest.fixture(scope="module")
def alice(realm: Realm) -> dict[str, str]:
    """An environment with alice's ticket."""
    return realm.log_in("alice")


@pytest.fixture(scope="module")
def expired(realm: Realm) -> dict[str, str]:
    """An environment with a ticket of bob's that has expired."""
    return realm.log_in_long_ago("bob")


@pytest.fixture(scope="module", autouse=True)
def configuration(realm: Realm) -> Iterator[None]:
    """This process, and the proxies that it starts, are in the realm."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in realm.env.items():
            environment.setenv(name, value)
        yield


@pytest.fixture
def start(realm: Realm, start_proxy: StartProxy) -> StartProxy:
    """Starts a proxy that takes tickets for rcmd."""
    keytab = str(realm.directory / "keytab")
    return lambda *options: start_proxy("--gssapi", "rcmd", "--keytab", keytab, *options)


@pytest.fixture(scope="module")
def shared(
    realm: Realm, configuration: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy that allows every level, for all tests that take it as it is."""
    options = ("--gssapi", "rcmd", "--keytab", str(realm.directory / "keytab"), *ALL)
    with running_proxy(tmp_path_factory.mktemp("proxy"), *options) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared: Proxy) -> Proxy:
    return Since(shared)


@pytest.fixture
def curl() -> tuple[str | Path, ...]:
    """A curl that can log in by Kerberos."""
    return sys.executable, Path(__file__).with_name("libcurl.py"), "--socks5-gssapi"


def by(proxy: Proxy) -> tuple[str, str]:
    """The options that lead to a proxy by the name that its key is for."""
    return "--socks5-hostname", f"localhost:{proxy.port}"


# ---------------------------------------------------------------- curl

Curl = tuple[str | Path, ...]
NO_LEVEL = ("--gssapi-protection", "none")
NEC = pytest.mark.parametrize("more", [[], ["--socks5-gssapi-nec"]], ids=["RFC", "NEC"])
REFUSED = b"Failed to receive GSS-API authentication response"


@NEC
def test_curl_fetches_a_page(
    more: list[str], curl: Curl, start: StartProxy, web: Web, alice: dict[str, str]
) -> None:
    proxy = start(*NO_LEVEL)
    page = succeed(*curl, *more, *by(proxy), f"http://{web.address}/", env=alice)
    assert page == b"a page"
    session = proxy.session()
    assert (session.user, session.command, session.reply) == (ALICE, "connect", 0)
    assert {session.bound} == web.clients


def test_curl_moves_volume(curl: Curl, start: StartProxy, web: Web, alice: dict[str, str]) -> None:
    proxy = start(*NO_LEVEL)
    web.pages["/large"] = ("application/octet-stream", payload(SIZE))
    page = succeed(*curl, *by(proxy), f"http://{web.address}/large", env=alice)
    assert sha256(page) == sha256(payload(SIZE))
    assert proxy.session().user == ALICE


def test_the_keytab_of_the_environment(
    curl: Curl,
    start_proxy: StartProxy,
    realm: Realm,
    web: Web,
    alice: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KRB5_KTNAME", str(realm.directory / "keytab"))
    proxy = start_proxy("--gssapi", "rcmd@localhost", *NO_LEVEL)
    assert succeed(*curl, *by(proxy), f"http://{web.address}/", env=alice) == b"a page"


def test_a_local_user(curl: Curl, start: StartProxy, web: Web, alice: dict[str, str]) -> None:
    proxy = start(*NO_LEVEL, "--gssapi-local-realm", "ANOTHER", "--gssapi-local-realm", REALM)
    assert succeed(*curl, *by(proxy), f"http://{web.address}/", env=alice) == b"a page"
    assert proxy.session().user == "alice"


@NEC
def test_curl_cannot_protect(
    more: list[str], curl: Curl, start: StartProxy, web: Web, alice: dict[str, str]
) -> None:
    """It requires what it cannot do, and finds out when it gets that."""
    proxy = start()
    done = run(*curl, *more, *by(proxy), f"http://{web.address}/", env=alice)
    assert done.returncode == REJECTED
    assert b"SOCKS5 access with GSS-API confidentiality protection granted." in done.stderr
    assert b"SOCKS5 GSS-API protection not yet implemented." in done.stderr
    assert not web.requests
    assert (proxy.session().user, proxy.session().command) == (ALICE, None)


class Prompt(threading.Thread):
    """Stands between clients and a proxy, one after the other, and says METHOD 1 to a client before it is asked.

    curl from 7.69 on, until some version after 7.88, forgets that it may use GSSAPI if the answer to its greeting
    is not there at once.
    """

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(daemon=True)
        self._proxy = proxy
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.start()

    def run(self) -> None:
        with suppress(OSError):  # as it is closed
            while True:
                client, _ = self._listening.accept()
                client.sendall(b"\5\1")
                with client, socket.create_connection(self._proxy.address, 10) as server:
                    server.sendall(client.recv(257))
                    if server.recv(2, socket.MSG_WAITALL) == b"\5\1":
                        _join(client, server)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.join(10)
        assert not self.is_alive()


def _join(one: socket.socket, other: socket.socket) -> None:
    """Move octets both ways until either end ends."""
    ends = {one: other, other: one}
    octets = b"some"
    while octets:
        readable, _, _ = select.select([*ends], [], [], 10)
        octets = readable[0].recv(65536) if readable else b""
        ends[(readable or [one])[0]].sendall(octets)


@NEC
def test_the_systems_curl_logs_in(
    more: list[str], start: StartProxy, web: Web, alice: dict[str, str]
) -> None:
    """As far as it goes: versions from 7.69 on, until some version after 7.88, give up behind the login."""
    proxy = start(*NO_LEVEL)
    curl = (require_program("curl"), "-q", "-sSv", "--max-time", "20", "--socks5-gssapi")
    prompt = Prompt(proxy)
    way = ("--socks5-hostname", f"localhost:{prompt.port}")
    for _ in range(300):  # most of them are not fast enough
        done = run(*curl, *more, *way, f"http://{web.address}/", env=alice)
        if b"SOCKS5 GSSAPI per-message authentication is not supported." not in done.stderr:
            break
    prompt.close()
    said = done.stderr.decode()
    assert f"SOCKS5 server authenticated user {ALICE} with GSS-API." in said
    assert "SOCKS5 access without GSS-API data protection granted." in said
    [session] = poll(lambda: [each for each in proxy.records if each.user], "the session ends")
    assert session.user == ALICE
    if "Undocumented SOCKS5 mode attempted to be used by server." in said:
        assert (done.returncode, session.command) == (REJECTED, None)
    else:
        assert (done.stdout, session.command) == (b"a page", "connect")


def test_a_password_where_tickets_are_taken_too(
    curl: Curl, start: StartProxy, web: Web, alice: dict[str, str]
) -> None:
    proxy = start(*NO_LEVEL, "--auth", "memory:anna:secret")
    url = f"http://{web.address}/"
    login = ("--socks5-basic", "--proxy-user", "anna:secret")
    assert succeed(*curl, *login, *by(proxy), url, env=alice) == b"a page"
    assert succeed(*curl[:2], *login, *by(proxy), url) == b"a page"
    assert [session.user for session in proxy.sessions(2)] == [ALICE, "anna"]


def test_no_ticket(curl: Curl, proxy: Proxy, realm: Realm, web: Web) -> None:
    done = run(*curl, *by(proxy), f"http://{web.address}/", env=realm.env)
    assert done.returncode == REJECTED
    assert b"No Kerberos credentials available" in done.stderr
    assert not web.requests
    assert proxy.session().user is None


def test_an_expired_ticket(curl: Curl, proxy: Proxy, web: Web, expired: dict[str, str]) -> None:
    done = run(*curl, *by(proxy), f"http://{web.address}/", env=expired)
    assert done.returncode == REJECTED
    assert REFUSED in done.stderr
    assert not web.requests
    session = proxy.session()
    assert session.user is None
    assert session.reason.startswith("AuthenticationFailed")


def test_many_sessions_with_workers(
    curl: Curl, start: StartProxy, web: Web, alice: dict[str, str]
) -> None:
    proxy = start(*NO_LEVEL, "--workers", "2")
    urls = [f"http://{web.address}/"] * 40
    assert succeed(*curl, *by(proxy), *urls, env=alice) == b"a page" * 40
    sessions = proxy.sessions(40)
    assert {session.user for session in sessions} == {ALICE}
    assert {session.worker for session in sessions} == {1, 2}


# ---------------------------------------------------------------- a client for every level

LEVEL = pytest.mark.parametrize("level", LEVELS, ids=["none", "integrity", "confidentiality"])
KIND = pytest.mark.parametrize("kind", [Client, Driven], ids=["by hand", "our half"])


@LEVEL
@pytest.mark.parametrize("is_nec", [False, True], ids=["RFC", "NEC"])
@KIND
def test_connect(
    kind: type[Client], level: int, is_nec: bool, proxy: Proxy, web: Web, alice: dict[str, str]
) -> None:
    with kind(proxy.address, initiator(alice)) as client:
        assert client.log_in(level, is_nec) == level
        code, bound = client.request(CONNECT, *web.server_address[:2])
        assert code == 0
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.receive_all().endswith(b"\r\n\r\na page")
    session = proxy.session()
    assert (session.user, session.target) == (ALICE, web.address)
    assert {session.bound} == web.clients == {f"{bound[0]}:{bound[1]}"}
    assert session.bytes_up == len(b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("service", ["any", "socks", "socks@localhost"])
def test_another_service(
    service: str, start_proxy: StartProxy, realm: Realm, alice: dict[str, str]
) -> None:
    proxy = start_proxy("--gssapi", service, "--keytab", str(realm.directory / "keytab"))
    with Client(proxy.address, initiator(alice, "socks@localhost")) as client:
        assert client.log_in(CONFIDENTIALITY) == CONFIDENTIALITY
    assert proxy.session().user == ALICE


@pytest.mark.parametrize(
    ("allowed", "proposed", "chosen"),
    [
        ("integrity", INTEGRITY, INTEGRITY),
        ("integrity", SELECTIVE, INTEGRITY),
        ("confidentiality", SELECTIVE, CONFIDENTIALITY),
        ("integrity,confidentiality", SELECTIVE, CONFIDENTIALITY),
        ("none,integrity,confidentiality", NONE, NONE),
        ("confidentiality", INTEGRITY, CONFIDENTIALITY),
        ("integrity", CONFIDENTIALITY, None),
        ("none", CONFIDENTIALITY, NONE),
        ("none,integrity", CONFIDENTIALITY, None),
        ("none,integrity", SELECTIVE, INTEGRITY),
        ("integrity,confidentiality", NONE, None),
        ("none,integrity,confidentiality", 4, None),
    ],
)
def test_which_level_is_agreed(
    allowed: str, proposed: int, chosen: int | None, start: StartProxy, alice: dict[str, str]
) -> None:
    proxy = start("--gssapi-protection", allowed)
    with Client(proxy.address, initiator(alice)) as client:
        if chosen is None:
            with pytest.raises(Aborted):
                client.log_in(proposed)
        else:
            assert client.log_in(proposed) == chosen


@LEVEL
def test_volume_up(level: int, proxy: Proxy, web: Web, alice: dict[str, str]) -> None:
    data = payload(SIZE)
    with Client(proxy.address, initiator(alice)) as client:
        client.log_in(level)
        assert client.request(CONNECT, *web.server_address[:2])[0] == 0
        client.send(f"PUT / HTTP/1.0\r\nContent-Length: {SIZE}\r\n\r\n".encode())
        client.send(data)
        assert client.receive_all().decode().endswith(f"\r\n\r\n{sha256(data)}")
    assert proxy.session().bytes_up > SIZE


@LEVEL
def test_volume_down(level: int, proxy: Proxy, web: Web, alice: dict[str, str]) -> None:
    data = web.pages["/large"] = ("application/octet-stream", payload(SIZE))
    with Client(proxy.address, initiator(alice)) as client:
        client.log_in(level)
        assert client.request(CONNECT, *web.server_address[:2])[0] == 0
        client.send(b"GET /large HTTP/1.0\r\n\r\n")
        answer = client.receive_all()
    assert sha256(answer.partition(b"\r\n\r\n")[2]) == sha256(data[1])
    assert proxy.session().bytes_down == len(answer)


@pytest.fixture
def target() -> Iterator[socket.socket]:
    """A listening socket to connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


@LEVEL
def test_each_direction_ends_by_itself(
    level: int, proxy: Proxy, target: socket.socket, alice: dict[str, str]
) -> None:
    with Client(proxy.address, initiator(alice)) as client:
        client.log_in(level)
        assert client.request(CONNECT, *target.getsockname())[0] == 0
        served, _ = target.accept()
        with served:
            client.send(b"a question")
            client.socket.shutdown(socket.SHUT_WR)
            assert receive_all(served) == b"a question"
            served.sendall(b"an answer")
            served.shutdown(socket.SHUT_WR)
            assert client.receive_all() == b"an answer"


@LEVEL
def test_the_other_direction_ends_first(
    level: int, proxy: Proxy, target: socket.socket, alice: dict[str, str]
) -> None:
    with Client(proxy.address, initiator(alice)) as client:
        client.log_in(level)
        assert client.request(CONNECT, *target.getsockname())[0] == 0
        served, _ = target.accept()
        with served:
            served.sendall(b"a word")
            served.shutdown(socket.SHUT_WR)
            assert client.receive_all() == b"a word"
            client.send(b"an answer")
            client.socket.shutdown(socket.SHUT_WR)
            assert receive_all(served) == b"an answer"


@LEVEL
@KIND
def test_bind(kind: type[Client], level: int, proxy: Proxy, alice: dict[str, str]) -> None:
    with kind(proxy.address, initiator(alice)) as client, socket.socket() as peer:
        client.log_in(level)
        code, bound = client.request(BIND, "127.0.0.1")
        assert code == 0
        peer.connect(bound)
        assert client.reply() == (0, peer.getsockname())
        peer.sendall(b"hello")
        assert client.receive(5) == b"hello"
        client.send(b"goodbye")
        client.socket.shutdown(socket.SHUT_WR)
        assert receive_all(peer) == b"goodbye"
    session = proxy.session()
    assert (session.user, session.command) == (ALICE, "bind")


@LEVEL
@KIND
def test_associate(
    kind: type[Client], level: int, proxy: Proxy, echo: Echo, alice: dict[str, str]
) -> None:
    with (
        kind(proxy.address, initiator(alice)) as client,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.settimeout(10)
        client.log_in(level)
        code, relay = client.request(ASSOCIATE)
        assert code == 0
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


@pytest.mark.parametrize("level", [INTEGRITY, CONFIDENTIALITY])
def test_datagrams_without_protection_are_dropped(
    level: int, proxy: Proxy, echo: Echo, alice: dict[str, str]
) -> None:
    with (
        Client(proxy.address, initiator(alice)) as client,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.settimeout(10)
        client.log_in(level)
        _, relay = client.request(ASSOCIATE)
        request = b"\0\0\0" + address(*echo.server_address) + b"hello"
        right = client.wrapped(request)
        wrong = [request, b"", right[:-1], right + b"x", b"\1\2" + right[2:]]
        wrong += [right[:-1] + bytes([right[-1] ^ 1]), message(ENCAPSULATED, b"nonsense")]
        for datagram in wrong:
            datagrams.sendto(datagram, relay)
        datagrams.sendto(right, relay)
        datagrams.sendto(right, relay)  # a second time
        answer, _ = datagrams.recvfrom(65535)
        assert client.unwrapped(answer[4:]) == request
        last = client.wrapped(request + b"!")
        datagrams.sendto(last, relay)
        answer, _ = datagrams.recvfrom(65535)
        assert client.unwrapped(answer[4:]) == request + b"!"
    session = proxy.session()
    assert session.bytes_up == len(b"hellohello!")
    assert session.dropped == len(wrong) + 1


def test_datagrams_may_be_lost_and_overtake_each_other_but_come_once(
    proxy: Proxy, echo: Echo, alice: dict[str, str]
) -> None:
    """If the client does not ask for their sequence, as RFC 1961 section 3.2 wants it for UDP."""
    with (
        Client(proxy.address, initiator(alice, flags=FLAGS_FOR_DATAGRAMS)) as client,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.settimeout(10)
        client.log_in(CONFIDENTIALITY)
        _, relay = client.request(ASSOCIATE)
        header = b"\0\0\0" + address(*echo.server_address)
        messages = [client.wrapped(header + bytes([number])) for number in range(6)]
        heard: list[int] = []
        for number in (0, 2, 1, 1, 4, 0, 5):
            datagrams.sendto(messages[number], relay)
            if number not in heard:
                answer, _ = datagrams.recvfrom(65535)
                heard.append(client.unwrapped(answer[4:])[-1])
    assert heard == [0, 2, 1, 4, 5]
    assert (proxy.session().bytes_up, proxy.session().dropped) == (5, 2)


# ---------------------------------------------------------------- what is wrong

GARBAGE = {
    "nothing": b"",
    "an octet": b"\0",
    "noise": payload(300),
    "the longest": payload(65535),
}


@pytest.mark.parametrize("token", GARBAGE.values(), ids=GARBAGE)
def test_a_token_of_garbage(token: bytes, proxy: Proxy) -> None:
    with Client(proxy.address) as client:
        assert client.greet(1) == 1
        client.socket.sendall(message(CONTEXT, token))
        with pytest.raises(Aborted):
            client.token(CONTEXT)
    assert proxy.session().user is None


@pytest.mark.parametrize(
    "octets",
    [b"\0\1\0\1x", b"\1\2\0\1\1", b"\1\3\0\1x", b"\5\1\0\1"],
    ids=lambda octets: octets.hex(),
)
def test_no_message_where_a_token_is_due(octets: bytes, proxy: Proxy) -> None:
    with Client(proxy.address) as client:
        assert client.greet(1) == 1
        client.socket.sendall(octets)
        with pytest.raises(Aborted):
            client.token(CONTEXT)


def test_a_client_that_gives_up(proxy: Proxy, alice: dict[str, str]) -> None:
    for stage in range(2):
        with Client(proxy.address, initiator(alice)) as client:
            if stage:
                client.establish()
            else:
                assert client.greet(1) == 1
            client.socket.sendall(b"\1\xff")
            assert client.socket.recv(10) in (b"", b"\1\xff")


def test_a_token_that_comes_octet_by_octet(proxy: Proxy, web: Web, alice: dict[str, str]) -> None:
    with Client(proxy.address, initiator(alice)) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = client.socket

        class Slowly:
            def sendall(self, data: bytes) -> None:
                for octet in data:
                    whole.sendall(bytes([octet]))

            def __getattr__(self, name: str) -> object:
                return getattr(whole, name)

        client.socket = Slowly()  # type: ignore[assignment]
        client.log_in(CONFIDENTIALITY)
        assert client.request(CONNECT, *web.server_address[:2])[0] == 0
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.receive_all().endswith(b"a page")


@pytest.mark.parametrize("service", ["other", "socks"])
def test_a_ticket_for_another_service(service: str, proxy: Proxy, alice: dict[str, str]) -> None:
    """One that the keytab has no key for, and one that it has."""
    with (
        Client(proxy.address, initiator(alice, f"{service}@localhost")) as client,
        pytest.raises(Aborted),
    ):
        client.log_in(CONFIDENTIALITY)
    assert proxy.session().reason.startswith("AuthenticationFailed")


def test_a_token_is_taken_once(proxy: Proxy, alice: dict[str, str]) -> None:
    token = message(CONTEXT, initiator(alice).step())
    with Client(proxy.address) as first:
        assert first.greet(1) == 1
        first.socket.sendall(token)
        assert first.token(CONTEXT)
    with Client(proxy.address) as second:
        assert second.greet(1) == 1
        second.socket.sendall(token)
        with pytest.raises(Aborted):
            second.token(CONTEXT)
    assert proxy.sessions(2)[1].reason.startswith("AuthenticationFailed")


def test_a_token_is_taken_once_by_all_workers(start: StartProxy, alice: dict[str, str]) -> None:
    proxy = start("--workers", "2")
    token = message(CONTEXT, initiator(alice).step())
    answers = []
    for _ in range(40):  # which worker gets a connection is the kernel's choice
        with Client(proxy.address) as client:
            assert client.greet(1) == 1
            client.socket.sendall(token)
            try:
                answers.append(bool(client.token(CONTEXT)))
            except Aborted:
                answers.append(False)
    assert answers == [True] + 39 * [False]
    assert len({session.worker for session in proxy.sessions(40)}) == 2


def test_a_context_that_never_completes(start: StartProxy, alice: dict[str, str]) -> None:
    proxy = start("--handshake-timeout", "0.5")
    token = message(CONTEXT, initiator(alice).step())
    for octets in (b"", token[:100], token):
        with Client(proxy.address) as client:
            assert client.greet(1) == 1
            client.socket.sendall(octets)
            answer = receive_all(client.socket)
            assert answer[:2] == (b"\1\1" if octets == token else answer[:2])
    assert len(proxy.sessions(3)) == 3


def tampered(wrapped: bytes) -> dict[str, bytes]:
    """What may not come instead of a message."""
    return {
        "another octet": wrapped[:-1] + bytes([wrapped[-1] ^ 1]),
        "another version": b"\2" + wrapped[1:],
        "another type": b"\1\1" + wrapped[2:],
        "plain octets": b"GET / HTTP/1.0\r\n\r\n",
        "no token": message(ENCAPSULATED, b""),
        "garbage": message(ENCAPSULATED, payload(100)),
    }


@pytest.mark.parametrize("level", [INTEGRITY, CONFIDENTIALITY])
@pytest.mark.parametrize("what", [*tampered(b"1234"), "the same twice", "out of order"])
def test_a_message_that_is_not_the_clients_ends_the_session(
    level: int, what: str, proxy: Proxy, target: socket.socket, alice: dict[str, str]
) -> None:
    with Client(proxy.address, initiator(alice)) as client:
        client.log_in(level)
        assert client.request(CONNECT, *target.getsockname())[0] == 0
        served, _ = target.accept()
        with served:
            first = client.wrapped(b"right")
            second = client.wrapped(b"wrong")
            if what == "out of order":
                client.socket.sendall(second)
            else:
                wrong = first if what == "the same twice" else tampered(second)[what]
                client.socket.sendall(first)
                served.settimeout(10)
                assert served.recv(100) == b"right"
                client.socket.sendall(wrong)
            heard = _until_end(served)
            assert b"wrong" not in heard
            assert _until_end(client.socket) in (b"", b"\1\xff")
    assert proxy.session().reason.startswith("RemoteProtocolError: ")


def _until_end(connection: socket.socket) -> bytes:
    """What comes until the end, which may be a reset."""
    octets = b""
    try:
        while more := connection.recv(65536):
            octets += more
    except ConnectionResetError:
        pass
    return octets


def test_only_tickets(proxy: Proxy) -> None:
    for methods in ((0,), (2,), (0, 2)):
        with Client(proxy.address) as client:
            assert client.greet(*methods) == 255


def test_who_guesses_is_banned(
    start_proxy: StartProxy, realm: Realm, alice: dict[str, str]
) -> None:
    keytab = str(realm.directory / "keytab")
    options = ["--gssapi", "rcmd", "--keytab", keytab, "--ban-after", "2"]
    proxy = start_proxy(*options, "--proxy-from", "127.0.0.1")

    def answer(host: str, octets: bytes) -> bytes:
        with socket.create_connection(proxy.address, 10) as client:
            header = f"PROXY TCP4 {host} 192.0.2.1 5000 1080\r\n"
            client.sendall(header.encode() + b"\5\1\1" + octets)
            client.shutdown(socket.SHUT_WR) if not octets else None
            return _until_end(client) if octets else client.recv(2)

    wrong = message(CONTEXT, b"nonsense")
    assert answer("198.51.100.7", wrong) == b"\5\1\1\xff"
    assert answer("198.51.100.7", wrong) == b"\5\1\1\xff"
    assert "refused: not a token" in proxy.log
    assert "failed logins: 198.51.100.7 is banned for 60 s" in proxy.log
    assert answer("198.51.100.7", b"") == b""
    assert answer("198.51.100.8", b"") == b"\5\1"


def test_no_log_has_tokens(proxy: Proxy, web: Web, alice: dict[str, str]) -> None:
    with Client(proxy.address, initiator(alice)) as client:
        client.log_in(CONFIDENTIALITY)
        client.request(CONNECT, *web.server_address[:2])
    proxy.session()
    wrong = b"this is no token of anybody's"
    with Client(proxy.address) as client:
        assert client.greet(1) == 1
        client.socket.sendall(message(CONTEXT, wrong))
        with pytest.raises(Aborted):
            client.token(CONTEXT)
    proxy.sessions(2)
    for text in (wrong.decode(), wrong.hex(), repr(wrong)[2:-1]):
        assert text not in proxy.log + proxy.access_log


# ---------------------------------------------------------------- the README


def test_the_recipe_of_the_readme(
    curl: Curl, tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line of it, with another port, and this machine for the KDC's, the proxy's and the target."""
    monkeypatch.chdir(tmp_path)
    port, text = free_port(), named("kerberos").text
    changes = {
        "kadmin -q": f"{require_program('kadmin.local')} -q",
        "--interface 0.0.0.0": f"--port {port} --interface 127.0.0.1",
        "proxy.example": "localhost",
        "localhost:1080": f"localhost:{port}",
        "https://example.com/": f"http://{web.address}/",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    *making, serving, login, asking = text.splitlines()
    words = shlex.split(serving)
    serve = [sys.executable, "-m", *words[words.index("socks5") :], "--access-log", "access.log"]
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
            assert succeed(*curl[:2], *asks, env=env) == b"a page"
            poll(lambda: f'"user": "{ALICE}"' in records.read_text(), "the user is in the log")
