"""Files with one mistake have one error, on its line, whatever the mistake and wherever it is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socks5.app.config.build import build
from socks5.app.config.document import Problem, Refused, parse
from socks5.app.config.read import read_text
from socks5.app.config.values import as_toml
from tests.app.config.test_keys import ALL

FULL = """\
[server]
commands = ["connect", "udp"]
workers = "auto"
max_sessions = "auto"
max_sessions_wait = "5s"
handshakes_per_client = 64
waiting_per_client = 2048
outgoing = ["203.0.113.7", "2001:db8::7"]
outgoing_family = "prefer-ipv6"
advertise = "203.0.113.7"
max_optimistic = "64KiB"
default = "deny"
zone = "UTC"
state = "state.sqlite3"
limits = "uplink"
drain = "30s"
hand_over = "1h"

[listener.office]
address = ["192.0.2.1", "2001:db8::1"]
port = 1081
tls = { cert = "proxy.pem" }
methods = ["gssapi", "password"]
clients = "@office"
proxy_from = "192.0.2.0/24"
open = true
connections_per_client = 200
limits = ["uplink", "guests"]

[listener.machine]
unix = "proxy.sock"
mode = "660"

[listener.inherited]
systemd = "socks5.socket"

[listener.inherited.tls]
cert = "proxy.pem"
key = "proxy.key"
client_ca = "ca.pem"
client_certificates = "optional"
client_name = "dns"

[listener.other]
endpoint = "tcp:1082:interface=127.0.0.1"

[auth.hashes]
type = "htpasswd"
file = "users"
groups = { credential = "groups" }

[auth.plain]
type = "file"
file = "plain"

[auth.secrets]
type = "secrets"
file = "secrets"

[auth.system]
type = "pam"
service = "socks5"

[auth.other]
type = "plugin"
use = "unix"

[auth.directory]
type = "ldap"
uri = "ldaps://ldap.example.org"
user_dn = "uid={name},dc=example"
search_base = "dc=example"
search_attribute = "uid"
search_filter = "(a=b)"
bind_dn = "cn=proxy"
bind_password = { file = "ldap.secret" }
group_base = "dc=groups"
group_attribute = "cn"
group_member = "member"
ca_file = "ca.pem"
start_tls = true
timeout = "5s"

[gssapi]
service = "rcmd"
keytab = "socks5.keytab"
protection = ["integrity", "none"]
local_realms = "EXAMPLE.ORG"

[bans]
after = 10
time = "1m"
exempt = "@office"

[timeouts]
handshake = "10s"
request = "2m"
resolve = "10s"
connect = "20s"
attempt_delay = "250ms"
idle = "off"
keepalive = "3m"
linger = "4m"
bind = "1m"
udp_idle = "5m"
reassembly = "5s"
close = "2s"

[udp]
ports = "40000-40099"
pin = "ip+port"
filtering = "endpoint-independent"
buffer = "512KiB"
names_waiting = 64
octets_waiting = "1MiB"
targets = 16384
associations_per_client = 1024
max_fragments = "1KiB"

[resolver]
source = "system"
cached = 4096
lifetime = "30s"
lifetime_least = "5s"
lifetime_most = "1h"
stale_lifetime = "off"
failure_lifetime = "3s"
at_once = 512
per_client = 32
waiting = 4096
waiting_per_client = 512
threads = 32

[log]
access = "access.log"
format = "json"

[networks.office]
entries = ["192.0.2.0/24", "file:networks"]

[names.video]
entries = [".video.example", "file:names"]

[group.staff]
members = ["alice", "file:members"]
limits = "guests"

[limit.uplink]
total = "400Mbit/s"
quota = "5GiB/day"

[limit.guests]
per = "client"
sessions = 50
client_addresses = 3
new_sessions = "120/min"
up = "1MB/s"
down = "2MiB/s"

[upstream.far]
url = "socks5s://proxy.example"
user = "relay"
password = { file = "far.secret" }
require_login = true
commands = ["connect", "resolve"]
pipelined = true
names = "here"
timeout = "5s"
udp_address = "203.0.113.7"
source = "192.0.2.7"
max_connections = 100
fails = 5
retry_after = "20s"
probe = "www.example.org:443"
probe_every = "1m"

[upstream.far.tls]
ca = "ca.pem"
cert = "me.pem"
key = "me.key"
name = "other.example"

[upstream.near]
url = "socks5://proxy.example"
gssapi = true

[upstream.other]
url = "socks5://localhost/run/socks"

[upstream.other.gssapi]
service = "socks"
host = "proxy.example"
protection = "integrity"
nec = true

[upstream.behind]
chain = ["far", "far"]

[upstream.any]
pool = ["far", "behind"]
choose = "hash"
hash_by = "user"

[[rule]]
name = "elsewhere"
action = "allow"
via = "any"

[[rule]]
name = "blocked"
action = "deny"
report_only = true
reply = "refused"
names = "@video"

[[rule]]
name = "web"
action = "allow"
clients = ["@local", "192.0.2.0/24"]
listeners = "office"
commands = "connect"
methods = ["password", 128]
users = ["alice", "file:members"]
groups = "staff"
names = [".example.com", "*.example.org"]
networks = ["@public", "@office"]
ports = [443, "8000-8999"]
during = "mon-fri 08:00-18:00"
limits = "guests"
source = "accepted"
unguarded = true
"""

LINES = FULL.splitlines()

NAMES = sorted({line.partition(" = ")[0] for line in LINES if " = " in line})

REQUIRED = {
    *("cert", "file", "service", "uri", "use", "type", "entries", "name", "action"),
    *("address", "unix", "systemd", "endpoint"),  # of which a listener has one
    *("zone", "state", "client_ca"),  # which others want
    "networks",  # which unguarded wants
    *("url", "chain", "pool", "choose", "hash_by", "probe"),
}
"""Keys that are missed elsewhere too, if they are misspelt."""

VALUES = {
    "of no kind": "1979-05-27",
    "a list of nothing": "[]",
    "a text that is none": '"\\u0000"',
    "a table with something in it": "{ something = 1 }",
}


def mutations() -> Iterator[tuple[int, str]]:
    """Numbers of lines, from 1, and what is to stand there."""
    for number, line in enumerate(LINES, 1):
        key, is_value, _ = line.partition(" = ")
        if is_value:
            if key not in REQUIRED:
                yield number, line.replace(key, f"{key}x", 1)
            for value in VALUES.values():
                if (key, value) == ("tls", VALUES["a table with something in it"]):
                    continue  # which misses something, too
                yield number, f"{key} = {value}"


MUTATIONS = list(mutations())


def found(text: str) -> list[Problem]:
    with pytest.raises(Refused) as raised:
        read_text(text, "s.toml")
    return list(raised.value.problems)


def any_found(text: str) -> list[Problem]:
    """The same; none where nothing is wrong."""
    try:
        read_text(text, "s.toml")
    except Refused as error:
        return list(error.problems)
    return []


def test_the_file_is_right_and_has_every_key() -> None:
    read_text(FULL, "s.toml")
    names = {name.rpartition(".")[2] for name, _, _ in ALL if "." in name}
    assert names <= {line.partition(" = ")[0] for line in LINES}
    assert len(MUTATIONS) > 200


def built(text: str, folder: Path) -> set[str]:
    """What is found when all is made of it, too."""
    with pytest.raises(Refused) as raised:
        build(parse(text, "s.toml", str(folder)), is_only_looking=True)
    return {each.sentence for each in raised.value.problems}


def test_what_else_is_wrong_is_found_besides_and_nothing_that_comes_of_the_mistake(
    tmp_path: Path,
) -> None:
    """All files are missing that this one names."""
    missing = built(FULL, tmp_path)
    for number, line in MUTATIONS[::12]:
        text = "\n".join([*LINES[: number - 1], line, *LINES[number:]])
        [mistake] = found(text)
        others = built(text, tmp_path) - {mistake.sentence}
        assert others <= missing
        assert len(others) >= len(missing) - 4, "but what the section with the mistake names"


@pytest.mark.no_cover
@pytest.mark.parametrize(("number", "line"), MUTATIONS)
def test_a_mistake_in_a_line_is_one_error_at_that_line(number: int, line: str) -> None:
    lines = [*LINES[: number - 1], line, *LINES[number:]]
    [problem] = found("\n".join(lines))
    assert (problem.place.line, problem.place.source) == (number, "s.toml")
    key = line.partition(" = ")[0]
    column = 1 if key not in LINES[number - 1].partition(" = ")[:1] else len(key) + 4
    assert problem.place.column >= column
    assert key in problem.what
    assert re.match("expected|unknown key", problem.sentence)


@pytest.mark.parametrize(
    ("old", "new", "below"),
    [
        ('limits = "uplink"', 'limits = "uplik"', 0),
        ('clients = "@office"', 'clients = "@ofice"', 0),
        ('listeners = "office"', 'listeners = "ofice"', 0),
        ('names = "@video"', 'names = "@vide"', 0),
        ('name = "web"', 'name = "blocked"', 0),
        ('zone = "UTC"', 'zone = "UTZ"', 0),
        ("port = 1081", "port = 1081\nports = 1", 1),
        ("[bans]", "[ban]", 0),
        ("[bans]", "[bans", 0),
        ("[log]", "[[log]]", 0),
        ("after = 10", "after = 10\nafter = 10", 1),
        ("after = 10", "after = 1_0.", 0),
        ('unix = "proxy.sock"', 'unix = "proxy.sock"\nsystemd = "x"', 1),
        ('source = "accepted"', 'source = ["accepted", "::1"]', 0),
        ('tls = { cert = "proxy.pem" }', 'tls = { cart = "proxy.pem", cert = "x" }', 0),
    ],
)
def test_a_mistake_between_parts_is_one_error_at_its_line(old: str, new: str, below: int) -> None:
    before, after = FULL.split(f"{old}\n")
    [problem] = found(f"{before}{new}\n{after}")
    assert problem.place.line == before.count("\n") + 1 + below


@given(st.data())
def test_a_file_with_octets_out_of_place_is_read_or_refused_with_places(
    data: st.DataObject,
) -> None:
    start = data.draw(st.integers(0, len(FULL)))
    end = start + data.draw(st.integers(0, 40))
    text = FULL[:start] + data.draw(st.text("[]{}=.,#\"'\\\n@0a\u00e4", max_size=6)) + FULL[end:]
    places = [each.place for each in any_found(text)]
    assert all(0 < place.line <= text.count("\n") + 1 and place.column > 0 for place in places)


ANY = st.recursive(
    st.none()
    | st.sampled_from(
        ["1979-05-27", "nan", "-1", "0", "1.5", "true", "07:32:00", '"@x"', '"file:x"', '"\\u0000"']
    )
    | st.text("@:/.-*a0,é ", max_size=5).map(as_toml)
    | st.sampled_from(sorted({line.partition(" = ")[2] for line in LINES if " = " in line})),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.sampled_from(NAMES), some, max_size=2)
    ),
    max_leaves=5,
)
"""Anything that may stand behind a key; None is what is left out."""


def written(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(written(each) for each in value if each is not None)}]"
    if isinstance(value, dict):
        pairs = [f"{key} = {written(each)}" for key, each in value.items() if each is not None]
        return f"{{ {', '.join(pairs)} }}"
    return "[]" if value is None else str(value)


@given(st.lists(st.tuples(st.sampled_from(range(len(LINES))), ANY), min_size=1, max_size=4))
def test_a_file_with_anything_anywhere_is_read_or_refused_with_places(
    changes: list[tuple[int, object]],
) -> None:
    lines = list(LINES)
    for number, value in changes:
        key, is_value, _ = lines[number].partition(" = ")
        if is_value:
            lines[number] = f"{key} = {written(value)}"
    assert all(0 < each.place.line <= len(lines) for each in any_found("\n".join(lines)))
