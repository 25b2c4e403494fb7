"""A real directory: Debian's slapd on loopback, with a configuration of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor

from socks5.auth import Known, LoginNotJudged
from socks5.auth.directory import Directory
from socks5.auth.ldap import LDAPChecker
from tests.interop.conftest import StartProxy, page
from tests.interop.processes import listening, poll, succeed
from tests.interop.programs import require_program
from tests.interop.servers import Web, is_served
from tests.support.certificates import self_signed
from tests.support.ports import free_port

REJECTED = 97

CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/slapd.pid
TLSCertificateFile {certificate}
TLSCertificateKeyFile {certificate}
disallow bind_anon
database mdb
suffix dc=test
directory {directory}/db
rootdn cn=root,dc=test
rootpw root-secret
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree=ou=groups,dc=test by dn.exact=cn=root,dc=test read by users read
access to dn.subtree=ou=hidden,dc=test by * none
access to * by users read by anonymous none
"""

PERSON = """
dn: uid={name},ou={unit},dc=test
objectClass: inetOrgPerson
uid: {uid}
cn: A person
sn: P
userPassword: secret
"""

PEOPLE = [
    ("anna", "people", "anna"),
    (r"comma\, and (star*)", "people", "comma, and (star*)"),
    ("twice", "people", "twice\nuid: double"),
    ("Carl", "hidden", "Carl"),
]

ENTRIES = """
dn: dc=test
objectClass: dcObject
objectClass: organization
o: test
dc: test

dn: ou=people,dc=test
objectClass: organizationalUnit

dn: ou=groups,dc=test
objectClass: organizationalUnit

dn: ou=hidden,dc=test
objectClass: organizationalUnit

dn: cn=staff,ou=groups,dc=test
objectClass: groupOfNames
member: uid=anna,ou=people,dc=test
""" + "".join(PERSON.format(name=name, unit=unit, uid=uid) for name, unit, uid in PEOPLE)


@dataclass
class Slapd:
    """A running slapd: where it listens, under several names, and the certificate of one."""

    plain: str
    tls: str
    by_address: str
    by_wrong_name: str
    certificate: Path


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A directory with two users and a group."""
    program = require_program("slapd")
    directory = tmp_path_factory.mktemp("slapd")
    (directory / "db").mkdir()
    certificate = self_signed(directory)
    configuration = directory / "slapd.conf"
    configuration.write_text(CONFIGURATION.format(directory=directory, certificate=certificate))
    (directory / "entries").write_text(ENTRIES)
    add = require_program("slapadd")
    succeed(add, "-f", configuration, "-l", directory / "entries")
    plain, tls = free_port(), free_port()
    addresses = f"ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls} ldaps://127.0.0.2:{tls}"
    command = (program, "-f", configuration, "-h", addresses, "-d", "0")
    with listening(*command, port=plain, log=directory / "log"):
        poll(lambda: is_served(tls), "slapd listens for TLS")
        uris = (f"ldaps://{host}:{tls}" for host in ("localhost", "127.0.0.1", "127.0.0.2"))
        yield Slapd(f"ldap://localhost:{plain}", *uris, certificate)


TEMPLATE = {"user_dn": "uid={name},ou=people,dc=test"}
SEARCH: dict[str, Any] = {
    "search_base": "ou=people,dc=test",
    "search_filter": "(objectClass=inetOrgPerson)",
    "bind_dn": "cn=root,dc=test",
    "bind_password": "root-secret",
}


async def log_in(slapd: Slapd, name: bytes, password: bytes, **values: Any) -> Known:
    how = {"uri": slapd.tls, "ca_file": str(slapd.certificate), **values}
    checker = LDAPChecker(Directory(**how), lambda: reactor)
    known: Known = await checker.requestAvatarId(UsernamePassword(name, password))
    return known


each_way = pytest.mark.parametrize("how", [TEMPLATE, SEARCH], ids=["template", "search"])
COMMA = b"comma, and (star*)"
FALSE = [b"*", b"ann*", b"anna)(uid=*", b"anna,ou=people", b"anna\\", b"\0", b"a" * 255]
SPELLINGS = ["anna", "ANNA", " anna", "anna ", "\uff41nna"]


@each_way
@pytest_twisted.ensureDeferred
async def test_a_user_binds(how: dict[str, Any], slapd: Slapd) -> None:
    """However the name is spelt: to slapd all of these are the same one (RFC 4518)."""
    for uri in (slapd.tls, slapd.by_address, slapd.plain):
        known = await log_in(slapd, b"anna", b"secret", uri=uri, **how)
        assert (known, known.groups) == (b"anna", frozenset())
    names = {bytes(await log_in(slapd, each.encode(), b"secret", **how)) for each in SPELLINGS}
    assert names == {b"anna"}
    base = "ou=groups,dc=test"
    assert (await log_in(slapd, b"anna", b"secret", group_base=base, **how)).groups == {"staff"}
    other = await log_in(slapd, COMMA, b"secret", group_base=base, **how)
    assert (other, other.groups) == (COMMA, frozenset())  # a name is no syntax


@each_way
@pytest.mark.parametrize(
    "login",
    [
        *((name, b"secret") for name in (b"bob", b"twice", b"double", b"", b"\xff", *FALSE)),
        *((b"anna", password) for password in (b"mistaken", b"", b"\xff\0" * 127)),
    ],
)
@pytest_twisted.ensureDeferred
async def test_nobody_else_does(
    how: dict[str, Any], login: tuple[bytes, bytes], slapd: Slapd
) -> None:
    with pytest.raises(UnauthorizedLogin):
        await log_in(slapd, *login, **how)


@pytest_twisted.ensureDeferred
async def test_where_users_may_not_read_themselves_one_spelling_comes_in(slapd: Slapd) -> None:
    how = {"user_dn": "uid={name},ou=hidden,dc=test"}
    assert await log_in(slapd, b"carl", b"secret", **how) == b"carl"
    for false in (b"Carl", b"CARL", b" carl", b"carl ", "ca\u00adrl".encode()):
        with pytest.raises(UnauthorizedLogin):
            await log_in(slapd, false, b"secret", **how)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"ca_file": ""}, "cannot judge logins: Error: "),
        ({"uri": "by_wrong_name"}, "cannot judge logins: VerificationError: "),
        ({"uri": "plain", "ca_file": ""}, "cannot judge logins: Error: "),
        ({**SEARCH, "user_dn": "", "bind_password": "mistaken"}, "LDAPInvalidCredentials"),
        ({**SEARCH, "user_dn": "", "bind_dn": ""}, "cannot judge logins: LDAP"),
    ],
    ids=["authority", "name", "StartTLS", "password", "anonymous"],
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_trusted_or_asked_judges_nobody(
    values: dict[str, Any], text: str, slapd: Slapd, log: list[str]
) -> None:
    how = {**TEMPLATE, **values}
    if "uri" in how:
        how["uri"] = getattr(slapd, how["uri"])
    with pytest.raises(LoginNotJudged):
        await log_in(slapd, b"anna", b"secret", **how)
    [line] = [line for line in log if "cannot judge" in line]
    assert text in line
    assert "secret" not in line
    assert "mistaken" not in line


def test_curl_logs_in_with_a_user_of_the_directory(
    slapd: Slapd, start_proxy: StartProxy, web: Web, tmp_path: Path
) -> None:
    path = tmp_path / "ldap.toml"
    path.write_text(
        f'uri = "{slapd.tls}"\nca_file = "{slapd.certificate}"\n'
        'user_dn = "uid={name},ou=people,dc=test"\n'
    )
    proxy = start_proxy("--auth", f"ldap:{path}")
    assert page(proxy, web, "anna:secret") == (0, b"a page")
    assert page(proxy, web, "anna:mistaken")[0] == REJECTED
    assert proxy.sessions(2)[0].user == "anna"
    assert "mistaken" not in proxy.log + proxy.access_log
