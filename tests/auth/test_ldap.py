"""What is asked of a directory, and what becomes of its answers. A real one is in tests/interop/."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from ldaptor.inmemory import ReadOnlyInMemoryLDAPEntry
from ldaptor.interfaces import IConnectedLDAPEntry
from ldaptor.protocols.ldap import ldaperrors
from ldaptor.protocols.ldap.ldapclient import LDAPClient
from ldaptor.protocols.ldap.ldapserver import LDAPServer
from ldaptor.protocols.pureber import berDecodeObject
from ldaptor.protocols.pureldap import (
    LDAP_SCOPE_baseObject,
    LDAP_SCOPE_wholeSubtree,
    LDAPBindResponse,
    LDAPExtendedResponse,
    LDAPFilterMatchAll,
    LDAPMessage,
    LDAPStartTLSRequest,
    LDAPStartTLSResponse,
)
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from socks5.app import sources
from socks5.auth import Known, Login, LoginNotJudged, ldap
from socks5.auth.directory import Directory
from socks5.auth.ldap import LDAPChecker
from socks5.auth.users import WrongSource
from tests.support.certificates import Authority

PLAIN = Directory(
    uri="ldap://127.0.0.1", start_tls=False, user_dn="uid={name},dc=test", timeout=5.0
)


ROOT = "cn=root,dc=test"


class Client:
    """A connected client of a directory, whose verdict the test gives."""

    def __init__(self) -> None:
        self.transport = self
        self.connected = 1
        self.is_aborted = False
        self.asked: list[tuple[str, bytes]] = []
        self.verdict: Deferred[Any] = Deferred()
        self.refuses: Exception | None = None

    def bind(self, dn: str, password: bytes) -> Deferred[Any]:
        self.asked.append((dn, password))
        if dn == ROOT:
            return fail(self.refuses) if self.refuses else succeed(None)
        return self.verdict

    def abortConnection(self) -> None:
        assert self.connected
        self.is_aborted = True


class Searches:
    """What was searched, and what is found: by the DN below which it is searched."""

    def __init__(self) -> None:
        self.found: dict[str, list[Entry] | Exception] = {}
        self.asked: list[tuple[str, str | None, bytes, list[str]]] = []

    def entry(self, client: Client, base: str) -> Any:
        def search(
            attributes: list[str],
            filterObject: Any = LDAPFilterMatchAll,  # noqa: N803
            filterText: str | None = None,  # noqa: N803
            scope: int = LDAP_SCOPE_wholeSubtree,
        ) -> Any:
            assert (scope == LDAP_SCOPE_baseObject) == (filterObject is LDAPFilterMatchAll)
            self.asked.append((base, filterText, filterObject.toWire(), attributes))
            found = self.found.get(base, [])
            return fail(found) if isinstance(found, Exception) else succeed(found)

        return SimpleNamespace(search=search)


class World:
    """A checker, its clock, and the clients that it has made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Directory = PLAIN) -> None:
        self.clock = Clock()
        self.clients: list[Client] = []
        self.logins: list[Deferred[Any]] = []
        self.searches = Searches()
        self.connect: Callable[[], Deferred[Any]] = self._connected
        monkeypatch.setattr("ldaptor.protocols.ldap.ldapsyntax.LDAPEntry", self.searches.entry)
        endpoint = SimpleNamespace(connect=self._connect)
        monkeypatch.setattr(ldap, "HostnameEndpoint", lambda *arguments: endpoint)
        monkeypatch.setattr(ldap, "wrapClientTLS", lambda options, endpoint: endpoint)
        self.checker = LDAPChecker(directory, lambda: self.clock)

    def _connect(self, factory: Factory) -> Deferred[Any]:
        assert not factory.noisy, "two lines in the log for each login"
        return self.connect()

    def _connected(self) -> Deferred[Any]:
        self.clients.append(Client())
        return succeed(self.clients[-1])

    def log_in(
        self, name: bytes = b"anna", password: bytes = b"secret", client: str = "198.51.100.7"
    ) -> list[Any]:
        outcome: list[Any] = []
        login = self.checker.requestAvatarId(Login(name, password, client))
        login.addBoth(outcome.append)
        self.login = login
        self.logins.append(login)
        return outcome

    def end(self) -> None:
        """Whoever waits leaves, the last one first."""
        for login in reversed(self.logins):
            login.cancel()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_who_binds_comes_in(world: World) -> None:
    assert verifyObject(ICredentialsChecker, world.checker)
    dn = "uid=a\\,b,dc=test"
    world.searches.found[dn] = [Entry(dn, uid=[b"a,b"])]
    outcome = world.log_in(b"a,b")
    [client] = world.clients
    assert client.asked == [(dn, b"secret")]
    client.verdict.callback(None)
    assert outcome == [Known(b"a,b")]
    world.clock.advance(0)
    assert client.is_aborted


@pytest.mark.parametrize(
    ("error", "verdict", "words"),
    [
        (ldaperrors.LDAPInvalidCredentials(), UnauthorizedLogin, ""),
        (ldaperrors.LDAPNoSuchObject(), UnauthorizedLogin, ""),
        (ldaperrors.LDAPInvalidDNSyntax(), UnauthorizedLogin, ""),
        (ldaperrors.LDAPUnwillingToPerform(), UnauthorizedLogin, ""),
        (ldaperrors.LDAPBusy(b"come back"), LoginNotJudged, "LDAPBusy"),
        (ConnectionRefusedError(b"no"), LoginNotJudged, "Connect"),
        (ZeroDivisionError(), ZeroDivisionError, ""),  # a bug comes out as it is
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_a_directory_fails_with_is_a_verdict_or_is_said_once(
    world: World, error: Exception, verdict: type[Exception], words: str, log: list[str]
) -> None:
    for _ in range(3):
        outcome = world.log_in()
        world.clients[-1].verdict.errback(error)
        assert outcome[0].check(verdict)
    assert len(log) == bool(words)
    for line in log:
        assert line.startswith("ldap://127.0.0.1 cannot judge logins: ")
        assert words in line
        assert line.endswith("; times: 1")


def test_a_directory_that_cannot_be_reached_judges_nobody(world: World, log: list[str]) -> None:
    world.connect = lambda: fail(ConnectionRefusedError())
    assert world.log_in()[0].check(LoginNotJudged)
    assert "Connect" in log[0]


def test_a_directory_that_is_silent_judges_nobody(world: World, log: list[str]) -> None:
    outcome = world.log_in()
    world.clock.advance(5)
    assert outcome[0].check(LoginNotJudged)
    world.clock.advance(0)
    assert world.clients[0].is_aborted
    assert "TimeoutError" in log[0]


def test_one_that_leaves_gives_its_connection_back(world: World, log: list[str]) -> None:
    outcome = world.log_in()
    world.login.cancel()
    assert outcome[0].check(CancelledError)
    world.clock.advance(0)
    assert world.clients[0].is_aborted
    assert log == []


def test_a_connection_that_is_lost_is_not_cut(world: World) -> None:
    """TLS of Twisted's cannot bear that."""
    outcome = world.log_in()
    world.clients[0].connected = 0
    world.clients[0].verdict.errback(ConnectionLost())
    assert outcome[0].check(LoginNotJudged)
    world.clock.advance(0)
    assert not world.clients[0].is_aborted


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """One with three connections, of which a client may have two."""
    monkeypatch.setattr(ldap, "CONNECTIONS", 3)
    monkeypatch.setattr(ldap, "SHARE", 2)
    world = World(monkeypatch)
    yield world
    world.end()


def test_connections_are_shared_out_by_client(small_world: World) -> None:
    world = small_world
    outcomes = [world.log_in() for _ in range(4)]
    assert len(world.clients) == 2
    world.log_in(client="198.51.100.8")
    assert len(world.clients) == 3
    world.clients[0].verdict.errback(ldaperrors.LDAPInvalidCredentials())
    assert outcomes[0][0].check(UnauthorizedLogin)
    assert len(world.clients) == 4
    world.clients[2].verdict.errback(ldaperrors.LDAPInvalidCredentials())
    assert len(world.clients) == 4  # for the other client has two again


def test_who_leaves_while_it_waits_never_asks_the_directory(small_world: World) -> None:
    world = small_world
    outcomes = [world.log_in() for _ in range(3)]
    world.login.cancel()
    assert outcomes[2][0].check(CancelledError)
    world.clients[0].verdict.errback(ldaperrors.LDAPInvalidCredentials())
    assert len(world.clients) == 2


def test_the_time_for_a_login_begins_with_its_turn(small_world: World) -> None:
    world = small_world
    outcomes = [world.log_in() for _ in range(3)]
    world.clock.advance(PLAIN.timeout)
    assert outcomes[1][0].check(LoginNotJudged)
    assert outcomes[2] == []
    world.clock.advance(PLAIN.timeout)
    assert outcomes[2][0].check(LoginNotJudged)


@pytest.mark.parametrize(
    ("login", "asked"),
    [
        ((b"j\xfcrgen", b"gr\xf6\xdfe"), ["größe".encode(), b"gr\xf6\xdfe"]),
        ((b"j\xfcrgen", b"secret"), [b"secret"]),
    ],
)
def test_octets_that_are_no_utf8_are_tried_as_latin_1_too(
    login: tuple[bytes, bytes], asked: list[bytes], world: World
) -> None:
    """In one turn. The name is never tried as it was sent, for in a directory it is UTF-8."""
    outcome = world.log_in(*login)
    for password in asked:
        assert not outcome
        client = world.clients[-1]
        assert client.asked == [("uid=jürgen,dc=test", password)]
        client.verdict.errback(ldaperrors.LDAPInvalidCredentials())
    assert outcome[0].check(UnauthorizedLogin)
    assert len(world.clients) == len(asked)


@pytest.mark.parametrize("login", [(b"anna", b""), (b"", b"secret")])
def test_some_logins_are_refused_unasked(world: World, login: tuple[bytes, bytes]) -> None:
    assert world.log_in(*login)[0].check(UnauthorizedLogin)
    assert world.clients == []


# ---------------------------------------------------------------- searches


class Entry(dict[str, set[bytes]]):
    """What a search finds."""

    def __init__(self, dn: str, **attributes: list[bytes]) -> None:
        super().__init__({name: {*values} for name, values in attributes.items()})
        self.dn = self
        self._text = dn

    def getText(self) -> str:  # noqa: N802
        return self._text


ANNA = Entry("uid=anna,ou=people,dc=test", uid=[b"anna"])
STAFF = Entry("cn=staff,ou=groups,dc=test", cn=[b"staff", "räte".encode(), b"\xff"])
SEARCHING = Directory(
    uri="ldap://127.0.0.1",
    start_tls=False,
    search_base="ou=people,dc=test",
    search_filter="(objectClass=person)",
    bind_dn=ROOT,
    bind_password="root word",
    group_base="ou=groups,dc=test",
)


def test_a_search_finds_the_user_and_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, SEARCHING)
    searches = world.searches
    searches.found = {SEARCHING.search_base: [ANNA], SEARCHING.group_base: [STAFF, Entry("cn=x")]}
    outcome = world.log_in(b"anna)(uid=*")
    world.clients[0].verdict.callback(None)
    [known] = outcome
    assert (known, known.groups) == (b"anna", {"staff", "räte", "\\xff"})
    as_root = (ROOT, b"root word")
    assert world.clients[0].asked == [as_root, (ANNA.getText(), b"secret"), as_root]
    users, groups = searches.asked
    assert users[:2] == (SEARCHING.search_base, "(objectClass=person)")
    assert b"\x04\x0banna)(uid=*" in users[2]  # the name as it is, behind its length
    assert users[3] == ["uid"]
    assert groups[:2] == (SEARCHING.group_base, None)
    assert ANNA.getText().encode() in groups[2]
    assert groups[3] == ["cn"]


@pytest.mark.parametrize("found", [[], [ANNA, STAFF]])
def test_a_user_that_is_not_exactly_one_does_not_come_in(
    found: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(monkeypatch, replace(SEARCHING, bind_dn=""))
    world.searches.found = {SEARCHING.search_base: found}
    assert world.log_in()[0].check(UnauthorizedLogin)
    assert world.clients[0].asked == []


def test_a_refusal_of_who_searches_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    world = World(monkeypatch, SEARCHING)
    client = Client()
    client.refuses = ldaperrors.LDAPInvalidCredentials()
    world.connect = lambda: succeed(client)
    assert world.log_in()[0].check(LoginNotJudged)
    assert "LDAPInvalidCredentials" in log[0]
    assert "root word" not in log[0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"search_filter": "((("}, "search_filter: expected a filter like (objectClass=person) "),
        ({"search_filter": "a=b"}, "search_filter: expected a filter like (objectClass=person) "),
        ({"uri": "ldaps://a..b"}, "uri: expected the name of a host, got 'a..b'"),
    ],
)
def test_what_cannot_be_used_is_a_sentence_at_the_start(
    values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(WrongSource, match=re.escape(sentence)):
        LDAPChecker(replace(SEARCHING, **values), lambda: pytest.fail("asked too early"))


# ---------------------------------------------------------------- what a user is called


def name_of(world: World, name: str) -> Any:
    """What becomes of a login with the right password."""
    outcome = world.log_in(name.encode())
    if world.clients[0].asked == [] or world.clients[0].asked[-1][0] == ROOT:
        return outcome[0]
    world.clients[0].verdict.callback(None)
    return outcome[0]


@pytest.mark.parametrize("directory", [PLAIN, replace(SEARCHING, group_base="")])
@pytest.mark.parametrize("spelling", ["anna", "ANNA", " anna ", "an\u00adna", "\uff41nna"])
def test_the_directory_says_how_a_name_is_spelt(
    directory: Directory, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(monkeypatch, directory)
    world.searches.entry = lambda client, base: SimpleNamespace(  # type: ignore[method-assign]
        search=lambda **how: succeed([Entry("uid=Anna", uid=[b"Anna"])])
    )
    monkeypatch.setattr("ldaptor.protocols.ldap.ldapsyntax.LDAPEntry", world.searches.entry)
    assert name_of(world, spelling) == b"Anna"


@pytest.mark.parametrize("directory", [PLAIN, replace(SEARCHING, group_base="")])
def test_who_has_several_names_does_not_come_in(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(monkeypatch, directory)
    entry = Entry("uid=anna,dc=test", uid=[b"anna", b"boss"])
    world.searches.found = {"uid=anna,dc=test": [entry], SEARCHING.search_base: [entry]}
    assert name_of(world, "anna").check(UnauthorizedLogin)


UNREADABLE: list[list[Entry] | Exception] = [
    [],
    [Entry("uid=anna,dc=test")],
    ldaperrors.LDAPNoSuchObject(),
    ldaperrors.LDAPInsufficientAccessRights(),
]


@pytest.mark.parametrize("found", UNREADABLE)
@pytest.mark.parametrize("user_dn", ["uid={name},dc=test", "{name}@test", "uid=x{name},dc=test"])
def test_where_a_name_cannot_be_read_one_spelling_comes_in(
    found: list[Entry] | Exception, user_dn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spelling in (
        "Anna",
        "anna ",
        " anna",
        "anna  b",
        "an\u00adna",
        "\uff41nna",
        "ann\xe4",
        "a\0",
    ):
        world = World(monkeypatch, replace(PLAIN, user_dn=user_dn))
        world.searches.found = dict.fromkeys([user_dn.replace("{name}", spelling)], found)
        assert name_of(world, spelling).check(UnauthorizedLogin)
    world = World(monkeypatch, replace(PLAIN, user_dn=user_dn))
    world.searches.found = {user_dn.replace("{name}", "anna b."): found}
    assert name_of(world, "anna b.") == b"anna b."


def test_a_directory_that_breaks_while_it_is_asked_for_the_name_judges_nobody(
    world: World, log: list[str]
) -> None:
    world.searches.found["uid=anna,dc=test"] = ldaperrors.LDAPBusy()
    assert name_of(world, "anna").check(LoginNotJudged)
    assert "LDAPBusy" in log[0]


def test_over_tls_the_name_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    world = World(monkeypatch, replace(PLAIN, uri="ldaps://ldap.example.org"))

    def wrapped(tls: Any, endpoint: Any) -> Any:
        asked.append(tls)
        return endpoint

    monkeypatch.setattr(ldap, "wrapClientTLS", wrapped)
    for _ in range(2):
        assert world.log_in() == []
    assert len(asked) == 2
    [tls] = {*asked}  # made once, for that takes long
    assert tls._hostname == "ldap.example.org"


@pytest.mark.parametrize("name", ["other.example", "localhost"])
@pytest_twisted.ensureDeferred
async def test_a_server_with_another_name_gets_no_password(
    name: str, tmp_path: Path, log: list[str]
) -> None:
    received: list[bytes] = []

    class Listening(Protocol):
        def dataReceived(self, data: bytes) -> None:
            received.append(data)
            self.transport.loseConnection()

    authority = Authority(tmp_path)
    pem = authority.write("server.pem", *authority.issue(name, alternatives=[x509.DNSName(name)]))
    context = DefaultOpenSSLContextFactory(str(pem), str(pem))
    port = reactor.listenSSL(0, Factory.forProtocol(Listening), context, interface="127.0.0.1")  # type: ignore[attr-defined]
    uri = f"ldaps://localhost:{port.getHost().port}"
    directory = Directory(uri=uri, user_dn="uid={name}", ca_file=str(authority.path))
    with pytest.raises(LoginNotJudged):
        await LDAPChecker(directory, lambda: reactor).requestAvatarId(
            UsernamePassword(b"anna", b"secret")
        )
    is_right = name == "localhost"
    assert (b"secret" in b"".join(received)) == is_right
    assert ["VerificationError" in line for line in log if "judge" in line] == [not is_right]
    await port.stopListening()


# ---------------------------------------------------------------- StartTLS


@pytest_twisted.ensureDeferred
async def test_a_server_that_never_starts_tls_judges_nobody_and_gets_no_password() -> None:
    received: list[bytes] = []
    lost: Deferred[None] = Deferred()

    class Silent(Protocol):
        def dataReceived(self, data: bytes) -> None:
            received.append(data)

        def connectionLost(self, reason: object = None) -> None:
            lost.callback(None)

    port = reactor.listenTCP(0, Factory.forProtocol(Silent), interface="127.0.0.1")  # type: ignore[attr-defined]
    uri = f"ldap://127.0.0.1:{port.getHost().port}"
    directory = Directory(uri=uri, user_dn="uid={name}", timeout=0.2)
    checker = LDAPChecker(directory, lambda: reactor)
    with pytest.raises(LoginNotJudged):
        await checker.requestAvatarId(UsernamePassword(b"anna", b"secret"))
    await lost
    assert b"1.3.6.1.4.1.1466.20037" in b"".join(received)  # the OID of StartTLS
    assert b"secret" not in b"".join(received)
    await port.stopListening()


class Forger(Protocol):
    """Somebody between, without a certificate: says yes to StartTLS and, in one go, more."""

    length: int | None = None
    """Octets of what stands behind it; None for all."""

    def dataReceived(self, data: bytes) -> None:
        if not data.startswith(b"\x30"):  # an LDAPMessage; the other thing is a TLS hello
            return
        request, _ = berDecodeObject(LDAPClient.berdecoder, data)
        started = LDAPExtendedResponse(resultCode=0, responseName=LDAPStartTLSResponse.oid)
        let_in = LDAPBindResponse(resultCode=0)
        answers = [(started, request.id), (let_in, request.id + 1)]
        octets = [LDAPMessage(answer, id=each).toWire() for answer, each in answers]
        self.transport.write(octets[0] + octets[1][: self.length])


@pytest.mark.parametrize("length", [None, 1])
@pytest_twisted.ensureDeferred
async def test_what_stands_behind_the_answer_to_start_tls_is_no_verdict(
    length: int | None, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Octets in clear text that the client would take for the answer to its bind (as CVE-2011-0411)."""
    monkeypatch.setattr(Forger, "length", length)
    port = reactor.listenTCP(0, Factory.forProtocol(Forger), interface="127.0.0.1")  # type: ignore[attr-defined]
    uri = f"ldap://127.0.0.1:{port.getHost().port}"
    checker = LDAPChecker(Directory(uri=uri, user_dn="uid={name}"), lambda: reactor)
    with pytest.raises(LoginNotJudged):
        await checker.requestAvatarId(UsernamePassword(b"anna", b"any password"))
    assert [line for line in log if "octets behind the answer to StartTLS" in line]
    await port.stopListening()


class Server(LDAPServer):
    """A directory with anna in it, who can bind over TLS only."""

    def extendedRequest_StartTLS(self, data: object, reply: Callable[[object], None]) -> None:  # noqa: N802
        reply(LDAPExtendedResponse(resultCode=0, responseName=LDAPStartTLSResponse.oid))
        self.transport.startTLS(self.factory.context)

    extendedRequest_StartTLS.oid = LDAPStartTLSRequest.oid  # type: ignore[attr-defined]

    def handle_LDAPBindRequest(self, *request: Any) -> Any:  # noqa: N802
        assert self.transport.TLS
        return super().handle_LDAPBindRequest(*request)


class ServerFactory(Factory):
    protocol = Server

    def __init__(self, context: DefaultOpenSSLContextFactory) -> None:
        self.context = context
        self.root = ReadOnlyInMemoryLDAPEntry("dc=test", {"objectClass": ["domain"]})
        anna = {"objectClass": ["person"], "uid": ["anna"], "userPassword": ["secret"]}
        self.root.addChild("uid=anna", anna)

    def __conform__(self, interface: object) -> Any:
        return self.root if interface is IConnectedLDAPEntry else None


@pytest_twisted.ensureDeferred
async def test_over_start_tls_the_right_password_comes_in_and_a_wrong_one_does_not(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    pem = str(authority.server())
    factory = ServerFactory(DefaultOpenSSLContextFactory(pem, pem))
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    uri = f"ldap://localhost:{port.getHost().port}"
    directory = Directory(uri=uri, user_dn="uid={name},dc=test", ca_file=str(authority.path))
    checker = LDAPChecker(directory, lambda: reactor)
    known = await checker.requestAvatarId(UsernamePassword(b"anna", b"secret"))
    assert known == Known(b"anna")
    with pytest.raises(UnauthorizedLogin):
        await checker.requestAvatarId(UsernamePassword(b"anna", b"mistaken"))
    await port.stopListening()


def test_without_ldaptor_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "ldap.toml"
    path.write_text('uri = "ldap://a"\nsearch_base = "dc=test"\n')
    assert sources.ldap(str(path))
    monkeypatch.setattr(ldap, "find_spec", lambda name: None)
    with pytest.raises(WrongSource, match=r"pip install 'txsocks5\[ldap\]'"):
        sources.ldap(str(path))
