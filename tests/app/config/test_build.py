"""A file becomes what the program is made of, or everything that is wrong with it is said."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from socks5.access import ACCEPTED, Access
from socks5.app.config.build import Made, build
from socks5.app.config.building import Building
from socks5.app.config.document import Refused, load
from socks5.app.config.read import read, read_file
from socks5.app.config.ruling import limits, members, rules
from socks5.app.inherit import Worker
from socks5.net.places import TCP, UNIX, Inherited, name_of
from socks5.protocol.address import Address
from socks5.protocol.messages import Command, Method
from socks5.protocol.networks import Networks
from socks5.settings import Capacity, NameSource, PerFamily, Settings
from tests.support.certificates import Authority
from tests.support.kerberos import write_keytab
from tests.support.skips import needs_gssapi


class Files:
    """A folder with a file of settings, and what it names.

    :param folder: where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str, mode: int = 0o600) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def make(self, text: str, mode: int = 0o600, **others: Any) -> Made:
        self.write("s.toml", text, mode)
        return build(load(str(self.folder / "s.toml")), **others)

    def ruling(self, text: str) -> tuple[Any, Any]:
        """The rules and the limits of a file."""
        self.write("s.toml", text)
        document = load(str(self.folder / "s.toml"))
        configuration, building = read(document), Building(document)
        found = rules(configuration, building), limits(configuration, building, Clock())
        building.finish()
        return found

    def problems(self, text: str, mode: int = 0o600, **others: Any) -> list[str]:
        """What is wrong, without the folder."""
        with pytest.raises(Refused) as raised:
            self.make(text, mode, **others)
        return [self.short(each) for each in raised.value.problems]

    def warnings(self, text: str, **others: Any) -> list[str]:
        return [self.short(each) for each in self.make(text, **others).warnings]

    def short(self, problem: object) -> str:
        return str(problem).replace(f"{self.folder}/", "")


@pytest.fixture(name="files")
def a_folder(tmp_path: Path) -> Files:
    return Files(tmp_path)


# ---------------------------------------------------------------- values


def test_an_empty_file_makes_the_proxy_without_options(files: Files) -> None:
    made = files.make("")
    assert (made.settings, made.capacity) == (Settings(), Capacity())
    assert (made.rules, made.limits, made.access_log) == (None, None, None)
    assert made.logins.accepted == [Method.NO_AUTHENTICATION]
    assert [(each.at.where, each.is_optional) for each in made.listeners] == [
        (TCP(1080, "127.0.0.1"), False),
        (TCP(1080, "::1"), True),
    ]


def test_settings_are_what_the_file_says(files: Files) -> None:
    files.write("home", "10.0.0.0/8  # the house\n\n# more\n2001:db8::/32\n")
    made = files.make("""\
[server]
commands = ["connect"]
outgoing = ["127.0.0.1", "::1"]
advertise = "203.0.113.7"
max_sessions = 7
[timeouts]
idle = "2h"
[udp]
ports = "40000-40099"
[resolver]
source = "system"
threads = 3
[bans]
exempt = ["file:home", "@link-local", "@office", "192.0.2.1"]
[networks]
office = { entries = "198.51.100.0/24" }
""")
    assert made.settings == Settings(
        commands=frozenset({Command.CONNECT}),
        outgoing=PerFamily("127.0.0.1", "::1"),
        advertise=PerFamily("203.0.113.7"),
        idle_timeout=7200.0,
        udp_ports=(40000, 40099),
        ban_exempt=made.settings.ban_exempt,
    )
    for host in ("10.1.1.1", "2001:db8::1", "169.254.1.1", "198.51.100.9", "192.0.2.1"):
        assert host in made.settings.ban_exempt
    assert "192.0.2.2" not in made.settings.ban_exempt
    assert made.capacity == Capacity(max_sessions=7, resolver=NameSource.SYSTEM, resolver_threads=3)
    assert made.lists == {"home": "10.0.0.0/8  # the house\n\n# more\n2001:db8::/32\n"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ('log.access = "-"', "-"),
        ('log.access = "off"', ""),
        ('log.access = "a.log"', "{}/a.log"),
        ('log.access = "/dev/null"', "/dev/null"),
    ],
)
def test_the_access_log_is_where_the_file_says(files: Files, text: str, path: str | None) -> None:
    expected = None if path is None else path.format(files.folder)
    assert files.make(text).access_log == expected


def test_an_access_log_that_cannot_be_is_an_error(files: Files) -> None:
    assert files.problems('log.access = "x/a.log"') == [
        "s.toml:1:14: log.access: expected a file in a folder that exists, got x/a.log"
    ]
    assert files.problems('log.access = "."')[0].startswith("s.toml:1:14: log.access: expected a f")
    assert files.problems('log.access = "-"', is_daemon=True) == [
        "s.toml:1:14: log.access: expected a file, for a daemon has no output"
    ]


# ---------------------------------------------------------------- listeners


def test_listeners_are_where_and_what_the_file_says(files: Files) -> None:
    Authority(files.folder).server("proxy.pem")
    made = files.make("""\
[listener.office]
address = ["127.0.0.1", "::1"]
methods = ["none"]
clients = ["@office", "192.0.2.1"]
proxy_from = "10.0.0.1"
connections_per_client = 3
[listener.road]
address = "0.0.0.0"
port = 1443
tls = { cert = "proxy.pem", client_ca = "proxy.pem", client_name = "cn" }
[listener.machine]
unix = "proxy.sock"
mode = "660"
[listener.everybody]
unix = "all.sock"
[listener.other]
endpoint = "tcp:1082:interface=127.0.0.1"
[networks]
office = { entries = ["10.0.0.0/8"] }
""")
    names = [each.name.replace(str(files.folder), "") for each in made.listeners]
    assert names == [
        "127.0.0.1 port 1080 (listener office)",
        "::1 port 1080 (listener office)",
        "0.0.0.0 port 1443 (listener road)",
        "unix:/proxy.sock (listener machine)",
        "unix:/all.sock (listener everybody)",
        "tcp:1082:interface=127.0.0.1 (listener other)",
    ]
    office, _, road, machine, everybody, other = [each.at for each in made.listeners]
    assert office.policy.name == "office"
    assert office.policy.methods == (Method.NO_AUTHENTICATION,)
    assert office.policy.clients is not None
    assert office.policy.clients == Networks.parse("192.0.2.1,10.0.0.0/8")
    assert office.policy.connections_per_client == 3
    assert office.policy.proxies == Networks.parse("10.0.0.1")
    assert road.tls is not None
    assert (road.tls.cert, road.tls.key) == (f"{files.folder}/proxy.pem",) * 2
    assert (road.tls.names, road.tls.is_required) == (("cn",), True)
    assert made.listeners[2].certificates is not None
    assert machine.where == UNIX(f"{files.folder}/proxy.sock", 0o660)
    assert everybody.where == UNIX(f"{files.folder}/all.sock", 0o666)
    assert isinstance(other.where, TCP)


def test_what_everybody_could_use_is_refused(files: Files) -> None:
    end = 'clients = "NETWORK", so that only those networks come in; or open = true, if that is what you want'
    anybody = (
        "others than this machine could reach it, and the proxy would serve anyone. Choose one:"
    )
    listener = '[listener.a]\naddress = "0.0.0.0"\n'
    assert files.problems(listener) == [
        f"s.toml:1:1: listener.a: {anybody} an [auth.NAME], or [gssapi], so that users log in; {end}"
    ]
    assert files.problems(f"{listener}[auth]") == files.problems(listener)
    [only] = files.problems(f'{listener}[auth.b]\ntype = "fiel"')
    assert "auth.b.type: " in only
    auth = '[auth]\na = { type = "file", file = "users" }\n'
    [only] = files.problems(listener + auth)
    assert "auth.a.file: expected a file" in only, "and not also that nobody logs in"
    files.write("users", "alice:secret\n")
    assert files.problems(f'{listener}methods = ["none", "password"]\n{auth}') == [
        f's.toml:1:1: listener.a: {anybody} methods = "password", so that users log in; {end}'
    ]
    balanced = '[listener.a]\naddress = "127.0.0.1"\nproxy_from = "127.0.0.1"'
    assert "it, for proxy_from brings them in, and" in files.problems(balanced)[0]
    Authority(files.folder).server("p.pem")
    tls = 'tls = { cert = "p.pem"'
    assert (
        "; client_ca in its tls, so that certificates are required; clients"
        in files.problems(f"{listener}{tls} }}")[0]
    )
    optional = f'{listener}{tls}, client_ca = "p.pem", client_certificates = "optional" }}'
    assert len(files.problems(optional)) == 1
    assert len(files.problems(f'{listener}clients = "0.0.0.0/0"')) == 1
    for good in (
        f"{listener}open = true",
        f'{listener}clients = "10.0.0.0/8"',
        f"{listener}{auth}",
        f'{listener}{tls}, client_ca = "p.pem" }}',
    ):
        assert len(files.make(good).listeners) == 1


def test_what_cannot_be_listened_on_is_an_error(files: Files) -> None:
    assert files.problems("""\
[listener.a]
unix = "none/proxy.sock"
[listener.b]
endpoint = "haproxy:tcp:1"
[listener.c]
endpoint = "nothing:1"
[listener.d]
address = "::1"
tls = { cert = "none.pem" }
[listener.e]
systemd = "none"
""") == [
        "s.toml:2:8: listener.a.unix: expected a file in a folder that exists, got none/proxy.sock",
        (
            "s.toml:4:12: listener.b.endpoint: expected an endpoint without haproxy:, which believes the PROXY "
            "header of whoever connects; write proxy_from"
        ),
        "s.toml:6:12: listener.c.endpoint: expected a Twisted server endpoint: Unknown endpoint type: 'nothing'",
        (
            "s.toml:9:16: listener.d.tls.cert: cert=none.pem: No such file or directory; expected a PEM file that the "
            "proxy's user can read"
        ),
        "s.toml:11:11: listener.e.systemd: expected a socket that systemd hands to the service, got none called none",
    ]


SYSTEMD = (
    '[listener.a]\nsystemd = "web"\n[listener.b]\nendpoint = "systemd:domain=INET:name=other"\n'
)


def test_sockets_of_systemd_may_be_missing_where_nothing_is_opened(files: Files) -> None:
    made = files.make(SYSTEMD, is_only_looking=True)
    assert [each.at.where for each in made.listeners] == [
        Inherited("systemd:web:0"),
        Inherited("systemd:domain=INET:name=other"),
    ]


def test_all_sockets_of_a_name_that_systemd_hands_over_are_used(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def described(description: str) -> Inherited:
        number = int(description.rpartition("=")[2])
        if number == 3:
            raise ValueError("no such socket is inherited")
        return Inherited(description, 3 + number)

    monkeypatch.setenv("LISTEN_FDNAMES", "web:other:web:web")
    monkeypatch.setattr("socks5.app.config.entrances.where_of", described)
    listeners = files.make('[listener.a]\nsystemd = "web"\nopen = true').listeners
    found: list[Any] = [each.at.where for each in listeners]
    assert [(each.name, each.descriptor) for each in found] == [
        ("systemd:web:0", 3),
        ("systemd:web:1", 5),
    ]
    assert listeners[0].name == "systemd:web (listener a)"


def test_a_worker_has_the_sockets_of_its_parent(files: Files) -> None:
    names = ["systemd:web:0", "systemd:web:1", "systemd:domain=INET:name=other"]
    worker = Worker(1, 2, [name_of(Inherited(each)) for each in names], 1, 1, 1)
    made = files.make(SYSTEMD, worker=worker)
    assert [each.at.where for each in made.listeners] == [Inherited(each) for each in names]


# ---------------------------------------------------------------- logins


def test_everybody_whom_a_source_knows_may_come_in(files: Files) -> None:
    files.write("users", "alice:secret\n")
    files.write("secrets", "bob:secret\n")
    files.write("hashes", "bob:$apr1$QeLPXJKX$a2VgTRK3QHOGbwlHvAHFK/\n")
    files.write("groups", "staff: alice\n")
    made = files.make("""\
[auth]
a = { type = "file", file = "users" }
b = { type = "secrets", file = "secrets" }
c = { type = "htpasswd", file = "hashes", groups = "groups" }
d = { type = "plugin", use = "memory:carol:secret" }
""")
    assert made.logins.authenticator is not None
    assert len(made.logins.methods) == 1
    assert len(made.logins.sources) == 3
    assert made.logins.accepted == [Method.CHAP, Method.USERNAME_PASSWORD]


@pytest.mark.parametrize(
    "use",
    [
        pytest.param("file:users", id="relative"),
        pytest.param("file:FOLDER/users", id="full"),
        pytest.param("file:credential=users", id="a credential"),
        pytest.param("secrets:users", id="of secrets"),
        pytest.param("htpasswd:hashes", id="of hashes"),
        pytest.param("htpasswd:hashes:groups=groups", id="with groups"),
        pytest.param("ldap:ldap.toml", id="of a directory"),
    ],
)
def test_what_a_plugin_takes_is_relative_to_the_file_if_it_is_a_path_for_sure(
    use: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(files.folder))
    monkeypatch.chdir("/")
    files.write("users", "alice:secret\n", 0o600)
    files.write("hashes", "bob:$apr1$QeLPXJKX$a2VgTRK3QHOGbwlHvAHFK/\n")
    files.write("groups", "staff: bob\n")
    files.write("ldap.toml", 'uri = "ldaps://ldap.example"\nuser_dn = "uid={name}"\n', 0o600)
    use = use.replace("FOLDER", str(files.folder))
    made = files.make(f'auth.a = {{ type = "plugin", use = "{use}" }}')
    assert Method.USERNAME_PASSWORD in made.logins.accepted


UNREAD = "expected a file that can be read, got '{}' (No such file or directory); check its name and mode"
NO_ENTRY = "expected NAME:SECRET, with a name of 1 to 255 octets"
NO_PEM = "No such file or directory; expected a PEM file that the proxy's user can read"


def test_a_source_that_cannot_be_used_is_an_error(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    files.write("secrets", "bob:secret\n", 0o644)
    assert files.problems("""\
[auth]
a = { type = "file", file = "none" }
b = { type = "secrets", file = "secrets" }
c = { type = "htpasswd", file = "hash", groups = { credential = "groups" } }
d = { type = "plugin", use = "memori:carol:secret" }
e = { type = "plugin", use = "memory:carol" }
f = { type = "plugin", use = "anonymous:" }
g = { type = "ldap", uri = "ldap://ldap.example", user_dn = "x", bind_password = { env = "NONE_" } }
h = { type = "ldap", uri = "ldap://ldap.example", user_dn = "x" }
i = { type = "pam", service = "there-is-none" }
[gssapi]
service = "any"
keytab = "none"
""")[:10] == [
        (
            "s.toml:2:29: auth.a.file: expected a file that can be read, got 'none' (No such file or directory); "
            "check its name and mode"
        ),
        (
            "s.toml:3:32: auth.b.file: secrets has mode 0644: others could read or replace the secrets in it; "
            "chmod 600 secrets"
        ),
        f"s.toml:4:33: auth.c.file: {UNREAD.format('hash')}",
        (
            "s.toml:4:50: auth.c.groups: expected a service that systemd starts with LoadCredential=groups:FILE, which "
            "sets $CREDENTIALS_DIRECTORY"
        ),
        "s.toml:5:30: auth.d.use: expected a type of file, htpasswd, ldap, memory, pam, secrets, unix before the colon",
        "s.toml:6:30: auth.e.use: expected NAME:PASSWORD:NAME:PASSWORD, a password for each name",
        "s.toml:7:30: auth.f.use: expected a type for user names and passwords",
        "s.toml:8:5: auth.g: expected either user_dn, with {name} in it, or search_base",
        (
            "s.toml:8:82: auth.g.bind_password: expected a secret in the environment variable NONE_, which is empty or "
            "missing"
        ),
        "s.toml:9:5: auth.h: expected either user_dn, with {name} in it, or search_base",
    ]


def test_what_is_wrong_with_a_source_stands_at_its_key(files: Files) -> None:
    hashes = files.folder / "hashes"
    hashes.write_text("bob:$apr1$QeLPXJKX$a2VgTRK3QHOGbwlHvAHFK/\n")
    files.write("groups", "what?\n")
    files.write("users", "alice:secret")
    files.write("bad", "alice\n" * 5)
    assert files.problems("""\
[auth]
a = { type = "htpasswd", file = "hashes", groups = "groups" }
b = { type = "file", file = "users" }
c = { type = "ldap", uri = "ldap:///x", user_dn = "{name}" }
d = { type = "ldap", uri = "ldap://a.example", user_dn = "{name}", start_tls = false }
e = { type = "ldap", uri = "ldap://a.example", user_dn = "{name}", ca_file = "none" }
f = { type = "ldap", uri = "ldap://a.example", user_dn = "{name}", ca_file = "groups" }
g = { type = "htpasswd", file = "none", groups = "groups" }
h = { type = "file", file = "bad" }
i = { type = "ldap", uri = "ldap:///x", ca_file = "none", bind_password = { file = "none" } }
[listener.a]
address = "127.0.0.1"
tls = { cert = "none", key = "nothing", client_ca = "groups" }
[listener.b]
address = "127.0.0.2"
tls = { cert = "none" }
""") == [
        "s.toml:2:52: auth.a.groups: groups line 1: expected GROUP: NAME NAME",
        (
            "s.toml:3:29: auth.b.file: users line 1 does not end: the file is half-written, or lacks its last "
            "newline"
        ),
        "s.toml:4:28: auth.c.uri: uri: expected ldaps://HOST:PORT or ldap://HOST:PORT",
        "s.toml:5:80: auth.d.start_tls: start_tls = false is for a server on this machine's loopback",
        "s.toml:6:78: auth.e.ca_file: ca_file none: No such file or directory",
        "s.toml:7:78: auth.f.ca_file: ca_file groups: expected certificates, PEM",
        f"s.toml:8:33: auth.g.file: {UNREAD.format('none')}",
        "s.toml:8:50: auth.g.groups: groups line 1: expected GROUP: NAME NAME",
        f"s.toml:9:29: auth.h.file: bad line 1: {NO_ENTRY}",
        f"s.toml:9:29: auth.h.file: bad line 2: {NO_ENTRY}",
        f"s.toml:9:29: auth.h.file: bad line 3: {NO_ENTRY}",
        "s.toml:9:29: auth.h.file: bad line 4: 2 more lines like these, from here on",
        "s.toml:10:5: auth.i: expected either user_dn, with {name} in it, or search_base",
        "s.toml:10:28: auth.i.uri: uri: expected ldaps://HOST:PORT or ldap://HOST:PORT",
        "s.toml:10:51: auth.i.ca_file: ca_file none: No such file or directory",
        (
            "s.toml:10:75: auth.i.bind_password: expected a file that can be read, got none (No such file or "
            "directory)"
        ),
        f"s.toml:13:16: listener.a.tls.cert: cert=none: {NO_PEM}",
        f"s.toml:13:30: listener.a.tls.key: key=nothing: {NO_PEM}",
        (
            "s.toml:13:53: listener.a.tls.client_ca: clients=groups: no whole certificate in it; expected PEM "
            "(-----BEGIN CERTIFICATE-----)"
        ),
        f"s.toml:16:16: listener.b.tls.cert: cert=none: {NO_PEM}",
    ]


def test_wrong_values_hide_nothing_that_is_found_when_all_is_made(files: Files) -> None:
    """And what comes of them alone is not said."""
    assert files.problems("""\
[server]
outgoing_family = "ipv5"
[listener.a]
address = "0.0.0.0"
tls = { cert = "none" }
clients = "@odd"
[listener.b]
address = "127.0.0.1"
port = 0
tls = { cert = "none.pem" }
proxy_from = "@odd"
[auth]
a = { type = "file", file = "none" }
b = { type = "fiel", file = "none" }
c = { type = "secrets", file = "~/x" }
d = { type = "plugin", use = "memori:" }
[networks]
odd = { entries = "10.0.0.1/8" }
[log]
access = "none/a.log"
format = 3
[[rule]]
name = "a"
action = "allow"
clients = "file:none"
networks = "@ood"
""") == [
        (
            's.toml:2:19: server.outgoing_family: expected "any", "prefer-ipv4", "prefer-ipv6", "ipv4" or "ipv6", '
            'got "ipv5"; did you mean "ipv6"?'
        ),
        (
            "s.toml:5:16: listener.a.tls.cert: cert=none: No such file or directory; expected a PEM file that the "
            "proxy's user can read"
        ),
        (
            "s.toml:10:16: listener.b.tls.cert: cert=none.pem: No such file or directory; expected a PEM file that the "
            "proxy's user can read"
        ),
        (
            "s.toml:13:29: auth.a.file: expected a file that can be read, got 'none' (No such file or directory); "
            "check its name and mode"
        ),
        (
            's.toml:14:14: auth.b.type: expected one of "htpasswd", "file", "secrets", "ldap", "pam", "plugin", got '
            '"fiel"; did you mean "file"?'
        ),
        's.toml:15:32: auth.c.file: expected a path, got "~/x"; write it out, for ~ is nobody\'s here',
        (
            "s.toml:16:30: auth.d.use: expected a type of file, htpasswd, ldap, memory, pam, secrets, unix before "
            "the colon"
        ),
        (
            's.toml:18:19: networks.odd.entries: expected a network, got "10.0.0.1/8"; did you mean "10.0.0.0/8", or '
            '"10.0.0.1"?'
        ),
        "s.toml:20:10: log.access: expected a file in a folder that exists, got none/a.log",
        's.toml:21:10: log.format: expected "json" or "text", got 3',
        's.toml:25:11: rule "a": clients: expected a file that can be read, got none (No such file or directory)',
        's.toml:26:12: rule "a": networks: there is no [networks.ood]; did you mean "@odd"?',
    ]


def test_a_directory_is_asked_as_the_file_says(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ldaptor")
    monkeypatch.setenv("HUSH", "secret")
    Authority(files.folder).server("ca.pem")
    made = files.make("""\
[auth.a]
type = "ldap"
uri = "ldaps://ldap.example"
search_base = "dc=example"
bind_dn = "cn=proxy"
bind_password = { env = "HUSH" }
ca_file = "ca.pem"
timeout = "2s"
""")
    assert made.logins.accepted == [Method.USERNAME_PASSWORD]
    assert "secret" not in repr(made)


@needs_gssapi
def test_tickets_are_taken_with_the_keys_of_the_keytab(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_keytab(files.folder / "k", "rcmd/proxy.example@EXAMPLE.ORG")
    made = files.make('[gssapi]\nservice = "rcmd"\nkeytab = "k"\nlocal_realms = "EXAMPLE.ORG"')
    assert made.logins.accepted == [Method.GSSAPI]
    assert files.make('[gssapi]\nservice = "any"\nkeytab = "k"').logins.gssapi is not None
    monkeypatch.setenv("KRB5_KTNAME", str(files.folder / "k"))
    assert files.make('[gssapi]\nservice = "any"').logins.gssapi is not None
    assert files.problems('[gssapi]\nservice = "ftp"\nkeytab = "k"')[0].startswith(
        "s.toml:3:10: gssapi.keytab: "
    )


def test_a_type_of_somebody_elses_says_what_it_wants(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Factory:
        argStringFormat = "something else"

        def generateChecker(self, argument: str) -> Any:
            raise ValueError(f"what is {argument}?")

    monkeypatch.setattr("socks5.app.config.logins.findCheckerFactory", lambda kind: Factory())
    assert files.problems('auth.a = { type = "plugin", use = "x:hush" }') == [
        "s.toml:1:35: auth.a.use: expected behind the colon: something else"
    ]


@pytest.mark.parametrize(
    ("text", "path", "better"),
    [
        (
            '[auth.a]\ntype = "ldap"\nuri = "ldap://localhost"\nsearch_base = "x"\nbind_password = "hush"',
            "5:17: auth.a.bind_password",
            '{ file = "PATH" }',
        ),
        (
            '[auth.a]\ntype = "plugin"\nuse = "memory:alice:hush"',
            "3:7: auth.a.use",
            'type = "htpasswd", file = "PATH"',
        ),
    ],
)
def test_a_secret_in_the_file_is_warned_of_or_refused_if_everybody_may_read_it(
    files: Files, text: str, path: str, better: str
) -> None:
    pytest.importorskip("ldaptor")
    assert files.warnings(text) == [
        f"s.toml:{path}: a secret in plain text; better {better} or the like"
    ]
    assert files.problems(text, 0o644) == [
        f"s.toml:{path}: expected {better}, for everybody on this machine can read this file; or chmod o= it"
    ]
    worker = Worker(1, 2, [name_of(TCP(1080, "127.0.0.1"))], 1, 1, 1)
    assert files.make(text, 0o644, worker=worker).warnings, "the parent has looked"
    assert build(replace(load(f"{files.folder}/s.toml"), file="gone")).warnings


def test_a_login_that_nobody_is_asked_for_is_warned_of(files: Files) -> None:
    files.write("users", "alice:secret\n")
    auth = '[auth]\na = { type = "file", file = "users" }\n'
    listener = '[listener.a]\naddress = "::1"\nmethods = "none"\n'
    assert files.warnings(auth + listener) == [
        "s.toml:1:1: auth: no listener asks for it: see their methods"
    ]
    assert files.warnings(auth) == []


def test_an_outgoing_address_that_is_none_of_this_machine_is_warned_of(files: Files) -> None:
    words = "no address of this machine now, got 192.0.2.1; until it is one, targets get reply 3"
    assert files.warnings('server.outgoing = "192.0.2.1"') == [
        f"s.toml:1:19: server.outgoing: {words}"
    ]
    assert files.warnings('server.outgoing = ["::1", "192.0.2.1"]') == [
        f"s.toml:1:27: server.outgoing[1]: {words}"
    ]


RULE = '[[rule]]\nname = "r"\naction = "allow"\nnetworks = {}\nsource = {}\n'


def test_a_rule_s_source_that_is_none_of_this_machine_is_warned_of(files: Files) -> None:
    words = "no address of this machine now, got 192.0.2.1; until it is one, targets get reply 3"
    rule = RULE.format('["198.51.100.0/24", "2001:db8::/32"]', '["::1", "192.0.2.1"]')
    assert files.warnings(rule) == [f's.toml:5:18: rule "r": source[1]: {words}']
    rule = RULE.format('"198.51.100.0/24"', '"192.0.2.1"')
    assert files.warnings(rule) == [f's.toml:5:10: rule "r": source: {words}']


SIX, FOUR = '"2001:db8::/32"', '"198.51.100.0/24"'
ANY, OWN, ACCEPTED_ON = '"@public"', '"@set"', '"accepted"'


@pytest.mark.parametrize(
    ("networks", "source", "more", "is_reached"),
    [
        pytest.param(ANY, '"::1"', "", True, id="any target"),
        pytest.param(SIX, '"::1"', "", True, id="its family"),
        pytest.param(FOUR, '"::1"', "", False, id="the other"),
        pytest.param('"::ffff:198.51.100.0/120"', '"127.0.0.1"', "", True, id="a mapped one"),
        pytest.param(FOUR, '["127.0.0.1", "::1"]', "", True, id="both"),
        pytest.param(OWN, '"::1"', 'networks.set.entries = "198.51.100.1"', False, id="a set of the other"),
        pytest.param(OWN, '"::1"', 'networks.set.entries = "file:list"', True, id="a set in a file"),
        pytest.param(ANY, '"::1"', 'server.outgoing = "127.0.0.1"', False, id="IPv6 is not used"),
        pytest.param(ANY, '"::1"', 'server.outgoing_family = "ipv4"', False, id="IPv6 is not wanted"),
        pytest.param(ANY, ACCEPTED_ON, "", True, id="the usual listener"),
        pytest.param(SIX, ACCEPTED_ON, "", False, id="the usual listener is of the other"),
        pytest.param(SIX, ACCEPTED_ON, 'listener.a = { address = "::", open = true }', True, id="a listener of both"),
        pytest.param(SIX, ACCEPTED_ON, 'listener.a.address = ["127.0.0.1", "::1"]', True, id="one of each"),
        pytest.param(SIX, ACCEPTED_ON, 'listener.a = { address = "127.0.0.1", proxy_from = "@loopback", open = true }',
                     True, id="behind a proxy"),
        pytest.param(SIX, ACCEPTED_ON, 'listener.a.endpoint = "tcp:1:interface=127.0.0.1"', True, id="an endpoint"),
        pytest.param(ANY, ACCEPTED_ON, 'listener.a.unix = "u"', False, id="a UNIX socket"),
        pytest.param(SIX, '"accepted"\nlisteners = "a"', 'listener = { a.address = "127.0.0.1", b.address = "::1" }',
                     False, id="the rule's listeners"),
    ],
)  # fmt: skip
def test_a_rule_whose_source_reaches_nobody_is_warned_of(
    networks: str, source: str, more: str, is_reached: bool, files: Files
) -> None:
    files.write("list", "198.51.100.1\n")
    text = f"{more}\n{RULE.format(networks, source)}"
    words = (
        "nobody is reached from there: no target of this rule is of that family, or its family is not used "
        "(server.outgoing, outgoing_family)"
    )
    expected = [] if is_reached else [f's.toml:6:10: rule "r": source: {words}']
    assert [each for each in files.warnings(text) if "source" in each] == expected


def test_names_that_the_resolver_leaves_out_are_warned_of(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socks5.app.config.build.sources_beside_dns", lambda: ["mdns", "ldap"])
    assert files.warnings("[resolver]") == [
        (
            "s.toml:1:1: resolver: nsswitch.conf names mdns, ldap for hosts, which are not asked; "
            'source = "system" asks them'
        )
    ]
    assert files.warnings('resolver.source = "system"') == []


# ---------------------------------------------------------------- rules and limits


def access(command: Command = Command.CONNECT, host: str = "www.example.com") -> Access:
    return Access(
        "192.0.2.9",
        "192.0.2.1",
        None,
        command,
        Address(host.encode() if host[-1] == "m" else host, 443),
    )


def test_rules_are_those_of_the_file(files: Files) -> None:
    files.write("lists/video", ".video.example.com\n")
    files.write("blocked", "198.51.100.0/24\n")
    ruling, _ = files.ruling("""\
[networks]
blocked = { entries = ["file:blocked", "203.0.113.0/24"] }
[names]
video = { entries = "file:lists/video" }
[[rule]]
name = "blocked"
action = "deny"
networks = "@blocked"
reply = "refused"
[[rule]]
name = "video"
action = "deny"
names = "@video"
[[rule]]
name = "web"
action = "allow"
source = "accepted"
""")
    assert ruling.judge(access(host="x.video.example.com"), None).rule == "video"
    assert ruling.judge(access(), "198.51.100.7").rule == "blocked"
    allowed = ruling.judge(access(), "8.8.8.8")
    assert (allowed.rule, allowed.is_allowed, allowed.source) == ("web", True, ACCEPTED)
    assert ruling.rules[1].place == f"{files.folder}/s.toml:10"


def test_a_default_alone_is_a_set_of_rules(files: Files) -> None:
    ruling: Any = files.make('server.default = "report"').rules
    assert ruling.judge(access(), "8.8.8.8").would == ("builtin:default",)
    assert files.make('server.default = "allow"').rules is None


def test_self_is_what_this_host_has_and_what_clients_are_told(files: Files) -> None:
    text = 'server = {{ default = "allow"{} }}\nrule = [{{ name = "self", action = "deny", networks = "@self" }}]\n'
    told: Any = files.make(text.format(', advertise = "203.0.113.7"')).rules
    assert not told.judge(access(), "203.0.113.7").is_allowed
    assert told.judge(access(), "8.8.8.8").is_allowed
    untold: Any = files.make(text.format("")).rules
    assert untold.judge(access(), "203.0.113.7").is_allowed


def test_limits_are_those_of_the_file(files: Files) -> None:
    files.write("members", "bob\n")
    _, found = files.ruling(
        """\
server.limits = "all"
[group.staff]
members = ["alice", "file:members"]
limits = "person"
[limit.all]
sessions = 1
[limit.person]
per = "user"
down = "1MiB/s"
"""
    )
    assert found.enter(access()) is not None
    assert found.enter(access()) is None
    assert found.why(access()) == "limit all: 1 sessions"


def test_a_worker_shares_limits_and_leaves_the_state_to_its_parent(files: Files) -> None:
    text = """\
server = { workers = 4, state = "state", zone = "UTC", limits = "a" }
limit.a = { quota = "1GB/day", down = "1MB/s" }
"""
    worker = Worker(2, 4, [name_of(TCP(1080, "127.0.0.1"))], 1, 1, 1)
    limits: Any = files.make(text, worker=worker).limits
    limits.open()
    limits.begin(None, {})
    assert limits.enter(access()).room(False) == 25_000
    assert not (files.folder / "state").exists()
    limits.close()


def test_a_quota_is_remembered_in_the_file_of_the_state(files: Files) -> None:
    text = """\
server = { zone = "UTC", state = "STATE", limits = "a" }
limit.a = { quota = "1GB/day" }
"""
    made: Any = files.make(text.replace("STATE", "state.sqlite3"))
    made.limits.open()
    assert (files.folder / "state.sqlite3").exists()
    assert files.problems(text.replace("STATE", "none/state")) == [
        "s.toml:1:34: server.state: expected a file in a folder that exists, got none/state"
    ]
    (files.folder / "d").mkdir()
    [problem, _] = files.problems(f"{text.replace('STATE', 'd')}x = 1")
    assert problem == "s.toml:1:34: server.state: expected a file in a folder that exists, got d"


@pytest.mark.parametrize(
    "key",
    [
        "log.access",
        "listener.a.unix",
        'limit.l.quota = "1GB/day"\nserver.zone = "UTC"\nserver.state',
    ],
)
def test_where_no_file_can_be_made_is_told_by_who_is_only_looking(
    key: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socks5.app.config.building.why_not_written", lambda path: "it is full")
    text = f'{key} = "new"'
    [problem] = files.problems(text, is_only_looking=True)
    assert problem.endswith(": expected a file that can be written, got new (it is full)")
    assert files.make(text).warnings == []


def test_a_state_that_is_none_is_told_by_who_is_only_looking(files: Files) -> None:
    text = 'limit.l.quota = "1GB/day"\nserver.zone = "UTC"\nserver.state = "state"'
    assert files.make(text, is_only_looking=True).warnings == []
    files.write("state", "no database at all, but something else" * 100)
    [problem] = files.problems(text, is_only_looking=True)
    assert problem == (
        "s.toml:3:16: server.state: expected a file of quotas, got state (file is not a database)"
    )
    assert files.make(text).warnings == []


# ---------------------------------------------------------------- lists


def test_lists_are_looked_into_whatever_else_is_wrong(files: Files) -> None:
    files.write("good", "a.example\n")
    files.write("bad", "# names\nhttp://video.example/\n" + "1.2.3.4\n" * 4)
    files.write("cut", "a.example")
    files.write("empty", "")
    (files.folder / "octets").write_bytes(b"a.example\n\xff\n")
    text = """\
servr = 1
[names]
a = { entries = ["file:good", "file:bad", "file:bad", "b.example"] }
b = { entries = "file:cut" }
c = { entries = "file:octets" }
d = { entries = ["file:none"] }
e = { entries = "file:empty" }
[networks]
a = { entries = "file:good" }
[group]
a = { members = "file:none" }
"""
    expected = [
        'bad:2: names.a: expected a name or .suffix, got "http://video.example/"; write "video.example"',
        'bad:3: names.a: expected a name or .suffix, got "1.2.3.4"; addresses belong to networks',
        'bad:4: names.a: expected a name or .suffix, got "1.2.3.4"; addresses belong to networks',
        "bad:5: names.a: 2 more lines like these, from here on",
        "cut:1: names.b: expected a newline at the end; is somebody still writing it?",
        (
            "empty:1: names.e: expected an entry, or a line with a # for a list of nothing; got an empty file; is "
            "somebody still writing it?"
        ),
        'good:1: networks.a: expected a network, got "a.example"; names are another key',
        "octets:2:1: expected UTF-8, got the octet 0xff",
        "s.toml:6:18: names.d.entries[0]: expected a file that can be read, got none (No such file or directory)",
        "s.toml:11:17: group.a.members: expected a file that can be read, got none (No such file or directory)",
    ]
    rest = [each for each in files.problems(text) if "servr" not in each]
    assert sorted(rest) == sorted(expected)
    assert len(files.problems(text)) == len(expected) + 1
    assert sorted(files.problems(text.removeprefix("servr = 1\n"))) != []


@pytest.mark.parametrize("path", ["~/x", "${X}/a", ""])
def test_a_list_whose_path_is_none_is_one_error(path: str, files: Files) -> None:
    [problem] = files.problems(f'names.a = {{ entries = ["file:{path}"] }}')
    assert problem.startswith(f's.toml:1:24: names.a.entries[0]: expected a path, got "{path}"')


def test_comments_of_a_list_stand_apart(files: Files) -> None:
    files.write("members", "#bob\r\nalice # who else\r\n\r\n a#b \r\n\t# no\r\n")
    files.write("s.toml", "group.g = { members = 'file:members' }")
    document, configuration = read_file(f"{files.folder}/s.toml")
    assert members(configuration, Building(document)) == {"g": ["alice", "a#b"]}


def test_a_list_that_is_too_long_is_an_error(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socks5.app.config.building.MAX_LIST", 5)
    files.write("long", "a.example\n")
    assert files.problems('names.a = { entries = "file:long" }') != []


def test_a_list_that_was_read_already_is_not_read_again(files: Files) -> None:
    files.write("s.toml", 'bans.exempt = "file:none"')
    document = load(str(files.folder / "s.toml"))
    made = build(replace(document, lists={"none": "10.0.0.0/8\n"}))
    assert "10.0.0.1" in made.settings.ban_exempt


def test_paths_are_relative_to_the_file_not_to_the_current_directory(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write("home", "10.0.0.0/8\n")
    files.write("s.toml", 'bans.exempt = "file:home"')
    monkeypatch.chdir(files.folder)
    document = load("s.toml")
    monkeypatch.chdir(os.sep)
    assert "10.0.0.1" in build(document).settings.ban_exempt
