"""A command line as the tree of a file: what each option is there."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from socks5.app.config.options import advice, document_of, hidden_in
from socks5.app.config.read import read, read_text
from socks5.app.config.show import show
from socks5.app.option_table import ROWS
from socks5.app.sources import is_type
from tests.support.certificates import self_signed
from tests.support.options import parse


def tree(*arguments: str) -> dict[str, Any]:
    """What a command line means, which a reader takes, and takes the same of the file that is shown of it."""
    found = parse(*arguments).document
    document, configuration = read_text(show(found.tree, None), "shown.toml")
    assert {key: each for key, each in document.tree.items() if each} == found.tree
    assert configuration == read(found)
    return dict(found.tree)


VALUES = [
    (["--commands", "udp,bind"], {"server": {"commands": ["udp", "bind"]}}),
    (["--commands", "bind"], {"server": {"commands": "bind"}}),
    (["--workers", "3"], {"server": {"workers": 3}}),
    (["--workers", "auto"], {"server": {"workers": "auto"}}),
    (["--max-sessions", "0"], {"server": {"max_sessions": "auto"}}),
    (["--max-sessions", "7", "--max-sessions=8"], {"server": {"max_sessions": 8}}),
    (["--max-sessions-wait", "2.50"], {"server": {"max_sessions_wait": "2.5s"}}),
    (["--resolve-timeout", "1e2"], {"timeouts": {"resolve": "100s"}}),
    (
        ["--outgoing", "127.0.0.1", "--outgoing", "::1"],
        {"server": {"outgoing": ["127.0.0.1", "::1"]}},
    ),
    (["--advertise", "203.0.113.7"], {"server": {"advertise": "203.0.113.7"}}),
    (["--outgoing-family", "prefer-ipv6"], {"server": {"outgoing_family": "prefer-ipv6"}}),
    (
        ["--ban-after", "0", "--ban-time", "0", "--ban-exempt", "192.0.2.0/24"],
        {"bans": {"after": 0, "time": "off", "exempt": "192.0.2.0/24"}},
    ),
    (
        ["--ban-exempt", "192.0.2.0/24,::1", "--ban-exempt", "198.51.100.7,::1"],
        {"bans": {"exempt": ["192.0.2.0/24", "::1", "198.51.100.7"]}},
    ),
    (["--idle-timeout", "2h"], {"timeouts": {"idle": "2h"}}),
    (["--idle-timeout", "0"], {"timeouts": {"idle": "off"}}),
    (["--keepalive", "90"], {"timeouts": {"keepalive": "90s"}}),
    (["--udp-idle-timeout", "120"], {"timeouts": {"udp_idle": "120s"}}),
    (["--udp-ports", "4000-4099"], {"udp": {"ports": "4000-4099"}}),
    (["--udp-ports", "4000"], {"udp": {"ports": 4000}}),
    (["--udp-pin", "ip+port"], {"udp": {"pin": "ip+port"}}),
    (["--max-associations", "4"], {"udp": {"associations_per_client": 4}}),
    (["--resolver", "system"], {"resolver": {"source": "system"}}),
    *((["--access-log", word], {"log": {"access": word}}) for word in ("-", "off")),
    (["--access-log-format", "json"], {"log": {"format": "json"}}),
]


@pytest.mark.parametrize(("arguments", "expected"), VALUES, ids=str)
def test_an_option_is_a_key(arguments: Sequence[str], expected: dict[str, Any]) -> None:
    assert tree(*arguments) == expected


def test_without_options_nothing_is_said() -> None:
    assert tree() == {}


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tree("--access-log", "logs/access") == {"log": {"access": f"{tmp_path}/logs/access"}}


def said(*pairs: tuple[str, str]) -> dict[str, Any]:
    """What options mean that are not looked at: their files need not be there."""
    return dict(document_of((ROWS[name], text) for name, text in pairs).tree)


def test_kerberos_has_a_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(
        ("gssapi", "rcmd"),
        ("keytab", "FILE:socks5.keytab"),
        ("gssapi-protection", "confidentiality,none"),
        ("gssapi-local-realm", "A"),
        ("gssapi-local-realm", "B"),
    ) == {
        "gssapi": {
            "service": "rcmd",
            "keytab": f"{tmp_path}/socks5.keytab",
            "protection": ["confidentiality", "none"],
            "local_realms": ["A", "B"],
        }
    }
    assert said(("gssapi", "any"), ("keytab", "credential=k")) == {
        "gssapi": {"service": "any", "keytab": {"credential": "k"}}
    }


# ---------------------------------------------------------------- users


def add_types(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have plugins for these."""
    monkeypatch.setattr(
        "socks5.app.config.options.is_type", lambda kind: kind in names or is_type(kind)
    )


def test_a_source_of_users_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    add_types(monkeypatch, "Ünix", "ß")
    found = said(
        ("auth", "htpasswd:users:groups=groups"),
        ("auth", "htpasswd:credential=users"),
        ("auth", "file:/etc/users"),
        ("auth", "secrets:~/secrets"),
        ("auth", "pam:sockd"),
        ("auth", "ldap:ldap.toml"),
        ("auth", "ldap:credential=ldap"),
        ("auth", "Ünix"),
        ("auth", "ß"),
    )
    assert hidden_in(found) is None
    assert found["auth"] == {
        "htpasswd": {
            "type": "htpasswd",
            "file": f"{tmp_path}/users",
            "groups": f"{tmp_path}/groups",
        },
        "htpasswd-2": {"type": "htpasswd", "file": {"credential": "users"}},
        "file": {"type": "file", "file": "/etc/users"},
        "secrets": {"type": "secrets", "file": "/home/alice/secrets"},
        "pam": {"type": "pam", "service": "sockd"},
        "ldap": {"type": "plugin", "use": f"ldap:{tmp_path}/ldap.toml"},
        "ldap-2": {"type": "plugin", "use": "ldap:credential=ldap"},
        "nix": {"type": "plugin", "use": "Ünix"},
        "users": {"type": "plugin", "use": "ß"},
    }


@pytest.mark.parametrize("source", ["memory:alice:hunter2", "mine:hunter2"])
def test_what_may_be_a_password_is_not_shown(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_types(monkeypatch, "mine")
    reason = hidden_in(said(("auth", "memory"), ("auth", source)))
    assert reason is not None
    assert reason.startswith(f"--auth {source.partition(':')[0]}: ")
    assert "hunter2" not in reason


# ---------------------------------------------------------------- listeners

A, B = ["-i", "127.0.0.1"], ["-i", "127.0.0.2"]
OFFICE = ["--clients", "192.0.2.0/24"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (A, {"main": {"address": "127.0.0.1"}}),
        (["-i", "::1,::2"], {"main": {"address": ["::1", "::2"]}}),
        (
            [*A, *B, "-p", "7", "--open"],
            {
                "listener-1": {"address": "127.0.0.1", "port": 7, "open": True},
                "listener-2": {"address": "127.0.0.2", "port": 7, "open": True},
            },
        ),
        (
            [*OFFICE, *A, "--clients", "::1,192.0.2.1", "--clients", "::2", *B],
            {
                "listener-1": {
                    "address": "127.0.0.1",
                    "clients": ["::1", "192.0.2.1", "::2"],
                },
                "listener-2": {"address": "127.0.0.2", "clients": "192.0.2.0/24"},
            },
        ),
        (
            ["-p7", "-l", "[::1]:7", "--methods", "none", "-l", "tcp:8:interface=localhost"],
            {
                "listener-1": {"address": "::1", "port": 7, "methods": "none"},
                "listener-2": {"address": "127.0.0.1", "port": 8},
            },
        ),
        (["-l", "tcp:7", "--open"], {"main": {"address": "0.0.0.0", "port": 7, "open": True}}),
        (["-l", "tcp6:7", *OFFICE], {"main": {"address": "::", "port": 7, "clients": OFFICE[1]}}),
        (["-l", "unix:/run/s"], {"main": {"unix": "/run/s"}}),
        (["-l", "unix:/run/s:mode=600"], {"main": {"unix": "/run/s", "mode": "600"}}),
        *(
            (["-l", text], {"main": {"endpoint": text}})
            for text in (
                "unix:/run/s:lockfile=0",
                "unix:/run/s:backlog=7",
                "tcp:7:interface=127.0.0.1:backlog=7",
                "tcp:7:interface=proxy.example",
                "systemd:domain=INET:name=proxy",
            )
        ),
        (
            [*OFFICE, "--proxy-from", "::1"],
            {
                "main": {
                    "address": ["127.0.0.1", "::1"],
                    "clients": "192.0.2.0/24",
                    "proxy_from": "::1",
                }
            },
        ),
    ],
    ids=str,
)
def test_listeners_have_sections(
    arguments: Sequence[str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: Bound(True))
    assert tree(*arguments) == {"listener": expected}


class Bound:
    """A socket that can be had, or cannot."""

    def __init__(self, is_there: bool) -> None:
        self.is_there = is_there

    def __enter__(self) -> "Bound":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def bind(self, address: tuple[str, int]) -> None:
        if ":" in address[0] and not self.is_there:
            raise OSError


def test_a_host_without_ipv6_gets_a_listener_that_it_can_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: Bound(False))
    assert tree("-p", "7") == {"listener": {"main": {"address": ["127.0.0.1"], "port": 7}}}


def test_tls_is_a_table(tmp_path: Path) -> None:
    pem = str(self_signed(tmp_path))
    plain = tree("-l", f"tls:7:interface=127.0.0.1:cert={pem}")
    assert plain["listener"]["main"] == {"address": "127.0.0.1", "port": 7, "tls": {"cert": pem}}
    required = tree("-l", f"tls:7:interface=127.0.0.1:cert={pem}:clients={pem}")
    assert required["listener"]["main"]["tls"] == {"cert": pem, "client_ca": pem}
    link = tmp_path / "key"
    link.symlink_to(pem)
    options = f"key={link}:clients={pem}:client-certificates=optional:client-name=dns"
    full = tree("-l", f"tls:7:interface=127.0.0.1:cert={pem}:{options}")
    assert full["listener"]["main"]["tls"] == {
        "cert": pem,
        "key": str(link),
        "client_ca": pem,
        "client_certificates": "optional",
        "client_name": "dns",
    }


# ---------------------------------------------------------------- one option


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("ban-after", "10", "after = 10 into [bans]"),
        ("idle-timeout", "2h", 'idle = "2h" into [timeouts]'),
        ("commands", "connect,udp", 'commands = ["connect", "udp"] into [server]'),
        ("port", "7", "port = 7 into a [listener.NAME]"),
        ("open", "", "open = true into a [listener.NAME]"),
        ("clients", "::1", 'clients = "::1" into a [listener.NAME]'),
        ("interface", "::1", 'address = "::1" into a [listener.NAME]'),
        ("keytab", "/k", 'keytab = "/k" into [gssapi]'),
        ("listen", "unix:/run/s", 'unix = "/run/s" into a [listener.NAME]'),
        ("auth", "pam:sockd", 'type = "pam", service = "sockd" into [auth.pam]'),
        ("auth", "memory:alice:hunter2", "what it says into an [auth.NAME]"),
    ],
)
def test_it_is_said_what_to_write_in_place_of_an_option(name: str, text: str, words: str) -> None:
    assert advice(ROWS[name], text) == f"write {words}"


def test_a_wrong_value_has_no_place_in_a_file() -> None:
    with pytest.raises(ValueError, match="expected a time"):
        advice(ROWS["idle-timeout"], "soon")
