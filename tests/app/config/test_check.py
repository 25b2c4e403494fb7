"""What ``socks5 check`` finds: what the loader does, and what is hardly meant."""

from datetime import timedelta

import pytest

from socks5.app.config.build import build
from socks5.app.config.building import Building
from socks5.app.config.check import check
from socks5.app.config.document import Refused, load
from socks5.app.config.read import in_order, read_text
from socks5.app.config.sense import warn
from socks5.protocol.messages import Method
from tests.app.config.files import Files
from tests.app.config.test_mutations import FULL
from tests.app.config.test_read import TOML
from tests.support.certificates import Authority

ALLOW = '[[rule]]\nname = "r"\naction = "allow"\n'


def hardly_meant(files: Files, text: str) -> list[str]:
    """Warnings of rules, sets and limits alone."""
    document, configuration = read_text(text, f"{files.folder}/s.toml")
    building = Building(document)
    warn(
        configuration,
        building,
        [Method.USERNAME_PASSWORD] if configuration.auth else [Method.NO_AUTHENTICATION],
    )
    return [files.short(each) for each in in_order(building.warnings)]


def found(files: Files, text: str) -> tuple[list[str], list[str]]:
    files.write("s.toml", text)
    errors, warnings = check(str(files.folder / "s.toml"))
    return [files.short(each) for each in errors], [files.short(each) for each in warnings]


def test_errors_are_those_of_the_loader(files: Files) -> None:
    errors, warnings = found(files, "server.workers = 0\nlisteners = 1")
    assert [each.split(": ")[:2] for each in errors] == [
        ["s.toml:1:18", "server.workers"],
        ["s.toml:2:1", "listeners"],
    ]
    assert warnings == []
    assert len(check(f"{files.folder}/none")[0]) == 1


def test_it_misses_no_socket_of_systemd(files: Files) -> None:
    listener = '[listener.a]\nsystemd = "socks5.socket"\n'
    assert found(files, listener) == ([], [])
    files.write("users", "alice:secret\n")
    assert found(files, f'{listener}[auth]\na = {{ type = "file", file = "users" }}') == ([], [])


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (
            (
                'networks.a = { entries = "::1" }\nnames.b = { entries = "x" }\nlimit.c = { sessions = 1 }\n'
                "group.d = { members = 'x' }"
            ),
            [
                "s.toml:1:10: networks.a: nothing uses it",
                "s.toml:2:7: names.b: nothing uses it",
                "s.toml:3:7: limit.c: nothing uses it",
                "s.toml:4:7: group.d: nothing uses it",
            ],
        ),
        (
            "group.d = { members = 'x', limits = 'c' }\nlimit.c = { sessions = 1 }",
            [],
        ),
        (
            (
                'bans.exempt = "@a"\nnetworks.a = { entries = "::1" }\nnetworks.b = { entries = "::1" }\n'
                'networks.c = { entries = "::1" }\n'
                'listener.a = { address = "::1", clients = ["::1", "@b"], proxy_from = '
                '"@c", methods = "none" }'
            ),
            [],
        ),
        (
            (
                'names.a = { entries = "x" }\nnetworks.a = { entries = "::1" }\nnetworks.b = { entries = "::1" }\n'
                f'{ALLOW}names = "@a"\nnetworks = "@a"\nclients = "@b"\ngroups = "d"\n[group.d]\nmembers = "x"'
            ),
            [],
        ),
        (
            f'{ALLOW}names = "www.example"',
            [
                (
                    's.toml:4:9: rule "r": names: allowed by name alone: who has the name chooses the address, and '
                    'only special ones are kept from it; networks = "@public" would say more'
                )
            ],
        ),
        (f'{ALLOW}names = "www.example"\nnetworks = "@public"', []),
        (
            f'[[rule]]\nname = "no"\naction = "deny"\nnames = ".ads.example"\n{ALLOW}',
            [
                (
                    's.toml:4:9: rule "no": names: denied by name alone: a client that resolves names itself is '
                    "judged by the address that it sends, and not by this"
                )
            ],
        ),
        (
            f'{ALLOW}users = "alice"\n[[rule]]\nname = "s"\naction = "deny"\nusers = "alice"\nports = 25',
            [
                's.toml:5:1: rule "s": decides on @special addresses at most: rule r at s.toml:1:1 takes all else',
            ],
        ),
        (f'{ALLOW}[[rule]]\nname = "s"\naction = "deny"\nnetworks = "127.0.0.0/8"', []),
        (
            f'group."@x" = {{ members = ["bob", "@staff"] }}\n{ALLOW}users = "@staff"\ngroups = "@x"',
            [
                f"s.toml:{place}: the name of somebody with an @, for people have no sets; a group is groups = {group}"
                for place, group in (
                    ('1:34: group."@x".members[1]', '"staff"'),
                    ('5:9: rule "r": users', '"staff"'),
                    ('6:10: rule "r": groups', '"x"'),
                )
            ],
        ),
        (
            f'{ALLOW}[[rule]]\nname = "s"\naction = "allow"\nports = 25',
            ['s.toml:4:1: rule "s": never decides: rule r at s.toml:1:1 takes all that it could'],
        ),
        (
            'server.default = "report"\n[[rule]]\nname = "s"\naction = "deny"\nusers = "alice"',
            ['s.toml:1:18: server.default: "report" allows what no rule decides'],
        ),
        (
            (
                'auth.a = { type = "file", file = "users" }\nauth.b = { type = "file", file = "users" }\n'
                'group.g = { members = "alice" }\n'
                'group.h = { limits = "l" }\nlimit.l = { sessions = 3 }\n'
                f'{ALLOW}users = "alice"\ngroups = "g"\n[[rule]]\nname = "s"\naction = "deny"\nports = 25'
            ),
            [
                "s.toml:3:23: group.g.members: a name is one person, whichever vouches for it: [auth.a], [auth.b]",
                's.toml:9:9: rule "r": users: a name is one person, whichever vouches for it: [auth.a], [auth.b]',
            ],
        ),
    ],
)
def test_what_is_hardly_meant_is_warned_of(files: Files, text: str, warnings: list[str]) -> None:
    assert hardly_meant(files, text) == warnings


def test_certificates_and_tickets_vouch_for_names_too(files: Files) -> None:
    text = """\
gssapi = { service = "any", local_realms = "EXAMPLE" }
listener.a = { address = "::1", tls = { cert = "p.pem", client_ca = "p.pem" } }
listener.b = { address = "::2", limits = "l" }
limit.l = { per = "user", sessions = 3 }
server.limits = "l"
rule = [{ name = "r", action = "allow", limits = "l", methods = ["certificate", "chap", 128] }]
"""
    assert hardly_meant(files, text) == [
        "s.toml:4:19: limit.l.per: a name is one person, whichever vouches for it: [gssapi], certificates",
        's.toml:6:81: rule "r": methods[1]: nobody logs in by chap: no source, or no listener, is for it',
    ]


def test_a_method_that_a_listener_accepts_is_one(files: Files) -> None:
    text = """\
auth.a = { type = "pam", service = "x" }
listener.a = { address = "::1", methods = "none" }
rule = [{ name = "r", action = "allow", methods = "none" }, { name = "s", action = "deny", methods = "chap" }]
"""
    assert hardly_meant(files, text) == [
        's.toml:3:102: rule "s": methods: nobody logs in by chap: no source, or no listener, is for it'
    ]


def test_warnings_are_those_of_the_loader_too(files: Files) -> None:
    text = 'server.outgoing = "192.0.2.1"\nnetworks.a = { entries = "::1" }'
    _, warnings = found(files, text)
    assert [each.split(": ")[1] for each in warnings] == ["server.outgoing", "networks.a"]


def test_a_certificate_that_clients_will_refuse_is_warned_of(files: Files) -> None:
    Authority(files.folder).server("p.pem", since=-timedelta(2), until=-timedelta(1))
    text = 'listener.a = { address = ["127.0.0.1", "::1"], tls = { cert = "p.pem" } }'
    _, [warning] = found(files, text)
    assert warning.startswith("s.toml:1:54: listener.a.tls: cert=p.pem: expired ")


@pytest.mark.parametrize(
    "text", [*TOML, FULL, "server = 1", "listener.a = { systemd = 'x', open = true }"]
)
def test_what_it_passes_is_built_and_what_is_not_built_it_refuses(files: Files, text: str) -> None:
    """Sockets of systemd's aside."""
    errors, _ = found(files, text)
    try:
        build(load(str(files.folder / "s.toml")), is_only_looking=True)
    except Refused as error:
        refused = [files.short(each) for each in error.problems]
    else:
        refused = []
    assert errors == refused
