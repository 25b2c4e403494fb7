"""What is asked of a directory, and what becomes of its answers. A real one is in tests/interop/."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from ldaptor.protocols.ldap import ldaperrors
from ldaptor.protocols.ldap.ldapclient import LDAPClient
from ldaptor.protocols.pureber import berDecodeObject
from ldaptor.protocols.pureldap import (
    LDAP_SCOPE_baseObject,
    LDAP_SCOPE_wholeSubtree,
    LDAPBindResponse,
    LDAPExtendedResponse,
    LDAPFilterMatchAll,
    LDAPMessage,
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
from tests.support.deferreds import told

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

    def bind(self, dn: str, password: bytes) -> Deferred[Any]:
        self.asked.append((dn, password))
        return succeed(None) if dn == ROOT else self.verdict

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
        self.login = self.checker.requestAvatarId(Login(name, password, client))
        return told(self.login)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_who_binds_comes_in(world: World) -> None:
    """By the name that the directory says."""
    assert verifyObject(ICredentialsChecker, world.checker)
    dn = "uid=a\\,b,dc=test"
    world.searches.found[dn] = [Entry(dn, uid=[b"A,b"])]
    outcome = world.log_in(b"a,b")
    [client] = world.clients
    assert client.asked == [(dn, b"secret")]
    client.verdict.callback(None)
    assert outcome == [Known(b"A,b")]
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


def test_a_directory_that_cannot_be_reached_or_is_silent_judges_nobody(
    world: World, log: list[str]
) -> None:
    outcome = world.log_in()
    world.clock.advance(5)
    assert outcome[0].check(LoginNotJudged)
    world.clock.advance(0)
    assert world.clients[0].is_aborted
    assert "TimeoutError" in log[0]
    world.connect = lambda: fail(ConnectionRefusedError())
    assert world.log_in()[0].check(LoginNotJudged)


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


def test_connections_are_shared_out_by_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are three, of which a client may have two; the time for a login begins with its turn."""
    monkeypatch.setattr(ldap, "CONNECTIONS", 3)
    monkeypatch.setattr(ldap, "SHARE", 2)
    world = World(monkeypatch)
    outcomes = [world.log_in() for _ in range(4)]
    world.login.cancel()  # who leaves while it waits never asks the directory
    assert outcomes[3][0].check(CancelledError)
    assert len(world.clients) == 2
    other = world.log_in(client="198.51.100.8")
    assert len(world.clients) == 3
    world.clock.advance(PLAIN.timeout - 1)
    for client in (world.clients[0], world.clients[2]):
        client.verdict.errback(ldaperrors.LDAPInvalidCredentials())
        assert len(world.clients) == 4
    assert outcomes[0][0].check(UnauthorizedLogin)
    assert other[0].check(UnauthorizedLogin)
    world.clock.advance(1)
    assert outcomes[1][0].check(LoginNotJudged)
    assert outcomes[2] == []
    world.clock.advance(PLAIN.timeout - 1)
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


UNREADABLE: list[list[Entry] | Exception] = [
    [],
    [Entry("uid=anna,dc=test")],
    ldaperrors.LDAPNoSuchObject(),
    ldaperrors.LDAPInsufficientAccessRights(),
]


OTHERS = ("an\u00adna", "\uff41nna", "ann\xe4", "a\0")


@pytest.mark.parametrize("found", UNREADABLE)
@pytest.mark.parametrize("user_dn", ["uid={name},dc=test", "{name}@test", "uid=x{name},dc=test"])
def test_where_a_name_cannot_be_read_one_spelling_comes_in(
    found: list[Entry] | Exception, user_dn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spelling in (*["Anna", "anna ", " anna", "anna  b"], *OTHERS):
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


# ---------------------------------------------------------------- servers that must not hear a password


async def heard_by(protocol: type[Protocol], context: Any = None, **values: Any) -> bytes:
    """What a server on loopback hears of a login, which nobody judges."""
    heard: list[bytes] = []
    lost: Deferred[None] = Deferred()

    class Hearing(protocol):  # type: ignore[misc, valid-type]
        def dataReceived(self, data: bytes) -> None:
            heard.append(data)
            super().dataReceived(data)

        def connectionLost(self, reason: object = None) -> None:
            lost.callback(None)

    world: Any = reactor
    factory = Factory.forProtocol(Hearing)
    if context is None:
        port, uri = world.listenTCP(0, factory, interface="127.0.0.1"), "ldap://127.0.0.1"
    else:
        port = world.listenSSL(0, factory, context, interface="127.0.0.1")
        uri = "ldaps://localhost"
    directory = Directory(uri=f"{uri}:{port.getHost().port}", user_dn="uid={name}", **values)
    with pytest.raises(LoginNotJudged):
        await LDAPChecker(directory, lambda: reactor).requestAvatarId(
            UsernamePassword(b"anna", b"secret")
        )
    await lost
    await port.stopListening()
    return b"".join(heard)


class Deaf(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.loseConnection()


@pytest.mark.parametrize("name", ["other.example", "localhost"])
@pytest_twisted.ensureDeferred
async def test_a_server_with_another_name_gets_no_password(
    name: str, tmp_path: Path, log: list[str]
) -> None:
    authority = Authority(tmp_path)
    pem = authority.write("server.pem", *authority.issue(name, alternatives=[x509.DNSName(name)]))
    context = DefaultOpenSSLContextFactory(str(pem), str(pem))
    heard = await heard_by(Deaf, context, ca_file=str(authority.path))
    is_right = name == "localhost"
    assert (b"secret" in heard) == is_right
    assert ["VerificationError" in line for line in log if "judge" in line] == [not is_right]


@pytest_twisted.ensureDeferred
async def test_a_server_that_never_starts_tls_gets_no_password() -> None:
    heard = await heard_by(Protocol, timeout=0.2)
    assert b"1.3.6.1.4.1.1466.20037" in heard  # the OID of StartTLS
    assert b"secret" not in heard


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
    assert b"secret" not in await heard_by(Forger)
    assert [line for line in log if "octets behind the answer to StartTLS" in line]


def test_without_ldaptor_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "ldap.toml"
    path.write_text('uri = "ldap://a"\nsearch_base = "dc=test"\n')
    assert sources.ldap(str(path))
    monkeypatch.setattr(ldap, "find_spec", lambda name: None)
    with pytest.raises(WrongSource, match=r"pip install 'txsocks5\[ldap\]'"):
        sources.ldap(str(path))
