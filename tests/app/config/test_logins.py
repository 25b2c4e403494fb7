"""Logins of a file: who asks for them, whom they know, and what is wrong with that."""

from dataclasses import replace
from typing import Any

import pytest

from socks5.app.config.build import build
from socks5.app.config.document import load
from socks5.app.inherit import Worker
from socks5.net.places import TCP, name_of
from socks5.protocol.messages import Method
from tests.app.config.files import Files
from tests.support.certificates import Authority
from tests.support.kerberos import write_keytab
from tests.support.skips import needs_gssapi


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
