"""A text becomes a configuration, or every error of it is said at its place."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from socks5.app.config.client_keys import SOURCES
from socks5.app.config.document import MAX_FILE, Refused, load, parse
from socks5.app.config.files import SecretFrom
from socks5.app.config.keys import Configuration
from socks5.app.config.read import read_file, read_text
from socks5.settings import UDPPin
from tests.support.readme import blocks
from tests.support.toml import Written, documents

GOOD = """\
log.access = "access.log"
timeouts.idle = "2h"
gssapi = { service = "rcmd", keytab = "socks5.keytab", local_realms = "EXAMPLE.ORG" }
[server]
commands = ["connect", "udp"]
workers = 4
outgoing = ["203.0.113.7", "2001:db8::7"]
zone = "UTC"
state = "state.sqlite3"
limits = "uplink"
drain = "30s"
[udp]
pin = "ip+port"
[listener.office]
address = ["192.0.2.1", "2001:db8::1"]
methods = ["gssapi", "password"]
clients = "@office"
[listener.road]
address = "192.0.2.1"
port = 1443
tls = { cert = "proxy.pem", key = "proxy.key", client_ca = "ca.pem", client_name = "dns" }
limits = "guests"
[listener.machine]
unix = "/run/socks5/proxy.sock"
mode = "660"
methods = "none"
[auth]
staff = { type = "htpasswd", file = "users", groups = { credential = "groups" } }
guests = { type = "ldap", uri = "ldaps://ldap.example", search_base = "dc=x", bind_password = { env = "SECRET" } }
more = { type = "plugin", use = "memory:alice:secret" }
[networks]
office = { entries = ["192.0.2.0/24", "2001:db8::/32"] }
[names]
video = { entries = [".video.example", "file:lists/video"] }
[group]
staff = { members = ["alice", "bob@PARTNER.EXAMPLE"], limits = "guests" }
[limit]
uplink = { total = "400Mbit/s" }
guests = { per = "client", sessions = 50, new_sessions = "120/min", down = "2MiB/s" }
[[rule]]
name = "video-at-work"
action = "deny"
report_only = true
groups = "staff"
names = "@video"
clients = ["@local", "@unix", "@office"]
during = ["mon-fri 08:00-12:00", "22:00-06:00", "sat,sun"]
[[rule]]
name = "printers"
action = "allow"
networks = "10.20.0.0/16"
methods = ["password", "certificate", 128]
listeners = "office"
ports = [631, "9100-9102"]
source = "accepted"
"""


def problems(text: str) -> list[str]:
    """The sentences of what is wrong with a text."""
    with pytest.raises(Refused) as raised:
        read_text(text, "s.toml")
    assert str(raised.value).split("\n") == [str(each) for each in raised.value.problems]
    return [str(each) for each in raised.value.problems]


def any_problems(text: str) -> list[str]:
    """The same; none where nothing is wrong."""
    try:
        read_text(text, "s.toml")
    except Refused as error:
        return [str(each) for each in error.problems]
    return []


def test_a_file_is_read_into_what_it_means() -> None:
    document, found = read_text(GOOD, "/etc/s.toml")
    assert (document.file, document.folder, document.text) == ("/etc/s.toml", "/etc", GOOD)
    assert found.timeouts.idle == 7200
    assert found.timeouts.connect == 20
    assert found.udp.pin is UDPPin.IP_PORT
    assert found.listener["road"].tls is not None
    assert found.rule[1].ports == (631, "9100-9102")
    assert found.rule[0].during[1] == "22:00-06:00"
    assert found.limit["guests"].new_sessions == (120, 60)


def test_a_text_may_belong_to_another_folder() -> None:
    assert parse("", "s.toml", "/etc").folder == "/etc"


def test_secrets_have_no_repr() -> None:
    found = read_text(GOOD.replace('{ env = "SECRET" }', '"hush"'), "s.toml")
    assert "hush" not in repr(found)
    assert "alice:secret" not in repr(found)
    assert repr(found).count("(hidden)") == 2


@pytest.mark.parametrize(
    "text",
    [
        "auth = 'hush'",
        "auth.x = 'hush'",
        "auth.x.type = 'memory:alice:hush'",
        "auth.x = ['hush']",
        "auth = ['hush']",
        "[[auth]]\ntype = 'ldap'\nbind_password = 'hush'",
        "[[auth.x]]\ntype = 'ldap'\nbind_password = 'hush'",
        "[auth.x]\ntype = 'ldap'\nuri = 'ldap://x'\nbind_password = ['hush']",
        "[auth.x]\ntype = 'ldap'\nuri = 'ldap://x'\nbind_password = { plain = 'hush' }",
        "[auth.x]\ntype = 'ldap'\nuri = 'ldap://x'\nbind_pasword = 'hush'",
        "[auth.x]\ntype = 'plugin'\nuse = ['hush']",
        "[auth.x]\ntype = 'plugin'\nuse = { hush = 1 }",
        "server.workers = { hush = 'hush' }",
        "server.commands = [{ hush = 'hush' }]",
        "upstream.x = 'hush'",
        "[[upstream]]\npassword = 'hush'",
    ],
)
def test_no_sentence_tells_a_secret(text: str) -> None:
    assert "hush" not in "".join(problems(text))


def test_an_empty_file_is_the_proxy_without_options() -> None:
    assert read_text("", "s.toml")[1] == Configuration()


def test_everything_that_is_wrong_is_said_at_its_place() -> None:
    text = """\
[server]
commands = ["connect", "upd"]
outgoing = ["192.0.2.1", "192.0.2.2"]
[[rule]]
name = "blocked"
action = "deny"
netwroks = "@blocked"
[[rule]]
name = "printers"
action = "allow"
networks = "10.20.0.1/16"
[[rule]]
name = "web"
action = "allow"
networks = ["@public", "@privat"]
[[rule]]
action = "allow"
ports = [1, [2]]
"""
    assert problems(text) == [
        (
            's.toml:2:24: server.commands[1]: expected "connect", "bind", "udp" or "resolve", got "upd"; '
            'did you mean "udp"?'
        ),
        's.toml:3:26: server.outgoing[1]: expected one address a family, got also "192.0.2.2"',
        's.toml:7:1: rule "blocked": netwroks: unknown key; did you mean "networks"?',
        (
            's.toml:11:12: rule "printers": networks: expected a network or @set, got "10.20.0.1/16"; did you mean '
            '"10.20.0.0/16", or "10.20.0.1"?'
        ),
        's.toml:15:24: rule "web": networks[1]: there is no [networks.privat]; did you mean "@private"?',
        's.toml:16:1: rule 4: name: missing; write name = "name"',
        's.toml:18:13: rule 4: ports[1]: expected a port from 1 to 65535 or a range, such as "8000-8999", got [2]',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[servr]", '1:2: servr: unknown key; did you mean "server"?'),
        ("[x]\n[x.y]", "1:2: x: unknown key"),
        ("server = 3", "1:10: server: expected a table, got 3"),
        ("listener = 3", "1:12: listener: expected a table with a name: [listener.NAME], got 3"),
        (
            '[listener]\naddress = "::1"',
            '2:11: listener.address: expected a table with a name: [listener.NAME], got "::1"',
        ),
        (
            '[listener.My_Own]\naddress = "::1"',
            "1:11: listener.My_Own: expected a name of a-z, 0-9 and -, got My_Own; did you mean [listener.my-own]?",
        ),
        (
            '[listener."\u00e4"]\naddress = "::1"',
            '1:11: listener."\u00e4": expected a name of a-z, 0-9 and -, got "\u00e4"',
        ),
        ('[group.""]', '1:8: group."": expected the name of a group, got ""'),
        ("rule = 3", "1:8: rule: expected a list of tables: [[rule]], got one table or value"),
        ("[rule]", "1:1: rule: expected a list of tables: [[rule]], got one table or value"),
        ("networks.x.entries = 'file:'", '1:22: networks.x.entries: expected a path, got ""'),
        ("rule = [3]", "1:9: rule 1: expected a table, got 3"),
        ("auth.x = 3", "1:10: auth.x: expected a table with a name: [auth.NAME]"),
        (
            "[auth.x]",
            '1:1: auth.x.type: missing; write type = "htpasswd" or "file" or "secrets" or "ldap" or "pam" or "plugin"',
        ),
        (
            '[auth.x]\ntype = "htpaswd"',
            (
                '2:8: auth.x.type: expected one of "htpasswd", "file", "secrets", "ldap", "pam", "plugin", '
                'got "htpaswd"; did you mean "htpasswd"?'
            ),
        ),
        (
            '[auth.x]\ntype = "pam"\nservice = "a"\nfile = "b"',
            "4:1: auth.x.file: unknown key",
        ),
        (
            '[auth.x]\ntype = "plugin"\nuse = 3',
            "3:7: auth.x.use: expected TYPE:ARGUMENTS, as --auth takes them",
        ),
        (
            'log.access = "~/log"',
            '1:14: log.access: expected a path, got "~/log"; write it out, for ~ is nobody\'s here',
        ),
        (
            'log.access = "${HOME}/log"',
            '1:14: log.access: expected a path, got "${HOME}/log"; write it out, for there are no variables here',
        ),
        ('log.access = ""', '1:14: log.access: expected a path, got ""'),
        ("log.access = 1", '1:14: log.access: expected a path or "-" or "off", got 1'),
        (
            '[gssapi]\nservice = "a"\nkeytab = { file = "a", credential = "b" }',
            '3:10: gssapi.keytab: expected a path, or { credential = "NAME" }, got a table with credential and file',
        ),
        (
            '[gssapi]\nservice = "a"\nkeytab = {}',
            '3:10: gssapi.keytab: expected a path, or { credential = "NAME" }, got a table with nothing',
        ),
        (
            '[gssapi]\nservice = "a"\nkeytab = { credential = "a/b" }',
            '3:25: gssapi.keytab.credential: expected the name of a credential, got "a/b"',
        ),
        (
            '[gssapi]\nservice = "a"\nkeytab = { file = "~/a" }',
            '3:19: gssapi.keytab.file: expected a path, got "~/a"; write it out, for ~ is nobody\'s here',
        ),
        (
            '[gssapi]\nservice = "a"\nkeytab = 1',
            '3:10: gssapi.keytab: expected a path, or { credential = "NAME" }, got 1',
        ),
        (
            '[auth.x]\ntype = "ldap"\nuri = "ldap://a"\nbind_password = 1',
            f"4:17: auth.x.bind_password: expected {SecretFrom.words}",
        ),
        (
            '[auth.x]\ntype = "ldap"\nuri = "ldap://a"\nbind_password = ""',
            f"4:17: auth.x.bind_password: expected {SecretFrom.words}, and nothing empty",
        ),
        (
            '[auth.x]\ntype = "ldap"\nuri = "ldap://a"\nbind_password = { env = 3 }',
            "4:25: auth.x.bind_password.env: expected the name of an environment variable, got 3",
        ),
    ],
)
def test_a_file_with_one_error_is_refused_for_it(text: str, problem: str) -> None:
    assert problems(text) == [f"s.toml:{problem}"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\na = 2", "2:6"),
        ("a = ", "1:5"),
        ("# \u00e4\r\n a b", "2:4"),
        ('a = "\x01"', "1:6"),
        ('a = "', "1:6"),
    ],
)
def test_what_is_no_toml_is_said_where_that_begins(text: str, place: str) -> None:
    [problem] = problems(text)
    assert problem.startswith(f"s.toml:{place}: this is no TOML: "), problem


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = foo", "1:5: TOML: expected a value, got foo; a text stands in quotes"),
        ("a = ", "1:5: TOML: expected a value, got nothing; a text stands in quotes"),
        ("a =\r\nb = 1", "1:4: TOML: expected a value, got nothing; a text stands in quotes"),
        (
            f"a = {'x' * 70}",
            f"1:5: TOML: expected a value, got {'x' * 59}…; a text stands in quotes",
        ),
        (
            "[a]\nb = 192.0.2.1",
            "2:10: TOML: expected the end of the line, got .2.1; a text stands in quotes, several values in brackets",
        ),
        (
            "= 1",
            "1:1: TOML: expected a key, got = 1; one of more than a-z, A-Z, 0-9, _ and - stands in quotes",
        ),
        (
            "bind_password = hush",
            "1:17: TOML: expected a value, got something else; a text stands in quotes",
        ),
        (
            "[auth.a]\n\nbind_pas = hush",
            "3:12: TOML: expected a value, got something else; a text stands in quotes",
        ),
        ('a = "', "1:6: TOML: Unterminated string"),
    ],
)
def test_what_stands_where_it_is_no_toml_is_told_and_what_to_write(
    text: str, sentence: str
) -> None:
    assert problems(text) == [f"s.toml:{sentence}".replace("TOML", "this is no TOML", 1)]


def test_what_tomllib_cannot_read_is_said_all_the_same() -> None:
    [problem] = problems(f"a = 1\nb = 1{'0' * 5000}")
    assert problem == "s.toml:2:5: expected a number of 4300 digits at the most"
    assert problems(f"a = {'[' * 5000}")[0].startswith("s.toml:1:1: expected fewer brackets")


@given(st.text() | st.text("[]{}=.#\"'\\\n\r\t ab1").map(lambda text: f"[server]\n{text}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert all(re.match(r"s\.toml:[0-9]+:[0-9]+: ", each) for each in any_problems(text))


@settings(max_examples=20)
@given(documents())
def test_any_document_is_read_or_refused_with_a_place_for_each_key(document: Written) -> None:
    assert all(re.match(r"s\.toml:[0-9]+:[0-9]+: ", each) for each in any_problems(document.text))


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(b"\r\n# \xc3\xa4\r\n[server]\r\nworkers = 2\r\n")
    document, found = read_file(str(path))
    assert found.server.workers == 2
    assert document.folder == str(tmp_path)
    assert document.places.of(("server", "workers"), is_key=False).line == 4


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"\n# \xc3\xa4\xff", ":2:4: expected UTF-8, got the octet 0xff"),
        (b"\xef\xbb\xbf[server]", ":1:1: expected UTF-8 without a byte order mark"),
        (b"#" * (MAX_FILE + 1), f": expected {MAX_FILE} octets at the most"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, octets: bytes, problem: str) -> None:
    path = tmp_path / "s.toml"
    path.write_bytes(octets)
    with pytest.raises(Refused) as raised:
        load(str(path))
    assert str(raised.value) == f"{path}{problem}"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as raised:
        load(f"{tmp_path}/none")
    assert (
        str(raised.value)
        == f"{tmp_path}/none: expected a file that can be read (No such file or directory)"
    )


PAGE = Path(__file__).parents[3] / "docs/configuration.rst"
TOML = [block.text for block in blocks(PAGE.read_text()) if block.language == "toml"]


@pytest.mark.parametrize("text", TOML)
def test_what_the_page_shows_is_read(text: str) -> None:
    assert len(TOML) >= 6
    read_text(text, "socks5.toml")


def test_the_page_has_the_keys_of_each_section() -> None:
    shown = re.findall(r"\.\. keys:: ([a-z.]+)", PAGE.read_text())
    sections = {each.partition(".")[0] for each in shown}
    assert sections == {each.name for each in fields(Configuration)}
    sources = {each.removeprefix("auth.") for each in shown if each.startswith("auth.")}
    assert sources == {*SOURCES}
