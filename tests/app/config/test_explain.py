"""Why somebody may do something, or not, in words; and that the words are those of the rules."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from socks5.app.config.build import Made, build
from socks5.app.config.building import Building
from socks5.app.config.document import load
from socks5.app.config.explain import Explanation, Question, Unanswerable
from socks5.app.config.read import read_text
from socks5.app.config.ruling import rules
from socks5.protocol.address import Address
from socks5.protocol.messages import Command
from tests.auth.test_hashes import KNOWN

RULES = """\
[networks]
blocked.entries = ["198.51.100.0/24", "203.0.113.0/24"]
[names]
video.entries = [".video.example"]
[group]
staff.members = ["alice", "bob"]
[[rule]]
name = "blocked"
action = "deny"
networks = "@blocked"
reply = "unreachable"
[[rule]]
name = "video"
action = "deny"
names = "@video"
[[rule]]
name = "printers"
action = "allow"
groups = ["staff", "printing"]
networks = "10.20.0.0/16"
ports = [631, "9100-9102"]
source = "127.0.0.1"
[[rule]]
name = "accepted"
action = "allow"
ports = 99
source = "accepted"
[[rule]]
name = "web"
action = "allow"
networks = "@public"
"""

FILE = f"""\
[server]
zone = "Europe/Berlin"
outgoing = ["127.0.0.1", "::1"]
[listener.office]
address = "127.0.0.1"
clients = "192.0.2.0/24"
methods = ["none", "password"]
[listener.road]
address = "127.0.0.2"
[auth]
staff = {{ type = "htpasswd", file = "users", groups = "groups" }}
{RULES}"""

FRIDAY = datetime(2026, 11, 27, 10, 5, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Makes a file."""
    (tmp_path / "users").write_text(f"carol:{KNOWN['bcrypt']}\nalice:{KNOWN['bcrypt']}\n")
    (tmp_path / "groups").write_text("printing: carol\n")

    def make(text: str = FILE) -> Made:
        file = tmp_path / "socks5.toml"
        file.write_text(text.partition("[networks]")[0])
        base = build(load(str(file)), is_only_looking=True)
        document, configuration = read_text(text, str(file))
        ruled = rules(configuration, Building(document))
        return replace(base, document=document, configuration=configuration, rules=ruled)

    return make


def ask(
    made: Made, to: str | bytes, port: int = 443, addresses: Sequence[str] = (), **others: Any
) -> tuple[bool, list[str]]:
    """The answer, without the folder of the file."""
    others = {"client": "192.0.2.9", "listener": "office", "at": FRIDAY, **others}
    explanation = Explanation(made, Question(target=Address(to, port), **others))
    assert explanation.is_open == bool(addresses)
    answer = explanation.answer(addresses, "as you say")
    folder = f"{made.document.folder}/"
    return answer.is_allowed, [line.replace(folder, "") for line in answer.lines]


def test_a_walk_is_shown_rule_by_rule(made: Any) -> None:
    assert ask(
        made(), b"printer.example.org", 631, ["10.20.0.7"], user="alice", groups=["guests"]
    ) == (
        True,
        [
            (
                "connect printer.example.org:631 for alice (groups: guests, staff) from 192.0.2.9, "
                "listener office, method password, Fri 10:05 Europe/Berlin"
            ),
            "address 10.20.0.7, as you say",
            "  no   blocked   socks5.toml:18  networks: 10.20.0.7 is not in @blocked (2 entries)",
            "  no   video     socks5.toml:23  names: printer.example.org is not in @video (1 entry)",
            "  yes  printers  socks5.toml:27  allow",
            "allowed by printers; from 127.0.0.1",
        ],
    )


def test_files_know_groups(made: Any) -> None:
    is_allowed, lines = ask(made(), "10.20.0.7", 631, user="carol")
    assert is_allowed
    assert "for carol (groups: printing) from" in lines[0]
    assert not ask(made(), "10.20.0.7", 631, user="dave")[0]
    whole = made()
    unknown = replace(whole, logins=replace(whole.logins, sources=[Source()]))
    assert not ask(unknown, "10.20.0.7", 631, user="carol")[0]


class Source:
    """One of a plugin's: whom it knows nobody can tell."""

    def look(self) -> None:
        """See :class:`socks5.app.reread.Source`."""

    def reread(self) -> str:
        """See :class:`socks5.app.reread.Source`."""
        return "it"


def test_where_the_name_decides_nothing_is_resolved(made: Any) -> None:
    is_allowed, lines = ask(made(), b"a.video.example")
    assert not is_allowed
    assert [line.split()[:2] for line in lines[1:3]] == [["open", "blocked"], ["yes", "video"]]
    assert lines[-1] == "denied by video: not-allowed"


def test_of_several_addresses_one_that_is_allowed_will_do(made: Any) -> None:
    is_allowed, lines = ask(made(), b"x.example", 443, ["198.51.100.1", "1.1.1.1"])
    assert is_allowed
    assert [line for line in lines if line.startswith("address")] == [
        "address 198.51.100.1, as you say",
        "address 1.1.1.1, as you say",
    ]
    assert lines[-1] == "allowed by web; from 127.0.0.1"
    is_allowed, lines = ask(made(), b"x.example", 443, ["198.51.100.1"])
    assert not is_allowed
    assert lines[-1] == "denied by blocked: unreachable"


def test_a_name_without_an_address_is_not_reached(made: Any) -> None:
    explanation = Explanation(
        made(),
        Question(client="", target=Address(b"x.example", 443), listener="office", at=FRIDAY),
    )
    is_allowed, lines = explanation.answer((), "no answer")
    assert not is_allowed
    assert lines[0].startswith("connect x.example:443 from a UNIX socket, ")
    assert lines[1].split()[:2] == ["open", "blocked"]
    assert lines[-1] == "denied: unreachable, for there is no address (no answer)"


def test_the_address_that_the_client_has_reached_may_be_the_source(made: Any) -> None:
    _, lines = ask(made(), "1.1.1.1", 99)
    assert lines[-1] == "allowed by accepted; from the address that the client has reached"


def test_a_rule_without_a_source_of_the_family_dials_nobody(made: Any) -> None:
    text = FILE.replace('"10.20.0.0/16"', '["10.20.0.0/16", "2001:db8::/32"]')
    is_allowed, lines = ask(made(text), "2001:db8::1", 631, user="alice")
    assert not is_allowed
    assert (
        lines[-1]
        == "allowed by printers, but not dialled: it has no source of that address's family"
    )
    is_allowed, lines = ask(
        made(text), b"x.example", 631, ["2001:db8::1", "10.20.0.7"], user="alice"
    )
    assert is_allowed
    assert lines[-1] == "allowed by printers; from 127.0.0.1"


def test_what_can_be_no_name_is_told_without_rules(made: Any) -> None:
    is_allowed, lines = ask(made(), b"a b.example")
    assert not is_allowed
    assert lines[1:] == ["denied: unreachable"]


def test_what_may_be_told_is_judged_where_it_is_served(made: Any) -> None:
    asked: dict[str, Any] = {"command": Command.RESOLVE_PTR}
    is_allowed, lines = ask(made(), "1.1.1.1", **asked)
    assert (is_allowed, lines[1:]) == (False, ["denied: the proxy does not serve resolve-ptr"])
    serving = made(FILE.replace("[server]", '[server]\ncommands = ["resolve"]'))
    is_allowed, lines = ask(serving, "1.1.1.1", **asked)
    assert is_allowed
    assert lines[0].startswith("resolve-ptr 1.1.1.1:443 from ")
    is_allowed, lines = ask(serving, b"x.example", **asked)
    assert (is_allowed, lines[1:]) == (False, ["denied: resolve-ptr is for addresses"])
    asked["command"] = Command.RESOLVE
    is_allowed, lines = ask(serving, b"x.example", addresses=["10.20.0.7", "1.1.1.1"], **asked)
    assert (is_allowed, lines[-1].startswith("allowed by web")) == (True, True)


def test_an_association_is_judged_and_then_its_datagrams(made: Any) -> None:
    is_allowed, lines = ask(made(), "1.1.1.1", command=Command.UDP_ASSOCIATE)
    assert is_allowed
    assert lines[0].startswith("udp 1.1.1.1:443 from ")
    assert lines[-1].startswith("allowed by web")
    text = FILE.replace(
        "[[rule]]", '[[rule]]\nname = "tcp"\naction = "deny"\ncommands = "udp"\n[[rule]]', 1
    )
    is_allowed, lines = ask(made(text), "1.1.1.1", command=Command.UDP_ASSOCIATE)
    assert not is_allowed
    assert lines[-1] == "denied by tcp: not-allowed"


# ---------------------------------------------------------------- the door


def test_a_client_that_is_not_let_in_is_told_before_any_rule(made: Any) -> None:
    is_allowed, lines = ask(made(), "1.1.1.1", client="198.51.100.9")
    assert not is_allowed
    assert lines[1:] == ["denied: listener office lets in clients of 192.0.2.0/24 only"]
    assert ask(made(), b"x.example", client="198.51.100.9")[0] is False
    assert ask(made(), "1.1.1.1", client="")[0]


def test_a_login_that_is_not_accepted_is_told(made: Any) -> None:
    is_allowed, lines = ask(made(), "1.1.1.1", listener="road")
    assert not is_allowed
    assert lines[1:] == ["denied: listener road accepts password, not none"]
    assert ask(made(), "1.1.1.1", listener="road", user="alice")[0]
    assert ask(made(), "1.1.1.1", listener="road", user="alice", method="certificate")[0]


def test_what_the_proxy_never_does_is_told(made: Any) -> None:
    text = f'server.commands = "connect"\nserver.outgoing_family = "ipv4"\n{FILE}'
    text = text.replace("[server]\n", "", 1).replace('zone = "Eur', 'server.zone = "Eur', 1)
    text = text.replace('outgoing = ["127.0.0.1", "::1"]\n', "", 1)
    _, lines = ask(made(text), "1.1.1.1", command=Command.BIND)
    assert lines[1:] == ["denied: the proxy does not serve bind"]
    _, lines = ask(made(text), "2606:4700::1111")
    assert lines[1:] == ["denied: targets of this address family are not reached"]
    is_allowed, lines = ask(made(text), b"x.example", 443, ["2606:4700::1111", "1.1.1.1"])
    assert is_allowed
    assert [line for line in lines if line.startswith("address")] == ["address 1.1.1.1, as you say"]


@pytest.mark.parametrize(
    ("client", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("", "an unknown client")]
)
def test_a_client_that_a_balancer_names_is_not_local(made: Any, client: str, shown: str) -> None:
    text = 'listener.a = { address = "127.0.0.2", proxy_from = "127.0.0.1", open = true }\n'
    text += '[networks]\n[[rule]]\nname = "all"\naction = "allow"\n'
    is_allowed, lines = ask(made(text), "127.0.0.1", 80, listener="", client=client)
    assert not is_allowed
    assert lines[0].startswith(
        f"connect 127.0.0.1:80 from {shown} (as a balancer's PROXY header says), listener a, "
    )
    assert lines[-1] == "denied by builtin:guard: not-allowed"
    plain = text.replace('proxy_from = "127.0.0.1", ', "")
    assert ask(made(plain), "127.0.0.1", 80, listener="", client=client)[0]


# ---------------------------------------------------------------- without a listener or a rule


def test_an_empty_file_has_the_rules_that_are_always_there(made: Any) -> None:
    empty = made("")
    is_allowed, lines = ask(empty, "1.1.1.1", listener="")
    assert is_allowed
    assert lines == [
        "connect 1.1.1.1:443 from 192.0.2.9, method none",
        "  no   builtin:guard    guard: 1.1.1.1 is not kept from this client",
        "  yes  builtin:default  allow",
        "allowed by builtin:default",
    ]
    _, lines = ask(empty, "1.1.1.1", listener="", method="password")
    assert lines[-1] == "denied: the proxy accepts none, not password"
    assert ask(empty, "169.254.169.254", listener="")[0] is False


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_nobody_reaches_the_proxy_through_itself(made: Any, address: str) -> None:
    text = f'listener.all = {{ address = "{address}" }}\n[networks]\n[[rule]]\nname = "all"\naction = "allow"\n'
    text += 'networks = ["0.0.0.0/0", "::/0"]\nunguarded = true\n'
    for port, is_free in ((1080, False), (1081, True)):
        assert ask(made(text), address, port, listener="")[0] is is_free
    anywhere = text.replace(f'"{address}"', '"0.0.0.0", clients = "192.0.2.0/24"')
    assert ask(made(anywhere), address, 1080, listener="")[0] is False


@pytest.mark.parametrize(
    ("listener", "sentence"),
    [
        ("", "expected --listener as well, one of office, road"),
        ("raod", '--listener: there is no [listener.raod]; did you mean "road"?'),
        ("x", "--listener: there is no [listener.x]; there are office, road"),
    ],
)
def test_a_question_has_to_fit(made: Any, listener: str, sentence: str) -> None:
    with pytest.raises(Unanswerable) as raised:
        ask(made(), "1.1.1.1", listener=listener)
    assert str(raised.value) == sentence


def test_where_there_is_no_listener_none_is_named(made: Any) -> None:
    with pytest.raises(Unanswerable) as raised:
        ask(made(""), "1.1.1.1", listener="x")
    assert str(raised.value) == "--listener: there is no [listener.x]; there are none"


# ---------------------------------------------------------------- limits


def test_the_limits_of_a_session_are_named_with_what_they_say(made: Any) -> None:
    limited = """\
[limit]
uplink.total = "400Mbit/s"
guests = { per = "client", sessions = 50, new_sessions = "120/min", down = "2MiB/s" }
person = { per = "user", client_addresses = 3}
web.sessions = 7
[[rule]]
"""
    text = FILE.replace("[[rule]]\n", limited, 1)
    text = text.replace("[group]\n", '[group]\nothers = { members = "bob", limits = "web" }\n')
    text = text.replace(
        'members = ["alice", "bob"]', 'members = ["alice"]\nstaff.limits = "person"'
    )
    text = text.replace("staff.members", "staff.members", 1)
    whole = made(text)
    server = replace(whole.configuration.server, limits=("uplink",))
    office = replace(whole.configuration.listener["office"], limits=("guests", "uplink"))
    listeners = {**whole.configuration.listener, "office": office}
    web = replace(whole.configuration.rule[-1], limits=("web", "person"))
    configuration = replace(
        whole.configuration,
        server=server,
        listener=listeners,
        rule=(*whole.configuration.rule[:-1], web),
    )
    ruled = rules(configuration, Building(whole.document))
    whole = replace(whole, configuration=configuration, rules=ruled)
    _, lines = ask(whole, "1.1.1.1", user="alice")
    assert lines[-1] == (
        "allowed by web; from 127.0.0.1; limits: uplink (total 400Mbit/s), guests (50 sessions, 120/min new "
        "sessions, down 2MiB/s; per client), person (3 client addresses; per user), web (7 sessions)"
    )
    _, lines = ask(whole, "1.1.1.1", 99)
    assert lines[-1].endswith(
        "; limits: uplink (total 400Mbit/s), guests (50 sessions, 120/min new sessions, down 2MiB/s; per client)"
    )


def test_rules_that_only_report_are_named(made: Any) -> None:
    text = FILE.replace('name = "video"\n', 'name = "video"\nreport_only = true\n')
    is_allowed, lines = ask(made(text), b"a.video.example", 443, ["1.1.1.1"])
    assert is_allowed
    assert lines[-1] == "allowed by web; from 127.0.0.1; reported only: video"
    is_allowed, lines = ask(
        made(text.replace("web", "old").replace("@public", "10.0.0.0/8")), "1.1.1.1"
    )
    assert not is_allowed
    assert lines[-1] == "denied by builtin:default: not-allowed"
