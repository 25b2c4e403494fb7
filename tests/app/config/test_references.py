"""What is wrong between the parts of a file is said where it is said last, whatever else is wrong."""

import pytest

from socks5.app.config.document import Refused, parse
from socks5.app.config.policy_keys import Rule
from socks5.app.config.read import read, read_text
from socks5.app.config.values import Several
from tests.app.config.test_read import problems

RULE = '[[rule]]\nname = "r"\naction = "allow"\n'
"""The first three lines of a file with a rule."""

OWN = "expected one of its own, got that of listener a"
OVERLAPS = 'expected an address of its own on port 99, got "{}", which overlaps "{}" of listener a'

SET = 'networks.home = { entries = "10.0.0.0/8" }\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # sets
        (
            SET + RULE + 'networks = "@hom"',
            '5:12: rule "r": networks: there is no [networks.hom]; did you mean "@home"?',
        ),
        (RULE + 'names = ["a", "@x"]', '4:15: rule "r": names[1]: there is no [names.x]'),
        (RULE + 'names = "@public"', '4:9: rule "r": names: there is no [names.public]'),
        (
            RULE + 'networks = "@local"',
            '4:12: rule "r": networks: expected a network or @set, got "@local", which only clients of rules can be',
        ),
        (
            RULE + 'clients = "@lokal"',
            '4:11: rule "r": clients: there is no [networks.lokal]; did you mean "@local"?',
        ),
        (
            '[listener.a]\naddress = "::1"\nclients = "@self"',
            "3:11: listener.a.clients: @self is only for rules",
        ),
        (
            '[listener.a]\naddress = "::1"\nproxy_from = "@unix"',
            '3:14: listener.a.proxy_from: expected a network or @set, got "@unix", which only clients of rules can be',
        ),
        ('bans.exempt = "@x"', "1:15: bans.exempt: there is no [networks.x]"),
        (
            '[networks.public]\nentries = "::/0"',
            "1:11: networks.public: @public is built in; choose another name",
        ),
        # limits
        ('server.limits = "a"', "1:17: server.limits: there is no [limit.a]"),
        (
            '[limit.ab]\nsessions = 1\n[listener.a]\naddress = "::1"\nlimits = ["abc", "ab"]',
            '5:11: listener.a.limits[0]: there is no [limit.abc]; did you mean "ab"?',
        ),
        ('group.a = { limits = "b" }', "1:22: group.a.limits: there is no [limit.b]"),
        (RULE + 'limits = "b"', '4:10: rule "r": limits: there is no [limit.b]'),
        # rules
        (RULE + RULE, '5:8: rule "r": name: expected a name of its own, got that of rule 1'),
        (RULE + 'listeners = "a"', '4:13: rule "r": listeners: there is no [listener.a]'),
        (RULE + 'via = "a"', '4:7: rule "r": via: there is no [upstream.a]'),
        (
            '[[rule]]\nname = "r"\naction = "deny"',
            (
                '1:1: rule "r": expected a rule with action = "allow", or default = "allow" in [server]; '
                "got none, so that nobody could do anything"
            ),
        ),
        (
            RULE + "report_only = true",
            (
                '1:1: rule "r": expected a rule with action = "allow", or default = "allow" in [server]; '
                "got none, so that nobody could do anything"
            ),
        ),
        (
            'server.default = "deny"',
            (
                '1:18: server.default: expected a rule with action = "allow", or default = "allow" in '
                "[server]; got none, so that nobody could do anything"
            ),
        ),
        (
            RULE + 'during = "sat"',
            (
                '4:10: rule "r": during: expected zone in [server], such as zone = "Europe/Berlin"; whose clock '
                "it is nobody knows"
            ),
        ),
        (
            RULE + "unguarded = true",
            '4:13: rule "r": unguarded: expected networks as well, for a name could lead anywhere',
        ),
        (RULE + 'reply = "refused"', '4:1: rule "r": reply: does not go with action = "allow"'),
        (
            'server.default = "allow"\n[[rule]]\nname = "r"\naction = "deny"\nsource = "accepted"',
            '5:1: rule "r": source: does not go with action = "deny"',
        ),
        (
            RULE + 'source = ["accepted", "192.0.2.1"]',
            '4:10: rule "r": source: expected accepted alone, or addresses',
        ),
        (
            RULE + 'source = ["::1", "accepted"]',
            '4:10: rule "r": source: expected accepted alone, or addresses',
        ),
        (
            RULE + 'source = ["::1", "::2"]',
            '4:18: rule "r": source[1]: expected one address a family, got also "::2"',
        ),
        (
            RULE + 'source = ["::1", "::1"]',
            '4:18: rule "r": source[1]: expected one address a family, got also "::1"',
        ),
        (
            RULE + "source = 1",
            '4:10: rule "r": source: expected an IP address of this host, or "accepted", got 1',
        ),
        # the server
        (
            'server.zone = "Europa/Berlin"',
            (
                '1:15: server.zone: expected a time zone, got "Europa/Berlin"; write UTC, or a name as '
                "Europe/Berlin; a host without the package tzdata knows none"
            ),
        ),
        (
            'server.state = "s"\n[limit.a]\nquota = "1GB/day"',
            '3:9: limit.a.quota: expected zone in [server] as well, such as zone = "Europe/Berlin"',
        ),
        (
            'server.zone = "UTC"\n[limit.a]\nquota = "1GB/day"',
            '3:9: limit.a.quota: expected state in [server] as well, such as state = "state.sqlite3"',
        ),
        (
            'server = { outgoing = "::1", outgoing_family = "ipv4" }',
            (
                '1:23: server.outgoing: expected an address of the one family that outgoing_family = "ipv4" leaves, '
                'got "::1"'
            ),
        ),
        (
            'server.advertise = ["::1", "::2"]',
            '1:28: server.advertise[1]: expected one address a family, got also "::2"',
        ),
        # limits
        (
            "[limit.a]",
            "1:1: limit.a: expected something that it limits, such as sessions or down; got nothing",
        ),
        (
            'server = { zone = "UTC", state = "s" }\n[limit.a]\nper = "session"\nquota = "1GB/day"',
            '4:1: limit.a.quota: does not go with per = "session"; expected a limit of its own for it',
        ),
        # listeners
        (
            "[listener.a]",
            "1:1: listener.a: expected one of address, unix, systemd and endpoint; got none of them",
        ),
        (
            '[listener.a]\naddress = "::1"\nunix = "a"',
            "3:8: listener.a.unix: expected one of address, unix, systemd and endpoint; got address and unix",
        ),
        (
            '[listener.a]\naddress = "::1"\nmode = "660"',
            "3:1: listener.a.mode: does not go with address; expected it beside unix",
        ),
        (
            '[listener.a]\nunix = "a"\nport = 1',
            "3:1: listener.a.port: does not go with unix; expected it beside address",
        ),
        (
            '[listener.a]\nunix = "a\\u0000"',
            '2:8: listener.a.unix: expected a path, got "a\\u0000"',
        ),
        (
            '[listener.a]\nendpoint = "tcp:1"\ntls.cert = "a"',
            "3:1: listener.a.tls: does not go with endpoint; expected it beside address or systemd",
        ),
        (
            '[listener.a]\naddress = "::1"\ntls = { cert = "a", client_name = "cn" }',
            (
                "3:35: listener.a.tls.client_name: expected client_ca as well, without which no client is "
                "asked for a certificate"
            ),
        ),
        (
            '[listener.a]\naddress = "::1"\ntls = { cert = "a", client_certificates = "optional" }',
            (
                "3:43: listener.a.tls.client_certificates: expected client_ca as well, without which no "
                "client is asked for a certificate"
            ),
        ),
        (
            '[listener.a]\naddress = "::1"\nmethods = ["none", "password"]',
            "3:20: listener.a.methods[1]: expected an [auth.NAME] as well, there are no users",
        ),
        (
            'auth.a = { type = "pam", service = "a" }\n[listener.a]\naddress = "::1"\nmethods = "chap"',
            '4:11: listener.a.methods: expected an [auth.NAME] of type = "secrets" as well, there are no secrets',
        ),
        (
            '[listener.a]\naddress = "::1"\nmethods = "gssapi"',
            "3:11: listener.a.methods: expected [gssapi] as well, there is no keytab",
        ),
        *(
            (
                f'[listener.a]\naddress = "{one}"\n[listener.b]\naddress = "{other}"\nport = 1080',
                (
                    f'4:11: listener.b.address: expected an address of its own on port 1080, got "{other}", which '
                    f'overlaps "{one}" of listener a'
                ),
            )
            for one, other in [
                ("::1", "::1"),
                ("::", "192.0.2.1"),
                ("192.0.2.1", "::"),
                ("0.0.0.0", "192.0.2.1"),
                ("192.0.2.1", "0.0.0.0"),
                ("::ffff:192.0.2.1", "192.0.2.1"),
            ]
        ),
        (
            '[listener.a]\naddress = ["::1", "::1"]',
            (
                '2:19: listener.a.address[1]: expected an address of its own on port 1080, got "::1", which '
                'overlaps "::1" of listener a'
            ),
        ),
        *(
            (
                f'[listener.a]\n{way} = "x"\n[listener.b]\n{way} = "x"',
                f"4:{len(way) + 4}: listener.b.{way}: expected one of its own, got that of listener a",
            )
            for way in ("unix", "systemd", "endpoint")
        ),
    ],
)
def test_what_does_not_go_together_is_said_where_it_stands(text: str, problem: str) -> None:
    assert problems(text) == [f"s.toml:{problem}"]


@pytest.mark.parametrize(
    ("one", "other", "sentence"),
    [
        ('unix = "p"', 'unix = "../x/./p"', OWN),
        ('unix = "/x/p"', 'endpoint = "unix:/x/p"', OWN),
        ('endpoint = "unix:address=/x//p"', 'unix = "p"', OWN),
        ('endpoint = "systemd:INET:index=0"', 'endpoint = "systemd:INET:index=0"', OWN),
        ('endpoint = "tcp:x"', 'endpoint = "tcp:x"', OWN),
        (
            'address = "127.0.0.1", port = 99',
            'endpoint = "tcp:99:interface=127.0.0.1"',
            OVERLAPS.format("tcp:99:interface=127.0.0.1", "127.0.0.1"),
        ),
        (
            'endpoint = "tcp:99"',
            'address = "127.0.0.1", port = 99',
            OVERLAPS.format("127.0.0.1", "tcp:99"),
        ),
        (
            'endpoint = "tcp:99:interface=127.0.0.1"',
            'endpoint = "tcp:port=99"',
            OVERLAPS.format("tcp:port=99", "tcp:99:interface=127.0.0.1"),
        ),
    ],
)
def test_listeners_at_one_place_are_found_however_it_is_written(
    one: str, other: str, sentence: str
) -> None:
    text = f"listener.a = {{ {one} }}\nlistener.b = {{ {other} }}"
    with pytest.raises(Refused) as raised:
        read(parse(text, "s.toml", "/x"))
    [problem] = raised.value.problems
    assert (problem.place.line, problem.sentence) == (2, sentence)


@pytest.mark.parametrize(
    "text",
    [
        (
            '[listener.a]\naddress = "::1"\n[listener.b]\naddress = "127.0.0.1"\n'
            '[listener.c]\naddress = "::1"\nport = 1081'
        ),
        '[listener.a]\naddress = "0.0.0.0"\n[listener.b]\naddress = "::1"',
        '[listener.a]\nendpoint = "tcp:0"\n[listener.b]\nendpoint = "tcp:0:interface=localhost"',
        '[listener.a]\nendpoint = "tcp:9"\n[listener.b]\nendpoint = "tcp:9:interface=localhost"',
        '[listener.a]\nunix = "a"\n[listener.b]\nunix = "b"',
        '[listener.a]\naddress = "::"\nport = 0\n[listener.b]\naddress = "::"\nport = 0',
        'auth.a = { type = "secrets", file = "a" }\n[listener.a]\naddress = "::1"\nmethods = ["chap", "password"]',
        'gssapi.service = "any"\n[listener.a]\naddress = "::1"\nmethods = "gssapi"',
        'server.default = "report"\n[[rule]]\nname = "r"\naction = "deny"',
        'server = { outgoing = "::1", outgoing_family = "prefer-ipv4" }',
        'server.zone = "UTC"\n' + RULE + 'during = "sat"',
        SET
        + RULE
        + 'networks = ["@home", "@special", "@self"]\nclients = ["@local", "@home"]\nunguarded = true',
    ],
)
def test_what_goes_together_is_taken(text: str) -> None:
    read_text(text, "s.toml")


def test_what_is_of_another_kind_is_passed_over_for_it_is_said_elsewhere() -> None:
    text = """\
server = 1
networks = [1]
listener = { a = 1, b = { address = [1, "x"], clients = [1, "@"], methods = 1, limits = "A" } }
limit = { a = 1 }
group = 1
rule = [1, { name = 1, networks = "@A", listeners = "A", via = "A", limits = 1 }]
"""
    with pytest.raises(Refused) as raised:
        read_text(text, "s.toml")
    assert {each.what for each in raised.value.problems} >= {"server", "listener.a", "rule 1"}
    assert not any("there is no" in str(each) for each in raised.value.problems)
    assert len(problems("rule = 1\nserver.outgoing = ['x', '::1']")) == 2


def test_a_source_beside_via_is_an_error_beside_that_of_via() -> None:
    assert problems(RULE + 'source = "accepted"\nvia = "a"') == [
        's.toml:4:1: rule "r": source: does not go with via',
        's.toml:5:7: rule "r": via: there is no [upstream.a]',
    ]
    with pytest.raises(Several) as raised:
        Rule(name="r", action="deny", source=("accepted",), via="a").check()
    assert [str(error) for _, error in raised.value.errors] == [
        'does not go with action = "deny"'
    ] * 2, "and not also with each other"
