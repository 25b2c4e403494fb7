"""What ``print-config`` writes: what was said as keys, the rest as comments, and no secret."""

import pytest

from socks5.app.config.read import read_text
from socks5.app.config.show import show

TEXT = """\
server.default = "report"
timeouts.idle = "2h"
gssapi = { service = "rcmd", keytab = "socks5.keytab" }
[listener.office]
address = "192.0.2.1"
clients = "@office"
tls = { cert = "proxy.pem" }
[listener.machine]
unix = "run/proxy.sock"
[auth]
staff = { type = "htpasswd", file = "users" }
guests = { type = "ldap", uri = "ldaps://ldap.example", user_dn = "uid={name}", bind_password = "hunter2" }
others = { type = "ldap", uri = "ldaps://ldap.example", user_dn = "uid={name}", bind_password = { file = "secret" } }
mine = { type = "plugin", use = "memory:alice:hunter2" }
[networks]
office.entries = ["192.0.2.0/24", "198.51.100.7", "203.0.113.0/24", "2001:db8::/32", "file:lists/office", "10.0.0.0/8"]
[group."the staff"]
members = "alice"
limits = "small"
[limit.small]
sessions = 3
[[rule]]
name = "web"
action = "allow"
ports = [80, "8000-8999"]
[[rule]]
name = "mail"
action = "deny"
ports = 25
"""


def shown(text: str) -> str:
    document, _ = read_text(text, "socks5.toml")
    return show(document.tree, lambda path: document.places.of(path, False))


def without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_what_was_said_stands_there_section_by_section() -> None:
    assert without_comments(shown(TEXT)) == [
        "[server]",
        'default = "report"',
        "[listener.office]",
        'address = "192.0.2.1"',
        'tls = { cert = "proxy.pem" }',
        'clients = "@office"',
        "[listener.machine]",
        'unix = "run/proxy.sock"',
        "[auth.staff]",
        'type = "htpasswd"',
        'file = "users"',
        "[auth.guests]",
        'type = "ldap"',
        'uri = "ldaps://ldap.example"',
        'user_dn = "uid={name}"',
        "[auth.others]",
        'type = "ldap"',
        'uri = "ldaps://ldap.example"',
        'user_dn = "uid={name}"',
        'bind_password = { file = "secret" }',
        "[auth.mine]",
        'type = "plugin"',
        "[gssapi]",
        'service = "rcmd"',
        'keytab = "socks5.keytab"',
        "[bans]",
        "[timeouts]",
        'idle = "2h"',
        "[udp]",
        "[resolver]",
        "[log]",
        "[networks.office]",
        "entries = [",
        '    "192.0.2.0/24",',
        '    "198.51.100.7",',
        '    "203.0.113.0/24",',
        '    "2001:db8::/32",',
        '    "file:lists/office",',
        '    "10.0.0.0/8",',
        "]",
        '[group."the staff"]',
        'members = "alice"',
        'limits = "small"',
        "[limit.small]",
        "sessions = 3",
        "[[rule]]",
        'name = "web"',
        'action = "allow"',
        'ports = [80, "8000-8999"]',
        "[[rule]]",
        'name = "mail"',
        'action = "deny"',
        "ports = 25",
    ]


def test_secrets_are_hidden_and_found() -> None:
    text = shown(TEXT)
    assert "hunter2" not in text
    assert "\n# bind_password: (hidden), see socks5.toml:12:97\n" in text
    assert "\n# use: (hidden), see socks5.toml:14:33\n" in text


@pytest.mark.parametrize(
    "comment",
    [
        "# workers = 1",
        "# zone: none",
        '# handshake = "10s"',
        '# buffer = "512KiB"',
        "# exempt: none but this host",
        "# start_tls = true",
        "# open = false",
    ],
)
def test_what_holds_besides_is_a_comment(comment: str) -> None:
    assert comment in shown(TEXT).splitlines()


def test_a_listener_tells_nothing_of_other_ways_to_listen() -> None:
    office, machine = shown(TEXT).partition("[listener.office]")[2].split("[listener.machine]")
    assert "# port: 1080" in office
    for absent in ("unix", "mode", "systemd", "endpoint"):
        assert f"# {absent}" not in office
    for absent in ("address", "port", "tls"):
        assert f"# {absent}" not in machine.partition("[auth")[0]
    assert "# mode: 666" in machine


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("", '"allow"'),
        (TEXT, '"allow"  # and note it'),
        (TEXT.replace('default = "report"', 'default = "allow"'), '"allow"'),
        (TEXT.replace('server.default = "report"', ""), '"deny"'),
    ],
)
def test_the_rules_that_are_always_there_stand_at_the_end(text: str, action: str) -> None:
    guard, default = shown(text).split("# [[rule]]\n")[1:]
    assert '# name = "builtin:guard"\n# action = "deny"\n# networks = "@special"' in guard
    assert default == f'# name = "builtin:default"\n# action = {action}\n'


def test_without_listeners_it_says_where_it_listens() -> None:
    assert "\n\n# [listener.NAME]: port 1080 of this host's loopback\n\n" in shown("")
    assert "[listener.NAME]" not in shown(TEXT)


def test_it_means_the_same() -> None:
    """And what it shows of that is the same again; secrets are left out."""
    text = TEXT.replace('"hunter2"', '{ env = "S" }').replace("memory:alice:hunter2", "unix")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("mine")) + "\n"
    first = shown(text)
    assert shown(first) == first
    assert read_text(first, "socks5.toml")[1] == read_text(text, "socks5.toml")[1]
