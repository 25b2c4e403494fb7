"""The command line: what every option becomes, what is refused and with which words, what is served."""

import io
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.error import LoginFailed
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python import usage

from socks5.access import SessionInfo
from socks5.app import assembly as plugin
from socks5.app import options as tap
from socks5.app.assembly import makeService
from socks5.app.options import Options
from socks5.app.service import ProxyService
from socks5.net.haproxy import HeaderFactory
from socks5.protocol.messages import Command, Credentials, Method
from socks5.protocol.networks import Networks
from socks5.settings import NameSource, OutgoingFamily, PerFamily, Settings, UDPFiltering, UDPPin
from tests.support.values import settings_and_capacity


def parse(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(arguments)
    return options


def refusal(*arguments: str) -> str:
    """The one sentence that these options are refused with."""
    with pytest.raises(usage.UsageError) as raised:
        parse(*arguments)
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence


# ---------------------------------------------------------------- what the options become


def test_without_options_the_settings_are_the_defaults() -> None:
    assert parse().settings == Settings()


SETTINGS = [
    (["--commands", "connect"], {"commands": frozenset({Command.CONNECT})}),
    (["--commands", "udp,bind"], {"commands": frozenset({Command.UDP_ASSOCIATE, Command.BIND})}),
    (["--outgoing", "192.0.2.1"], {"outgoing": PerFamily("192.0.2.1", None)}),
    (
        ["--outgoing", "2001:db8::1", "--outgoing", "192.0.2.1"],
        {"outgoing": PerFamily("192.0.2.1", "2001:db8::1")},
    ),
    *(
        (["--outgoing-family", family.value], {"outgoing_family": family})
        for family in OutgoingFamily
    ),
    (
        ["--outgoing-family", "ipv4", "--outgoing", "192.0.2.1"],
        {"outgoing_family": OutgoingFamily.IPV4, "outgoing": PerFamily("192.0.2.1")},
    ),
    (["--advertise", "203.0.113.7"], {"advertise": PerFamily("203.0.113.7", None)}),
    (
        ["--advertise", "203.0.113.7", "--advertise", "2001:db8::7"],
        {"advertise": PerFamily("203.0.113.7", "2001:db8::7")},
    ),
    (["--udp-ports", "40000-40099"], {"udp_ports": (40000, 40099)}),
    (["--udp-ports", "40000"], {"udp_ports": (40000, 40000)}),
    (["--udp-ports", "1-65535"], {"udp_ports": (1, 65535)}),
    (["--udp-pin", "ip+port"], {"udp_pin": UDPPin.IP_PORT}),
    (["--udp-pin", "announced"], {"udp_pin": UDPPin.ANNOUNCED}),
    (
        ["--udp-filtering", "endpoint-independent"],
        {"udp_filtering": UDPFiltering.ENDPOINT_INDEPENDENT},
    ),
    (["--handshake-timeout", "1"], {"handshake_timeout": 1.0}),
    (["--request-timeout", "300"], {"request_timeout": 300.0}),
    (["--ban-after", "0"], {"ban_after": 0}),
    (["--ban-time", "0"], {"ban_time": 0.0}),
    (["--ban-exempt", "192.0.2.0/24"], {"ban_exempt": Networks.parse("192.0.2.0/24")}),
    (
        ["--ban-exempt", "192.0.2.0/24,2001:db8::/32", "--ban-exempt", "198.51.100.7"],
        {"ban_exempt": Networks.parse("192.0.2.0/24,2001:db8::/32,198.51.100.7")},
    ),
    (["--resolve-timeout", "0.5"], {"resolve_timeout": 0.5}),
    (["--resolver", "system"], {"resolver": NameSource.SYSTEM}),
    (["--connect-timeout", "0.1"], {"connect_timeout": 0.1}),
    (["--idle-timeout", "0"], {"idle_timeout": 0.0}),
    (["--idle-timeout", "7440"], {"idle_timeout": 7440.0}),
    (["--keepalive", "0"], {"keepalive": 0}),
    (["--keepalive", "32767"], {"keepalive": 32767}),
    (["--linger-timeout", "60"], {"linger_timeout": 60.0}),
    (["--bind-timeout", "5"], {"bind_timeout": 5.0}),
    (["--udp-idle-timeout", "120"], {"udp_idle_timeout": 120.0}),
    (["--udp-targets", "100"], {"udp_targets": 100}),
    (["--max-associations", "10"], {"associations_per_client": 10}),
    (["--max-sessions", "10"], {"max_sessions": 10}),
    (["--max-sessions-wait", "2.5"], {"max_sessions_wait": 2.5}),
    (["--handshakes-per-client", "8"], {"handshakes_per_client": 8}),
    (["--waiting-per-client", "0"], {"waiting_per_client": 0}),
]


@pytest.mark.parametrize(("arguments", "values"), SETTINGS)
def test_an_option_becomes_a_setting(arguments: Sequence[str], values: dict[str, Any]) -> None:
    options = parse(*arguments)
    assert (options.settings, options.capacity) == settings_and_capacity(**values)


def test_every_setting_of_an_option_is_tried_above() -> None:
    tried = {arguments[0].removeprefix("--") for arguments, _ in SETTINGS}
    elsewhere = {
        "port",
        "interface",
        "listen",
        "methods",
        "clients",
        "proxy-from",
        "open",
        "workers",
        "access-log",
        "access-log-format",
        "gssapi",
        "keytab",
        "gssapi-protection",
        "gssapi-local-realm",
    }
    twisted = {"auth", "help-auth", "help-auth-type", "help", "version"}
    assert tried | elsewhere | twisted == {name.rstrip("=") for name in Options().longOpt}


def test_the_log_says_whose_names_are_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    monkeypatch.setattr(tap, "sources_beside_dns", lambda: ["mdns4_minimal", "ldap"])
    parse("--resolver", "system").warn()
    assert log == []
    parse().warn()
    [line] = log
    assert "mdns4_minimal, ldap" in line
    assert "--resolver system" in line


# ---------------------------------------------------------------- what is refused

TIMES = [
    "handshake-timeout",
    "request-timeout",
    "resolve-timeout",
    "connect-timeout",
    "linger-timeout",
    "bind-timeout",
    "udp-idle-timeout",
]


@pytest.mark.parametrize("option", TIMES)
@pytest.mark.parametrize("value", ["0", "-1", "0.09", "soon", "", "nan", "inf", "1e9"])
def test_a_time_is_a_number_of_seconds_above_nothing(option: str, value: str) -> None:
    expected = f"--{option}: expected seconds, 0.1 or more, got {value!r}"
    assert refusal(f"--{option}", value) == expected


@pytest.mark.parametrize("value", ["-0.1", "never"])
def test_an_idle_time_may_be_nothing_but_not_less(value: str) -> None:
    expected = f"--idle-timeout: expected seconds, 0 or more, got {value!r}"
    assert refusal("--idle-timeout", value) == expected


REFUSED = [
    (["--port", "http"], "--port: expected a whole number from 0 to 65535, got 'http'"),
    (["-p", "65536"], "--port: expected a whole number from 0 to 65535, got '65536'"),
    (["-p", "-1"], "--port: expected a whole number from 0 to 65535, got '-1'"),
    (["-p", "¹"], "--port: expected a whole number from 0 to 65535, got '¹'"),
    (["--ban-after", "-1"], "--ban-after: expected a whole number from 0 to 1000000, got '-1'"),
    (["--ban-time", "long"], "--ban-time: expected seconds, 0 or more, got 'long'"),
    (
        ["--ban-exempt", "here"],
        "--ban-exempt: expected networks, such as 192.0.2.0/24 or 2001:db8::/32, got 'here'",
    ),
    (["--keepalive", "0.5"], "--keepalive: expected a whole number from 0 to 32767, got '0.5'"),
    (["--workers", "0"], "--workers: expected a whole number from 1 to 1024 or auto, got '0'"),
    (["1080"], "expected options, each with -- before it, got '1080'"),
    (
        ["--workers", "many"],
        "--workers: expected a whole number from 1 to 1024 or auto, got 'many'",
    ),
    (
        ["--max-sessions", "x"],
        "--max-sessions: expected a whole number from 0 to 10000000, got 'x'",
    ),
    (["--commands", "ping"], "--commands: expected some of connect,bind,udp, got 'ping'"),
    (["--commands", ""], "--commands: expected some of connect,bind,udp, got ''"),
    (["--resolver", "nss"], "--resolver: expected dns or system, got 'nss'"),
    (["--udp-pin", "mac"], "--udp-pin: expected ip or ip+port or announced, got 'mac'"),
    (
        ["--udp-filtering", "none"],
        (
            "--udp-filtering: expected endpoint-independent or address-dependent or "
            "address-and-port-dependent, got 'none'"
        ),
    ),
    (
        ["--access-log-format", "xml"],
        "--access-log-format: expected json or text, got 'xml'",
    ),
    (["--access-log", ""], "--access-log: expected a file or -, got ''"),
    (["--interface", "eth0"], "--interface: expected an IP address, got 'eth0'"),
    (["--interface", "localhost"], "--interface: expected an IP address, got 'localhost'"),
    (
        ["--outgoing-family", "ipv5"],
        "--outgoing-family: expected any or prefer-ipv4 or prefer-ipv6 or ipv4 or ipv6, got 'ipv5'",
    ),
    *(
        (
            ["--outgoing", "192.0.2.1", "--outgoing", "2001:db8::1", "--outgoing-family", family],
            (
                f"--outgoing {address}: expected an address of the one family that --outgoing-family "
                f"{family} leaves, or another --outgoing-family"
            ),
        )
        for family, address in (("ipv4", "2001:db8::1"), ("ipv6", "192.0.2.1"))
    ),
    (["--outgoing", "eth0"], "--outgoing: expected an IP address, got 'eth0'"),
    (["--advertise", "example.org"], "--advertise: expected an IP address, got 'example.org'"),
    (["--outgoing", "0.0.0.0"], "--outgoing: expected the address of a machine, got '0.0.0.0'"),
    (["--advertise", "::"], "--advertise: expected the address of a machine, got '::'"),
    (
        ["--advertise", "fe80::1%eth0"],
        "--advertise: expected the address of a machine, got 'fe80::1%eth0'",
    ),
    (
        ["--outgoing", "::FFFF:192.0.2.1"],
        "--outgoing: expected the address of a machine, got '::FFFF:192.0.2.1'",
    ),
    (
        ["--outgoing", "192.0.2.1", "--outgoing", "192.0.2.2"],
        "--outgoing: expected one address per family, got also '192.0.2.2'",
    ),
    (
        ["--advertise", "::1", "--advertise", "::2"],
        "--advertise: expected one address per family, got also '::2'",
    ),
    (
        ["--listen", "xyz:1"],
        (
            "--listen xyz:1: expected a Twisted server endpoint, such as "
            "tcp:1080:interface=127.0.0.1: Unknown endpoint type: 'xyz'"
        ),
    ),
    (
        ["--listen", "tcp:1080:interface=::1"],
        (
            "--listen tcp:1080:interface=::1: expected a Twisted server endpoint, such as "
            "tcp:1080:interface=127.0.0.1: got multiple values for argument 'interface'; a colon "
            r"inside a value needs a backslash, all in quotes: 'interface=\:\:1'"
        ),
    ),
    (
        ["--listen", r"HA\proxy:tcp:1080"],
        (
            r"--listen HA\proxy:tcp:1080: expected tcp:1080 and behind it --proxy-from NETWORK, for "
            "haproxy: believes the PROXY header of whoever connects"
        ),
    ),
    (
        ["--listen", "haproxy:tcp:1080"],
        (
            "--listen haproxy:tcp:1080: expected tcp:1080 and behind it --proxy-from NETWORK, for "
            "haproxy: believes the PROXY header of whoever connects"
        ),
    ),
    (
        ["-l", "tcp:1080:interface=127.0.0.1", "-i", "127.0.0.1"],
        (
            "--interface does not go with --listen: expected it in the endpoint, "
            "tcp:PORT:interface=ADDRESS"
        ),
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_what_is_wrong_is_one_sentence(arguments: Sequence[str], sentence: str) -> None:
    assert refusal(*arguments) == sentence


@pytest.mark.parametrize(
    "text", ["", "-", "5-", "-5", "0-9", "9-5", "1-65536", "a-b", "1-2-3", "¹-9"]
)
def test_a_range_of_ports_is_two_ports_in_order(text: str) -> None:
    expected = (
        f"--udp-ports: expected FIRST-LAST, from 1 to 65535, the lower one first, got {text!r}"
    )
    assert refusal("--udp-ports", text) == expected


# ---------------------------------------------------------------- authentication


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are as they were: one that has just changed is looked at again in a thread."""
    monkeypatch.setattr("socks5.auth.files.SETTLED", 0.0)


def is_let_in(options: Options, name: bytes, password: bytes) -> bool:
    outcome: list[Any] = []
    assert options.authenticator is not None
    login: Deferred[Any] = options.authenticator.authenticate(
        Credentials(name, password), "192.0.2.7"
    )
    login.addBoth(outcome.append)
    assert outcome, "there is no verdict"
    if hasattr(outcome[0], "trap"):
        outcome[0].trap(LoginFailed)
        return False
    return bool(outcome[0].name)


def test_without_auth_everybody_may_come_in() -> None:
    assert list(served(parse()).factory.in_force.methods) == [Method.NO_AUTHENTICATION]


def test_with_auth_nobody_may_come_in_without() -> None:
    authenticator = parse("--auth", "memory:alice:secret").authenticator
    assert authenticator is not None
    assert list(authenticator.methods) == [Method.USERNAME_PASSWORD]


def test_users_on_the_command_line() -> None:
    options = parse("--auth", "memory:alice:secret:bob:word")
    assert is_let_in(options, b"alice", b"secret")
    assert is_let_in(options, b"bob", b"word")
    assert not is_let_in(options, b"alice", b"word")
    assert not is_let_in(options, b"carol", b"secret")


def test_users_on_the_command_line_are_the_octets_that_were_typed() -> None:
    options = parse(
        "--auth", "memory:zo\xeb:\udcff\udcfe"
    )  # as Python has octets that are no UTF-8
    assert is_let_in(options, "zo\xeb".encode(), b"\xff\xfe")


def test_nobody_on_the_command_line_is_nobody() -> None:
    assert not is_let_in(parse("--auth", "memory"), b"", b"")


def test_users_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_bytes(b"alice:correct horse\n\xff:\xfe\xfd\n")
    options = parse("--auth", f"file:{path}")
    assert is_let_in(options, b"alice", b"correct horse")
    assert is_let_in(options, b"\xff", b"\xfe\xfd")
    assert not is_let_in(options, b"alice", b"correct")


def test_a_file_is_found_wherever_the_service_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users.txt").write_text("alice:secret\n")
    monkeypatch.chdir(tmp_path)
    options = parse("--auth", "file:users.txt")
    monkeypatch.chdir("/")
    assert is_let_in(options, b"alice", b"secret")


def test_several_sources_of_users_count_together(tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("bob:word\n")
    options = parse("--auth", "memory:alice:secret", "--auth", f"file:{tmp_path / 'users.txt'}")
    assert is_let_in(options, b"alice", b"secret")
    assert is_let_in(options, b"bob", b"word")
    assert not is_let_in(options, b"bob", b"secret")


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
    ("file", "--auth file: expected the path of a file"),
    (
        "file:/nonexistent",
        (
            "--auth file: expected a file that can be read, got '/nonexistent' "
            "(No such file or directory); check its name and mode"
        ),
    ),
    (
        "file:/",
        (
            "--auth file: expected a file that can be read, got '/' (Is a directory); "
            "check its name and mode"
        ),
    ),
    ("anonymous", "--auth anonymous: expected a type for user names and passwords"),
]


@pytest.mark.parametrize(("description", "sentence"), WRONG_AUTH)
def test_a_wrong_source_of_users_is_one_sentence_without_passwords(
    description: str, sentence: str
) -> None:
    assert refusal("--auth", description) == sentence


def test_what_a_plugin_does_not_understand_is_one_sentence_without_passwords(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Factory:
        argStringFormat = "something else"

        def generateChecker(self, argument: str) -> Any:
            raise ValueError(f"what is {argument}?")

    monkeypatch.setattr(tap, "findCheckerFactory", lambda kind: Factory())
    assert refusal("--auth", "x:secret") == "--auth x:ARGS: expected for ARGS: something else"


def warnings_of(*arguments: str) -> list[str]:
    """What is logged as the service is made."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.warn:
            found.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        makeService(parse(*arguments), reactor)
    finally:
        globalLogPublisher.removeObserver(observe)
    return found


def test_passwords_on_the_command_line_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("bob:word\n")
    assert warnings_of("--auth", f"file:{tmp_path / 'users.txt'}") == []
    [warning] = warnings_of("--auth", "memory:alice:secret")
    assert "every user of this machine can read these passwords in the list of processes" in warning
    assert "htpasswd:FILE" in warning
    assert "credential=NAME" in warning
    assert "secret" not in warning


def test_a_file_without_its_type_is_understood_but_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    assert "did you mean" not in refusal("--auth", str(path))
    path.write_text("")
    assert refusal("--auth", str(path)).endswith(f"; did you mean htpasswd:{path}?")


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_source_address_that_is_not_here_is_warned_of(address: str) -> None:
    own = "::1" if ":" in address else "127.0.0.1"
    assert warnings_of("--outgoing", own) == []
    [warning] = warnings_of("--outgoing", address)
    assert warning.startswith(f"--outgoing {address}: no address of this machine now;")


@pytest.fixture
def secrets(tmp_path: Path) -> str:
    """The value of ``--auth`` for a file of secrets."""
    (tmp_path / "secrets").touch(0o600)
    (tmp_path / "secrets").write_text("alice:correct horse\n")
    return f"secrets:{tmp_path}/secrets"


def test_users_whom_no_listener_asks_for_are_warned_of(secrets: str) -> None:
    for source in ("unix", secrets):
        [warning] = warnings_of("--auth", source, "--methods", "none")
        assert warning == "--auth is given, but no listener asks for it: see --methods"
    for methods in ("chap", "password", "none,chap"):
        assert warnings_of("--auth", secrets, "--methods", methods) == []


def test_secrets_let_users_in_by_chap_and_by_password(secrets: str) -> None:
    options = parse("--auth", secrets, "--auth", "memory:bob:secret", "-i", "192.0.2.1")
    [method] = options.methods
    assert method.number == Method.CHAP
    assert options.authenticator is not None
    assert parse("--auth", "memory:bob:secret").methods == []
    [file] = options.sources
    assert file.reread().endswith("(users: 1)")


def test_of_passwords_on_the_command_line_the_workers_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = SimpleNamespace(
        number=1, sockets=[], output=1, heart=1, ports=1, watch_parent=lambda reactor: None
    )
    monkeypatch.setattr(plugin, "share_ports", lambda *arguments: None)
    monkeypatch.setattr(plugin.OwnPorts, "inherited", lambda *arguments: None)
    monkeypatch.setattr(tap.Worker, "from_environment", lambda: worker)
    assert warnings_of("--auth", "memory:alice:secret", "--access-log", "x") == []


def help_of(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> str:
    output = io.StringIO()
    monkeypatch.setattr(Options, "authOutput", output)
    with pytest.raises(SystemExit) as raised:
        parse(*arguments)
    assert raised.value.code == 0
    return output.getvalue()


def test_the_sources_of_users_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = help_of("--help-auth", monkeypatch=monkeypatch).splitlines()
    types = {line.split()[0] for line in lines if line.startswith("  ")}
    assert {"memory", "file"} <= types
    assert "anonymous" not in types


def test_a_source_of_users_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    text = help_of("--help-auth-type", "file", monkeypatch=monkeypatch)
    assert "'username:password'" in text


# ---------------------------------------------------------------- the access log


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard output is a terminal, or says so."""
    stdout = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(tap, "sys", SimpleNamespace(stdout=stdout))


def lines_of(options: Options, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What a session leaves on the standard output."""
    log = options.access_log(Clock())
    if log is not None:
        log.write(SessionInfo(1, "192.0.2.7:4000", reason="idle"))
        log.close()
    return capfd.readouterr().out.splitlines()


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_readable_lines(capfd: pytest.CaptureFixture[str]) -> None:
    [line] = lines_of(parse(), capfd)
    assert line.endswith("#1 192.0.2.7:4000 no request up 0 down 0 0.000 s: idle")


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_what_was_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    [line] = lines_of(parse("--access-log-format", "json"), capfd)
    assert line.startswith("{")


def test_what_is_no_terminal_gets_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert parse().access_log(Clock()) is None
    assert lines_of(parse("--access-log-format", "text"), capfd) == []


def test_what_is_no_terminal_gets_json_if_asked(capfd: pytest.CaptureFixture[str]) -> None:
    [line] = lines_of(parse("--access-log", "-"), capfd)
    assert line.startswith("{")


def test_what_is_no_terminal_gets_readable_lines_if_asked(
    capfd: pytest.CaptureFixture[str],
) -> None:
    [line] = lines_of(parse("--access-log", "-", "--access-log-format", "text"), capfd)
    assert line.endswith(": idle")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("form", "start"), [("json", "{"), ("text", "20"), (None, "{")])
def test_a_file_gets_json_unless_told_otherwise(
    form: str | None, start: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "access.log"
    arguments = [] if form is None else ["--access-log-format", form]
    assert lines_of(parse("--access-log", str(path), *arguments), capfd) == []
    assert path.read_text().startswith(start)


def under_twistd(is_daemon: bool, *arguments: str) -> Options:
    options = Options()
    options.parent = {"nodaemon": not is_daemon}  # type: ignore[assignment]
    options.parseOptions(arguments)
    return options


@pytest.mark.usefixtures("terminal")
def test_a_daemon_has_no_terminal() -> None:
    assert under_twistd(True).access_log(Clock()) is None
    assert under_twistd(False).access_log(Clock()) is not None


def test_a_daemon_has_no_output() -> None:
    under_twistd(False, "--access-log", "-")
    with pytest.raises(usage.UsageError) as raised:
        under_twistd(True, "--access-log", "-")
    assert str(raised.value) == "--access-log: expected a file, for a daemon has no output"


# ---------------------------------------------------------------- the service


@pytest.fixture(autouse=True)
def raised(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """How often the limit of open files was raised; the real one stays."""
    calls: list[None] = []
    monkeypatch.setattr(plugin, "raise_descriptor_limit", lambda: calls.append(None))
    return calls


def served(options: Options, reactor: Any = None) -> ProxyService:
    service = makeService(options, reactor)
    assert isinstance(service, ProxyService)
    return service


@pytest_twisted.ensureDeferred
async def test_the_service_listens_on_the_port_of_the_loopback() -> None:
    with_port = served(parse("--port", "0"))
    with_port.privilegedStartService()
    assert with_port.ports[0].getHost().host == "127.0.0.1"
    await with_port.stopService()


@pytest_twisted.ensureDeferred
async def test_the_service_listens_on_the_interfaces() -> None:
    service = served(parse("-p", "0", "-i", "127.0.0.2", "--interface", "127.0.0.3"), reactor)
    service.privilegedStartService()
    assert [port.getHost().host for port in service.ports] == ["127.0.0.2", "127.0.0.3"]
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_the_service_listens_on_the_endpoints_instead(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    service = served(
        parse("-p", "1", "-l", f"unix:{path}", "--listen", "tcp:0:interface=127.0.0.2")
    )
    service.privilegedStartService()
    assert path.is_socket()
    assert service.ports[1].getHost().host == "127.0.0.2"
    assert len(service.ports) == 2
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_the_service_hears_balancers_where_it_is_told_to() -> None:
    options = ["-p", "0", "-i", "127.0.0.2", "--proxy-from", "192.0.2.9", "-i", "127.0.0.3"]
    service = served(parse(*options, "--open"), reactor)
    service.privilegedStartService()
    behind, plain = (port.port.factory for port in service.ports)
    assert isinstance(behind, HeaderFactory)
    assert behind.wrappedFactory.policy.proxies == Networks.parse("192.0.2.9")
    assert plain is service.factory
    await service.stopService()


def test_the_service_has_the_settings_and_the_users() -> None:
    factory = served(parse("--max-sessions", "3", "--auth", "memory:alice:secret")).factory
    assert factory.limit.maximum == 3
    assert list(factory.in_force.methods) == [Method.USERNAME_PASSWORD]


def test_the_service_has_the_access_log(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    clock = Clock()
    factory = served(parse("--access-log", str(path)), clock).factory
    assert factory.access_log is not None
    factory.access_log.write(SessionInfo(1, "192.0.2.7:4000"))
    clock.advance(1)
    assert path.read_text().startswith("{")


def test_the_limit_of_open_files_is_raised_first(
    raised: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1032, 1032) if raised else (132, 132))
    assert served(parse()).factory.limit.maximum == 500


# ---------------------------------------------------------------- what users see


def test_every_option_is_explained_on_one_line() -> None:
    options = Options()
    for name in options.longOpt:
        words = options.docs[name.rstrip("=")].strip()
        assert words.endswith((".", "]")), name
        assert "  " not in words, name


def test_every_time_has_its_unit_and_its_default() -> None:
    text = " ".join(Options().getUsage(width=200).split())
    for option in [*TIMES, "idle-timeout"]:
        default = getattr(Settings(), option.replace("-", "_"))
        assert f"--{option}= Seconds " in text
        assert f"[default: {default}]" in text.partition(f"--{option}=")[2].partition("--")[0]


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
