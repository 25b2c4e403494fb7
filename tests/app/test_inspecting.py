"""``socks5 check``, ``explain``, ``print-config`` and ``schema``: what they print, and with which status."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError

from socks5.app import console, inspecting
from socks5.app.config.build import build
from socks5.app.config.document import load
from socks5.app.config.schema import SHIPPED
from tests.support.options import asked
from tests.support.reactor import BeginningReactor

GOOD = """\
server.outgoing_family = "ipv4"
[listener.main]
address = "127.0.0.1"
"""

RULES = """\
[[rule]]
name = "video"
action = "deny"
names = ".video.example"
[[rule]]
name = "web"
action = "allow"
networks = "@public"
"""

WRONG = """\
server.workers = "3"
[listener.main]
adress = "127.0.0.1"
address = "127.0.0.1"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one has files."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("good", GOOD), ("wrong", WRONG), ("rules", GOOD + RULES)):
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


class Ran:
    """What a command has printed, and its status."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        self.status = 0
        try:
            console.main(words)
        except SystemExit as end:
            self.status = int(end.code or 0)
        self.output, self.errors = capsys.readouterr()

    @property
    def lines(self) -> list[str]:
        return self.output.splitlines()


LISTED = """\
names.s = { entries = "file:names" }
[listener.main]
address = "127.0.0.1"
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["check"], "names:1: names.s: expected a name or .suffix"),
        (["print-config"], "[names.s]"),
        (["explain", "--client=::1", "--to=192.0.2.1:80"], "names:1: names.s: expected a name or .suffix"),
    ],
)  # fmt: skip
def test_what_can_be_read_once_will_do(
    words: list[str], line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no folder; paths are relative to the current one."""
    (folder / "names").write_text("a b\n")
    reading, writing = os.pipe()
    with open(reading, "rb"):
        with open(writing, "w") as end:
            end.write(LISTED)
        ran = Ran(capsys, *words, f"/dev/fd/{reading}")
    assert any(each.startswith(line) for each in (ran.output + ran.errors).splitlines())


def test_the_proxy_itself_wants_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(folder / "pipe")
    for words in (["run", "--config", "pipe"], ["quota", "pipe"]):
        ran = Ran(capsys, *words)
        assert (
            "pipe: expected a file that can be read (Not a regular file), and again for a reload; check, explain and "
            "print-config take a pipe\n"
        ) in ran.errors


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["check"], "check: expected one FILE, got 0 words"),
        (["check", "a", "b"], "check: expected one FILE, got 2 words"),
        (["check", "--jsn", "a"], "check: --jsn: there is no such option; did you mean --json?"),
        (["schema", "x"], "schema: expected no words"),
        (["print-config", "a", "b"], "print-config: expected one FILE, got 2 words"),
        (
            ["print-config", "--port", "x"],
            'print-config: --port: expected a whole number from 0 to 65535, got "x"',
        ),
        (
            ["print-config", "--auth", "memory:alice:hunter2"],
            (
                "print-config: --auth memory: expected users in a file, for what is shown here may hold "
                "no password; make one with socks5 passwd"
            ),
        ),
        (["explain", "good.toml"], "explain: expected --client as well"),
        (["explain", "good.toml", "--client", "::1"], "explain: expected --to as well"),
        (
            ["explain", "good.toml", "--client", "x"],
            'explain: --client: expected an IP address, got "x"',
        ),
        *(
            (
                ["explain", "good.toml", "--client=::1", "--to", to],
                (
                    "explain: --to: expected HOST:PORT, such as example.com:443 or "
                    f"[2001:db8::1]:443, got {to!r}"
                ),
            )
            for to in ("example.com", ":80", "example.com:", "example.com:65536")
        ),
        (
            ["explain", "good.toml", "--client=::1", "--to=::1:80", "--command", "ping"],
            'explain: --command: expected "connect", "bind", "udp", "resolve" or "resolve-ptr", got "ping"',
        ),
        (
            ["explain", "good.toml", "--client=::1", "--to=::1:80", "--at", "noon"],
            "explain: --at: expected a time, such as 2026-11-27T10:05, got 'noon'",
        ),
        (
            ["explain", "good.toml", "--client=::1", "--to=::1:80", "--at", "2026-11-27T10:05"],
            "explain: --at: expected an offset as well, such as 2026-11-27T10:05:00+01:00, for the file has no zone",
        ),
        (
            ["explain", "good.toml", "--client=::1", "--to=::1:80", "--listener=x"],
            "explain: --listener: there is no [listener.x]; there are main",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(
    words: Sequence[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, *words)
    assert (ran.status, ran.output, ran.errors) == (2, "", f"socks5: {sentence}\n")


@pytest.mark.parametrize("name", [each for each in console.COMMANDS if each != "run"])
def test_each_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, name, "-h")
    assert ran.status == 0
    assert ran.output.startswith(f"Usage: socks5 {name}")
    assert [line for line in ran.lines if len(line) > 80] == []


# ---------------------------------------------------------------- check


def test_a_good_file_is_good(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "check", "--strict", "good.toml")
    assert (ran.status, ran.output, ran.errors) == (0, "nothing is wrong\n", "")


def test_all_that_is_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "check", "wrong.toml")
    assert ran.status == 1
    assert ran.lines == [
        (
            'wrong.toml:1:18: server.workers: expected a whole number from 1 to 1024 or "auto", got "3"; '
            "write 3, without quotes"
        ),
        'wrong.toml:3:1: listener.main.adress: unknown key; did you mean "address"?',
        "2 errors",
    ]


def test_what_is_hardly_meant_is_no_error_unless_one_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = Ran(capsys, "check", "rules.toml")
    assert ran.status == 0
    [line, count] = ran.lines
    assert line.startswith('rules.toml:7:9: warning: rule "video": names: ')
    assert count == "1 warning"
    assert Ran(capsys, "check", "rules.toml", "--strict").status == 1


def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(Ran(capsys, "check", "--json", "wrong.toml").output)
    assert found["warnings"] == []
    assert found["errors"][1] == {
        "file": "wrong.toml",
        "line": 3,
        "column": 1,
        "key": "listener.main.adress",
        "text": 'unknown key; did you mean "address"?',
    }
    [warning] = json.loads(Ran(capsys, "check", "--json", "rules.toml").output)["warnings"]
    assert warning["key"] == 'rule "video": names'


# ---------------------------------------------------------------- print-config


@pytest.mark.parametrize("words", [["good.toml"], ["--config", "good.toml"]])
def test_a_file_is_shown(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "print-config", *words)
    assert ran.status == 0
    assert 'outgoing_family = "ipv4"' in ran.lines
    assert "# port: 1080" in ran.lines


def test_what_is_wrong_with_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "print-config", "wrong.toml")
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors.endswith("\n2 errors\n")


COMMAND_LINES = [
    [],
    ["-i", "127.0.0.1", "-p", "7"],
    ["--listen", "127.0.0.1:1080", "--methods", "none", "--listen", "127.0.0.1:1081", "--open"],
    ["--clients", "192.0.2.0/24,::1", "-l", "0.0.0.0:1", "-l", "[::1]:2", "--clients", "::1"],
    ["-l", "127.0.0.1:1", "--proxy-from", "192.0.2.0/24", "--open"],
    ["--auth", "file:users", "-l", "0.0.0.0:1", "-l", "127.0.0.1:2", "--methods", "none,password"],
    ["--idle-timeout", "0", "--keepalive", "0", "--ban-time", "0", "--ban-after", "0"],
    ["--idle-timeout", "2h", "--keepalive", "90", "--ban-time", "5m", "--handshake-timeout", "1.5"],
    [
        "--udp-ports",
        "4000-4099",
        "--udp-pin",
        "announced",
        "--udp-filtering",
        "endpoint-independent",
    ],
    ["--commands", "udp", "--outgoing", "127.0.0.1", "--outgoing-family", "prefer-ipv6"],
    ["--advertise", "192.0.2.1", "--advertise", "2001:db8::1", "--ban-exempt", "192.0.2.0/24"],
    ["--max-sessions", "9", "--max-sessions-wait", "3", "--handshakes-per-client", "8"],
    ["--waiting-per-client", "0", "--resolver", "system", "--max-associations", "4"],
    ["--workers", "2", "--udp-targets", "5", "--request-timeout", "9", "--access-log", "log"],
]


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_options_and_the_file_that_is_shown_of_them_mean_the_same(
    words: Sequence[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "users").write_text("alice:correct horse\n")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    file = elsewhere / "shown.toml"
    file.write_text(Ran(capsys, "print-config", *words).output)
    made, options = build(load(str(file))), asked(*words).made
    assert made.settings == options.settings
    assert made.capacity == options.capacity
    unnamed = [  # a file's may get a name by a reload
        replace(each.at, policy=replace(each.at.policy, name="", may_change=False))
        for each in made.listeners
    ]
    assert unnamed == [each.at for each in options.listeners]
    assert made.logins.accepted == options.logins.accepted
    assert made.configuration.server == options.configuration.server


def test_options_that_mean_nothing_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "print-config", "--auth", "file:nosuch", "-i", "0.0.0.0")
    assert ran.status == 2
    assert ran.errors.startswith(
        "socks5: print-config: --auth file: expected a file that can be read, got "
    )


def test_a_help_is_there_among_options(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "print-config", "--port", "7", "--help")
    assert ran.output.startswith("Usage: socks5 print-config FILE\n       socks5 print-config [OPT")
    assert "--port PORT" in ran.output


def test_the_schema_is_the_shipped_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert Ran(capsys, "schema").output == SHIPPED.read_text()


# ---------------------------------------------------------------- explain

QUESTION = ["explain", "rules.toml", "--client", "192.0.2.9", "--to"]


def test_the_status_says_whether_it_may(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, *QUESTION, "x.example:443", "--address", "1.1.1.1")
    assert (ran.status, ran.errors) == (0, "")
    assert "address 1.1.1.1, as you say" in ran.lines
    assert ran.lines[-1] == "allowed by web"
    ran = Ran(capsys, *QUESTION, "a.video.example:443")
    assert (ran.status, ran.errors) == (1, "")
    assert ran.lines[-1] == "denied by video: not-allowed"
    assert Ran(capsys, "explain", "wrong.toml", *QUESTION[2:], "[::1]:80").status == 2


def test_a_question_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(
        capsys,
        "explain",
        "rules.toml",
        *("--client", "unix", "--to", "[::ffff:1.1.1.1]:53", "--command", "udp"),
        *("--user", "alice", "--groups", "staff,guests", "--listener", "main", "--method", "9"),
        *("--at", "2026-11-27T10:05+01:00"),
    )
    assert ran.status == 0
    assert ran.lines[0].startswith(
        "udp 1.1.1.1:53 for alice (groups: guests, staff) from a UNIX socket, listener main, method 9"
    )


def resolved(
    outcome: Deferred[Sequence[str]], reactor: BeginningReactor, monkeypatch: pytest.MonkeyPatch
) -> inspecting.Found:
    """What a name leads to where its lookup has that outcome."""

    class Resolver:
        def __init__(self, asking: object, settings: object, capacity: object) -> None:
            assert asking is reactor

        def resolve(self, name: bytes, client: str) -> Deferred[Sequence[str]]:
            assert (name, client) == (b"x.example", "192.0.2.9")
            return outcome

    monkeypatch.setattr(inspecting, "this_reactor", lambda: reactor)
    monkeypatch.setattr(inspecting, "Resolver", Resolver)
    made = build(load("good.toml"), is_only_looking=True)
    found = inspecting.resolve(made, b"x.example", "192.0.2.9")
    assert reactor.stops == 1
    return found


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (succeed(["2001:db8::1", "192.0.2.1"]), (["2001:db8::1", "192.0.2.1"], "resolved now")),
        (fail(DNSLookupError("no address found")), ((), "DNS lookup failed: no address found")),
    ],
)
def test_a_name_is_resolved_as_the_proxy_would(
    outcome: Deferred[Sequence[str]],
    expected: tuple[Sequence[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert resolved(outcome, BeginningReactor(), monkeypatch) == expected


def test_who_interrupts_a_lookup_sees_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor in the turn in which it ends: the reactor is stopped by then."""
    with pytest.raises(SystemExit) as caught:
        resolved(Deferred(), BeginningReactor(), monkeypatch)
    assert caught.value.code == 130
    stopped = BeginningReactor()
    stopped.stop()
    assert resolved(succeed(["192.0.2.1"]), stopped, monkeypatch)[0] == ["192.0.2.1"]


def test_what_is_resolved_is_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*QUESTION[1:], "x.example:443"]
    inspecting.explain(arguments, lambda made, name, client: (["1.1.1.1"], "resolved now"))
    assert "address 1.1.1.1, resolved now" in capsys.readouterr().out
    with pytest.raises(SystemExit) as raised:
        inspecting.explain(arguments, lambda made, name, client: ((), "DNS lookup failed"))
    assert raised.value.code == 1
