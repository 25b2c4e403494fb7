"""The command line: what its options become, what is refused and with which words, what is served."""

import io
import re
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import pytest_twisted
from twisted.cred.error import LoginFailed
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from socks5.access import SessionInfo
from socks5.app import access_log
from socks5.app import assembly as plugin
from socks5.app.assembly import makeService
from socks5.app.config.document import Refused
from socks5.app.configured import Configured
from socks5.app.listeners import Listener
from socks5.app.option_table import ROWS
from socks5.app.options import Options
from socks5.app.rows import OptionRow
from socks5.app.service import ProxyService
from socks5.auth import User
from socks5.net.haproxy import HeaderFactory
from socks5.net.places import TCP, Listen
from socks5.policy.special import NETWORKS
from socks5.protocol.messages import Command, Credentials, Method
from socks5.protocol.networks import Networks
from socks5.settings import (
    Capacity,
    ListenerPolicy,
    OutgoingFamily,
    Settings,
)
from tests.support.certificates import self_signed
from tests.support.deferreds import outcome_of
from tests.support.options import asked, parse, refusal

pytestmark = pytest.mark.usefixtures("handlers")

# ---------------------------------------------------------------- what the options become


def test_without_options_the_settings_are_the_defaults() -> None:
    asked_for = asked()
    assert (asked_for.made.settings, asked_for.capacity) == (Settings(), Capacity())
    assert asked_for.listeners(None) == [
        Listener("127.0.0.1 port 1080", Listen(TCP(1080, "127.0.0.1"))),
        Listener("::1 port 1080", Listen(TCP(1080, "::1")), is_optional=True),
    ]


@pytest.mark.parametrize(
    "row", [row for row in ROWS.values() if row.default], ids=lambda row: row.name
)
def test_a_default_may_be_said(row: OptionRow) -> None:
    """Then nothing is different. What else an option is in a tree, :mod:`tests.app.config.test_options` has."""
    said, unsaid = (asked(*words).made for words in ([f"--{row.name}={row.default}"], []))
    assert (said.settings, said.capacity) == (unsaid.settings, unsaid.capacity)
    assert said.configuration.server == unsaid.configuration.server
    assert [each.name for each in said.listeners] == [each.name for each in unsaid.listeners]


def test_options_become_settings() -> None:
    words = "--commands=udp,bind --ban-time=1.5h --outgoing-family=ipv4 --udp-ports=40000 --max-sessions=10"
    found = asked(*words.split(), "--ban-exempt", "192.0.2.0/24", "--ban-exempt", "@private")
    private = Networks(NETWORKS["private"])
    assert found.made.settings == Settings(
        commands=frozenset({Command.UDP_ASSOCIATE, Command.BIND}),
        ban_time=5400.0,
        outgoing_family=OutgoingFamily.IPV4,
        udp_ports=(40000, 40000),
        ban_exempt=Networks.parse("192.0.2.0/24") | private,
    )
    assert found.capacity == Capacity(max_sessions=10)


# ---------------------------------------------------------------- what is refused

TIME_OR_OFF = 'expected a time, such as "30s" or "1h30m", or "off", got'

REFUSED = [
    *(
        (
            ["--bind-timeout", value],
            f'--bind-timeout: expected a time, such as "30s" or "1h30m", 100ms or more, got "{got}"',
        )
        for value, got in [
            ("0", "0s"),
            ("0.09", "0.09s"),
            *((each, each) for each in ("-1", "50ms", "off", "", "nan", "inf", "366d")),
        ]
    ),
    (["-p", "-1"], '--port: expected a whole number from 0 to 65535, got "-1"'),
    (["-p", "¹"], '--port: expected a whole number from 0 to 65535, got "¹"'),
    (["--ban-after", "-1"], '--ban-after: expected a whole number from 0 to 1000000, got "-1"'),
    (["--ban-time", "long"], f'--ban-time: {TIME_OR_OFF} "long"'),
    (
        ["--ban-exempt", "here"],
        '--ban-exempt: expected a network or @set, got "here"; names are another key',
    ),
    *(
        (["--idle-timeout", value], f'--idle-timeout: {TIME_OR_OFF} "{value}"')
        for value in ("-0.1", "never")
    ),
    *(
        (
            ["--keepalive", value],
            (
                '--keepalive: expected whole seconds, such as "30s" or "1h30m", 1s or more, 9h6m7s at the most, '
                f'or "off", got "{got}"'
            ),
        )
        for value, got in (
            ("0.5", "0.5s"),
            ("1h30m500ms", "1h30m500ms"),
            ("32768", "32768s"),
            ("soon", "soon"),
        )
    ),
    (["--workers", "0"], '--workers: expected a whole number from 1 to 1024 or "auto", got 0'),
    (["1080"], "expected options, each with -- before it, got '1080'"),
    (
        ["--max-sessions", "x"],
        '--max-sessions: expected a whole number from 1 to 10000000 or "auto", got "x"',
    ),
    *(
        (
            ["--udp-ports", text],
            f'--udp-ports: expected a port from 1 to 65535 or a range, such as "8000-8999", got "{text}"',
        )
        for text in ["", "-", "5-", "-5", "0-9", "1-65536", "a-b", "1-2-3", "¹-9"]
    ),
    (
        ["--udp-ports", "9-5"],
        (
            '--udp-ports: expected a port from 1 to 65535 or a range, such as "8000-8999", got "9-5"; did you '
            'mean "5-9"?'
        ),
    ),
    (
        ["--commands", "ping"],
        '--commands: expected "connect", "bind", "udp" or "resolve", got "ping"',
    ),
    (["--udp-pin", "mac"], '--udp-pin: expected "ip", "ip+port" or "announced", got "mac"'),
    (["--access-log", ""], '--access-log: expected a path, got ""'),
    (["--interface", "eth0"], '--interface eth0: expected an IP address, got "eth0"'),
    *(
        (
            ["--outgoing", "192.0.2.1", "--outgoing", "2001:db8::1", "--outgoing-family", family],
            (
                f"--outgoing: expected an address of the one family that --outgoing-family {family} leaves, "
                f'got "{address}"'
            ),
        )
        for family, address in (("ipv4", "2001:db8::1"), ("ipv6", "192.0.2.1"))
    ),
    (["--outgoing", "eth0"], '--outgoing: expected an IP address of this host, got "eth0"'),
    (["--advertise", "::"], '--advertise: expected an IP address of a host, got "::"'),
    (
        ["--outgoing", "192.0.2.1", "--outgoing", "192.0.2.2"],
        '--outgoing: expected one address a family, got also "192.0.2.2"',
    ),
    (
        ["--listen", "xyz:1"],
        (
            "--listen xyz:1: expected ADDRESS:PORT, such as 127.0.0.1:1080 or [::1]:1080, or a server "
            "endpoint of Twisted's: Unknown endpoint type: 'xyz'"
        ),
    ),
    (
        ["--listen", "tcp:1080:interface=::1"],
        (
            "--listen tcp:1080:interface=::1: expected ADDRESS:PORT, such as 127.0.0.1:1080 or "
            "[::1]:1080, or a server endpoint of Twisted's: got multiple values for argument 'interface'; a colon "
            r"inside a value needs a backslash, all in quotes: 'interface=\:\:1'"
        ),
    ),
    (
        ["--listen", r"HA\proxy:tcp:1080"],
        (
            r"--listen HA\proxy:tcp:1080: expected an endpoint without haproxy:, which believes the PROXY header of "
            "whoever connects; write --proxy-from"
        ),
    ),
    (
        ["--listen", "tls:7:cert=x:interface=proxy.example"],
        ("--listen tls:7:cert=x:interface=proxy.example: expected an IP address for interface"),
    ),
    (
        ["-l", "tcp:1080:interface=127.0.0.1", "-i", "127.0.0.1"],
        (
            "--interface does not go with --listen: expected it in the endpoint, "
            "tcp:PORT:interface=ADDRESS"
        ),
    ),
    (
        ["-i", "127.0.0.1", "-i", "127.0.0.1"],
        (
            '--interface 127.0.0.1: expected an address of its own on port 1080, got "127.0.0.1", which overlaps '
            '"127.0.0.1" of another listener'
        ),
    ),
    (
        ["--methods", "gss"],
        '--methods: expected "gssapi", "chap", "password" or "none", got "gss"; did you mean "gssapi"?',
    ),
    *(
        (["--methods", f"none,{method}"], f"--methods: expected {wanted}")
        for method, wanted in (
            ("gssapi", "--gssapi SERVICE as well, there is no keytab"),
            ("chap", "--auth secrets:FILE as well, there are no secrets"),
            ("password", "--auth TYPE:ARGS as well, there are no users"),
        )
    ),
    (
        ["--clients", "192.0.2.1/24"],
        '--clients: expected a network or @set, got "192.0.2.1/24"; did you mean "192.0.2.0/24", or "192.0.2.1"?',
    ),
    *(
        (
            ["--clients", f"192.0.2.0/24,{entry}"],
            (
                f'--clients: expected a network or a set that is built in, got "{entry}"; sets and lists of your own '
                "go with --config"
            ),
        )
        for entry in ("@office", "file:office")
    ),
    (["--clients", "@self"], "--clients: @self is only for rules"),
    *(
        (
            [*option, value],
            f"{option[0]}: expected --gssapi SERVICE as well, without it nobody is asked for a ticket",
        )
        for option, value in (
            (["--keytab"], "k"),
            (["--gssapi-protection"], "none"),
            (["--gssapi-local-realm"], "EXAMPLE.ORG"),
        )
    ),
    (["--gssapi", "a/b"], '--gssapi: expected SERVICE, SERVICE@HOST or any, got "a/b"'),
    (["--gssapi", "any", "--keytab", ""], '--keytab: expected a path, got ""'),
    (
        ["--gssapi", "any", "--keytab", "/nosuch"],
        (
            "--keytab: expected a file that can be read, got /nosuch (No such file or directory); make it with kadmin: "
            "ktadd -k FILE SERVICE/HOST, and let only the proxy's user read it"
        ),
    ),
    (
        ["--gssapi", "any", "--gssapi-protection", "privacy"],
        '--gssapi-protection: expected "none", "integrity" or "confidentiality", got "privacy"',
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_what_is_wrong_is_one_sentence(arguments: Sequence[str], sentence: str) -> None:
    assert refusal(*arguments) == sentence


def test_several_things_that_are_wrong_are_a_sentence_each() -> None:
    with pytest.raises(Refused) as raised:
        asked(
            "--idle-timeout", "soon", "--keytab", "/nosuch", "--ban-after", "x", "--gssapi", "a b"
        )
    assert [str(each).partition(":")[0] for each in raised.value.problems] == [
        "--ban-after",
        "--gssapi",
        "--idle-timeout",
    ]


# ---------------------------------------------------------------- open by mistake

AUTH = ["--auth", "memory:alice:secret"]
B, OUTSIDE = ["-i", "127.0.0.2"], ["-i", "192.0.2.1"]
CLIENTS = ["--clients", "192.0.2.0/24"]
ANY = "--auth TYPE:ARGS, so that users log in (see --help-auth, or --gssapi for Kerberos)"
PASSWORD = "--methods password, so that users log in"


@pytest.mark.parametrize(
    ("arguments", "place", "login"),
    [
        ([*B, "-i", "2001:db8::1"], "--interface 2001:db8::1: ", ANY),
        (["-l", "tcp:1:interface=127.0.0.1", "-l", "tcp:1081"], "--listen tcp:1081: ", ANY),
        ([*B, *CLIENTS, *OUTSIDE], "--interface 192.0.2.1: ", ANY),
        ([*OUTSIDE, "--clients", "192.0.2.0/24,0.0.0.0/0"], "--interface 192.0.2.1: ", ANY),
        (["--proxy-from", "127.0.0.1"], "--proxy-from: ", ANY),
        (["-l", "unix:proxy.sock", "--proxy-from", "::1"], "--listen unix:proxy.sock: ", ANY),
        ([*AUTH, "--methods", "none", *OUTSIDE], "--interface 192.0.2.1: ", PASSWORD),
        ([*AUTH, *OUTSIDE, "--methods", "none", *B], "--interface 192.0.2.1: ", PASSWORD),
    ],
)
def test_what_others_can_reach_needs_a_decision(
    arguments: Sequence[str], place: str, login: str
) -> None:
    sentence = refusal(*arguments)
    by = ", for --proxy-from brings them in" if "--proxy-from" in arguments else ""
    assert sentence == (
        f"{place}others than this machine could reach it{by}, and the proxy would serve anyone. Choose one: {login}; "
        "--clients NETWORK behind it, so that only those networks come in; or --open, if that is what you want"
    )
    asked(*arguments, "--open")


@pytest.mark.parametrize(
    "arguments",
    [
        [*B, "-i", "::1"],
        ["-l", "unix:proxy.sock"],
        [*AUTH, *OUTSIDE],
        ["--proxy-from", "192.0.2.9", *CLIENTS],
        [*OUTSIDE, *CLIENTS, *B],
        [*AUTH, *OUTSIDE, "--methods", "none", *CLIENTS],
        [*AUTH, *OUTSIDE, *B, "--methods", "none"],
    ],
)
def test_what_some_may_use_or_only_this_machine_reaches_is_served(arguments: list[str]) -> None:
    asked(*arguments)


def test_certificates_that_are_required_are_a_login(tmp_path: Path) -> None:
    """Which is said to a listener for TLS alone."""
    pem = self_signed(tmp_path)
    tls = f"tls:1443:cert={pem}"
    asked("--listen", f"{tls}:interface=localhost:clients={pem}", "--proxy-from", "127.0.0.1")
    hint = "; clients=FILE in it, so that certificates are required; --clients"
    assert hint in refusal("--listen", tls)


def test_what_cannot_be_had_is_the_only_thing_that_is_wrong() -> None:
    assert refusal("--auth", "file:/nonexistent", *OUTSIDE).startswith("--auth file: ")


def test_an_operator_calls_a_listener_as_he_has_said() -> None:
    """And options hold for the listener before them, or for all."""
    found = asked("-p", "7", "--clients", "::1", *B, *CLIENTS, "-i", "127.0.0.3").listeners(None)
    policies = [ListenerPolicy(clients=Networks.parse(each)) for each in (CLIENTS[1], "::1")]
    assert found == [
        Listener("127.0.0.2 port 7", Listen(TCP(7, "127.0.0.2"), None, policies[0])),
        Listener("127.0.0.3 port 7", Listen(TCP(7, "127.0.0.3"), None, policies[1])),
    ]
    [plain] = asked("--listen", "tcp:0:interface=dhcp.example:backlog=5", "--open").listeners(None)
    assert plain.name == "tcp:0:interface=dhcp.example:backlog=5"
    assert plain.at.policy == ListenerPolicy()


# ---------------------------------------------------------------- authentication


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are as they were: one that has just changed is looked at again in a thread."""
    monkeypatch.setattr("socks5.auth.files.SETTLED", 0.0)


def is_let_in(found: Configured, name: bytes, password: bytes) -> bool:
    authenticator = found.made.logins.authenticator
    assert authenticator is not None
    login = authenticator.authenticate(Credentials(name, password), "192.0.2.7")
    outcome = outcome_of(login)
    return bool(outcome.name) if isinstance(outcome, User) else not outcome.trap(LoginFailed)


def test_who_has_a_login_comes_in_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several sources each counts, whatever octets were typed, and a file wherever the service runs."""
    (tmp_path / "users.txt").write_bytes(b"bob:correct horse: battery\n\xff:\xfe\xfd\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    typed = "memory:alice:secret:zo\xeb:\udcff\udcfe"  # as Python has octets that are no UTF-8
    options = asked("--auth", typed, "--auth", "file:users.txt")
    monkeypatch.chdir("/")
    assert is_let_in(asked("--auth", "file:~/users.txt"), b"\xff", b"\xfe\xfd")
    assert "secret" not in repr(options.made)
    assert is_let_in(options, b"alice", b"secret")
    assert is_let_in(options, "zo\xeb".encode(), b"\xff\xfe")
    assert is_let_in(options, b"bob", b"correct horse: battery")
    assert is_let_in(options, b"\xff", b"\xfe\xfd")
    for name, password in [(b"bob", b"secret"), (b"bob", b"correct horse"), (b"carol", b"secret")]:
        assert not is_let_in(options, name, password)
    assert not is_let_in(asked("--auth", "memory"), b"", b"")


WRONG_AUTH = [
    (
        "nosuch:x",
        (
            "--auth: expected a type of file, htpasswd, ldap, memory, pam, secrets, unix (see --help-auth), "
            "got 'nosuch'"
        ),
    ),
    (
        "memory:alice:secret:bob",
        "--auth memory: expected NAME:PASSWORD:NAME:PASSWORD, a password for each name",
    ),
    *(
        (
            f"memory:{each}",
            "--auth memory: expected NAME:PASSWORD:NAME:PASSWORD, and none of them empty",
        )
        for each in (":secret", "alice:", "alice:secret:bob:")
    ),
    ("file", '--auth file: expected a path, got ""'),
    ("htpasswd:/nonexistent:groups=", '--auth htpasswd: expected a path, got ""'),
    ("pam", '--auth pam: expected the name of a service that has a file in /etc/pam.d, got ""'),
    (
        "file:/nonexistent",
        (
            "--auth file: expected a file that can be read, got '/nonexistent' "
            "(No such file or directory); check its name and mode"
        ),
    ),
    ("anonymous", "--auth anonymous: expected a type for user names and passwords"),
]


@pytest.mark.parametrize(("description", "sentence"), WRONG_AUTH)
def test_a_wrong_source_of_users_is_one_sentence_without_passwords(
    description: str, sentence: str
) -> None:
    assert refusal("--auth", description) == sentence


def warnings_of(*arguments: str) -> list[str]:
    """What is logged as the service is made."""
    with capturedLogs() as events:
        makeService(parse(*arguments), reactor)
    return [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]


def test_passwords_on_the_command_line_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: workers say nothing."""
    [warning] = warnings_of("--auth", "memory:alice:secret")
    assert warning.startswith(
        "--auth memory: every user of this machine can read these passwords in the list of processes"
    )
    assert "htpasswd:FILE" in warning
    assert "credential=NAME" in warning
    assert "secret" not in warning
    worker = SimpleNamespace(
        number=1, sockets=[], output=1, ports=1, channel_to_parent=lambda reactor: Mock()
    )
    monkeypatch.setattr(plugin, "share_ports", lambda *arguments: None)
    monkeypatch.setattr(plugin.OwnPorts, "inherited", lambda *arguments: None)
    monkeypatch.setattr("socks5.app.inherit.Worker.from_environment", lambda: worker)
    assert warnings_of("--auth", "memory:alice:secret", "--access-log", "x") == []


def test_a_file_without_its_type_is_understood_but_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    assert "did you mean" not in refusal("--auth", str(path))
    path.write_text("")
    assert refusal("--auth", str(path)).endswith(f"; did you mean htpasswd:{path}?")


@pytest.fixture
def secrets(tmp_path: Path) -> str:
    """The value of ``--auth`` for a file of secrets."""
    (tmp_path / "secrets").touch(0o600)
    (tmp_path / "secrets").write_text("alice:correct horse\n")
    return f"secrets:{tmp_path}/secrets"


def test_what_is_hardly_meant_is_warned_of(secrets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [warning] = warnings_of("--outgoing", "192.0.2.1")
    assert warning.startswith("--outgoing: no address of this machine now, got 192.0.2.1;")
    [warning] = warnings_of("--auth", secrets, "--methods", "none")
    assert warning == "--auth secrets: no listener asks for it: see --methods"
    assert warnings_of("--auth", secrets, "--methods", "none,chap", "--outgoing", "::1") == []
    monkeypatch.setattr("socks5.app.config.build.sources_beside_dns", lambda: ["mdns4_minimal"])
    [warning] = warnings_of()
    assert warning.startswith("nsswitch.conf names mdns4_minimal for hosts, which are not asked; ")
    assert warning.endswith("--resolver system asks them")


def test_the_sources_of_users_are_listed_and_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for words in (["--help-auth"], ["--help-auth-type", "file"]):
        monkeypatch.setattr(Options, "authOutput", output := io.StringIO())
        with pytest.raises(SystemExit) as raised:
            parse(*words)
        assert raised.value.code == 0
        texts.append(output.getvalue())
    types = {line.split()[0] for line in texts[0].splitlines() if line.startswith("  ")}
    assert {"memory", "file"} <= types
    assert "anonymous" not in types
    assert "'username:password'" in texts[1]
    sentence = "--help-auth-type: expected one of file, htpasswd, ldap, memory, pam, secrets, unix, got 'x'"
    assert refusal("--help-auth-type", "x") == sentence


# ---------------------------------------------------------------- the access log


def sit_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard output is one, or says so."""
    stdout = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(access_log, "sys", SimpleNamespace(stdout=stdout))


TEXT, JSON = r"20.*#1 192\.0\.2\.7:4000 no request up 0 down 0 0\.000 s: idle\n", "{.*}\n"
FORM = "--access-log-format"


@pytest.mark.parametrize(
    ("is_terminal", "arguments", "on_output", "in_file"),
    [
        (True, [], TEXT, ""),
        (True, [FORM, "json"], JSON, ""),
        (False, [], "", ""),
        (False, [FORM, "text"], "", ""),
        (False, ["--access-log", "-"], JSON, ""),
        (False, ["--access-log", "-", FORM, "text"], TEXT, ""),
        (True, ["--access-log", "file"], "", JSON),
        (True, ["--access-log", "file", FORM, "json"], "", JSON),
        (True, ["--access-log", "file", FORM, "text"], "", TEXT),
    ],
)
def test_a_terminal_gets_readable_lines_a_file_json_unless_told_otherwise(
    is_terminal: bool,
    arguments: list[str],
    on_output: str,
    in_file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if is_terminal:
        sit_at_a_terminal(monkeypatch)
    monkeypatch.chdir(tmp_path)
    log = asked(*arguments).access_log(Clock())
    if log is not None:
        log.write(SessionInfo(1, "192.0.2.7:4000", reason="idle"))
        log.close()
    file = tmp_path / "file"
    assert re.fullmatch(on_output, capfd.readouterr().out)
    assert re.fullmatch(in_file, file.read_text() if file.exists() else "")


def under_twistd(is_daemon: bool, *arguments: str) -> Any:
    """The service, with a memory's reactor."""
    options = Options()
    options.parent = {"nodaemon": not is_daemon}  # type: ignore[assignment]
    options.parseOptions(arguments)
    return makeService(options, MemoryReactorClock())


def test_a_daemon_has_no_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what is wrong is said without all the options that ``twistd`` would show."""
    sit_at_a_terminal(monkeypatch)
    assert under_twistd(True).access_log is None
    assert under_twistd(False).access_log is not None
    under_twistd(False, "--access-log", "-")
    for words, sentence in (
        (["--access-log", "-"], "--access-log: expected a file, for a daemon has no output"),
        (["--port"], "--port: expected PORT behind it"),
    ):
        with pytest.raises(SystemExit) as raised:
            under_twistd(True, *words)
        assert raised.value.code == 2
        assert capsys.readouterr() == ("", f"socks5: {sentence}\n")


# ---------------------------------------------------------------- the service


@pytest.fixture(autouse=True)
def raised(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """How often the limit of open files was raised; the real one stays."""
    calls: list[None] = []
    monkeypatch.setattr(plugin, "raise_descriptor_limit", lambda: calls.append(None))
    return calls


def served(*arguments: str, reactor: Any = None) -> ProxyService:
    service = makeService(parse(*arguments), reactor)
    assert isinstance(service, ProxyService)
    return service


@pytest_twisted.ensureDeferred
async def test_the_service_hears_balancers_on_the_interface_where_it_is_told_to() -> None:
    options = ["-p", "0", "-i", "127.0.0.2", "--proxy-from", "192.0.2.9", "-i", "127.0.0.3"]
    service = served(*options, "--open", reactor=reactor)
    service.privilegedStartService()
    assert [port.getHost().host for port in service.ports] == ["127.0.0.2", "127.0.0.3"]
    behind, plain = (port.port.factory for port in service.ports)
    assert isinstance(behind, HeaderFactory)
    assert behind.wrappedFactory.policy.proxies == Networks.parse("192.0.2.9")
    assert plain is service.factory
    await service.stopService()


def test_the_service_has_the_settings_the_users_and_the_access_log(
    tmp_path: Path, raised: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the limit of open files is raised first."""
    monkeypatch.setattr("resource.getrlimit", lambda which: (1032, 1032) if raised else (132, 132))
    free = served().factory
    assert (free.limit.maximum, [*free.in_force.methods]) == (500, [Method.NO_AUTHENTICATION])
    path, clock = tmp_path / "access.log", Clock()
    options = ["--max-sessions", "3", "--auth", "memory:alice:secret", "--access-log", str(path)]
    factory = served(*options, reactor=clock).factory
    assert factory.limit.maximum == 3
    assert [*factory.in_force.methods] == [Method.USERNAME_PASSWORD]
    assert factory.access_log is not None
    factory.access_log.write(SessionInfo(1, "192.0.2.7:4000"))
    clock.advance(1)
    assert path.read_text().startswith("{")


# ---------------------------------------------------------------- the reactor


@pytest.mark.parametrize(
    ("is_installed", "has_epoll", "installs"),
    [(False, True, 1), (True, True, 0), (False, False, 0)],
)
def test_a_reactor_is_installed_where_there_is_none(
    is_installed: bool, has_epoll: bool, installs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process has one in any case: only what would be done is looked at."""
    installed: list[int] = []
    monkeypatch.setattr("socks5.net.reactor.install", lambda: installed.append(1))
    if not is_installed:
        monkeypatch.delitem(sys.modules, "twisted.internet.reactor")
    if not has_epoll:
        monkeypatch.delattr(select, "epoll")
    assert plugin.this_reactor() is reactor
    assert len(installed) == installs
