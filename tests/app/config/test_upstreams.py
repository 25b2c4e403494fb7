"""``[upstream.NAME]``: what is read, what is made of it, what is wrong with it, and what is hardly meant."""

import sys
from typing import Any

import pytest
from twisted.internet.task import Clock

from socks5.app.config import upstreams
from socks5.app.config.explain import Explanation, Question
from socks5.app.config.show import show
from socks5.app.configured import Configured
from socks5.auth.work import Work
from socks5.client.urls import Place
from socks5.outbound.path import Path
from socks5.outbound.pool import Hashed, Pool, RoundRobin
from socks5.outbound.terms import Terms
from socks5.outbound.ways import Upstreams
from socks5.protocol.address import Address
from socks5.protocol.gssapi import Protection
from socks5.protocol.messages import Command, Credentials
from socks5.settings import COMMANDS, PerFamily
from tests.app.config.files import Files
from tests.app.config.test_check import found
from tests.app.config.test_read import problems
from tests.support.certificates import Authority
from tests.support.contexts import Initiating

A = '[upstream.a]\nurl = "socks5://x"\n'
RULE = '[[rule]]\nname = "r"\naction = "allow"\nvia = "a"\n'
PUBLIC = 'networks = "@public"\n'
ALL = """\
[upstream.office]
url = "socks5s://proxy.example:1443"
user = "relay"
password = { file = "office.secret" }
require_login = true
pipelined = true
tls = { ca = "an authority.pem", cert = "client.pem", name = "other.example" }
names = "here"
timeout = "5s"
commands = ["connect", "resolve"]
udp_address = "203.0.113.7"
source = ["192.0.2.7", "2001:db8::7"]
max_connections = 8
fails = 1
retry_after = "1m"
probe = "www.example.org:443"
probe_every = "1h"
[upstream.tor]
url = "socks5://localhost/run/tor/socks"
[upstream.web]
url = "http://[2001:db8::1]:3128"
[upstream.both]
chain = ["tor", "office"]
[upstream.any]
pool = ["office", "both"]
[upstream.turns]
pool = ["tor", "web"]
choose = "round-robin"
[upstream.mine]
pool = ["tor", "web"]
choose = "hash"
hash_by = "user"
"""


def write_secrets(files: Files) -> None:
    files.write("office.secret", "hush\n")
    authority = Authority(files.folder)
    authority.client("anna").rename(files.folder / "client.pem")


def test_what_is_said_is_made(files: Files) -> None:
    write_secrets(files)
    ways: dict[str, Any] = dict(files.make(ALL).ways)
    office, tor, web = (ways[name].legs[0] for name in ("office", "tor", "web"))
    assert office.terms == Terms(
        commands=COMMANDS["connect"] | COMMANDS["resolve"],
        resolves=False,
        timeout=5.0,
        udp_address="203.0.113.7",
        source=PerFamily("192.0.2.7", "2001:db8::7"),
        max_connections=8,
        fails=1,
        retry_after=60.0,
        probe=Address(b"www.example.org", 443),
        probe_every=3600.0,
    )
    hop = office.hop
    assert hop.place == Place(False, True, "proxy.example", 1443)
    assert (hop.login, hop.require_login, hop.is_pipelined) == (
        Credentials(b"relay", b"hush"),
        True,
        True,
    )
    assert hop.tls is not None
    assert web.terms.commands == COMMANDS["connect"]
    assert (tor.hop.place.path, tor.terms, tor.hop.tls) == ("/run/tor/socks", Terms(), None)
    assert (web.hop.place.host, web.hop.is_http) == ("2001:db8::1", True)
    assert ways["both"].legs == (tor, office)
    assert {type(ways[name]) for name in ("office", "tor", "web", "both")} == {Path}
    assert ways["any"].paths == (ways["office"], ways["both"])
    kinds = [type(ways[name]._choose) for name in ("turns", "mine")]
    assert (type(ways["any"]), kinds) == (Pool, [RoundRobin, Hashed])


class Made:
    """Notes what is made of a login by tickets, without their library."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by: list[dict[str, Any]] = []
        monkeypatch.setattr(upstreams, "Initiator", self._make)

    def _make(self, reactor: Any, **options: Any) -> Any:
        options.pop("run")
        self.by.append(options)
        return Initiating(Protection[options["protection"].upper()])


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("false", None),
        ("true", {"service": "rcmd", "protection": "confidentiality", "nec": False}),
        ("{}", {"service": "rcmd", "protection": "confidentiality", "nec": False}),
        (
            '{ service = "socks", host = "b.example", protection = "none", nec = true }',
            {"service": "socks", "host": "b.example", "protection": "none", "nec": True},
        ),
    ],
)
def test_a_login_by_tickets(
    files: Files, monkeypatch: pytest.MonkeyPatch, said: str, means: Any
) -> None:
    made = Made(monkeypatch)
    ways: dict[str, Any] = dict(files.make(f"{A}gssapi = {said}").ways)
    gssapi = ways["a"].legs[0].hop.gssapi
    if means is None:
        assert (gssapi, made.by) == (None, [])
        return
    assert made.by == [{"host": None, **means}]
    assert gssapi.value.level is Protection[means["protection"].upper()]


def test_steps_of_logins_are_taken_in_threads_of_their_upstream(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is made anew; nobody waits for another's KDC."""
    taken: list[tuple[Any, ...]] = []
    monkeypatch.setattr(upstreams, "Initiator", lambda reactor, run, **_: Running(run))
    monkeypatch.setattr(Work, "run", lambda *arguments: taken.append(arguments))
    text = f"{A}gssapi = true\n" + A.replace("[upstream.a]", "[upstream.b]") + "gssapi = true\n"
    for _ in range(2):
        ways: dict[str, Any] = dict(files.make(text).ways)
        for name in ("a", "b"):
            ways[name].legs[0].hop.gssapi.value.run("192.0.2.7", name)
    works = [work for work, *_ in taken]
    assert [rest for _, *rest in taken] == [["192.0.2.7", "a"], ["192.0.2.7", "b"]] * 2
    assert works[:2] == works[2:]
    assert works[0] is not works[1]


class Running(Initiating):
    """Knows how steps are taken."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self.run = run


def test_without_their_library_there_is_no_login_by_tickets(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    [said] = files.problems(f"{A}gssapi = true")
    wanted = (
        "s.toml:3:10: upstream.a.gssapi: needs the library gssapi: pip install 'txsocks5[gssapi]'"
    )
    assert said.startswith(wanted)


def test_a_policy_of_sessions_dials_by_them(files: Files) -> None:
    files.write("s.toml", A)
    clock = Clock()
    configured = Configured(str(files.folder / "s.toml"), clock)
    assert isinstance(configured.policy_of_sessions(clock).dialer, Upstreams)
    files.write("s.toml", "")
    assert configured.again().policy_of_sessions(clock).dialer is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[upstream.a]", "1:11: upstream.a: expected url, chain or pool, got none of them"),
        (
            '[upstream.a]\nurl = "socks5://alice:hush@x"',
            "2:7: upstream.a.url: expected no login in it; write user = and password = as keys of their own",
        ),
        (
            "[upstream.a]\nurl = 1",
            "2:7: upstream.a.url: expected the URL of a proxy, such as socks5://proxy.example:1080",
        ),
        (
            '[upstream.a]\nurl = "http://x"',
            (
                "2:7: upstream.a.url: expected the URL of a proxy; http://: the port must be written, for programs "
                "guess differently"
            ),
        ),
        (
            A + 'tls = { ca = "x" }',
            "3:1: upstream.a.tls: is for a proxy over TLS, such as socks5s://",
        ),
        (
            '[upstream.a]\nurl = "socks5s://x"\ntls = { key = "x" }',
            "3:15: upstream.a.tls.key: expected cert as well, which the key is of",
        ),
        (A + 'user = "x"', "3:8: upstream.a.user: expected password as well"),
        (
            A + "password = { env = 'X' }",
            "3:12: upstream.a.password: expected user as well",
        ),
        (
            A + "require_login = true",
            "3:17: upstream.a.require_login: expected user and password as well",
        ),
        (
            A + "user = 'x'\npassword = { env = 'X' }\npipelined = true",
            "5:13: upstream.a.pipelined: expected require_login = true as well, beside a login",
        ),
        (
            f"{A}user = '{chr(233) * 128}'\npassword = {{ env = 'X' }}",
            "3:8: upstream.a.user: expected 255 octets at the most",
        ),
        (
            '[upstream.a]\nurl = "http://x:1"\npipelined = true',
            "3:13: upstream.a.pipelined: an HTTP proxy is told everything at once anyway",
        ),
        (
            '[upstream.a]\nurl = "http://x:1"\nuser = "a:b"\npassword = { env = "X" }',
            "3:8: upstream.a.user: expected a name without a colon, for HTTP",
        ),
        (
            A + "gssapi = true\nuser = 'x'\npassword = { env = 'X' }",
            "4:1: upstream.a.user: does not go with gssapi, beside which nothing is offered",
        ),
        (
            '[upstream.a]\nurl = "http://x:1"\ngssapi = true',
            "3:1: upstream.a.gssapi: is for a proxy of SOCKS5, not of HTTP",
        ),
        (
            '[upstream.a]\nurl = "socks5://localhost/s"\ngssapi = { nec = true }',
            (
                "3:10: upstream.a.gssapi: expected the host of its key, which a UNIX socket has not: gssapi = { host = "
                '"proxy.example" }'
            ),
        ),
        (
            A + "gssapi = true\npipelined = true",
            "4:13: upstream.a.pipelined: expected false, for gssapi awaits answers",
        ),
        (
            A + 'gssapi = "yes"',
            '3:10: upstream.a.gssapi: expected true, false or a table, got "yes"',
        ),
        (
            A + 'gssapi = { protection = "all" }',
            (
                '3:25: upstream.a.gssapi.protection: expected "confidentiality", "integrity" or "none", got "all"'
            ),
        ),
        (A + 'choose = "first"', "3:1: upstream.a.choose: does not go with url"),
        (
            A + 'pool = "b"\n[upstream.b]\nurl = "socks5://y"',
            "3:1: upstream.a.pool: does not go with url",
        ),
        (
            '[upstream.b]\nchain = "a"\nfails = 3\n' + A,
            "3:1: upstream.b.fails: does not go with chain",
        ),
        (
            '[upstream.b]\npool = "a"\nchoose = "hash"\n' + A,
            '3:10: upstream.b.choose: expected hash_by as well, such as hash_by = "user"',
        ),
        (
            '[upstream.b]\npool = "a"\nhash_by = "user"\n' + A,
            '3:11: upstream.b.hash_by: expected choose = "hash" as well',
        ),
        (
            '[upstream.a]\nurl = "http://x:1"\ncommands = "bind"',
            "3:12: upstream.a.commands: expected connect alone, for HTTP has no bind",
        ),
        (
            f'{A}commands = "bind"\n[upstream.b]\nchain = ["a", "c"]\n[upstream.c]\nurl = "socks5://y"',
            "5:10: upstream.b.chain[0]: expected one that serves connect, for others are behind it",
        ),
        (
            '[upstream.a]\nurl = "http://x:1"\nudp_address = "192.0.2.7"',
            "3:1: upstream.a.udp_address: is for a proxy of SOCKS5, not of HTTP",
        ),
        (
            A + 'udp_address = "::"',
            '3:15: upstream.a.udp_address: expected an IP address, got "::"',
        ),
        (A + 'probe_every = "1m"', "3:15: upstream.a.probe_every: expected probe as well"),
        (A + 'probe = "x"', '3:9: upstream.a.probe: expected HOST:PORT, got "x"'),
        (A + 'probe = "x:0"', '3:9: upstream.a.probe: expected HOST:PORT, got "x:0"'),
        (
            '[upstream.b]\nchain = "x"\n' + A,
            "2:9: upstream.b.chain: there is no [upstream.x]",
        ),
        (
            '[upstream.b]\nchain = ["a", "b"]\n' + A,
            "2:15: upstream.b.chain[1]: it cannot be in its own chain",
        ),
        (
            f'[upstream.b]\nchain = "c"\n[upstream.c]\nchain = "a"\n{A}',
            "2:9: upstream.b.chain: expected one with a url, but [upstream.c] is a chain",
        ),
        (
            f'[upstream.b]\nchain = ["a", "c"]\n[upstream.c]\nurl = "socks5://localhost/s"\n{A}',
            "2:15: upstream.b.chain[1]: a UNIX socket can only be the nearest, for it is on this host",
        ),
        (
            '[upstream.b]\npool = "c"\n' + A,
            "2:8: upstream.b.pool: there is no [upstream.c]",
        ),
        (
            f'[upstream.b]\npool = "c"\n[upstream.c]\npool = "a"\n{A}',
            "2:8: upstream.b.pool: there is no pool in a pool, and [upstream.c] is one",
        ),
        (
            f'[upstream.b]\npool = ["a", "b"]\n{A}',
            "2:14: upstream.b.pool[1]: there is no pool in a pool, and [upstream.b] is one",
        ),
    ],
)
def test_a_file_with_one_error_is_refused_for_it(text: str, problem: str) -> None:
    said = problems(text)
    assert said == [f"s.toml:{problem}"]
    assert "hush" not in said[0]


def test_what_is_of_another_kind_is_passed_over_for_it_is_said_elsewhere() -> None:
    text = '[upstream.a]\nurl = "x"\nchain = "A"\n[upstream.b]\nchain = ["a", "A"]\npool = ["A"]\n[[upstream.c.pool]]'
    said = problems(text)
    assert not any("there is no" in each for each in said)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            A + 'user = "x"\npassword = { file = "none" }',
            "s.toml:4:12: upstream.a.password: expected a file that can be read, got none (No such file or directory)",
        ),
        (
            A + 'user = "x"\npassword = { file = "long" }',
            "s.toml:4:12: upstream.a.password: expected 255 octets at the most",
        ),
        (
            '[upstream.a]\nurl = "socks5s://x"\ntls = { ca = "none", cert = "client.pem", key = "empty" }',
            (
                "s.toml:3:14: upstream.a.tls.ca: ca=none: No such file or directory; expected a PEM file that the "
                "proxy's user can read"
            ),
        ),
        (
            '[upstream.a]\nurl = "socks5s://x"\ntls = { cert = "empty" }',
            (
                "s.toml:3:16: upstream.a.tls.cert: cert=empty: no whole certificate in it; expected PEM (-----BEGIN "
                "CERTIFICATE-----)"
            ),
        ),
        (
            '[upstream.a]\nurl = "socks5s://x"\ntls = { cert = "alone.pem" }',
            (
                "s.toml:3:16: upstream.a.tls.cert: key=alone.pem: no whole key in it; expected PEM (-----BEGIN PRIVATE "
                "KEY-----)"
            ),
        ),
        (
            '[upstream.a]\nurl = "socks5s://x"\ntls = { cert = "client.pem", key = "other.pem" }',
            "s.toml:3:16: upstream.a.tls.cert: cert=client.pem: TLS does not take it with that key: ",
        ),
        (
            A + 'timeout = "20s"',
            (
                "s.toml:3:11: upstream.a.timeout: expected less than the 20s of timeouts.connect, for then comes the "
                "target, got 20s"
            ),
        ),
        *(
            (
                f'[upstream.a]\nurl = "socks5://{where}"\n{listener}',
                "s.toml:2:7: upstream.a.url: expected another proxy, got a listener of this one",
            )
            for where, listener in (
                ("127.0.0.1", ""),
                ("localhost:99", '[listener.x]\naddress = "::"\nport = 99'),
                ("localhost/run/s", '[listener.x]\nunix = "/run/s"'),
            )
        ),
        (
            f'{RULE}{PUBLIC}commands = "udp"\n[upstream.a]\nurl = "http://x:1"',
            's.toml:6:12: rule "r": commands: expected "connect", got "udp", which [upstream.a] does not serve',
        ),
        (
            f'{RULE}{PUBLIC}commands = "udp"\n[upstream.a]\nurl = "socks5s://x"',
            (
                's.toml:6:12: rule "r": commands: expected "connect" or "bind", got "udp", which [upstream.a] does not '
                'serve; if it does, write commands = ["connect", "bind", "udp"] in [upstream.a]'
            ),
        ),
        (
            f'{RULE}{PUBLIC}commands = "udp"\n[upstream.b]\nurl = "http://x:1"\n[upstream.a]\npool = "b"',
            's.toml:6:12: rule "r": commands: expected "connect", got "udp", which [upstream.a] does not serve',
        ),
    ],
)
def test_what_cannot_be_made_is_refused(files: Files, text: str, problem: str) -> None:
    write_secrets(files)
    files.write("long", "x" * 256)
    files.write("empty", "")
    certificate = (files.folder / "client.pem").read_text()
    files.write("alone.pem", certificate[certificate.index("-----BEGIN CERTIFICATE-----") :])
    Authority(files.folder, "another").client("bob").rename(files.folder / "other.pem")
    said = [each for each in files.problems(text) if "unix" not in each]
    assert said[0].startswith(problem)


def test_what_is_wrong_elsewhere_leaves_the_rest_of_them(files: Files) -> None:
    """Nobody is told that something is missing, which was left out for what is wrong with it."""
    rest = f'[upstream.c]\nchain = ["a", "b"]\n[upstream.d]\npool = ["c"]\n{A}'
    rule = RULE.replace('"a"', '"b"') + 'commands = "udp"\n'
    assert len(files.problems(f"[upstream.b]\nurl = 1\n{rest}{rule}")) == 1


def test_only_who_is_connected_to_from_here_can_be_ourselves(files: Files) -> None:
    text = '[upstream.b]\nchain = ["c", "a"]\n[upstream.a]\nurl = "socks5://127.0.0.1"\n[upstream.c]\nurl = "socks5://x"'
    assert files.make(text).ways.keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (f'{RULE}{PUBLIC}commands = "connect"\n{A}probe = "x:1"', []),
        (
            f'{A}commands = "bind"\nprobe = "x:1"',
            [
                "s.toml:1:11: upstream.a: nothing uses it",
                "s.toml:4:9: upstream.a.probe: asked by connect, which this does not serve",
            ],
        ),
        (
            f'{RULE}{PUBLIC}commands = "connect"\n{A}[upstream.b]\nchain = "a"\n',
            ["s.toml:9:11: upstream.b: nothing uses it"],
        ),
        (
            RULE.replace('via = "a"', 'via = "p"')
            + f'{PUBLIC}commands = "connect"\n[upstream.p]\npool = ["c"]\n[upstream.c]\nchain = "a"\n{A}',
            [],
        ),
        (f"{RULE}{PUBLIC}{A}", []),
        *(
            (
                f"{RULE}{PUBLIC}{upstream}",
                [
                    (
                        f's.toml:4:7: rule "r": via: [upstream.a] does not serve {words}, which this rule lets through '
                        f"and which is {fate} then"
                    )
                ],
            )
            for upstream, words, fate in (
                ('[upstream.a]\nurl = "http://x:1"', '"bind" or "udp"', "refused"),
                ('[upstream.a]\nurl = "socks5s://x"', '"udp"', "dropped"),
                (
                    (
                        '[upstream.b]\nurl = "socks5s://x"\n[upstream.c]\nurl = "socks5://x"\n'
                        '[upstream.a]\nchain = ["b", "c"]'
                    ),
                    '"udp"',
                    "dropped",
                ),
            )
        ),
        (
            f'{RULE}commands = "connect"\n{A}',
            [
                (
                    's.toml:4:7: rule "r": via: names go there as they are, so that only the upstream can keep them '
                    'from leading to @special addresses; networks = "@public" would have them resolved here'
                )
            ],
        ),
        (
            f'{RULE}commands = "connect"\nnames = "www.example"\n{A}',
            [
                (
                    's.toml:4:7: rule "r": via: names go there as they are, so that only the upstream can keep them '
                    'from leading to @special addresses; networks = "@public" would have them resolved here'
                )
            ],
        ),
        (f'{RULE}commands = "connect"\n{A}names = "here"', []),
        (
            f'{RULE}commands = "connect"\nnames = "www.example"\n{A}names = "here"',
            [
                (
                    's.toml:6:9: rule "r": names: allowed by name alone: who has the name chooses the address, and '
                    'only special ones are kept from it; networks = "@public" would say more'
                )
            ],
        ),
        (
            RULE.replace('"a"', '"c"')
            + f'{PUBLIC}commands = "connect"\n{A}[upstream.c]\nchain = ["a", "a"]',
            ["s.toml:10:9: upstream.c.chain: the same proxy more than once"],
        ),
        *(
            (
                (
                    '[upstream.b]\nurl = "socks5://y"\nnames = "here"\n[upstream.c]\nurl = "socks5://x"\n'
                    f'{RULE}commands = "connect"\n[upstream.a]\n{members}'
                ),
                [],
            )
            for members in ('chain = ["c", "b"]', 'pool = ["c", "b"]')
        ),
        *(
            (
                f'[[rule]]\nname = "d"\naction = "{action}"\nnetworks = "192.0.2.1"\n{RULE}commands = "connect"\n{A}',
                [
                    (
                        's.toml:8:7: rule "r": via: names are resolved here, and addresses sent there, where rule "d" '
                        "before it may hold, which has to see them; else they go there as they are"
                    )
                ],
            )
            for action in ("deny", "allow")
        ),
    ],
)
def test_what_is_hardly_meant_is_said(files: Files, text: str, warnings: list[str]) -> None:
    assert found(files, text) == ([], warnings)


def test_a_password_in_the_file_itself_is_warned_of(files: Files) -> None:
    text = f'{RULE}{PUBLIC}commands = "connect"\n{A}user = "x"\npassword = "hush"'
    errors, warnings = found(files, text)
    assert errors == []
    assert warnings == [
        's.toml:10:12: upstream.a.password: a secret in plain text; better { file = "PATH" } or the like'
    ]
    made = files.make(text)
    assert "hush" not in show(made.document.tree, lambda path: "there") + repr(made.ways)


@pytest.mark.parametrize(
    ("connect", "timeout"), [("20s", 10.0), ("11s", 10.0), ("10s", 5.0), ("3s", 1.5)]
)
def test_a_proxy_has_less_time_than_the_whole_dial_unless_told(
    connect: str, timeout: float, files: Files
) -> None:
    """So that there is some for another one, and for the target."""
    [way] = files.make(f'timeouts.connect = "{connect}"\n{A}').ways.values()
    assert way.legs[0].terms.timeout == timeout


def test_what_holds_besides_stands_beside_what_it_goes_with() -> None:
    tree: Any = {
        "upstream": {
            "a": {"url": "socks5://x"},
            "b": {"chain": ["a"]},
            "c": {"pool": ["a"]},
        }
    }
    blocks = show(tree, None).split("\n\n")
    one, chain, pool = (
        next(each for each in blocks if each.startswith(f"[upstream.{name}]")) for name in "abc"
    )
    assert "# timeout: 10s; half of timeouts.connect where that is 10s or less" in one
    assert "choose" not in one
    assert "# chain" not in one
    assert chain.split("\n")[1:] == ['chain = ["a"]']
    assert pool.split("\n")[1:] == ['pool = ["a"]', '# choose = "first"', "# hash_by: none"]


@pytest.mark.parametrize(
    ("via", "command", "words"),
    [
        ("tor", Command.CONNECT, "through upstream tor (socks5://localhost/run/tor/socks)"),
        ("both", Command.CONNECT, "through upstream both (office behind tor)"),
        ("turns", Command.CONNECT, "through upstream turns (tor or web)"),
        ("tor", Command.BIND, "through upstream tor (socks5://localhost/run/tor/socks)"),
        ("web", Command.BIND, None),
        ("office", Command.RESOLVE_PTR, "through upstream office (socks5s://proxy.example:1443)"),
    ],
)
def test_it_is_explained_where_somebody_goes(
    files: Files, via: str, command: Command, words: str | None
) -> None:
    write_secrets(files)
    served = 'server.commands = ["connect", "bind", "resolve"]\n'
    made = files.make(f'{served}{ALL}[[rule]]\nname = "r"\naction = "allow"\nvia = "{via}"')
    asked = Question(client="192.0.2.9", target=Address("1.1.1.1", 80), command=command, at=0)
    answer = Explanation(made, asked).answer()
    assert answer.is_allowed is (words is not None)
    refused = f"allowed by r, but upstream {via} does not serve bind"
    assert answer.lines[-1] == (f"allowed by r; {words}" if words else refused)


def test_it_is_explained_who_resolves_a_name_and_under_which_limits(files: Files) -> None:
    write_secrets(files)
    made = files.make(
        f'{ALL}[limit.few]\nsessions = 3\n[[rule]]\nname = "r"\naction = "allow"\nvia = "tor"\nlimits = "few"'
    )
    asked = Question(client="192.0.2.9", target=Address(b"www.example.org", 80), at=0)
    assert Explanation(made, asked).answer().lines[-1] == (
        "allowed by r; through upstream tor (socks5://localhost/run/tor/socks), which resolves the name; "
        "limits: few (3 sessions)"
    )


@pytest.mark.parametrize(("via", "is_open"), [("tor", False), ("office", True), ("any", True)])
def test_a_name_is_resolved_for_who_wants_addresses(files: Files, via: str, is_open: bool) -> None:
    write_secrets(files)
    made = files.make(f'{ALL}[[rule]]\nname = "r"\naction = "allow"\nvia = "{via}"')
    asked = Question(client="192.0.2.9", target=Address(b"www.example.org", 80), at=0)
    assert Explanation(made, asked).is_open is is_open
